//! Bugs planted in the machine itself: each is found by an assertion of the machine and, in a build
//! without assertions, by a promise.
#![cfg(feature = "sabotage")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use sexton::machine::sabotage::Sabotage;
use sexton_sim::sweep::{SIZE, entropy};
use sexton_sim::world::{Broken, Options, run};

/// Worlds within which a planted bug must be found.
const SEEDS: u64 = 500;

fn found(planted: Sabotage) -> Option<Broken> {
    let options = Options { planted, ..Options::default() };
    (0..SEEDS).find_map(|seed| run(entropy(seed, SIZE), options).broken)
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "a timer or an index is not what the state calls for")]
fn a_forgotten_timer_is_found_by_the_machines_own_assertion() {
    found(Sabotage { forget_a_timer: true, ..Sabotage::default() });
}

#[test]
#[cfg(not(debug_assertions))]
fn a_forgotten_timer_is_found_by_a_promise_where_nothing_is_asserted() {
    let broken = found(Sabotage { forget_a_timer: true, ..Sabotage::default() });
    let promise = broken.map(|broken| broken.promise);
    assert_eq!(promise, Some("nothing_is_kept_for_ever"));
}
