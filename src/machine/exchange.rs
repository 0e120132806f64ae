//! The one request that a board takes. Changes go in, each with its own precondition; the answer
//! says which were written, and carries the next bounded observation of the board.
//!
//! All changes of a request share one transaction. Each of them may be sent again after a "maybe":
//! a claim recognises its own token, everything else finds its fence gone.

use alloc::vec::Vec;

use super::hold::{Candidate, Hold};
use super::ids::{Pid, RunId, SpawnId, TaskId, WorkerId};
use super::renamer::Renamer;
use super::verdict::Verdict;

/// What one exchange asks of a board.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What to write, in this order.
    pub changes: Vec<Change>,
    /// Read the board even if it looks unchanged, and all of its waiting tasks, not only those that
    /// something is known to have happened to.
    pub fresh: bool,
    /// The ready tasks last listed are used up: list them again.
    pub relist: bool,
    /// At most this many ready tasks are wanted back.
    pub want: u32,
    /// The wall clock that all rows of this request carry and all holds are judged by.
    pub unix: i64,
}

/// One write, together with what must still hold for it to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Claim a ready task, if it is still ready, unclaimed and not held, its parents are done, and
    /// fewer than `cap` tasks of the board are running. Waits while another dispatcher is at work.
    Claim {
        /// The attempt; its number is the claim's token.
        spawn: SpawnId,
        /// The ready task.
        task: TaskId,
        /// The worker that will run it.
        worker: WorkerId,
        /// Seconds until the lease ends unless renewed.
        ttl_s: u32,
        /// Most running rows of this board, this one included.
        cap: u32,
    },
    /// Adopt the claim of a dead dispatcher: become its owner, unless another dispatcher already has.
    /// The claim's own token stays, since its worker may be alive and use it.
    Adopt {
        /// The attempt; its number is our token.
        spawn: SpawnId,
        /// The claim.
        orphan: Orphan,
        /// Seconds from now until the lease ends.
        ttl_s: u32,
    },
    /// The worker of a run of ours exists: store its pid.
    Started {
        /// Proof that the run is ours.
        fence: Fence,
        /// Pid of the leader of its group.
        pid: Pid,
    },
    /// Prolong the lease of a run of ours.
    Renew {
        /// Proof that the run is ours.
        fence: Fence,
        /// Seconds from now until the lease ends.
        ttl_s: u32,
        /// Also write the heartbeat, for workers that know nothing of heartbeats.
        heartbeat: bool,
    },
    /// A run of ours has ended.
    Finish {
        /// Proof that the run is ours.
        fence: Fence,
        /// Its process, if there ever was one.
        pid: Option<Pid>,
        /// What its end means.
        verdict: Verdict,
        /// Failures after which the task is blocked, unless it sets its own limit.
        failure_limit: u32,
    },
    /// A waiting task whose parents are all done becomes ready.
    Promote {
        /// The waiting task.
        task: TaskId,
        /// Failures from which on a blocked task stays blocked.
        failure_limit: u32,
    },
    /// Reclaim a task: a claim of another dispatcher has ended by the rules.
    Reclaim {
        /// The claim that ended.
        expired: Expired,
        /// Failures after which the task is blocked, unless it sets its own limit.
        failure_limit: u32,
    },
}

impl Change {
    /// Returns the attempt that it concerns, if any.
    #[must_use]
    pub fn spawn(&self) -> Option<SpawnId> {
        match self {
            Change::Claim { spawn, .. } | Change::Adopt { spawn, .. } => Some(*spawn),
            Change::Started { fence, .. }
            | Change::Renew { fence, .. }
            | Change::Finish { fence, .. } => Some(fence.spawn),
            Change::Promote { .. } | Change::Reclaim { .. } => None,
        }
    }

    /// Whether it waits while another dispatcher is at work. News of our own runs is recorded
    /// immediately, and of several dispatchers that adopt a claim only one succeeds.
    #[must_use]
    pub fn waits_for_others(&self) -> bool {
        match self {
            Change::Claim { .. } | Change::Promote { .. } | Change::Reclaim { .. } => true,
            Change::Adopt { .. }
            | Change::Started { .. }
            | Change::Renew { .. }
            | Change::Finish { .. } => false,
        }
    }

    /// Rewrites the attempt's number.
    pub fn rename(&mut self, to: &impl Renamer) {
        match self {
            Change::Claim { spawn, .. } | Change::Adopt { spawn, .. } => to.attempt(spawn),
            Change::Started { fence, .. }
            | Change::Renew { fence, .. }
            | Change::Finish { fence, .. } => fence.rename(to),
            Change::Promote { .. } | Change::Reclaim { .. } => {}
        }
    }
}

/// What proves that a run is still ours. Every write to a run is guarded by all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// The claimed task.
    pub task: TaskId,
    /// The run that the claim opened.
    pub run: RunId,
    /// The attempt, whose number is the claim's token.
    pub spawn: SpawnId,
}

impl Fence {
    /// Rewrites the attempt's number.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.attempt(&mut self.spawn);
    }
}

/// The result of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taken {
    /// The change was written.
    Yes,
    /// Claimed or adopted (now, or by an earlier copy of the same request).
    Claimed {
        /// The run that was opened or adopted.
        run: RunId,
        /// The task's own limit in seconds, if it sets one.
        max_runtime_s: Option<u32>,
    },
    /// The change was not written, for this reason.
    No(Refusal),
}

/// Why a change was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Its precondition no longer holds; sending it again is pointless.
    Superseded,
    /// The board already runs as many tasks as it may.
    Full,
    /// Another dispatcher is at work on this board; the same change may pass a moment later.
    Locked,
    /// The task must wait for another reason.
    Held(Hold),
    /// The board itself refused the statement (a trigger, a constraint, an impossible value).
    Rejected,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// One entry for each change, in the same order.
    pub taken: Vec<Taken>,
    /// What the board looks like now; `None` if it is as it was when last observed.
    pub observation: Option<Observation>,
}

/// A bounded look at a board: as much as free slots can use, never all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Observation {
    /// Number of running rows, of any dispatcher.
    pub running: u32,
    /// The ready tasks that could run first, replacing what was known; `None` if that list cannot
    /// have improved since it was last returned.
    pub ready: Option<Ready>,
    /// Waiting tasks whose parents are all done, a bounded number of them.
    pub promotable: Vec<TaskId>,
    /// Claims of others that have ended by the rules.
    pub expired: Vec<Expired>,
    /// Claims of dead dispatchers. Includes those that this dispatcher has adopted, since the answer
    /// to its request may have been lost.
    pub orphans: Vec<Orphan>,
    /// All running rows with a claim that this dispatcher made or adopted.
    pub ours: Vec<Fence>,
    /// The next second at which time alone changes something here: a lease ends, a cooldown is
    /// over.
    pub due: Option<i64>,
}

/// The head of the ready list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ready {
    /// Tasks that may run now, in the board's order.
    pub tasks: Vec<Candidate>,
    /// True if there are more behind the last one.
    pub more: bool,
}

/// A claim that is not ours and has ended by the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expired {
    /// The claimed task.
    pub task: TaskId,
    /// Its run, if it has one.
    pub run: Option<RunId>,
    /// Which rule ended it.
    pub by: LeaseEnd,
}

/// The claim of a dead dispatcher. Its worker may be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orphan {
    /// The claimed task.
    pub task: TaskId,
    /// The run that the claim opened.
    pub run: RunId,
    /// The configured worker that runs it.
    pub worker: WorkerId,
}

/// The rules by which a claim of another dispatcher ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseEnd {
    /// Its time is over and no living process is known to stand behind it.
    Expired,
    /// The same, but its dispatcher is alive, and has not renewed it for another whole lease.
    Neglected,
    /// Its worker was on this host and is gone, and so is its parent, the only process that could
    /// report how it ended.
    WorkerGone,
}
