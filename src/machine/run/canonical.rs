//! A run as it looks from the present: see [`canonical`](super::super::canonical).

use super::super::canonical::{PRESENT, Renaming};
use super::super::effect::EndCause;
use super::super::ids::SpawnId;
use super::super::time::Mono;
use super::{Phase, Run};

impl Phase {
    /// Its canonical form.
    fn relative(&self, seen: &Renaming) -> Phase {
        match self {
            Phase::Preparing { deadline } => {
                Phase::Preparing { deadline: seen.deadline(*deadline) }
            }
            Phase::Terminating(escalation) => Phase::Terminating(escalation.relative(seen)),
            Phase::Draining(escalation, verdict) => {
                Phase::Draining(escalation.relative(seen), *verdict)
            }
            Phase::Claimed | Phase::Spawning | Phase::Running | Phase::Exited => self.clone(),
        }
    }
}

impl Run {
    /// Its canonical form. What does not matter in its phase any more, or not yet, is as in a new
    /// run.
    #[must_use]
    pub fn relative(&self, seen: &Renaming) -> Run {
        let lease = self.needs_lease() || self.phase == Phase::Claimed;
        Run {
            spawn: seen.spawn(self.spawn).unwrap_or(SpawnId(0)),
            phase: self.phase.relative(seen),
            renew_at: if lease { seen.deadline(self.renew_at) } else { PRESENT.mono },
            renew_by: if lease { seen.second(self.renew_by) } else { i64::MAX },
            retry_at: seen.deadline(self.retry_at),
            lent: self.lent && self.phase == Phase::Claimed,
            began: self.began_as(seen),
            limit_s: self.limit_s.filter(|_| self.may_yet_be_ended()),
            superseded_at: self
                .superseded_at
                .filter(|_| self.may_yet_be_ended())
                .map(|at| seen.deadline(at)),
            cause: self.cause.filter(|_| self.cause_matters()),
            ..self.clone()
        }
    }

    /// How long ago its process began matters while that can become, or has become, too long.
    fn began_as(&self, seen: &Renaming) -> Mono {
        let matters = match (&self.phase, self.cause) {
            (Phase::Running, _) => self.limit_s.is_some(),
            (Phase::Terminating(_), Some(EndCause::Timeout { .. })) => true,
            (
                Phase::Claimed
                | Phase::Preparing { .. }
                | Phase::Spawning
                | Phase::Terminating(_)
                | Phase::Draining(..)
                | Phase::Exited,
                _,
            ) => false,
        };
        if matters { seen.moment(self.began) } else { PRESENT.mono }
    }

    /// Whether its time can run out, or that of its row.
    fn may_yet_be_ended(&self) -> bool {
        match self.phase {
            Phase::Preparing { .. } | Phase::Spawning | Phase::Running => true,
            Phase::Claimed | Phase::Terminating(_) | Phase::Draining(..) | Phase::Exited => false,
        }
    }

    /// Whether it is still to be said why it ended.
    fn cause_matters(&self) -> bool {
        match self.phase {
            Phase::Spawning | Phase::Terminating(_) => true,
            Phase::Claimed
            | Phase::Preparing { .. }
            | Phase::Running
            | Phase::Draining(..)
            | Phase::Exited => false,
        }
    }
}
