//! What an observation calls for: which ready tasks to claim, in which order, and no more than fit.
//!
//! A pure function of what was seen and what is wanted. Whatever it decides is checked again inside
//! the claiming transaction; here it only must never ask for too much.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::hold;
use super::hold::{Candidate, Lane};
use super::ids::{TaskId, WorkerId};
use super::policy::Policy;

/// How many more tasks may be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slots {
    /// By all boards together.
    pub host: u32,
    /// Slots that this board allows.
    pub board: u32,
}

impl Slots {
    /// The tighter of the two.
    pub fn free(self) -> u32 {
        self.host.min(self.board)
    }
}

/// The tasks to claim, best first: by priority, then age, then insertion. Held tasks and those that
/// are `busy` (a worker of ours for them may still be alive) are passed over.
pub fn claims(
    ready: &[Candidate],
    slots: Slots,
    policy: &Policy,
    unix: i64,
    busy: impl Fn(TaskId) -> bool,
) -> Vec<(TaskId, WorkerId)> {
    let free = usize::try_from(slots.free()).unwrap_or(usize::MAX);
    let mut chosen: Vec<(TaskId, WorkerId)> = Vec::new();
    if free == 0 || ready.is_empty() {
        return chosen;
    }
    let mut order: Vec<&Candidate> = ready.iter().collect();
    order.sort_by_key(|c| (Reverse(c.priority), c.created_at, c.order, c.task));
    for candidate in order {
        if chosen.len() >= free {
            break;
        }
        let seen = busy(candidate.task) || chosen.iter().any(|(task, _)| *task == candidate.task);
        if seen || hold::on(candidate, policy, unix).is_some() {
            continue;
        }
        chosen.extend(worker(candidate.lane, policy).map(|worker| (candidate.task, worker)));
    }
    chosen
}

/// Returns the worker that runs a task of this lane.
pub fn worker(lane: Lane, policy: &Policy) -> Option<WorkerId> {
    match lane {
        Lane::Worker(worker) => Some(worker),
        Lane::Unassigned => policy.default_worker,
        Lane::Foreign => None,
    }
}
