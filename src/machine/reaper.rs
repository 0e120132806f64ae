//! The reaping step. It is begun by each tick and by each sign of life from the kernel, before
//! anything else, and it has no input from any board: that is the whole point.

use alloc::vec::Vec;
use core::mem;

use super::backoff::Doubling;
use super::effect::{Effect, Report, Whom};
use super::ids::Pid;
use super::renamer::Renamer;
use super::time::Mono;

/// Wait before a failed reaping step is tried again: none at first, then this.
const RETRY: Doubling = Doubling { first_ms: 10, most_ms: 1_000 };

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

    /// Begins one in place of a failed one, which is due to be tried again.
    pub fn again(&mut self, effects: &mut Vec<Effect>) {
        self.begin(Whom::All, effects);
    }

    /// Returns when a failed step is retried.
    pub fn again_at(&self) -> Option<Mono> {
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

    /// The step failed: what it found nevertheless is reported, and it is retried.
    pub fn failed(&mut self, now: Mono, errno: i32, effects: &mut Vec<Effect>) {
        self.tell(effects);
        // The first retry comes immediately.
        let retries = self.failures;
        self.failures = (self.failures + 1).min(1 + RETRY.enough());
        if retries == 0 {
            effects.push(Effect::Report(Report::ReapFailing(errno)));
            return self.begin(Whom::All, effects);
        }
        self.again_at = Some(now.after(RETRY.after(retries)));
    }

    /// Number of the newest `Reap`.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Rewrites its moment and its number.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.reaping(&mut self.seq);
        self.again_at.iter_mut().for_each(|at| to.deadline(at));
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
    fn a_failed_step_is_tried_again_immediately_then_after_ten_milliseconds_doubling_to_a_second() {
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
                reaper.again_at().map_or(0, |at| at.0)
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
    fn failing_and_recovering_are_reported_once_each() {
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
    fn what_was_reaped_before_a_failure_is_reported_with_the_failure() {
        let (mut reaper, mut effects) = (Reaper::default(), Vec::new());
        reaper.found(Pid(7));
        reaper.failed(Mono(0), 5, &mut effects);
        assert_eq!(
            effects.first(),
            Some(&Effect::Report(Report::Reaped { pids: vec![Pid(7)], orphans: 0 }))
        );
        reaper.succeeded(&mut effects);
        assert_eq!(effects.len(), 4, "the pid is not reported twice: {effects:?}");
    }
}
