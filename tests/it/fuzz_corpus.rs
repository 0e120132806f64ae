//! The fuzz targets, replayed on their seeds and on everything they have ever found.
#![cfg(feature = "runtime")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/board_file.rs"]
mod board_file;
#[path = "../../fuzz/src/config.rs"]
mod config;
#[path = "../../fuzz/src/events.rs"]
mod events;
#[path = "../../fuzz/src/header.rs"]
mod header;
#[path = "../../fuzz/src/plan.rs"]
mod plan;
#[path = "../../fuzz/src/world.rs"]
mod world;

/// Runs a target on its inputs. The name of the one at work is printed, to be seen on failure.
fn replay(target: &str, check: fn(&[u8])) {
    let mut inputs = files(&format!("fuzz/corpus/{target}"));
    assert!(!inputs.is_empty(), "{target} has no seeds");
    inputs.extend(files(&format!("fuzz/regressions/{target}")));
    for input in inputs {
        println!("{}", input.display());
        check(&fs::read(&input).expect("an input"));
    }
    // And on nothing at all.
    check(&[]);
}

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    // A target that has found nothing has no directory for it.
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

#[test]
fn events() {
    replay("events", events::check);
}

#[test]
fn plan() {
    replay("plan", plan::check);
}

#[test]
fn header() {
    replay("header", header::check);
}

#[test]
fn board_file() {
    replay("board_file", board_file::check);
}

#[test]
fn config() {
    replay("config", config::check);
}

#[test]
fn world() {
    replay("world", world::check);
}
