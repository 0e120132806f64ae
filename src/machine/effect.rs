//! Everything that the machine can ask for. The runtime has one arm for each.

use alloc::vec::Vec;

use super::event::Signal;
use super::exchange::{Fence, Refusal, Request};
use super::fault::{Blame, Fault};
use super::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use super::time::Mono;
use super::verdict::{ExitStatus, Verdict};

/// One action for the runtime, pushed by [`Dispatcher::step`](super::Dispatcher::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Wait for children that have exited, without blocking. Answered by any number of
    /// `ChildExited` and `OrphanReaped`, and then `Reaped` or `ReapFailed`.
    Reap {
        /// Number that the answer must carry.
        seq: u64,
        /// Which children to ask.
        whom: Whom,
    },
    /// Signal a worker's group. Answered by `Signalled`.
    Signal {
        /// The attempt.
        spawn: SpawnId,
        /// The signal.
        signal: Signal,
    },
    /// List the boards. Answered by `BoardAdded`, `BoardRemoved`, then `BoardsListed`.
    ListBoards,
    /// Check and open a board. Answered by `Connected` or `ConnectFailed`.
    Connect {
        /// The board.
        board: BoardId,
        /// Number that the answer must carry.
        seq: u64,
        /// Skip the check if the file is the one that was refused last time, unchanged.
        if_changed: bool,
    },
    /// One transaction with a board. Answered by `Exchanged` or `ExchangeFailed`.
    Exchange {
        /// The board.
        board: BoardId,
        /// Number that the answer must carry.
        seq: u64,
        /// The changes to write, and how much to observe.
        request: Request,
    },
    /// Close a board's file. Not answered.
    Disconnect {
        /// The board.
        board: BoardId,
    },
    /// Prepare the workspace and start the worker of a claimed task. Answered by `SpawnOk`,
    /// `SpawnFailed` or, after a `CancelSpawn`, `SpawnCancelled`.
    Spawn {
        /// The attempt.
        spawn: SpawnId,
        /// The board of the task.
        board: BoardId,
        /// The claimed task.
        task: TaskId,
        /// The row in `task_runs` that the claim opened.
        run: RunId,
        /// The configured worker whose command line is started.
        worker: WorkerId,
    },
    /// Cancel a `Spawn`, unless its process is already being created.
    CancelSpawn {
        /// The attempt.
        spawn: SpawnId,
    },
    /// Look for the worker of an adopted claim, and hold it by a pidfd. Answered by `Found`.
    Find {
        /// The attempt.
        spawn: SpawnId,
    },
    /// Note how an attempt ended, for the next dispatcher. Not answered.
    Note {
        /// The attempt.
        spawn: SpawnId,
        /// The verdict.
        verdict: Verdict,
    },
    /// Sync the notes to the disk, since a board does not take the ends. Not answered.
    SyncNotes,
    /// No effect will name this attempt again: release what is kept for it. If its end was noted, its
    /// board has recorded it, and its record can be cleared. If not, it was adopted and its worker not
    /// found: its record and its worker are left to the next dispatcher.
    Forget {
        /// The attempt.
        spawn: SpawnId,
    },
    /// Send `Wake` at this moment; replaces any earlier request.
    WakeAt(Mono),
    /// Report a change to the log and the counters.
    Report(Report),
}

/// Which children a reaping step asks whether they have exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whom {
    /// All of them. A tick does so in case a hint was lost.
    All,
    /// Children that epoll reported as exited, and children without a pidfd, of which it cannot
    /// report. The cost of an exit then does not grow with the number of children.
    Hinted,
}

/// A change worth logging or counting. Each change is reported once, not once for each tick.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A reaping step found something.
    Reaped {
        /// Pids of the workers, in the order in which they were reaped.
        pids: Vec<Pid>,
        /// Number of adopted orphans, which are not in `pids`.
        orphans: u32,
    },
    /// Reaping fails with this errno; it is retried.
    ReapFailing(i32),
    /// Reaping works again.
    ReapRecovered,
    /// A board was opened, for the first time or again.
    BoardOpened(BoardId),
    /// A board is quarantined for this fault until this moment.
    BoardSick(BoardId, Fault, Mono),
    /// A board has not answered for too long.
    BoardHung(BoardId),
    /// A board that was quarantined or hung takes changes again.
    BoardWell(BoardId),
    /// A claim took.
    Claimed(Fence, BoardId),
    /// The claim of a dead dispatcher was adopted.
    Adopted(Fence, BoardId),
    /// It cannot be told whether the worker of an adopted claim is alive.
    CannotTell(SpawnId),
    /// The worker of an adopted claim was found.
    Found(SpawnId, Pid),
    /// A claim did not take.
    ClaimRefused(TaskId, BoardId, Refusal),
    /// A waiting task became ready.
    Promoted(TaskId, BoardId),
    /// A claim of another dispatcher ended by the rules, and its task was put back.
    Reclaimed(TaskId, BoardId),
    /// A worker exists.
    Started(SpawnId, Pid),
    /// A worker could not be started.
    NotStarted(SpawnId, Blame, i32),
    /// A worker is being ended.
    Ending(SpawnId, EndCause),
    /// A worker has ended.
    Exited(SpawnId, ExitStatus),
    /// The end of an attempt was recorded in its board.
    Recorded(SpawnId, Verdict),
    /// The run was no longer ours when we tried to record its end.
    NotOurs(SpawnId),
    /// The host refuses to start processes; no worker is started before this moment.
    HostRefuses(i32, Mono),
    /// The monotonic clock went back by this many milliseconds; it was ignored.
    ClockWentBack(u64),
    /// An answer without an open request arrived and was ignored.
    Unexpected(&'static str),
}

/// Why a worker is being ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndCause {
    /// It exceeded its max_runtime.
    Timeout {
        /// Seconds that it was allowed to run.
        limit_s: u32,
    },
    /// We are shutting down.
    Shutdown,
    /// Its task ended in another way, or its run is no longer ours.
    Superseded,
    /// The leader exited; the rest of its group is being ended.
    Leftovers,
}
