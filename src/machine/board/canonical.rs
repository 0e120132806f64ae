//! A board as it looks from the present: see [`canonical`](super::super::canonical).

use super::super::canonical::{PRESENT, Renaming};
use super::super::fault::FaultClass;
use super::super::quarantine;
use super::super::time::Mono;
use super::{Board, Phase, Refused, SWEEP_MS};

impl Refused {
    /// Its canonical form.
    fn relative(self, seen: &Renaming) -> Refused {
        Refused { until: seen.deadline(self.until), ..self }
    }
}

impl Phase {
    /// Its canonical form.
    fn relative(&self, seen: &Renaming) -> Phase {
        let mut phase = self.clone();
        match &mut phase {
            Phase::Connecting { deadline: at, .. } | Phase::Quarantined { until: at, .. } => {
                *at = seen.deadline(*at);
            }
            Phase::Exchanging { changes, deadline, .. } => {
                *deadline = seen.deadline(*deadline);
                changes.iter_mut().for_each(|change| *change = change.relative(seen));
            }
            Phase::Absent | Phase::Idle => {}
        }
        phase
    }
}

impl Board {
    /// Its canonical form.
    #[must_use]
    pub fn relative(&self, seen: &Renaming) -> Board {
        let deadline = |at: Mono| seen.deadline(at);
        Board {
            phase: self.phase.relative(seen),
            seq: seen.seq(self.id, self.seq),
            swept_at: self.swept_at_as(seen),
            climb: self.climb.map(|climb| climb.relative(seen)),
            echo_until: deadline(self.echo_until),
            flush_at: self.flush_at.map(deadline),
            ready: self.ready.iter().map(|c| c.relative(seen)).collect(),
            strays: self.strays.iter().map(|fence| seen.fence(*fence)).collect(),
            due: self.due.map(|unix| seen.second(unix)),
            refused: self.refused.iter().map(|(task, r)| (*task, r.relative(seen))).collect(),
            refusing_since: self.refusing_since.map(|at| seen.moment(at)),
            locked_until: self.locked_until.map(deadline),
            locked_since: self.locked_since.map(|at| seen.moment(at)),
            spawns_from: deadline(self.spawns_from),
            spawns_fail_since: self.spawns_fail_since.map(|at| seen.moment(at)),
            faults: self.faults.min(quarantine::MOST_FAILURES),
            refused_until: self.refused_until_as(seen),
            recheck_at: self.recheck_at_as(seen),
            sick_since: self.sick_since.map(|at| seen.moment(at)),
            ..self.clone()
        }
    }

    /// How long ago everything was looked at matters up to the time for doing so again, and not at
    /// all once that is decided.
    fn swept_at_as(&self, seen: &Renaming) -> Mono {
        if self.fresh {
            return PRESENT.mono;
        }
        seen.moment(self.swept_at).max(Mono(PRESENT.mono.0 - SWEEP_MS))
    }

    /// When the refused file is tried again matters while it may turn out to be the same.
    fn refused_until_as(&self, seen: &Renaming) -> Mono {
        match &self.phase {
            Phase::Connecting { if_changed: true, .. } => seen.deadline(self.refused_until),
            Phase::Quarantined { fault, .. }
                if fault.class == FaultClass::Content || self.recheck_at.is_some() =>
            {
                seen.deadline(self.refused_until)
            }
            Phase::Absent
            | Phase::Connecting { .. }
            | Phase::Idle
            | Phase::Exchanging { .. }
            | Phase::Quarantined { .. } => PRESENT.mono,
        }
    }

    /// A look at a refused file is over when the file is not refused.
    fn recheck_at_as(&self, seen: &Renaming) -> Option<Mono> {
        match &self.phase {
            Phase::Quarantined { .. } | Phase::Connecting { .. } => {
                self.recheck_at.map(|at| seen.deadline(at))
            }
            Phase::Absent | Phase::Idle | Phase::Exchanging { .. } => None,
        }
    }
}
