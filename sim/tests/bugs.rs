//! Every planted bug is found, by the promise that it is meant to break; and the simulator's page has
//! the number of seeds that it takes.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sexton_sim::bugs::find;
use sexton_sim::promise::{ALWAYS, EVENTUALLY, SAME_SEED_SAME_RUN};
use sexton_sim::saboteur::Saboteur;

const PAGE: &str = include_str!("../README.md");

#[test]
fn every_planted_bug_is_found_as_soon_as_the_page_has_it() {
    let next = AtomicUsize::new(0);
    let look = || {
        while let Some(saboteur) = Saboteur::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            is_found_as_the_page_has_it(*saboteur);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(look);
        }
    });
}

fn is_found_as_the_page_has_it(saboteur: Saboteur) {
    let (name, promise) = (saboteur.name(), saboteur.breaks()[0]);
    let seeds = find(saboteur).unwrap_or_else(|| panic!("'{name}' was not found"));
    let row = format!("| {name} | `{promise}` | {seeds} |");
    assert!(PAGE.contains(&row), "sim/README.md lacks: {row}; see `cargo sim bugs`");
}

#[test]
fn every_promise_has_a_bug_that_breaks_it_or_a_similar_promise() {
    // Broken by a bug in the machine itself: see `machine_bugs.rs`.
    let within = ["holders_record_before_rivals_free"];
    let promises = ALWAYS.iter().chain(EVENTUALLY).map(|promise| promise.name);
    // What these would catch is caught by a stronger one first: no bug breaks them alone.
    let beside = [
        "one_request_at_a_time",
        "unknown_ends_block_in_the_end",
        "wakes_lie_ahead",
        "spawned_is_reaped_and_alive",
    ];
    for promise in promises
        .chain([SAME_SEED_SAME_RUN])
        .filter(|name| !beside.contains(name) && !within.contains(name))
    {
        let broken = Saboteur::ALL.iter().any(|saboteur| saboteur.breaks().contains(&promise));
        assert!(broken, "no planted bug breaks {promise}");
    }
}
