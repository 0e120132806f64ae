//! The tables of the machine that stand beside its documentation are what worlds show.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::fs;
use std::path::Path;

use sexton_sim::table::{IMPOSSIBLE, cells, wrong};

const TABLES: &str = include_str!("../../src/machine/table.md");

/// Fewer than the tables are made from, since a debug build is slow. `.ci/run` compares all of it.
const SEEDS: u64 = 150;

#[test]
fn no_world_meets_a_cell_that_is_listed_as_impossible() {
    assert_eq!(wrong(&cells(SEEDS), false), Vec::<String>::new());
}

#[test]
fn what_makes_a_cell_impossible_stands_in_the_code_and_in_the_documentation() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for row in IMPOSSIBLE {
        let code = fs::read_to_string(top.join(row.file)).unwrap();
        assert!(code.contains(row.code), "{} lacks: {}", row.file, row.code);
        assert!(TABLES.contains(row.code), "src/machine/table.md lacks: {}", row.code);
    }
}
