//! A dispatcher's place in a world, with what its runtime would hold: connections and spawn
//! threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sexton::machine::ids::{BoardId, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::Policy;
use sexton::machine::time::Mono;
use sexton::machine::{Dispatcher, Mode};

use super::adopted::Adopted;
use super::domain::Domain;
use crate::board::{Instance, Memory};
use crate::kernel::Uid;

/// How many milliseconds the monotonic clock may go back for one event.
pub(super) const CLOCK_BACK_MS: u64 = 700;

/// Until when claims of running dispatchers must not be ended, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) surely: u64,
    perhaps: u64,
}

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
    pub(super) domain: Domain,
    /// Its dispatchers are pid 1 of their pid namespaces.
    pub(super) first: bool,
    /// The claims that it has adopted and not forgotten.
    pub(super) adopted: BTreeMap<SpawnId, Adopted>,
    /// Boards that failed, and those that came back: until when claims of running dispatchers must not
    /// be ended there.
    pub(super) failed: BTreeSet<BoardId>,
    pub(super) back: BTreeMap<BoardId, Turn>,
    /// Since when it could have adopted each claim of a dead dispatcher.
    pub(super) chances: BTreeMap<(BoardId, RunId), u64>,
    /// When it started, in milliseconds.
    pub(super) began: u64,
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
            domain: Domain(0),
            first: false,
            adopted: BTreeMap::new(),
            failed: BTreeSet::new(),
            back: BTreeMap::new(),
            chances: BTreeMap::new(),
            began: 0,
        }
    }

    /// A board that had failed has answered: for the length of a lease, claims of running dispatchers
    /// must not be ended there. Another failure within that time does not extend it. The dispatcher's
    /// clock may have gone back, so near the end of that time both outcomes are allowed.
    pub(super) fn is_back(&mut self, board: BoardId, now: u64) {
        let until = now + u64::from(self.policy.claim_ttl_s) * 1_000;
        let turn = self.back.entry(board).or_insert(Turn { surely: 0, perhaps: 0 });
        if now >= turn.perhaps + CLOCK_BACK_MS {
            *turn = Turn { surely: until, perhaps: until };
        } else if now + CLOCK_BACK_MS >= turn.surely {
            turn.perhaps = turn.perhaps.max(until);
        }
    }

    /// Whether it has adopted this attempt, and its worker is neither found nor known to have ended.
    pub(super) fn looks_for(&self, spawn: SpawnId) -> bool {
        self.adopted.get(&spawn).is_some_and(Adopted::is_looked_for)
    }

    /// Whether a spawn thread has not yet answered for this attempt.
    pub(super) fn awaits_spawn(&self, spawn: SpawnId) -> bool {
        self.lanes.iter().any(|lane| lane.spawn == spawn)
    }

    /// True if everything must be killed immediately.
    pub(super) fn is_aborting(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.mode() == Mode::Aborting)
    }
}

/// A spawn thread at work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// The adopted attempts that used slots when the spawn was requested.
    pub(super) beside: BTreeSet<SpawnId>,
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
