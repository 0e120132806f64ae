//! Whether a running task's claim still holds.

use sexton::machine::exchange::{Fence, LeaseEnd};

use super::{Claim, Holder, Pass, Task};

/// Seconds within which a new worker need not be visible yet.
const GRACE_S: i64 = 30;

/// Seconds for which a claim with neither lock nor end is respected.
const ORPHAN_S: i64 = 900;

/// Seconds until a process of another dispatcher is looked at again.
const LOOK_AGAIN_S: i64 = 30;

/// Start times further ahead than this are ignored.
const AHEAD_S: i64 = 86_400;

/// What can be said of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// It is a claim of this dispatcher.
    Ours(Fence),
    /// It has ended by the rules.
    Ended(LeaseEnd),
    /// Somebody else's, and good.
    Held {
        /// When it ends if nothing is written.
        due: Option<i64>,
        /// When its worker should be looked at again.
        look: Option<i64>,
    },
}

impl Pass<'_> {
    /// The run of ours that a running task is claimed for, if it is.
    pub(super) fn ours(&self, task: &Task) -> Option<Fence> {
        match (task.claim.holder, task.claim.run) {
            (Some(Holder::Sexton(instance, spawn)), Some(run)) if instance == self.owner => {
                Some(Fence { task: task.id, run, spawn })
            }
            _ => None,
        }
    }

    /// Judges the claim of a running task.
    pub(super) fn judge(&self, task: &Task) -> Lease {
        if let Some(fence) = self.ours(task) {
            return Lease::Ours(fence);
        }
        let claim = task.claim;
        let run = self.board.runs.iter().find(|r| Some(r.id) == claim.run && r.task == task.id);
        let start = run.map(|run| run.started_at).or(task.started_at);
        let ahead = self.unix.saturating_add(AHEAD_S);
        let start = start.filter(|start| *start <= ahead).unwrap_or(0);
        match (claim.holder, claim.expires) {
            (Some(holder), Some(expires)) => self.claimed(claim, holder, expires, start),
            (_, _) => self.orphan(claim, start),
        }
    }

    fn claimed(&self, claim: Claim, holder: Holder, expires: i64, start: i64) -> Lease {
        let due = Some(expires.saturating_add(1));
        let look = Some(self.unix.saturating_add(LOOK_AGAIN_S));
        let local = holder != Holder::Elsewhere;
        let pid = claim.pid.filter(|pid| pid.0 > 0 && local);
        let alive = pid.is_some_and(|pid| self.env.liveness.worker(pid));
        if expires < self.unix {
            return if alive {
                Lease::Held { due: None, look }
            } else {
                Lease::Ended(LeaseEnd::Expired)
            };
        }
        if pid.is_none() {
            return Lease::Held { due, look: None };
        }
        let attended = match holder {
            Holder::Sexton(instance, _) => self.env.liveness.dispatcher(instance),
            Holder::Neighbour | Holder::Elsewhere => false,
        };
        let visible_at = start.saturating_add(GRACE_S);
        if alive || attended {
            Lease::Held { due, look }
        } else if self.unix < visible_at {
            Lease::Held { due: due.map(|due| due.min(visible_at)), look: None }
        } else {
            Lease::Ended(LeaseEnd::WorkerGone)
        }
    }

    /// Judges a running task whose claim lacks its holder or its end: no dispatcher would ever end
    /// it.
    fn orphan(&self, claim: Claim, start: i64) -> Lease {
        let end = start.saturating_add(ORPHAN_S);
        let here = claim.holder != Some(Holder::Elsewhere);
        let pid = claim.pid.filter(|pid| pid.0 > 0 && here);
        if self.unix < end {
            Lease::Held { due: Some(end), look: None }
        } else if pid.is_some_and(|pid| self.env.liveness.worker(pid)) {
            Lease::Held { due: None, look: Some(self.unix.saturating_add(LOOK_AGAIN_S)) }
        } else {
            Lease::Ended(LeaseEnd::Expired)
        }
    }
}
