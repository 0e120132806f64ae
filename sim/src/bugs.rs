//! How soon planted bugs are found.

use crate::saboteur::Saboteur;
use crate::sweep::{SIZE, entropy, twice};
use crate::world::Options;

/// Searches for each bug.
pub const ROUNDS: u64 = 5;
/// Number of seeds after which a search ends without a result.
pub const MOST: u64 = 1_000;

/// The median number of seeds until the promise that this bug is meant to break is seen broken;
/// `None` if it takes more than [`MOST`].
#[must_use]
pub fn find(saboteur: Saboteur) -> Option<u64> {
    let mut counts: Vec<u64> = (0..ROUNDS).map(|round| search(saboteur, round)).collect();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().filter(|median| *median <= MOST)
}

/// How many seeds one search takes.
fn search(saboteur: Saboteur, round: u64) -> u64 {
    let first = round * 1_000_000;
    let options = Options { saboteur: Some(saboteur), ..Options::default() };
    let promise = saboteur.breaks().first().copied();
    let breaks = |seed: &u64| {
        let run = if saboteur == Saboteur::HashOrder {
            twice(*seed, SIZE, options)
        } else {
            crate::world::run(entropy(*seed, SIZE), options)
        };
        run.broken.map(|broken| broken.promise) == promise
    };
    (first..first + MOST).find(breaks).map_or(MOST + 1, |seed| seed - first + 1)
}
