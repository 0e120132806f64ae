//! Ending a group of processes without sleeping: TERM, wait, KILL, and KILL again until it is gone.

use super::backoff::Doubling;
use super::renamer::Renamer;
use super::time::Mono;

/// Milliseconds between two KILLs of a group that does not go: it may sit in an uninterruptible
/// call, or have forked between being listed and being signalled.
const KILL_AGAIN_MS: u64 = 5_000;
/// Between two probes of a group whose leader is gone: no event announces its end.
const PROBE: Doubling = Doubling { first_ms: 5, most_ms: 500 };

/// How far we have gone with one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Escalation {
    kill_at: Mono,
    killed: bool,
}

impl Escalation {
    /// Starts with a TERM, which the caller sends now; KILL follows after `kill_after_ms`.
    pub fn begin(now: Mono, kill_after_ms: u64) -> Escalation {
        Escalation { kill_at: now.after(kill_after_ms), killed: false }
    }

    /// After a KILL, which the caller sends now; another follows if it does not help.
    pub fn killed_at(now: Mono) -> Escalation {
        Escalation { kill_at: now.after(KILL_AGAIN_MS), killed: true }
    }

    /// Whether a KILL was sent.
    pub fn has_killed(self) -> bool {
        self.killed
    }

    /// When the next KILL is due.
    pub fn next(self) -> Mono {
        self.kill_at
    }

    /// Rewrites the moment of the next step.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.deadline(&mut self.kill_at);
    }
}

/// The probes of a group whose leader is gone, ever less often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probes {
    at: Mono,
    sent: u32,
}

impl Probes {
    /// The first is due soon after a signal that was sent now.
    pub fn after_signal(now: Mono) -> Probes {
        Probes { at: now.after(PROBE.first_ms), sent: 1 }
    }

    /// The first is due now: the group was signalled before.
    pub fn at_once(now: Mono) -> Probes {
        Probes { at: now, sent: 1 }
    }

    /// After one that the caller sends now.
    pub fn sent(self, now: Mono) -> Probes {
        let sent = (self.sent + 1).min(PROBE.enough());
        Probes { at: now.after(PROBE.after(sent)), sent }
    }

    /// After a KILL that the caller sends now.
    pub fn killed(self, now: Mono) -> Probes {
        Probes { at: now.after(PROBE.first_ms), ..self }
    }

    /// When the next probe is due.
    pub fn next(self) -> Mono {
        self.at
    }

    /// Rewrites the moment of the next step.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.deadline(&mut self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_follows_term_after_the_grace_and_is_repeated() {
        let escalation = Escalation::begin(Mono(0), 5_000);
        assert_eq!((escalation.next(), escalation.has_killed()), (Mono(5_000), false));
        let escalation = Escalation::killed_at(Mono(5_000));
        assert_eq!((escalation.next(), escalation.has_killed()), (Mono(10_000), true));
    }

    #[test]
    fn a_group_without_a_leader_is_probed_ever_less_often() {
        let mut probes = Probes::after_signal(Mono(0));
        let mut waits = alloc::vec![probes.next().0];
        for _ in 0..8 {
            let now = probes.next();
            probes = probes.sent(now);
            waits.push(probes.next().since(now));
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 500, 500]);
    }

    #[test]
    fn after_a_kill_the_next_probe_comes_soon_and_the_one_after_it_as_late_as_before() {
        let probes = Probes::at_once(Mono(0)).sent(Mono(0)).sent(Mono(10)).killed(Mono(11));
        assert_eq!(probes.next(), Mono(16));
        assert_eq!(probes.sent(Mono(16)).next(), Mono(56));
    }
}
