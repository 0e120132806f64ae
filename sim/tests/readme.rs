//! The simulator's page names everything that is judged and everything that goes wrong, and the front
//! page names only promises that are judged.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use sexton_sim::fault::Fault;
use sexton_sim::promise::{ALWAYS, EVENTUALLY, SAME_SEED_SAME_RUN};

const FRONT: &str = include_str!("../../README.md");
const PAGE: &str = include_str!("../README.md");

/// The part of a page under this heading.
fn part(page: &'static str, heading: &str) -> &'static str {
    let (_, part) = page.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    part.split("\n## ").next().unwrap()
}

#[test]
fn every_promise_has_its_row() {
    let part = part(PAGE, "\n## What is judged\n");
    let (_, always) = part.split_once("\n| promise, after every event |").unwrap();
    let (always, eventually) = always.split_once("\n| promise, at the end |").unwrap();
    let the_last = format!("\n`{SAME_SEED_SAME_RUN}` ");
    let (eventually, _) = eventually.split_once(&the_last).unwrap();
    for (promises, table) in [(ALWAYS, always), (EVENTUALLY, eventually)] {
        for promise in promises {
            let row = format!("\n| `{}` | ", promise.name);
            assert!(table.contains(&row), "sim/README.md lacks a row for {}", promise.name);
        }
        let rows = table.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, promises.len(), "rows of promises that are gone");
    }
}

#[test]
fn every_fault_is_named() {
    let part = part(PAGE, "\n## What goes wrong\n");
    for fault in Fault::ALL {
        let name = format!("`{}`", fault.name());
        assert!(part.contains(&name), "sim/README.md lacks the fault {name}");
    }
}

#[test]
fn the_front_page_names_only_known_promises() {
    let part = part(FRONT, "\n## What it promises\n");
    let names = part.lines().filter_map(|line| line.split_once("; simulator: "));
    let mut rows = 0;
    for (_, names) in names {
        rows += 1;
        for name in names.trim_end_matches(" |").split(", ") {
            let known = ALWAYS.iter().chain(EVENTUALLY).any(|p| format!("`{}`", p.name) == name);
            assert!(known, "{name} is not a promise");
        }
    }
    assert!(rows > 0);
}
