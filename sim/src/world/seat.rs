//! A dispatcher's place in a world, with what its runtime would hold: connections and spawn
//! threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sexton::machine::ids::{BoardId, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::Policy;
use sexton::machine::time::Mono;
use sexton::machine::{Dispatcher, Mode};

use crate::board::{Instance, Memory};
use crate::kernel::Uid;

/// A dispatcher's place. When it dies, another one takes it.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) instance: Instance,
    pub(super) machine: Option<Dispatcher>,
    /// The configuration, as it was last read here.
    pub(super) policy: Arc<Policy>,
    pub(super) conns: BTreeMap<BoardId, Conn>,
    /// The file of each board that was refused for its content.
    pub(super) refused: BTreeMap<BoardId, (u32, u32)>,
    /// Requests that are not answered, one for each board.
    pub(super) under_way: BTreeSet<BoardId>,
    /// Boards whose last answer was a good one.
    pub(super) well: BTreeSet<BoardId>,
    pub(super) lanes: Vec<SpawnLane>,
    pub(super) wakes: u32,
    /// Where ticks are rare: when it ticks again.
    pub(super) ticks_from: u64,
    /// What had ended when each tick whose reaping is not over began.
    pub(super) due: BTreeMap<u64, Vec<Uid>>,
    /// The time of its latest event.
    pub(super) told: Mono,
    /// Effects after which it dies, if it is to.
    pub(super) dies_after: Option<u32>,
}

/// An open connection to a board.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    pub(super) file: u32,
    pub(super) memory: Memory,
    /// True if the file had failed its checks and was opened nevertheless.
    pub(super) sick: bool,
}

impl Seat {
    /// An empty one, or one in which a dispatcher begins its life.
    pub(super) fn new(
        instance: Instance,
        machine: Option<Dispatcher>,
        policy: Arc<Policy>,
    ) -> Seat {
        Seat {
            instance,
            machine,
            policy,
            conns: BTreeMap::new(),
            refused: BTreeMap::new(),
            under_way: BTreeSet::new(),
            well: BTreeSet::new(),
            lanes: Vec::new(),
            wakes: 0,
            ticks_from: 0,
            due: BTreeMap::new(),
            told: Mono(0),
            dies_after: None,
        }
    }

    /// True if everything must be killed immediately.
    pub(super) fn is_aborting(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.mode() == Mode::Aborting)
    }
}

/// A spawn thread at work.
#[derive(Clone, Debug, Hash)]
pub(super) struct SpawnLane {
    pub(super) spawn: SpawnId,
    pub(super) board: BoardId,
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    /// Its process may exist: it cannot be called off any more.
    pub(super) past_gate: bool,
    /// Its worker was in the configuration when it was asked for.
    pub(super) configured: bool,
    /// What the limits were when it was asked for, or later, if they were raised since.
    pub(super) limits: Limits,
}

/// How many workers may live: in all, and on one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    pub(super) max_workers: u32,
    pub(super) max_in_progress: u32,
}

impl Limits {
    pub(super) fn of(policy: &Policy) -> Limits {
        Limits { max_workers: policy.max_workers, max_in_progress: policy.max_in_progress }
    }

    pub(super) fn or_more(self, other: Limits) -> Limits {
        Limits {
            max_workers: self.max_workers.max(other.max_workers),
            max_in_progress: self.max_in_progress.max(other.max_in_progress),
        }
    }
}
