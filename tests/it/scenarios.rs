//! Scripts that a reader learns the machine's behaviour from: each file is a script with the
//! machine's exact answers. `UPDATE=1 cargo test --test it scenarios` writes them again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;

#[test]
fn the_machine_answers_as_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            assert!(path.ends_with("README.md"), "not a script: {}", path.display());
            continue;
        }
        let written = fs::read_to_string(&path).unwrap();
        let played = sexton_sim::script::play(&written)
            .unwrap_or_else(|error| panic!("{}:{error}", path.display()));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(played, written, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 46);
}

#[test]
fn a_line_that_is_not_understood_is_named() {
    for line in
        ["at 1 tock", "at 1.0001 tick", "at 1 tick, ready t_1", "at 1 exchanged 1, redy t_1"]
    {
        let played = sexton_sim::script::play(&format!("# Once.\n{line}"));
        assert_eq!(played, Err(format!("2: not understood: {line}")));
    }
}

#[test]
fn what_the_table_names_exists() {
    let root = env!("CARGO_MANIFEST_DIR");
    let page = fs::read_to_string(format!("{root}/tests/scenarios/README.md")).unwrap();
    let (_, section) = page.split_once("\n## What went wrong elsewhere\n").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut count = 0;
    for shown_by in rows.map(|row| row.rsplit('|').nth(1).unwrap()) {
        for name in shown_by.split('`').skip(1).step_by(2) {
            let (file, test) = name.split_once("::").unwrap_or((name, ""));
            let scenario = format!("{root}/tests/scenarios/{file}.txt");
            let source = fs::read_to_string(format!("{root}/{file}"));
            let there = source.is_ok_and(|source| source.contains(&format!("fn {test}")));
            // The column names a setting, too.
            assert!(there || fs::exists(scenario).unwrap() || name == "max_runtime", "{name}");
            count += 1;
        }
    }
    assert!(count >= 70, "{count}");
}
