//! Everything that the machine can ask for. The runtime has one arm for each.

use alloc::vec::Vec;

use super::event::Signal;
use super::exchange::{Fence, Refusal, Request};
use super::fault::{Blame, Fault};
use super::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use super::time::Mono;
use super::verdict::{ExitStatus, Verdict};

/// One thing to be done, pushed by [`Dispatcher::step`](super::Dispatcher::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Wait for children that have exited, without blocking. Answered by any number of
    /// `ChildExited` and `OrphanReaped`, and then `Reaped` or `ReapFailed`.
    Reap {
        /// Comes back in the answer.
        seq: u64,
        /// Which children to ask.
        whom: Whom,
    },
    /// Signal a worker's group. Answered by `Signalled`.
    Signal {
        /// Whose.
        spawn: SpawnId,
        /// Which signal.
        signal: Signal,
    },
    /// Look which boards there are. Answered by `BoardAdded`, `BoardRemoved`, then `BoardsListed`.
    ListBoards,
    /// Check and open a board. Answered by `Connected` or `ConnectFailed`.
    Connect {
        /// Which.
        board: BoardId,
        /// Comes back in the answer.
        seq: u64,
        /// Only if it is not the very file that was refused last time.
        if_changed: bool,
    },
    /// One transaction with a board. Answered by `Exchanged` or `ExchangeFailed`.
    Exchange {
        /// Which.
        board: BoardId,
        /// Comes back in the answer.
        seq: u64,
        /// What to write and what to look for.
        request: Request,
    },
    /// Let go of a board's file. Not answered.
    Disconnect {
        /// Which.
        board: BoardId,
    },
    /// Prepare the workspace and start the worker of a claimed task. Answered by `SpawnOk`,
    /// `SpawnFailed` or, after a `CancelSpawn`, `SpawnCancelled`.
    Spawn {
        /// The attempt.
        spawn: SpawnId,
        /// Where.
        board: BoardId,
        /// Of what.
        task: TaskId,
        /// Under which run.
        run: RunId,
        /// By whom.
        worker: WorkerId,
    },
    /// Call off a `Spawn`, if its process is not yet being made.
    CancelSpawn {
        /// Whose.
        spawn: SpawnId,
    },
    /// Nothing will be asked of this worker any more: let go of what was kept for it.
    Forget {
        /// Whose.
        spawn: SpawnId,
    },
    /// Send `Wake` at this moment; replaces any earlier request.
    WakeAt(Mono),
    /// Tell whoever watches.
    Report(Report),
}

/// Which children a reaping step asks whether they have exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whom {
    /// All of them: the backstop.
    All,
    /// Those of which the kernel has said that they exited, and those of which it could not, since
    /// they have no descriptor. So the cost of an exit does not grow with the number of children.
    Hinted,
}

/// What whoever watches may want to know. Told once for each change, not once for each tick.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A reaping step found something.
    Reaped {
        /// The workers, in the order in which the kernel gave them.
        pids: Vec<Pid>,
        /// How many adopted processes besides.
        orphans: u32,
    },
    /// Reaping fails, with this error number; it is tried again.
    ReapFailing(i32),
    /// Reaping works again.
    ReapRecovered,
    /// A board was opened, for the first time or again.
    BoardOpened(BoardId),
    /// A board is out of use until this moment, for this reason.
    BoardSick(BoardId, Fault, Mono),
    /// A board has not answered for too long.
    BoardHung(BoardId),
    /// A board that was out of use, or hung, takes changes again.
    BoardWell(BoardId),
    /// A claim took.
    Claimed(Fence, BoardId),
    /// A claim did not take.
    ClaimRefused(TaskId, BoardId, Refusal),
    /// A waiting task became ready.
    Promoted(TaskId, BoardId),
    /// The claim of somebody else ended by the rules.
    Freed(TaskId, BoardId),
    /// A worker exists.
    Started(SpawnId, Pid),
    /// A worker could not be started.
    NotStarted(SpawnId, Blame, i32),
    /// A worker is being ended.
    Ending(SpawnId, EndCause),
    /// A worker has ended.
    Exited(SpawnId, ExitStatus),
    /// A run's end was recorded in its board.
    Recorded(SpawnId, Verdict),
    /// A run had ended in its board before we could record it: it was no longer ours.
    NotOurs(SpawnId),
    /// The host refuses to start processes; nothing is started before this moment.
    HostRefuses(i32, Mono),
    /// The monotonic clock went back by this many milliseconds; it was ignored.
    ClockWentBack(u64),
    /// An answer came to a question that was not asked, or no longer; it was ignored.
    Unexpected(&'static str),
}

/// Why a worker is being ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndCause {
    /// Its time is over.
    Timeout {
        /// Seconds it was allowed.
        limit_s: u32,
    },
    /// We are shutting down.
    Shutdown,
    /// Its task has ended otherwise, or its run is no longer ours.
    Superseded,
    /// It has ended itself; this is for what it left behind in its group.
    Leftovers,
}
