//! The pages and the code agree: links and commands lead somewhere, the configuration page has every
//! key with its default, and no part of the crate imports what the architecture page forbids.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sexton::config::Config;
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton::process::logfile::Rotation;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FRONT_LINES: usize = 200;

/// Every file below `directory` with this extension. Build output is left out.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if !["target", ".git", "artifacts"].iter().any(|output| name == *output) {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The project's pages, each with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    files(Path::new(ROOT), "md").into_iter().map(read).collect()
}

/// The parts of `text` that begin after `before` and end before `after`.
fn between<'a>(text: &'a str, before: &'a str, after: char) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split_once(after)).map(|(part, _)| part)
}

/// Titles become anchors: in lower case, with hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |title: &str| {
        let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    titles.map(anchor).collect()
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut count = 0;
    for (page, text) in pages() {
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(there.contains(anchor), "{}: {link} is not a heading", page.display());
            }
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn every_test_program_that_a_page_runs_exists() {
    let exists = |file: String| Path::new(ROOT).join(file).exists();
    let mut count = 0;
    for (page, text) in pages() {
        for rest in text.split("--test ").skip(1) {
            // The command ends with its line or quotes, and before a remark.
            let command = rest.split(['`', '\n', '#']).next().unwrap();
            let (name, filters) = command.split_once(' ').unwrap_or((command, ""));
            let page = page.display();
            let is_program = ["tests", "sim/tests"].iter().any(|directory| {
                exists(format!("{directory}/{name}.rs"))
                    || exists(format!("{directory}/{name}/main.rs"))
            });
            assert!(is_program, "{page}: there is no test program {name}");
            // Cargo itself takes one filter; a filter without a match is not an error.
            let (one, all) = filters.split_once("-- ").unwrap_or((filters, ""));
            assert!(one.split_whitespace().count() <= 1, "{page}: {command} needs `--`");
            for module in one.split_whitespace().chain(all.split_whitespace()) {
                let is_module = exists(format!("tests/{name}/{module}.rs"));
                assert!(is_module, "{page}: the test program {name} has no module {module}");
                count += 1;
            }
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn the_front_page_is_short() {
    let lines = fs::read_to_string(format!("{ROOT}/README.md")).unwrap().lines().count();
    assert!(lines <= FRONT_LINES, "README.md has {lines} lines, more than {FRONT_LINES}");
}

/// The example of the configuration page.
fn example() -> String {
    let page = fs::read_to_string(format!("{ROOT}/src/config/README.md")).unwrap();
    let (_, example) = page.split_once("\n```toml\n").unwrap();
    example.split_once("\n```\n").unwrap().0.to_owned()
}

#[test]
fn the_configuration_page_has_every_key() {
    let source = fs::read_to_string(format!("{ROOT}/src/config/file.rs")).unwrap();
    let fields = source.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let keys: Vec<&str> =
        fields.filter_map(|field| field.split_once(": ")).map(|(key, _)| key).collect();
    assert!(keys.len() >= 17, "{keys:?}");
    let example = example();
    let lines: Vec<&str> = example.lines().map(|line| line.trim_start_matches("# ")).collect();
    for key in keys {
        let starts = [format!("{key} = "), format!("[{key}]"), format!("[{key}.")];
        let there = lines.iter().any(|line| starts.iter().any(|start| line.starts_with(start)));
        assert!(there, "src/config/README.md lacks the key {key}");
    }
}

#[test]
fn the_configuration_page_has_the_defaults() {
    let config = Config::parse(&example(), Path::new("src/config/README.md")).unwrap();
    let needs_body = WorkerPolicy { needs_body: true, ..WorkerPolicy::default() };
    let default = Policy { workers: vec![needs_body], ..Policy::default() };
    assert_eq!(config.policy, default);
    assert_eq!(config.logs, Rotation::default());
    // What is commented out can be written, too.
    let all: String =
        example().lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    Config::parse(&all, Path::new("src/config/README.md")).unwrap();
}

/// What each part of the crate may import, as the architecture page has it: parts, and modules of
/// the machine.
const MAY_IMPORT: [(&str, &[&str], &[&str]); 7] = [
    ("machine", &["machine"], ALL_MODULES),
    (
        "board",
        &["board", "machine", "regular"],
        &["exchange", "fault", "header", "hold", "ids", "plan", "policy", "verdict"],
    ),
    ("process", &["process", "machine"], &["effect", "event", "fault", "ids", "verdict"]),
    (
        "config",
        &["config", "board", "machine", "process", "regular", "root"],
        &["hold", "ids", "policy"],
    ),
    ("evidence", &["evidence", "machine", "process"], &["adoption", "event", "ids", "verdict"]),
    ("root", &["root", "regular"], &[]),
    (
        "cli",
        &["cli", "board", "config", "evidence", "machine", "process", "regular", "root", "runtime"],
        &["hold", "ids", "verdict"],
    ),
];

/// Stands for all modules of the machine.
const ALL_MODULES: &[&str] = &["*"];

#[test]
fn no_part_imports_what_it_must_not_know() {
    for (part, parts, modules) in MAY_IMPORT {
        let directory = Path::new(ROOT).join("src").join(part);
        let mut sources = files(&directory, "rs");
        sources.extend(Some(directory.with_extension("rs")).filter(|file| file.exists()));
        assert!(sources.len() > 3, "{part}");
        for source in sources {
            let text = fs::read_to_string(&source).unwrap();
            for import in text.split("crate::").skip(1) {
                let mut names =
                    import.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
                let mut names = names.next().unwrap().split("::");
                let (of, module) = (names.next().unwrap(), names.next().unwrap_or_default());
                let allowed = parts.contains(&of)
                    && (of != "machine" || modules == ALL_MODULES || modules.contains(&module));
                assert!(allowed, "{}: imports {of}::{module}", source.display());
            }
        }
    }
}
