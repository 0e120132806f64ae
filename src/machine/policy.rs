//! What the owner wants: limits, deadlines, and what each worker is like. Plain numbers; the names
//! and command lines stay with the runtime.

use alloc::vec::Vec;

use super::ids::WorkerId;

/// Everything that decisions depend on besides what was observed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Most live workers of this dispatcher, over all boards.
    pub max_workers: u32,
    /// Most running tasks of one board.
    pub max_in_progress: u32,
    /// Consecutive failures after which a task is blocked, unless it sets its own.
    pub failure_limit: u32,
    /// Milliseconds between ticks. Exits and board changes wake the machine sooner.
    pub interval_ms: u64,
    /// Lease of a claim in seconds; renewed at a third of it.
    pub claim_ttl_s: u32,
    /// Seconds for which a task rests after its worker reported a rate limit (exit 75).
    pub cooldown_s: u32,
    /// Milliseconds a worker may live on after its task ended without it (completed or blocked by
    /// the worker itself, archived by a person).
    pub ended_grace_ms: u64,
    /// Milliseconds within which a board thread must answer before the board counts as hung.
    pub board_deadline_ms: u64,
    /// Milliseconds within which workspace, log file and spawn are expected to be done.
    pub spawn_deadline_ms: u64,
    /// How many ready tasks beyond the free slots are kept in view, so that a freed slot is filled
    /// in the same exchange that records the exit.
    pub lookahead: u32,
    /// The worker that takes tasks without an assignee.
    pub default_worker: Option<WorkerId>,
    /// The configured workers; a [`WorkerId`] is an index into this list.
    pub workers: Vec<WorkerPolicy>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            max_workers: 8,
            max_in_progress: 8,
            failure_limit: 2,
            interval_ms: 60_000,
            claim_ttl_s: 900,
            cooldown_s: 300,
            ended_grace_ms: 10_000,
            board_deadline_ms: 10_000,
            spawn_deadline_ms: 90_000,
            lookahead: 64,
            default_worker: None,
            workers: Vec::new(),
        }
    }
}

impl Policy {
    /// Returns the policy of `worker`, or the default one when the configuration no longer names
    /// it.
    #[must_use]
    pub fn worker(&self, worker: WorkerId) -> WorkerPolicy {
        self.workers.get(usize::from(worker.0)).copied().unwrap_or_default()
    }
}

/// What the machine needs to know of one configured worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerPolicy {
    /// False once the configuration no longer names it: nothing new is started for it.
    pub enabled: bool,
    /// What exit 0 means.
    pub completion: Completion,
    /// True when its command line uses the body, so that a task without one cannot run.
    pub needs_body: bool,
    /// Seconds an attempt may take, when the task itself sets nothing.
    pub max_runtime_s: Option<u32>,
    /// Milliseconds between TERM and KILL.
    pub kill_after_ms: u64,
    /// True when processes that a *completed* task left in its group may live on.
    pub keep_leftovers: bool,
}

impl Default for WorkerPolicy {
    fn default() -> WorkerPolicy {
        WorkerPolicy {
            enabled: true,
            completion: Completion::ExitStatus,
            needs_body: false,
            max_runtime_s: None,
            kill_after_ms: 5_000,
            keep_leftovers: false,
        }
    }
}

/// What exit 0 of a worker means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Completion {
    /// The task is done.
    ExitStatus,
    /// Nothing: the worker itself completes or blocks its task, and not doing so is a violation.
    Board,
}
