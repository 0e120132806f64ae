//! Waiting longer after each failure in a row.

use super::renamer::Renamer;
use super::time::Mono;

/// A wait that doubles from the first to the longest, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doubling {
    /// The wait after the first failure.
    pub first_ms: u64,
    /// Milliseconds of the longest wait.
    pub most_ms: u64,
}

impl Doubling {
    /// Milliseconds to wait after the `failures`-th failure in a row, counted from 1.
    pub fn after(self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(self.first_ms.leading_zeros() - 1);
        (self.first_ms << doublings).min(self.most_ms)
    }

    /// Failures in a row from which on one more changes nothing.
    pub fn enough(self) -> u32 {
        let mut failures = 1;
        while self.after(failures) < self.most_ms {
            failures += 1;
        }
        failures
    }
}

/// Something that refuses to start workers: when it is asked again, and since when it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    failures: u32,
    from: Mono,
    since: Option<Mono>,
}

impl Backoff {
    /// What a host or a directory that refuses is given: 1 s, doubling to 30 s.
    const WAIT: Doubling = Doubling { first_ms: 1_000, most_ms: 30_000 };

    /// One that has not refused anything.
    pub fn new(now: Mono) -> Backoff {
        Backoff { failures: 0, from: now, since: None }
    }

    /// It refused. Returns until when it is left alone now; `None` if it is left alone already:
    /// spawns that were under way together and fail together are one refusal.
    pub fn failed(&mut self, now: Mono) -> Option<Mono> {
        if now < self.from {
            return None;
        }
        self.failures = (self.failures + 1).min(Self::WAIT.enough());
        self.from = now.after(Self::WAIT.after(self.failures));
        self.since = self.since.or(Some(now));
        Some(self.from)
    }

    /// It did what was asked. The wait that is under way stands.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.since = None;
    }

    /// Until when it is left alone, if it is at `now`.
    pub fn until(&self, now: Mono) -> Option<Mono> {
        (now < self.from).then_some(self.from)
    }

    /// Whether it has refused for `ms` without a success in between.
    pub fn has_refused_for(&self, now: Mono, ms: u64) -> bool {
        self.since.is_some_and(|since| now.since(since) >= ms)
    }

    /// Rewrites all of its moments.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.deadline(&mut self.from);
        self.since.iter_mut().for_each(|since| to.moment(since));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_wait_doubles_from_the_first_to_the_longest() {
        let wait = Doubling { first_ms: 10, most_ms: 1_000 };
        let waits: Vec<u64> = (0..=9).map(|n| wait.after(n)).collect();
        assert_eq!(waits, [10, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        assert_eq!(wait.after(u32::MAX), 1_000);
        assert_eq!(wait.enough(), 8);
    }

    #[test]
    fn refusals_while_it_is_left_alone_are_one() {
        let mut host = Backoff::new(Mono(0));
        assert_eq!(host.failed(Mono(5)), Some(Mono(1_005)));
        assert_eq!(host.failed(Mono(1_004)), None);
        assert_eq!(host.failed(Mono(1_005)), Some(Mono(3_005)));
        assert!(host.has_refused_for(Mono(1_005), 1_000));
        host.succeeded();
        assert_eq!(host.until(Mono(3_004)), Some(Mono(3_005)), "the wait stands");
        assert_eq!(host.failed(Mono(3_005)), Some(Mono(4_005)));
    }
}
