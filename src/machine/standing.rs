//! How things stand: whether there is anything left to wait for.

use super::attempt::{Attempt, End, Stage};
use super::board::Board;
use super::dispatcher::Dispatcher;
use super::hold::BoardHold;
use super::time::{Mono, Now};
use super::turn::Mode;

impl Dispatcher {
    /// True when nothing runs, every exit is recorded, and no task can run or be promoted now or
    /// within a minute. A board that is out of use, one that others lock or write to, and directories
    /// or a host that refuse are waited for no longer than `grace_ms`.
    #[must_use]
    pub fn is_idle(&self, now: Now, grace_ms: u64) -> bool {
        self.nothing_lives()
            && self.every_end(|board, end| match end {
                End::Open(_) | End::Settled => false,
                End::Owed { send_at, .. } => is_stuck(board, send_at, now.mono, grace_ms),
            })
            && self.boards_rest(now, grace_ms)
    }

    /// True when a shutdown has nothing left to wait for.
    #[must_use]
    pub fn is_drained(&self, now: Now, grace_ms: u64) -> bool {
        self.shared.mode != Mode::Running
            && self.nothing_lives()
            && self.every_end(|board, end| match end {
                End::Owed { send_at, .. } => is_stuck(board, send_at, now.mono, grace_ms),
                End::Open(_) | End::Settled => board.is_out_of_use(now.mono, grace_ms),
            })
    }

    /// True when there is nothing left to wait for after a second stop. A spawn under way may hang
    /// with a disk: it is left to the next dispatcher, which finds it in the records.
    #[must_use]
    pub fn is_aborted(&self, now: Now, grace_ms: u64) -> bool {
        let is_left =
            |board: &Board, attempt: &Attempt| match (attempt.stage(), attempt.debt().end()) {
                (Stage::Preparing(_) | Stage::Cancelling(_), _) => true,
                (stage, _) if stage.uses_host_slot() => false,
                (_, End::Owed { send_at, .. }) => is_stuck(board, send_at, now.mono, grace_ms),
                (_, End::Open(_) | End::Settled) => board.is_out_of_use(now.mono, grace_ms),
            };
        self.shared.mode == Mode::Aborting
            && self.boards().all(|board| board.attempts().all(|attempt| is_left(board, attempt)))
    }

    fn nothing_lives(&self) -> bool {
        self.shared.host.used() == 0
    }

    fn every_end(&self, holds: impl Fn(&Board, End) -> bool) -> bool {
        self.boards().all(|board| board.attempts().all(|a| holds(board, a.debt().end())))
    }

    /// True when every claim that took has led to a worker or to a failure, every pid is recorded,
    /// and no board is about to claim more.
    #[must_use]
    pub fn has_started(&self, now: Now, grace_ms: u64) -> bool {
        let started = |board: &Board| {
            board.attempts().all(|attempt| {
                match attempt.stage() {
                    Stage::Running(_) => attempt.debt().owed_pid().is_none(),
                    // If a process was started, another dispatcher started it.
                    Stage::Finding(_) => true,
                    Stage::Claiming { .. }
                    | Stage::Preparing(_)
                    | Stage::Cancelling(_)
                    | Stage::Ending(_)
                    | Stage::Draining(_)
                    | Stage::Gone { .. } => false,
                }
            })
        };
        self.boards().all(|board| started(board) || board.is_out_of_use(now.mono, grace_ms))
            && self.boards_rest(now, grace_ms)
    }

    /// True when no pass is under way and none is about to begin: what a tick began has ended.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.listed && self.boards().all(Board::is_settled)
    }

    /// What keeps the tasks of all boards from running, if the host does.
    #[must_use]
    pub fn host_hold(&self, now: Mono) -> Option<BoardHold> {
        self.shared.host.hold(now)
    }

    /// Whether all boards are known and none of them may change soon.
    fn boards_rest(&self, now: Now, grace_ms: u64) -> bool {
        let rests = |board: &Board| {
            board.is_out_of_use(now.mono, grace_ms)
                || board.has_nothing_to_do(&self.shared, now, grace_ms)
        };
        self.listed && self.boards().all(rests)
    }
}

/// Whether a board does not take the end of an attempt: it is out of use, or rejects it.
fn is_stuck(board: &Board, send_at: Mono, now: Mono, grace_ms: u64) -> bool {
    send_at > now || board.is_out_of_use(now, grace_ms)
}
