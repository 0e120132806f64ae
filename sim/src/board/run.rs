//! A run: one attempt at a task, how it is opened and closed, and how it ended.

use sexton::machine::ids::{Pid, RunId, TaskId};

use super::{Claim, Holder, ModelBoard, Status};

/// One attempt. A closed one keeps who made it, as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Its `task_runs.id`.
    pub id: RunId,
    /// The task that it belongs to.
    pub task: TaskId,
    /// The claimer; `None` if the run was inserted only to keep a result or a summary.
    pub holder: Option<Holder>,
    /// Pid of the worker's leader.
    pub pid: Option<Pid>,
    /// True if an event records that its worker was started.
    pub spawned: bool,
    /// When it was claimed.
    pub started_at: i64,
    /// How it ended; `None` while it is open.
    pub end: Option<RunEnd>,
}

impl Run {
    /// Its outcome as it stands in a board; `None` while it is open.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        self.end.map(|end| end.outcome.as_str())
    }
}

/// How and when a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunEnd {
    /// When it ended, in seconds since 1970.
    pub at: i64,
    /// The outcome that was recorded.
    pub outcome: Outcome,
}

/// The outcomes of runs, as in `task_runs.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as they are in the boards")]
pub enum Outcome {
    Completed,
    Blocked,
    Scheduled,
    Reclaimed,
    /// Stands in a board as `reclaimed`, with a mark in a table of our own.
    Unknown,
    Crashed,
    /// Stands in a board as `crashed`, with a mark.
    Violation,
    RateLimited,
    TimedOut,
    SpawnFailed,
    GaveUp,
}

impl Outcome {
    /// As it stands in a board.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Blocked => "blocked",
            Outcome::Scheduled => "scheduled",
            Outcome::Reclaimed | Outcome::Unknown => "reclaimed",
            Outcome::Crashed | Outcome::Violation => "crashed",
            Outcome::RateLimited => "rate_limited",
            Outcome::TimedOut => "timed_out",
            Outcome::SpawnFailed => "spawn_failed",
            Outcome::GaveUp => "gave_up",
        }
    }
}

impl ModelBoard {
    /// Closes a run, if there is one and it is still open.
    pub(super) fn close_run(&mut self, run: Option<RunId>, outcome: Outcome, at: i64) {
        if let Some(run) = self.runs.iter_mut().find(|r| Some(r.id) == run && r.end.is_none()) {
            run.end = Some(RunEnd { at, outcome });
        }
    }

    pub(super) fn has_open_run(&self, task: TaskId) -> bool {
        self.runs.iter().any(|run| run.task == task && run.end.is_none())
    }

    /// Closes runs that are still open although their task is ready again.
    fn close_leaked(&mut self, task: TaskId, at: i64) {
        let end = RunEnd { at, outcome: Outcome::Reclaimed };
        for run in self.runs.iter_mut().filter(|run| run.task == task && run.end.is_none()) {
            run.end = Some(end);
        }
    }

    /// Opens a run of a task that is ready and free.
    pub(super) fn open_run(&mut self, id: TaskId, holder: Holder, ttl_s: u32, unix: i64) -> RunId {
        self.close_leaked(id, unix);
        let run = self.new_run(id, Some(holder), unix);
        let expires = Some(unix.saturating_add(i64::from(ttl_s)));
        if let Some(task) = self.task_mut(id) {
            task.status = Status::Running;
            task.started_at = task.started_at.or(Some(unix));
            task.claim =
                Claim { holder: Some(holder), expires, run: Some(run), ..Claim::default() };
        }
        run
    }

    pub(super) fn new_run(
        &mut self,
        task: TaskId,
        holder: Option<Holder>,
        started_at: i64,
    ) -> RunId {
        self.last_run += 1;
        let id = RunId(self.last_run);
        self.runs.push(Run { id, task, holder, pid: None, spawned: false, started_at, end: None });
        id
    }

    /// The worker of an open run exists.
    pub(super) fn store_pid(&mut self, id: TaskId, run: RunId, pid: Pid) {
        if let Some(task) = self.task_mut(id) {
            task.claim.pid = Some(pid);
        }
        if let Some(run) = self.runs.iter_mut().find(|r| r.id == run) {
            run.pid = Some(pid);
            run.spawned = true;
        }
    }
}
