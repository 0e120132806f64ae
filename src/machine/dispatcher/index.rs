//! Data derived from the boards, so that the cost of a step depends only on what changed. Nothing here
//! decides anything.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::super::board::Board;
use super::super::ids::BoardId;
use super::super::time::Mono;
use super::super::turn::Shared;

/// Data derived from the boards, so that the cost of a step depends only on what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Boards that this event, or a timer, has changed. Empty between steps.
    pub touched: Vec<(BoardId, Touch)>,
    /// Boards with tasks to start as soon as there is room.
    pub wanting: BTreeSet<BoardId>,
    /// Those of them that would start a task now if the host had room.
    pub waiting: BTreeSet<BoardId>,
    /// The times for which the timers that belong to no board were last set.
    pub timers_at: [Option<Mono>; 3],
    /// A planted bug.
    #[cfg(feature = "sabotage")]
    pub forgets: bool,
}

/// Why a board may begin a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    Changed,
    Waits,
}

/// Not hashed: it is derived from fields that are.
impl Hash for Index {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Index {
    /// Updates the index for one board.
    pub fn note(&mut self, board: &Board, shared: &Shared, now: Mono) {
        keep(&mut self.wanting, board.id(), board.wants_slots(shared));
        let waits = board.waits_for_host(shared, now);
        #[cfg(feature = "sabotage")]
        let waits = waits && !self.forgets;
        keep(&mut self.waiting, board.id(), waits);
    }

    pub fn drop(&mut self, id: BoardId) {
        self.wanting.remove(&id);
        self.waiting.remove(&id);
    }
}

fn keep(set: &mut BTreeSet<BoardId>, id: BoardId, belongs: bool) {
    if belongs {
        set.insert(id);
    } else {
        set.remove(&id);
    }
}
