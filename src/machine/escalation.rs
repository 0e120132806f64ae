//! Ending a group of processes without sleeping: TERM, wait, KILL, and KILL again until it is gone.

use super::canonical::Renaming;
use super::event::Signal;
use super::time::Mono;

/// Milliseconds between two KILLs of a group that does not go: it may sit in an uninterruptible
/// call, or have forked between being listed and being signalled.
const KILL_AGAIN_MS: u64 = 5_000;
/// Milliseconds between two looks at a group whose leader is gone: no event tells when it ends.
const PROBE_MS: (u64, u64) = (5, 500);

/// How far we have gone with one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Escalation {
    /// When to send the next KILL.
    kill_at: Mono,
    /// True once a KILL was sent.
    pub killed: bool,
    /// When to look again whether anything is left, and how long to wait after that.
    probe_at: Mono,
    probe_ms: u64,
}

impl Escalation {
    /// Starts with a TERM, which the caller sends now; KILL follows after `kill_after_ms`.
    #[must_use]
    pub fn begin(now: Mono, kill_after_ms: u64) -> Escalation {
        Escalation {
            kill_at: now.after(kill_after_ms),
            killed: false,
            probe_at: now.after(PROBE_MS.0),
            probe_ms: PROBE_MS.0,
        }
    }

    /// Starts with a KILL, at once.
    #[must_use]
    pub fn at_once(now: Mono) -> Escalation {
        Escalation::begin(now, 0)
    }

    /// Makes the KILL due now, unless one has been sent.
    pub fn hurry(&mut self, now: Mono) {
        if !self.killed {
            self.kill_at = self.kill_at.min(now);
        }
    }

    /// What to send now, if anything is due. Looks (probes) are for groups whose leader is gone:
    /// the end of a leader announces itself.
    pub fn due(&mut self, now: Mono, leader_gone: bool) -> Option<Signal> {
        if now >= self.kill_at {
            self.kill_at = now.after(KILL_AGAIN_MS);
            self.killed = true;
            self.probe_at = now.after(PROBE_MS.0);
            return Some(Signal::Kill);
        }
        if leader_gone && now >= self.probe_at {
            self.probe_ms = (self.probe_ms * 2).min(PROBE_MS.1);
            self.probe_at = now.after(self.probe_ms);
            return Some(Signal::Probe);
        }
        None
    }

    /// When [`due`](Escalation::due) will next have something.
    #[must_use]
    pub fn next(&self, leader_gone: bool) -> Mono {
        if leader_gone { self.kill_at.min(self.probe_at) } else { self.kill_at }
    }

    /// Its canonical form.
    #[must_use]
    pub fn relative(self, seen: &Renaming) -> Escalation {
        Escalation {
            kill_at: seen.deadline(self.kill_at),
            probe_at: seen.deadline(self.probe_at),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_follows_term_after_the_grace_and_is_repeated() {
        let mut escalation = Escalation::begin(Mono(0), 5_000);
        assert_eq!(escalation.due(Mono(4_999), false), None);
        assert_eq!(escalation.due(Mono(5_000), false), Some(Signal::Kill));
        assert!(escalation.killed);
        assert_eq!(escalation.due(Mono(5_001), false), None);
        assert_eq!(escalation.due(Mono(10_000), false), Some(Signal::Kill));
    }

    #[test]
    fn a_group_without_a_leader_is_looked_at_ever_less_often() {
        let mut escalation = Escalation::begin(Mono(0), 5_000);
        assert_eq!(escalation.next(true), Mono(5));
        assert_eq!(escalation.due(Mono(5), true), Some(Signal::Probe));
        assert_eq!(escalation.next(true), Mono(15));
        assert_eq!(escalation.due(Mono(15), true), Some(Signal::Probe));
        assert_eq!(escalation.next(true), Mono(35));
    }

    #[test]
    fn hurrying_kills_at_once_but_never_sooner_than_a_repeat_is_due() {
        let mut escalation = Escalation::begin(Mono(0), 5_000);
        escalation.hurry(Mono(10));
        assert_eq!(escalation.due(Mono(10), false), Some(Signal::Kill));
        escalation.hurry(Mono(11));
        assert_eq!(escalation.due(Mono(11), false), None);
    }
}
