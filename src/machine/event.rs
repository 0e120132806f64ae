//! Everything that can happen to the machine. Each effect that asks for an answer names the events
//! that can answer it.

use alloc::boxed::Box;

use super::adoption::Evidence;
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
    /// The moment requested by `WakeAt` has come. An early or spurious wake is harmless.
    Wake,

    /// A child may have exited.
    KernelReady,
    /// Answer to `Reap`, once for each reaped worker.
    ChildExited {
        /// The attempt whose worker exited.
        spawn: SpawnId,
        /// Pid of the leader. The kernel may reuse it from now on.
        pid: Pid,
        /// Exit status of the leader.
        status: ExitStatus,
        /// Whether other processes of its group are alive.
        group: Group,
    },
    /// Answer to `Reap`, once for each reaped process that we never spawned.
    OrphanReaped {
        /// Pid of the orphan.
        pid: Pid,
    },
    /// Last answer to `Reap`: every child in its scope that had exited before it began is reaped.
    Reaped {
        /// Number of the `Reap` that this answers.
        seq: u64,
    },
    /// Last answer to `Reap`: the kernel refused.
    ReapFailed {
        /// Number of the `Reap` that this answers.
        seq: u64,
        /// The errno of the failed call.
        errno: i32,
    },

    /// A board was found.
    BoardAdded {
        /// The board.
        board: BoardId,
    },
    /// A board is no longer listed.
    BoardRemoved {
        /// The board.
        board: BoardId,
    },
    /// Answer to `ListBoards`: every `BoardAdded` and `BoardRemoved` was sent before it.
    BoardsListed,
    /// Something changed near the board's file. The change may not be visible yet.
    BoardChanged {
        /// The board.
        board: BoardId,
    },
    /// Answer to `Connect`: the file is sound and open.
    Connected {
        /// The board.
        board: BoardId,
        /// Number of the `Connect` that this answers.
        seq: u64,
    },
    /// Answer to `Connect`: the file cannot be used now.
    ConnectFailed {
        /// The board.
        board: BoardId,
        /// Number of the `Connect` that this answers.
        seq: u64,
        /// Why the file was refused.
        fault: Fault,
    },
    /// Answer to `Exchange`: committed.
    Exchanged {
        /// The board.
        board: BoardId,
        /// Number of the `Exchange` that this answers.
        seq: u64,
        /// The result of each change, and a new observation of the board.
        answer: Box<Answer>,
    },
    /// Answer to `Exchange`: it failed. Only `commit` is known of its changes.
    ExchangeFailed {
        /// The board.
        board: BoardId,
        /// Number of the `Exchange` that this answers.
        seq: u64,
        /// Why the exchange failed.
        fault: Fault,
        /// Whether its changes may be in the board nevertheless.
        commit: Commit,
    },

    /// Answer to `Spawn`: the worker exists.
    SpawnOk {
        /// The attempt.
        spawn: SpawnId,
        /// Pid of the leader of its group.
        pid: Pid,
    },
    /// Answer to `Spawn`: no worker was started.
    SpawnFailed {
        /// The attempt.
        spawn: SpawnId,
        /// Who is charged.
        blame: Blame,
        /// The errno of the failed call; 0 if there was no call.
        errno: i32,
    },
    /// Answer to `CancelSpawn`: it came in time. No process was started, and no other answer
    /// follows.
    SpawnCancelled {
        /// The attempt.
        spawn: SpawnId,
    },
    /// Answer to `Find`.
    Found {
        /// The attempt.
        spawn: SpawnId,
        /// The evidence of what became of its worker.
        evidence: Evidence,
    },
    /// Answer to `Signal`.
    Signalled {
        /// The attempt to whose group the signal was sent.
        spawn: SpawnId,
        /// The signal.
        signal: Signal,
        /// What came of it.
        outcome: SignalOutcome,
    },

    /// The configuration was read again. Running attempts keep their time limit; claims under way are
    /// judged by the new configuration; every board is looked at.
    PolicyChanged(Box<Policy>),
    /// Start nothing new; let the workers finish for this long, then end them.
    Drain {
        /// Milliseconds until the remaining workers are ended.
        grace_ms: u64,
    },
    /// End everything now.
    Abort,
}

/// Whether any process of a worker's group is alive besides its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// All have exited.
    Gone,
    /// At least one is alive, or the kernel does not show it.
    Alive,
}

/// A signal to a worker's whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Signal 0, which only tests whether the group exists.
    Probe,
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalOutcome {
    /// A process of the group received it. The kernel also accepts a signal, though not a probe,
    /// for a group of which only zombies are left.
    Delivered,
    /// Nothing of the group is alive.
    Gone,
    /// The kernel refused, or the outcome is unknown.
    Refused,
}
