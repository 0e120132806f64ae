//! What the end of a worker means for its run, and what that does to its task.

use super::policy::Completion;

/// How a process ended, as reported by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It ended, and its exit status is lost.
    Unknown,
}

/// What the end of a run means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The task is done.
    Completed,
    /// It failed, or was killed.
    Crashed(ExitStatus),
    /// It ended, but no evidence of how is left: neither a success nor a crash.
    Unknown,
    /// It exited cleanly although it should have completed or blocked its task itself.
    ProtocolViolation,
    /// Exit 75: a rate limit. Not a failure; the task rests for a while.
    RateLimited,
    /// Exit 78: credentials, model or certificate refused. Blocks the task immediately, for a
    /// person.
    CredentialsRefused,
    /// It used up its time and we ended it.
    TimedOut {
        /// How long it ran, in seconds.
        elapsed_s: u32,
        /// How long it was allowed to run, in seconds.
        limit_s: u32,
        /// Whether a KILL was needed.
        killed: bool,
    },
    /// No process was started, because of the task or its worker's command.
    SpawnFailed,
    /// It ended because of the dispatcher or the host: not a failure of the task.
    Released(Release),
}

/// Why a run was given back without blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// We are shutting down.
    Shutdown,
    /// The host refused to start a process (out of pids, memory, descriptors).
    HostRefused,
    /// It was not started: its slot was gone, or we stopped before it began.
    NotStarted,
    /// It looked as if it were no longer ours, so we ended it.
    Superseded,
}

impl Verdict {
    /// Returns what `status` means for a worker that exited on its own.
    #[must_use]
    pub fn of(status: ExitStatus, completion: Completion) -> Verdict {
        match (status, completion) {
            (ExitStatus::Code(0), Completion::ExitStatus) => Verdict::Completed,
            (ExitStatus::Code(0), Completion::Board) => Verdict::ProtocolViolation,
            (ExitStatus::Code(75), _) => Verdict::RateLimited,
            (ExitStatus::Code(78), _) => Verdict::CredentialsRefused,
            (ExitStatus::Code(_) | ExitStatus::Signal(_), _) => Verdict::Crashed(status),
            (ExitStatus::Unknown, _) => Verdict::Unknown,
        }
    }

    /// True if recording it can make the task ready again, so that it must wait until nothing of
    /// the old worker is left.
    #[must_use]
    pub fn may_requeue(self) -> bool {
        match self {
            Verdict::Completed => false,
            Verdict::Crashed(_)
            | Verdict::Unknown
            | Verdict::ProtocolViolation
            | Verdict::RateLimited
            | Verdict::CredentialsRefused
            | Verdict::TimedOut { .. }
            | Verdict::SpawnFailed
            | Verdict::Released(_) => true,
        }
    }
}

/// Number of protocol violations in a row, or of unknown ends in a row, after which a task is blocked,
/// unless it has its own limit.
pub const STREAK_LIMIT: u32 = 3;

/// What a task has used up so far, read in the transaction that records the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// `tasks.consecutive_failures`, before this verdict.
    pub failures: u32,
    /// The configured limit, for tasks without one of their own.
    pub failure_limit: u32,
    /// `tasks.max_retries`: the task's own limit.
    pub max_retries: Option<u32>,
    /// How many runs in a row ended like the one being recorded, including that one. Counted for
    /// protocol violations and for unknown ends.
    pub streak: u32,
}

/// What a verdict does to its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Its task is done.
    Done,
    /// Ready again, with this failure counter.
    Ready {
        /// `tasks.consecutive_failures` from now on.
        failures: u32,
    },
    /// The breaker trips: blocked.
    Blocked {
        /// `tasks.consecutive_failures` from now on: never below the failure limit in force, or a
        /// promotion would make the task ready again immediately.
        failures: u32,
        /// The limit that was reached.
        limit: u32,
        /// True if the limit is the task's own.
        own_limit: bool,
        /// True if only a person may put it back.
        sticky: bool,
    },
}

/// Applies `verdict` to a task with this `budget`.
#[must_use]
pub fn settle(verdict: Verdict, budget: Budget) -> Settlement {
    let own_limit = budget.max_retries.is_some();
    let limit = budget.max_retries.unwrap_or(budget.failure_limit).max(1);
    let counted = budget.failures.saturating_add(1);
    match verdict {
        Verdict::Completed => Settlement::Done,
        Verdict::RateLimited | Verdict::Released(_) => {
            Settlement::Ready { failures: budget.failures }
        }
        Verdict::Crashed(_) | Verdict::TimedOut { .. } | Verdict::SpawnFailed => {
            if counted < limit {
                Settlement::Ready { failures: counted }
            } else {
                Settlement::Blocked { failures: counted, limit, own_limit, sticky: false }
            }
        }
        Verdict::ProtocolViolation | Verdict::Unknown => {
            let streak_limit = budget.max_retries.unwrap_or(STREAK_LIMIT).max(1);
            if budget.streak < streak_limit {
                Settlement::Ready { failures: budget.failures }
            } else {
                let failures = counted.max(limit);
                Settlement::Blocked { failures, limit: streak_limit, own_limit, sticky: true }
            }
        }
        Verdict::CredentialsRefused => {
            Settlement::Blocked { failures: counted.max(limit), limit, own_limit, sticky: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_means_what_the_worker_promises_by_it() {
        let by_status = |status| Verdict::of(status, Completion::ExitStatus);
        let by_board = |status| Verdict::of(status, Completion::Board);
        assert_eq!(by_status(ExitStatus::Code(0)), Verdict::Completed);
        assert_eq!(by_board(ExitStatus::Code(0)), Verdict::ProtocolViolation);
        for of in [by_status, by_board] {
            assert_eq!(of(ExitStatus::Code(75)), Verdict::RateLimited);
            assert_eq!(of(ExitStatus::Code(78)), Verdict::CredentialsRefused);
            for status in [ExitStatus::Code(1), ExitStatus::Signal(9)] {
                assert_eq!(of(status), Verdict::Crashed(status));
            }
            assert_eq!(of(ExitStatus::Unknown), Verdict::Unknown);
        }
    }

    #[test]
    fn only_a_completed_task_cannot_become_ready_again() {
        assert!(!Verdict::Completed.may_requeue());
        for verdict in [
            Verdict::Crashed(ExitStatus::Code(1)),
            Verdict::Unknown,
            Verdict::ProtocolViolation,
            Verdict::RateLimited,
            Verdict::CredentialsRefused,
            Verdict::TimedOut { elapsed_s: 1, limit_s: 1, killed: false },
            Verdict::SpawnFailed,
            Verdict::Released(Release::Shutdown),
        ] {
            assert!(verdict.may_requeue(), "{verdict:?}");
        }
    }

    const FRESH: Budget = Budget { failures: 0, failure_limit: 2, max_retries: None, streak: 0 };

    #[test]
    fn every_kind_of_failure_counts_towards_the_same_limit() {
        for verdict in [
            Verdict::Crashed(ExitStatus::Code(1)),
            Verdict::TimedOut { elapsed_s: 1, limit_s: 1, killed: true },
            Verdict::SpawnFailed,
        ] {
            assert_eq!(settle(verdict, FRESH), Settlement::Ready { failures: 1 });
            let last = Budget { failures: 1, ..FRESH };
            let blocked =
                Settlement::Blocked { failures: 2, limit: 2, own_limit: false, sticky: false };
            assert_eq!(settle(verdict, last), blocked);
            let own = Budget { max_retries: Some(1), ..FRESH };
            let blocked =
                Settlement::Blocked { failures: 1, limit: 1, own_limit: true, sticky: false };
            assert_eq!(settle(verdict, own), blocked);
        }
    }

    #[test]
    fn a_rate_limit_and_a_release_cost_no_budget() {
        let budget = Budget { failures: 1, ..FRESH };
        for verdict in [Verdict::RateLimited, Verdict::Released(Release::HostRefused)] {
            assert_eq!(settle(verdict, budget), Settlement::Ready { failures: 1 });
        }
        assert_eq!(settle(Verdict::Completed, budget), Settlement::Done);
    }

    #[test]
    fn three_violations_or_unknown_ends_in_a_row_or_one_refusal_need_a_person() {
        for verdict in [Verdict::ProtocolViolation, Verdict::Unknown] {
            let two = Budget { streak: 2, ..FRESH };
            assert_eq!(settle(verdict, two), Settlement::Ready { failures: 0 });
            let three = Budget { streak: 3, failure_limit: 5, ..FRESH };
            // The counter is raised to the limit in force, or a promotion would unblock the task.
            let blocked =
                Settlement::Blocked { failures: 5, limit: 3, own_limit: false, sticky: true };
            assert_eq!(settle(verdict, three), blocked);
        }
        let blocked = Settlement::Blocked { failures: 2, limit: 2, own_limit: false, sticky: true };
        assert_eq!(settle(Verdict::CredentialsRefused, FRESH), blocked);
    }
}
