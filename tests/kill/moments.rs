//! How far each attempt was when its dispatcher was killed.

use std::collections::BTreeMap;
use std::fmt;

use sexton::evidence::records::{Foreign, Found};

use crate::claims::Claim;
use crate::processes;
use crate::scene::Scene;

/// How far an attempt had got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Its claim is in the board, and no process was started.
    ClaimToClone,
    /// Its process has not yet executed its program.
    CloneToExec,
    /// Its worker runs, and the board does not have its pid.
    ExecToRecord,
    /// Its worker runs, and the board knows it.
    Running,
    /// Its worker has ended, and the board does not know it.
    ReapToCommit,
}

/// How often each moment was hit.
#[derive(Default)]
pub struct Moments(BTreeMap<Moment, usize>);

impl Moments {
    /// Counts the moments of the claims that a dead dispatcher left.
    pub fn note(&mut self, scene: &Scene) {
        for claim in Claim::all(scene) {
            *self.0.entry(moment(scene, &claim)).or_default() += 1;
        }
    }

    pub fn hits(&self, moment: Moment) -> usize {
        self.0.get(&moment).copied().unwrap_or_default()
    }
}

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(moment, count)| write!(f, "{moment:?} {count}, "))
    }
}

/// Whether an attempt is at this moment now.
pub fn is_any(scene: &Scene, at: Moment) -> bool {
    Claim::all(scene).iter().any(|claim| moment(scene, claim) == at)
}

fn moment(scene: &Scene, claim: &Claim) -> Moment {
    match worker(scene, claim) {
        None => Moment::ClaimToClone,
        Some(pid) if !processes::lives(pid) => Moment::ReapToCommit,
        Some(pid) if processes::has_not_executed(pid) => Moment::CloneToExec,
        Some(_) if claim.worker.is_none() => Moment::ExecToRecord,
        Some(_) => Moment::Running,
    }
}

/// Returns the pid of an attempt's worker, from the board or the records.
pub fn worker(scene: &Scene, claim: &Claim) -> Option<i32> {
    recorded(scene, claim).or(claim.worker)
}

/// Returns the pid that it wrote down.
fn recorded(scene: &Scene, claim: &Claim) -> Option<i32> {
    let (name, attempt) = claim.record();
    let foreign = Foreign::open(&scene.state(), &name).unwrap()?;
    match foreign.read(attempt).unwrap() {
        Found::Started { pid, .. } => Some(pid.0),
        Found::NoIntent | Found::Intent { .. } | Found::Damaged => None,
    }
}
