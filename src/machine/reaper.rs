//! The reaping step. It is begun by each tick and by each sign of life from the kernel, before
//! anything else, and it has no input from any board: that is the whole point.

use alloc::vec::Vec;
use core::mem;

use super::canonical::Renaming;
use super::effect::{Effect, Report, Whom};
use super::ids::Pid;
use super::time::Mono;

/// Wait before a failed reaping step is tried again: none at first, then this, doubling.
const RETRY_MS: (u64, u64) = (10, 1_000);
/// With this many failures in a row, another one changes nothing any more.
const MOST_FAILURES: u32 = 9;

/// What is known of the reaping steps under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reaper {
    /// Number of the newest `Reap`.
    seq: u64,
    /// Failures in a row.
    failures: u32,
    /// When to try again after a failure.
    again_at: Option<Mono>,
    /// What the steps under way have found so far.
    pids: Vec<Pid>,
    orphans: u32,
}

impl Reaper {
    /// Begins a reaping step. One that is under way already does no harm: draining is idempotent.
    /// After a failure every step asks all children, until one succeeds.
    pub fn begin(&mut self, whom: Whom, effects: &mut Vec<Effect>) {
        self.seq = self.seq.wrapping_add(1);
        self.again_at = None;
        let whom = if self.failures > 0 { Whom::All } else { whom };
        effects.push(Effect::Reap { seq: self.seq, whom });
    }

    /// Begins one if a failed one is due to be tried again.
    pub fn act_on_time(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        if self.again_at.is_some_and(|at| now >= at) {
            self.begin(Whom::All, effects);
        }
    }

    /// When [`act_on_time`](Reaper::act_on_time) has something to do.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        self.again_at
    }

    /// A child of ours was reaped.
    pub fn found(&mut self, pid: Pid) {
        self.pids.push(pid);
    }

    /// A process that we never spawned was reaped.
    pub fn found_orphan(&mut self) {
        self.orphans = self.orphans.saturating_add(1);
    }

    /// The step is over: tell what it found, if it found anything.
    pub fn succeeded(&mut self, effects: &mut Vec<Effect>) {
        if mem::take(&mut self.failures) > 0 {
            effects.push(Effect::Report(Report::ReapRecovered));
        }
        self.again_at = None;
        self.tell(effects);
    }

    /// The step failed: what it found all the same is told, and it is tried again.
    pub fn failed(&mut self, now: Mono, errno: i32, effects: &mut Vec<Effect>) {
        self.tell(effects);
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            effects.push(Effect::Report(Report::ReapFailing(errno)));
            self.begin(Whom::All, effects);
            return;
        }
        let doublings = (self.failures - 2).min(MOST_FAILURES - 2);
        self.again_at = Some(now.after((RETRY_MS.0 << doublings).min(RETRY_MS.1)));
    }

    /// Number of the newest `Reap`.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Its canonical form.
    #[must_use]
    pub fn relative(&self, seen: &Renaming) -> Reaper {
        Reaper {
            seq: seen.reap(self.seq),
            failures: self.failures.min(MOST_FAILURES),
            again_at: self.again_at.map(|at| seen.deadline(at)),
            pids: self.pids.clone(),
            orphans: self.orphans,
        }
    }

    fn tell(&mut self, effects: &mut Vec<Effect>) {
        let (pids, orphans) = (mem::take(&mut self.pids), mem::take(&mut self.orphans));
        if !pids.is_empty() || orphans > 0 {
            effects.push(Effect::Report(Report::Reaped { pids, orphans }));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_failed_step_is_tried_again_at_once_then_after_ten_milliseconds_doubling_to_a_second() {
        let (mut reaper, mut effects) = (Reaper::default(), Vec::new());
        reaper.begin(Whom::Hinted, &mut effects);
        reaper.failed(Mono(0), 5, &mut effects);
        assert_eq!(
            effects,
            [
                Effect::Reap { seq: 1, whom: Whom::Hinted },
                Effect::Report(Report::ReapFailing(5)),
                Effect::Reap { seq: 2, whom: Whom::All }
            ]
        );
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                reaper.failed(Mono(0), 5, &mut effects);
                reaper.next().map_or(0, |at| at.0)
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    }

    #[test]
    fn after_a_failed_step_all_children_are_asked_until_one_succeeds() {
        let (mut reaper, mut effects) = (Reaper::default(), Vec::new());
        reaper.failed(Mono(0), 5, &mut effects);
        reaper.begin(Whom::Hinted, &mut effects);
        reaper.succeeded(&mut effects);
        reaper.begin(Whom::Hinted, &mut effects);
        effects.retain(|effect| matches!(effect, Effect::Reap { .. }));
        let whom = [Whom::All, Whom::All, Whom::Hinted];
        let steps = (1..).zip(whom).map(|(seq, whom)| Effect::Reap { seq, whom });
        assert_eq!(effects, steps.collect::<Vec<_>>());
    }

    #[test]
    fn failing_and_recovering_are_told_once_each() {
        let (mut reaper, mut effects) = (Reaper::default(), Vec::new());
        for _ in 0..3 {
            reaper.failed(Mono(0), 5, &mut effects);
        }
        reaper.succeeded(&mut effects);
        reaper.succeeded(&mut effects);
        let told: Vec<&Effect> =
            effects.iter().filter(|e| matches!(e, Effect::Report(_))).collect();
        assert_eq!(
            told,
            [&Effect::Report(Report::ReapFailing(5)), &Effect::Report(Report::ReapRecovered)]
        );
    }

    #[test]
    fn what_was_reaped_before_a_failure_is_told_with_the_failure() {
        let (mut reaper, mut effects) = (Reaper::default(), Vec::new());
        reaper.found(Pid(7));
        reaper.failed(Mono(0), 5, &mut effects);
        assert_eq!(
            effects.first(),
            Some(&Effect::Report(Report::Reaped { pids: vec![Pid(7)], orphans: 0 }))
        );
        reaper.succeeded(&mut effects);
        assert_eq!(effects.len(), 4, "the pid is not told twice: {effects:?}");
    }
}
