//! How things stand: whether there is anything left to wait for.

use super::board::{Board, Phase};
use super::dispatcher::{Dispatcher, Mode};
use super::hold::BoardHold;
use super::run::{Finish, Phase as RunPhase, Run};
use super::time::{Mono, Now};

/// Seconds within which a hold that ends by itself is worth waiting for.
const WORTH_WAITING_S: i64 = 60;

impl Dispatcher {
    /// True when nothing runs, every exit is recorded, and no task can run or be promoted now or
    /// within a minute. A board that is out of use, one that others lock or write to, and folders or
    /// a host that refuse are waited for no longer than `grace_ms`.
    #[must_use]
    pub fn is_idle(&self, now: Now, grace_ms: u64) -> bool {
        self.runs.values().all(|run| {
            !run.uses_host_slot()
                && matches!(run.finish, Finish::Owed(_))
                && self.is_stuck(run, now.mono, grace_ms)
        }) && self.boards_rest(now, grace_ms)
    }

    /// True when a shutdown has nothing left to wait for.
    #[must_use]
    pub fn is_drained(&self, now: Now, grace_ms: u64) -> bool {
        self.mode != Mode::Running
            && self
                .runs
                .values()
                .all(|run| !run.uses_host_slot() && self.is_stuck(run, now.mono, grace_ms))
    }

    /// Whether no board takes the end of this run: its own is out of use, or rejects it.
    fn is_stuck(&self, run: &Run, now: Mono, grace_ms: u64) -> bool {
        run.retry_at > now
            || self.boards.get(&run.board).is_none_or(|b| out_of_use(b, now, grace_ms))
    }

    /// True when every claim that took has led to a worker or to a failure, every pid is recorded,
    /// and no board is about to claim more.
    #[must_use]
    pub fn has_started(&self, now: Now, grace_ms: u64) -> bool {
        self.runs.values().all(|run| {
            run.phase == RunPhase::Running && !run.pid_owed
                || self.boards.get(&run.board).is_none_or(|b| out_of_use(b, now.mono, grace_ms))
        }) && self.boards_rest(now, grace_ms)
    }

    /// True when no pass is under way and none is about to begin: what a tick began has ended.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.listed
            && self.boards.values().all(|board| {
                let about_to = board.is_idle() && board.wants_look();
                !(board.is_under_way() || about_to || board.phase == Phase::Absent)
            })
    }

    /// What keeps the tasks of all boards from running, if the host does.
    #[must_use]
    pub fn host_hold(&self, now: Mono) -> Option<BoardHold> {
        let (errno, until) = (self.host.errno, self.host.from);
        (now < until).then_some(BoardHold::HostRefuses { errno, until })
    }

    /// Whether all boards are known, and nothing is to be expected of any.
    fn boards_rest(&self, now: Now, grace_ms: u64) -> bool {
        let rests =
            |b| out_of_use(b, now.mono, grace_ms) || self.has_nothing_to_do(b, now, grace_ms);
        self.listed && self.boards.values().all(rests)
    }

    fn has_nothing_to_do(&self, board: &Board, now: Now, grace_ms: u64) -> bool {
        let for_long = |since: Option<Mono>| since.is_some_and(|at| now.mono.since(at) >= grace_ms);
        let can_run = board.wants_slots()
            && board.others < self.policy.max_in_progress
            && self.free_host_slots() > 0
            && !for_long(self.host.refuses_since)
            && !for_long(board.spawns_fail_since)
            && board.listed
            && !(self.once && board.claimed);
        let moves = (can_run || board.wants_moves()) && !for_long(board.locked_since);
        // One tick takes a board as it is.
        let may_change = !self.once && may_change(board, now, grace_ms);
        board.is_idle() && !board.wants_look() && !moves && !may_change
    }
}

/// Whether there may be something to do on a board before long.
fn may_change(board: &Board, now: Now, grace_ms: u64) -> bool {
    let soon = now.unix.saturating_add(WORTH_WAITING_S);
    board.is_climbing(now.mono, grace_ms)
        || board.may_yet_take(now.mono, grace_ms)
        || board.due.is_some_and(|due| due <= soon)
}

/// Whether nothing can be expected of a board: sick from the start, or for longer than `grace_ms`.
fn out_of_use(board: &Board, now: Mono, grace_ms: u64) -> bool {
    let patience_over =
        board.sick_since.is_some_and(|at| !board.ever_open || now.since(at) >= grace_ms);
    match &board.phase {
        Phase::Quarantined { .. } => patience_over,
        Phase::Connecting { overdue, .. } => patience_over && (*overdue || !board.ever_open),
        Phase::Exchanging { overdue, .. } => patience_over && *overdue,
        Phase::Absent | Phase::Idle => false,
    }
}
