//! Rewriting the moments and numbers that a part of the machine holds. Each part has one `rename`,
//! which names all of its moments and numbers once; what they become is decided elsewhere.

use super::ids::{BoardId, SpawnId};
use super::time::Mono;

/// What moments and numbers become.
pub trait Renamer {
    /// A moment whose distance matters, before and after it.
    fn moment(&self, at: &mut Mono);
    /// A moment of which it only matters whether it has come, and when it will.
    fn deadline(&self, at: &mut Mono);
    /// A second of the wall clock.
    fn second(&self, unix: &mut i64);
    /// Rewrites the number of an attempt.
    fn attempt(&self, spawn: &mut SpawnId);
    /// A request to a board.
    fn request(&self, board: BoardId, seq: &mut u64);
    /// Rewrites the number of a reaping step.
    fn reaping(&self, seq: &mut u64);
}
