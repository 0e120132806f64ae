//! Why a ready task does not run now, and what will end that. Every hold ends: either at a known
//! time, or when a known person acts.

use super::fault::FaultClass;
use super::ids::{TaskId, WorkerId};
use super::policy::Policy;
use super::renamer::Renamer;
use super::time::{Mono, Now};

/// A ready task, with all that decides whether and when it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its `tasks.id`.
    pub task: TaskId,
    /// The worker that would run it, if any.
    pub lane: Lane,
    /// Larger runs first.
    pub priority: i64,
    /// Older runs first among equals, in seconds since 1970.
    pub created_at: i64,
    /// Insertion order, for what is still equal.
    pub order: i64,
    /// Whether it has a body to hand to a worker.
    pub has_body: bool,
    /// Consecutive failures so far.
    pub failures: u32,
    /// How and when its last attempt ended.
    pub last_end: Option<LastEnd>,
}

impl Candidate {
    /// Rewrites when its last attempt ended. What its rank depends on stays.
    pub fn rename(&mut self, to: &impl Renamer) {
        self.last_end.iter_mut().for_each(|end| to.second(&mut end.at));
    }
}

/// How the newest closed run of a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LastEnd {
    /// Seconds since 1970.
    pub at: i64,
    /// True if it reported a rate limit.
    pub rate_limited: bool,
}

/// Whose work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// One of our configured workers'.
    Worker(WorkerId),
    /// No assignee, and so open to the default worker.
    Unassigned,
    /// Another dispatcher's: no worker of this name is configured here.
    Foreign,
}

/// A reason for not running a ready task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Its assignee is not a worker of this dispatcher.
    ForeignLane,
    /// It has no assignee, and no default is configured.
    Unassigned,
    /// Its worker's command line uses the body, and it has none.
    NeedsBody,
    /// Its last attempt met a rate limit.
    Cooldown {
        /// Seconds since 1970.
        until: i64,
    },
    /// Its last attempt failed a moment ago.
    Backoff {
        /// Seconds since 1970.
        until: i64,
    },
    /// It waits for a reviewer; this dispatcher does not run the review lane.
    Review,
}

/// What ends a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// At this second since 1970, without any action.
    At(i64),
    /// When this person acts.
    Owner(Owner),
}

/// The person who can end a hold that time does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Configures the workers, and maintains the host and its disks.
    Operator,
    /// Wrote the task.
    Author,
    /// Reviews the task.
    Reviewer,
}

/// A reason in the board or the host for running no task of a board at all. Only a dispatcher that
/// works on the board knows it; the rows do not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BoardHold {
    /// Its file is quarantined. After a content fault it is retried early if the file changes.
    Quarantined {
        /// The class of the fault.
        class: FaultClass,
        /// When the file is tried again.
        until: Mono,
    },
    /// Its file does not answer. The operator can end that by mending the disk.
    Hung,
    /// The allowed number of spawn threads hang in its directories. The operator can end that by
    /// mending the disk.
    SpawnThreadsStuck,
    /// Workspaces or worker logs cannot be created in its directories.
    DirectoriesFail {
        /// When a worker is started on this board again.
        until: Mono,
    },
    /// It cannot be told whether the workers of adopted tasks are alive. These tasks wait; the
    /// operator can end the wait by ending the processes that are left of their workers.
    WorkersUnclear {
        /// Number of such tasks.
        count: u32,
        /// One of them.
        task: TaskId,
    },
    /// The host starts no processes.
    HostRefuses {
        /// The errno of the refused call.
        errno: i32,
        /// When a process is started again.
        until: Mono,
    },
}

impl Owner {
    /// Its name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Owner::Operator => "operator",
            Owner::Author => "author",
            Owner::Reviewer => "reviewer",
        }
    }
}

impl BoardHold {
    /// What ends this hold.
    #[must_use]
    pub fn end(self, now: Now) -> End {
        match self {
            BoardHold::Quarantined { until, .. }
            | BoardHold::DirectoriesFail { until }
            | BoardHold::HostRefuses { until, .. } => End::At(now.unix_at(until)),
            BoardHold::Hung | BoardHold::SpawnThreadsStuck | BoardHold::WorkersUnclear { .. } => {
                End::Owner(Owner::Operator)
            }
        }
    }
}

impl Hold {
    /// What ends this hold.
    #[must_use]
    pub fn end(self) -> End {
        match self {
            Hold::Cooldown { until } | Hold::Backoff { until } => End::At(until),
            Hold::ForeignLane => End::Owner(Owner::Operator),
            Hold::Unassigned | Hold::NeedsBody => End::Owner(Owner::Author),
            Hold::Review => End::Owner(Owner::Reviewer),
        }
    }
}

/// What keeps `candidate` from running at `unix`, judged by its own row alone.
///
/// The board checks this while it looks for tasks that can run, and again inside the claiming
/// transaction; the plan checks the candidates that it was shown.
#[must_use]
pub fn on(candidate: &Candidate, policy: &Policy, unix: i64) -> Option<Hold> {
    let worker = match candidate.lane {
        Lane::Worker(worker) => worker,
        Lane::Unassigned => match policy.default_worker {
            Some(worker) => worker,
            None => return Some(Hold::Unassigned),
        },
        Lane::Foreign => return Some(Hold::ForeignLane),
    };
    let worker = policy.worker(worker);
    if !worker.enabled {
        return Some(Hold::ForeignLane);
    }
    if worker.needs_body && !candidate.has_body {
        return Some(Hold::NeedsBody);
    }
    let end = candidate.last_end?;
    let rest = rest_s(policy, candidate.task, candidate.failures, end.rate_limited);
    // An end that lies ahead (a clock went back) holds its task at most twice as long as the rule
    // demands. One that lies further ahead is not believed, and boards ignore it.
    if end.at > unix.saturating_add(rest) {
        return None;
    }
    let until = end.at.saturating_add(rest);
    (until > unix).then_some(if end.rate_limited {
        Hold::Cooldown { until }
    } else {
        Hold::Backoff { until }
    })
}

/// Returns the seconds for which a task rests after a run of it ended, by a rate limit or
/// otherwise.
#[must_use]
pub fn rest_s(policy: &Policy, task: TaskId, failures: u32, rate_limited: bool) -> i64 {
    if rate_limited { i64::from(policy.cooldown_s) } else { backoff_s(failures, task) }
}

/// Returns the seconds to wait after the `failures`-th consecutive failure: the first retry comes
/// immediately, then 1 s doubling to 60 s, and up to a quarter more, by the task's id, so that
/// tasks that failed together do not return together.
#[must_use]
pub fn backoff_s(failures: u32, task: TaskId) -> i64 {
    if failures < 2 {
        return 0;
    }
    let base = 1_i64.checked_shl(failures - 2).map_or(60, |s| if s <= 0 { 60 } else { s.min(60) });
    base + hash(task.as_str().as_bytes()) % (base / 4 + 1)
}

/// FNV-1a, folded to a non-negative number: jitter needs spread, not strength.
fn hash(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::try_from(hash >> 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::hold::LastEnd;
    use super::super::ids::WorkerId;
    use super::super::policy::WorkerPolicy;
    use super::*;

    fn task() -> TaskId {
        TaskId::new("t_1").unwrap()
    }

    fn policy() -> Policy {
        let needs_body = WorkerPolicy { needs_body: true, ..WorkerPolicy::default() };
        let off = WorkerPolicy { enabled: false, ..WorkerPolicy::default() };
        Policy { workers: vec![WorkerPolicy::default(), needs_body, off], ..Policy::default() }
    }

    fn candidate(lane: Lane) -> Candidate {
        Candidate {
            task: task(),
            lane,
            priority: 0,
            created_at: 0,
            order: 0,
            has_body: false,
            failures: 0,
            last_end: None,
        }
    }

    #[test]
    fn each_lane_and_each_missing_need_has_its_hold() {
        let on = |lane| super::on(&candidate(lane), &policy(), 0);
        assert_eq!(on(Lane::Worker(WorkerId(0))), None);
        assert_eq!(on(Lane::Worker(WorkerId(1))), Some(Hold::NeedsBody));
        assert_eq!(on(Lane::Worker(WorkerId(2))), Some(Hold::ForeignLane), "switched off");
        assert_eq!(on(Lane::Foreign), Some(Hold::ForeignLane));
        assert_eq!(on(Lane::Unassigned), Some(Hold::Unassigned));
        let policy = Policy { default_worker: Some(WorkerId(0)), ..policy() };
        assert_eq!(super::on(&candidate(Lane::Unassigned), &policy, 0), None);
    }

    #[test]
    fn a_rate_limit_rests_for_the_cooldown_and_a_failure_for_its_backoff() {
        let ended = |rate_limited, failures| Candidate {
            failures,
            last_end: Some(LastEnd { at: 1_000, rate_limited }),
            ..candidate(Lane::Worker(WorkerId(0)))
        };
        let until = Hold::Cooldown { until: 1_300 };
        assert_eq!(on(&ended(true, 0), &policy(), 1_299), Some(until));
        assert_eq!(on(&ended(true, 0), &policy(), 1_300), None);
        assert_eq!(
            on(&ended(false, 1), &policy(), 1_000),
            None,
            "the first retry comes immediately"
        );
        let until = Hold::Backoff { until: 1_001 };
        assert_eq!(on(&ended(false, 2), &policy(), 1_000), Some(until));
        assert_eq!(on(&ended(false, 2), &policy(), 1_001), None);
    }

    #[test]
    fn a_row_from_the_future_holds_no_task_forever() {
        let ended_at = |at| Candidate {
            last_end: Some(LastEnd { at, rate_limited: true }),
            ..candidate(Lane::Worker(WorkerId(0)))
        };
        assert_eq!(on(&ended_at(1_000_000), &policy(), 0), None);
        let slightly = Hold::Cooldown { until: 310 };
        assert_eq!(on(&ended_at(10), &policy(), 0), Some(slightly));
        assert_eq!(on(&ended_at(10), &policy(), 310), None, "it ends at the promised second");
        // At most twice as long as the rule demands.
        assert_eq!(on(&ended_at(300), &policy(), 0), Some(Hold::Cooldown { until: 600 }));
        assert_eq!(on(&ended_at(301), &policy(), 0), None);
    }

    #[test]
    fn backoff_doubles_to_at_most_a_minute_and_a_quarter() {
        let waits: Vec<i64> = (0..10).map(|failures| backoff_s(failures, task())).collect();
        assert_eq!(waits[..3], [0, 0, 1]);
        for (failures, base) in [(3, 2), (4, 4), (5, 8), (6, 16), (7, 32), (8, 60), (9, 60)] {
            let wait = backoff_s(failures, task());
            assert!((base..=base + base / 4).contains(&wait), "{failures}: {wait}");
        }
        assert!((60..=75).contains(&backoff_s(u32::MAX, task())));
    }

    #[test]
    fn tasks_that_failed_together_return_apart_by_a_stable_jitter() {
        let wait = |n: u32| backoff_s(9, TaskId::new(&alloc::format!("t_{n}")).unwrap());
        let waits: Vec<i64> = (0..8).map(wait).collect();
        assert_eq!(waits, [66, 75, 69, 62, 60, 69, 63, 72]);
    }

    #[test]
    fn each_owner_of_a_hold_has_a_json_name() {
        let names = [Owner::Operator, Owner::Author, Owner::Reviewer].map(Owner::name);
        assert_eq!(names, ["operator", "author", "reviewer"]);
    }
}
