//! Any entropy: the world that follows from it is lived through by the shipped machine, and every
//! promise of the simulator is judged after every event.
//!
//! The input is the entropy itself, so the file that the fuzzer leaves is what the simulator's
//! `replay` and `shrink` take.

use sexton_sim::world::{Options, run};

/// Most bytes of entropy: twice as many as the longest runs of a sweep have.
const MOST: usize = 4_096;

/// Runs the world that follows from `data`, to its end or to the first broken promise.
pub fn check(data: &[u8]) {
    // Not cut short: the file that is left must be all of the entropy, and no more.
    if data.len() > MOST {
        return;
    }
    if let Some(broken) = run(data.to_vec(), Options::default()).broken {
        panic!(
            "{} broken at {} ms: {}\n  cargo sim replay --entropy <file> --trace\n\
             where <file> is this input, fuzz/artifacts/world/crash-… when the fuzzer found it",
            broken.promise, broken.at, broken.how
        );
    }
}
