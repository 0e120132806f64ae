//! What `shrink` does to files: it overwrites none without `--force`.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{BUG, seeds_that_break};

mod common;

/// A directory like the top of the project, with a directory for regressions.
fn top(name: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if top.exists() {
        fs::remove_dir_all(&top).unwrap();
    }
    fs::create_dir_all(top.join("tests/regressions")).unwrap();
    top
}

/// Shrinks one of the runs that a planted bug breaks.
fn shrink(top: &Path, run: usize, arguments: &[&str]) -> Output {
    let seed = &seeds_that_break("no_zombie_outlives_a_tick")[run];
    Command::new(env!("CARGO_BIN_EXE_sexton-sim"))
        .args(["shrink", "--bug", BUG, "--seed", seed])
        .args(arguments)
        .current_dir(top)
        .output()
        .unwrap()
}

fn names(top: &Path) -> Vec<String> {
    let entries = fs::read_dir(top.join("tests/regressions")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_second_regression_of_a_promise_takes_the_next_name() {
    let top = top("next-name");
    assert_eq!(shrink(&top, 0, &[]).status.code(), Some(0));
    let first = top.join("tests/regressions/no_zombie_outlives_a_tick.entropy");
    let kept = fs::read(&first).unwrap();
    let output = shrink(&top, 1, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("--entropy tests/regressions/no_zombie_outlives_a_tick-2.entropy ")
    );
    assert_eq!(
        names(&top),
        ["no_zombie_outlives_a_tick-2.entropy", "no_zombie_outlives_a_tick.entropy"]
    );
    assert_eq!(fs::read(&first).unwrap(), kept);
}

#[test]
fn the_same_regression_is_kept_once() {
    let top = top("same");
    let first = shrink(&top, 0, &[]);
    let second = shrink(&top, 0, &[]);
    assert_eq!(second.status.code(), Some(0));
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(names(&top), ["no_zombie_outlives_a_tick.entropy"]);
}

#[test]
fn a_file_of_output_that_is_there_is_left_alone() {
    let top = top("there");
    fs::write(top.join("mine"), "precious").unwrap();
    let output = shrink(&top, 0, &["--output", "mine"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "sexton-sim: 'mine' is there already; name another file with --output, or write over it with \
         --force\n"
    );
    assert_eq!(fs::read(top.join("mine")).unwrap(), b"precious");
}

#[test]
fn force_writes_over_the_file_of_output() {
    let top = top("force");
    fs::write(top.join("mine"), "worthless").unwrap();
    assert_eq!(shrink(&top, 0, &["--output", "mine", "--force"]).status.code(), Some(0));
    let forced = fs::read(top.join("mine")).unwrap();
    assert_eq!(shrink(&top, 0, &["--output", "other"]).status.code(), Some(0));
    assert_eq!(forced, fs::read(top.join("other")).unwrap());
}

#[test]
fn force_without_output_is_refused() {
    let top = top("force-alone");
    assert_eq!(shrink(&top, 0, &["--force"]).status.code(), Some(2));
    assert!(names(&top).is_empty());
}
