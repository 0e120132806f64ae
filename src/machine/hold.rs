//! Why a ready task does not run now, and what will end that. A hold without an end does not exist:
//! each has a time at which it ends by itself, or somebody who can end it.

use super::exchange::{Candidate, Lane};
use super::ids::TaskId;
use super::policy::Policy;

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
    /// It ends by itself, at this second since 1970.
    At(i64),
    /// Somebody must act.
    Owner(Owner),
}

/// Who can end a hold that does not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Whoever configures the workers.
    Operator,
    /// Whoever wrote the task.
    Author,
    /// Whoever reviews it.
    Reviewer,
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
/// The board asks this while it looks for tasks that can run, and again inside the claiming
/// transaction; the plan asks it of what it was shown.
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
    let until = if end.rate_limited {
        end.at.saturating_add(i64::from(policy.cooldown_s))
    } else {
        end.at.saturating_add(backoff_s(candidate.failures, candidate.task))
    };
    // A row from the future (a clock that went back) cannot hold a task for longer than its rule.
    let ahead = until.saturating_sub(end.at);
    let until = until.min(unix.saturating_add(ahead));
    (until > unix).then_some(if end.rate_limited {
        Hold::Cooldown { until }
    } else {
        Hold::Backoff { until }
    })
}

/// Seconds to wait after the `failures`-th consecutive failure: the first retry is at once, then 1 s
/// doubling to 60 s, and up to a quarter more, by the task's id, so that tasks that failed together
/// do not return together.
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
