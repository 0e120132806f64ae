//! The README names everything that is judged, and everything that goes wrong.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use sexton_sim::fault::Fault;
use sexton_sim::promise::{ALWAYS, EVENTUALLY, SAME_SEED_SAME_RUN};

const README: &str = include_str!("../../README.md");

/// The part under this heading.
fn part(heading: &str) -> &'static str {
    let (_, part) = README.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    part.split("\n## ").next().unwrap()
}

#[test]
fn every_promise_has_its_row() {
    let part = part("\n## Running simulations\n");
    let (_, always) = part.split_once("\n| promise, after every event |").unwrap();
    let (always, eventually) = always.split_once("\n| promise, at the end |").unwrap();
    let the_last = format!("\n`{SAME_SEED_SAME_RUN}` ");
    let (eventually, _) = eventually.split_once(&the_last).unwrap();
    for (promises, table) in [(ALWAYS, always), (EVENTUALLY, eventually)] {
        for promise in promises {
            let row = format!("\n| `{}` | ", promise.name);
            assert!(table.contains(&row), "the README lacks a row for {}", promise.name);
        }
        let rows = table.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, promises.len(), "rows of promises that are gone");
    }
}

#[test]
fn every_fault_is_named() {
    let part = part("\n## Running simulations\n");
    for fault in Fault::ALL {
        let name = format!("`{}`", fault.name());
        assert!(part.contains(&name), "the README lacks the fault {name}");
    }
}

#[test]
fn what_the_simulator_is_said_to_show_is_a_promise_of_its() {
    let part = part("\n## What it promises, and how each promise is shown\n");
    let names = part.lines().filter_map(|line| line.split_once("; simulator: "));
    let mut rows = 0;
    for (_, names) in names {
        rows += 1;
        for name in names.trim_end_matches(" |").split(", ") {
            let known = ALWAYS.iter().chain(EVENTUALLY).any(|p| format!("`{}`", p.name) == name);
            assert!(known, "{name} is no promise");
        }
    }
    assert!(rows > 0);
}
