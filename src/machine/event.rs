//! Everything that can happen to the machine. Each effect that asks for an answer names the events
//! that can answer it.

use alloc::boxed::Box;

use super::exchange::Answer;
use super::fault::{Blame, Commit, Fault};
use super::ids::{BoardId, Pid, SpawnId};
use super::policy::Policy;
use super::verdict::ExitStatus;

/// One thing that happened, handed to [`Dispatcher::step`](super::Dispatcher::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is time for a tick.
    Tick,
    /// The moment asked for by `WakeAt` has come (or something else woke us; harmless).
    Wake,

    /// Some child may have exited.
    KernelReady,
    /// Answer to `Reap`, once for each child of ours that was reaped.
    ChildExited {
        /// Whose worker.
        spawn: SpawnId,
        /// Its pid, which is free from now on.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// Whether anything else of its group is alive.
        group: Group,
    },
    /// Answer to `Reap`, once for each reaped process that we never spawned.
    OrphanReaped {
        /// Its pid.
        pid: Pid,
    },
    /// Last answer to `Reap`: nothing that had exited when it began is left.
    Reaped {
        /// Which `Reap`.
        seq: u64,
    },
    /// Last answer to `Reap`: the kernel refused.
    ReapFailed {
        /// Which `Reap`.
        seq: u64,
        /// The error number.
        errno: i32,
    },

    /// A board is there.
    BoardAdded {
        /// Which.
        board: BoardId,
    },
    /// A board is no longer listed.
    BoardRemoved {
        /// Which.
        board: BoardId,
    },
    /// Answer to `ListBoards`: every `BoardAdded` and `BoardRemoved` has been told.
    BoardsListed,
    /// Something near the board's file changed; what, may not be visible yet.
    BoardChanged {
        /// Which.
        board: BoardId,
    },
    /// Answer to `Connect`: the file is sound and open.
    Connected {
        /// Which.
        board: BoardId,
        /// Which `Connect`.
        seq: u64,
    },
    /// Answer to `Connect`: not to be used now.
    ConnectFailed {
        /// Which.
        board: BoardId,
        /// Which `Connect`.
        seq: u64,
        /// Why not.
        fault: Fault,
    },
    /// Answer to `Exchange`: committed.
    Exchanged {
        /// Which.
        board: BoardId,
        /// Which `Exchange`.
        seq: u64,
        /// What took, and what the board looks like.
        answer: Box<Answer>,
    },
    /// Answer to `Exchange`: it failed, and nothing can be said of its changes beyond `commit`.
    ExchangeFailed {
        /// Which.
        board: BoardId,
        /// Which `Exchange`.
        seq: u64,
        /// Why.
        fault: Fault,
        /// Whether its changes may be in the board all the same.
        commit: Commit,
    },

    /// Answer to `Spawn`: the worker exists.
    SpawnOk {
        /// Whose.
        spawn: SpawnId,
        /// Its leader.
        pid: Pid,
    },
    /// Answer to `Spawn`: it does not.
    SpawnFailed {
        /// Whose.
        spawn: SpawnId,
        /// Who is charged.
        blame: Blame,
        /// The error number; 0 if there is none.
        errno: i32,
    },
    /// Answer to `CancelSpawn`: it came in time, there will be no process and no other answer.
    SpawnCancelled {
        /// Whose.
        spawn: SpawnId,
    },
    /// Answer to `Signal`.
    Signalled {
        /// Whose group.
        spawn: SpawnId,
        /// Which signal.
        signal: Signal,
        /// What came of it.
        outcome: SignalOutcome,
    },

    /// The configuration was read again.
    PolicyChanged(Box<Policy>),
    /// Start nothing new; let the workers finish for this long, then end them.
    Drain {
        /// Milliseconds.
        grace_ms: u64,
    },
    /// End everything now.
    Abort,
}

/// Whether any process of a worker's group is alive besides its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// None.
    Gone,
    /// Some, or it cannot be told.
    Alive,
}

/// A signal to a worker's whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// No signal: is anything of the group alive?
    Probe,
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalOutcome {
    /// Something of the group is alive; or, unless it was only looked for, has ended and was not
    /// reaped: the kernel takes a signal for that, too.
    Delivered,
    /// Nothing of the group is alive.
    Gone,
    /// The kernel refused, or it cannot be told.
    Refused,
}
