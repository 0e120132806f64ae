//! Whether a running task's claim still holds.

use sexton::machine::exchange::{Fence, LeaseEnd, Orphan};
use sexton::machine::hold::Lane;
use sexton::machine::ids::{SpawnId, WorkerId};

use super::{Claim, Dispatcher, Holder, Instance, Pass, Task};

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
    Ours {
        /// Its task, run and attempt.
        fence: Fence,
        /// A dispatcher that has died made it, and this one adopted it.
        adopted: bool,
    },
    /// A claim of a dispatcher that is dead.
    Orphan(Orphan),
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
        match (task.claim.owner(), task.claim.run) {
            (Some(Holder::Sexton(instance, spawn)), Some(run)) if instance == self.owner => {
                Some(Fence { task: task.id, run, spawn })
            }
            _ => None,
        }
    }

    /// Returns a claim that this dispatcher has adopted, or may adopt.
    pub(super) fn orphan(&self, task: &Task) -> Option<Orphan> {
        let worker = match task.lane {
            Lane::Worker(worker) => worker,
            Lane::Unassigned | Lane::Foreign => {
                let default = self.env.policy.default_worker;
                let default = default.filter(|_| task.lane == Lane::Unassigned);
                default.or(task.claim.adopter.map(|_| WorkerId(u16::MAX)))?
            }
        };
        Some(Orphan { task: task.id, run: task.claim.run?, worker })
    }

    /// Judges the claim of a running task.
    pub(super) fn judge(&self, task: &Task) -> Lease {
        let claim = task.claim;
        if let Some(fence) = self.ours(task) {
            return Lease::Ours { fence, adopted: claim.adopter.is_some() };
        }
        let run = self.board.runs.iter().find(|r| Some(r.id) == claim.run && r.task == task.id);
        let start = run.map(|run| run.started_at).or(task.started_at);
        let ahead = self.unix.saturating_add(AHEAD_S);
        let start = start.filter(|start| *start <= ahead).unwrap_or(0);
        match (claim.owner(), claim.expires) {
            (Some(Holder::Sexton(instance, spawn)), Some(expires)) => {
                self.of_a_sexton(task, instance, spawn, expires)
            }
            (Some(holder), Some(expires)) => self.of_a_client(claim, holder, expires, start),
            (_, _) => self.without_end(claim, start),
        }
    }

    fn of_a_sexton(&self, task: &Task, instance: Instance, spawn: SpawnId, expires: i64) -> Lease {
        let unix = self.unix;
        let look = Some(unix.saturating_add(LOOK_AGAIN_S));
        let due = |at: i64| Some(at.saturating_add(1));
        let over = expires < unix;
        let pid = task.claim.pid.filter(|pid| pid.0 > 0);
        let pid_lives = pid.is_some_and(|pid| self.env.liveness.worker(pid));
        match (self.env.liveness.dispatcher(instance), self.orphan(task)) {
            (Dispatcher::Dead { recorded }, Some(orphan))
                if over || recorded || pid.is_some() || task.claim.adopter.is_some() =>
            {
                Lease::Orphan(orphan)
            }
            (Dispatcher::Dead { .. }, Some(_)) => Lease::Held { due: due(expires), look: None },
            (Dispatcher::Dead { .. }, None) if !over => Lease::Held { due: due(expires), look },
            (Dispatcher::Dead { .. }, None) if pid_lives => Lease::Held { due: None, look },
            (Dispatcher::Dead { .. }, None) => Lease::Ended(LeaseEnd::Expired),
            (Dispatcher::Lives, _) => {
                let patience = expires.saturating_add(i64::from(self.env.policy.claim_ttl_s));
                if unix <= patience {
                    Lease::Held { due: due(patience), look }
                } else if pid_lives || self.env.liveness.attempt(instance, spawn) {
                    Lease::Held { due: None, look }
                } else {
                    Lease::Ended(LeaseEnd::Neglected)
                }
            }
            (Dispatcher::CannotTell, _) if over => Lease::Ended(LeaseEnd::Expired),
            (Dispatcher::CannotTell, _) => Lease::Held { due: due(expires), look },
        }
    }

    fn of_a_client(&self, claim: Claim, holder: Holder, expires: i64, start: i64) -> Lease {
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
        let visible_at = start.saturating_add(GRACE_S);
        if alive {
            Lease::Held { due, look }
        } else if self.unix < visible_at {
            Lease::Held { due: due.map(|due| due.min(visible_at)), look: None }
        } else {
            Lease::Ended(LeaseEnd::WorkerGone)
        }
    }

    /// Judges a running task whose claim lacks its holder or its end: no dispatcher would ever end
    /// it.
    fn without_end(&self, claim: Claim, start: i64) -> Lease {
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
