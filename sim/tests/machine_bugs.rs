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

const FORGOTTEN_TIMER: Sabotage = Sabotage {
    forget_a_timer: true,
    forget_who_waits: false,
    reap_inside_the_pass: false,
    reclaim_at_once: false,
};
const NO_TURN: Sabotage =
    Sabotage { forget_a_timer: false, reclaim_at_once: true, ..FORGOTTEN_TIMER };
const FORGOTTEN_BOARD: Sabotage =
    Sabotage { forget_a_timer: false, forget_who_waits: true, ..FORGOTTEN_TIMER };

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "a timer or an index is not what the state calls for")]
fn a_forgotten_timer_is_found_by_the_machines_own_assertion() {
    found(FORGOTTEN_TIMER);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "a timer or an index is not what the state calls for")]
fn a_board_that_waits_and_is_forgotten_is_found_by_the_machines_own_assertion() {
    found(FORGOTTEN_BOARD);
}

#[test]
fn a_rival_that_gives_holders_no_turn_after_an_outage_is_found_by_a_promise() {
    let promise = found(NO_TURN).map(|broken| broken.promise);
    assert_eq!(promise, Some("holders_record_before_rivals_free"));
}

#[test]
#[cfg(not(debug_assertions))]
fn each_is_found_by_a_promise_where_nothing_is_asserted() {
    let promise = |planted| found(planted).map(|broken| broken.promise);
    assert_eq!(promise(FORGOTTEN_TIMER), Some("calm_drains_the_board"));
    assert_eq!(promise(FORGOTTEN_BOARD), Some("every_hold_has_an_end"));
}
