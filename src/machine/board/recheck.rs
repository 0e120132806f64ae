//! The recheck schedule: the looks that follow a change notice. A notice can come before the change
//! is visible, so there are several looks, each after a longer wait.

use super::super::renamer::Renamer;
use super::super::time::Mono;

/// Milliseconds from a change notice to the first look, and then from look to look.
const WAITS_MS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Where the looks after a self-notice begin. Earlier ones would find only our own write.
const SELF_NOTICE: usize = 4;

/// The rest of a recheck schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recheck {
    /// When the next look is due.
    at: Mono,
    /// Which of the waits that ends.
    step: usize,
    /// Since when notices have followed each other before the last look, and nothing of ours was
    /// written.
    since: Mono,
    /// True if all of them were most likely caused by our own writes.
    by_us: bool,
}

impl Recheck {
    /// Restarts the schedule after a notice. If it was most likely a self-notice, the later looks
    /// are enough: they find a slow commit of others that our own write hid.
    pub fn noticed(before: Option<Recheck>, by_us: bool, now: Mono) -> Recheck {
        let step = if by_us { SELF_NOTICE } else { 0 };
        let at = now.after(WAITS_MS[step]);
        let Some(before) = before else { return Recheck { at, step, since: now, by_us } };
        Recheck {
            // Never later than the next look was: continuous notices must not defer it forever.
            at: before.at.min(at),
            step: before.step.min(step),
            since: before.since,
            by_us: before.by_us && by_us,
        }
    }

    /// When the next look is due.
    pub fn at(self) -> Mono {
        self.at
    }

    /// After a look; `None` if it was the last.
    pub fn looked(self, now: Mono) -> Option<Recheck> {
        let step = self.step + 1;
        WAITS_MS.get(step).map(|wait| Recheck { at: now.after(*wait), step, ..self })
    }

    /// Notes a write of our own: the patience with others that write without a pause starts over.
    pub fn wrote(&mut self, now: Mono) {
        self.since = now;
    }

    /// Whether a program that wants to end should wait for the last look, unless others have caused
    /// one notice after the other for `grace_ms`. The looks after one alone are never too long; those
    /// for what may hide behind a self-notice are not waited for, but for the first.
    pub fn is_awaited(self, now: Mono, grace_ms: u64) -> bool {
        let patience_ms = grace_ms.max(WAITS_MS.iter().sum());
        (!self.by_us || self.step <= SELF_NOTICE) && now.since(self.since) < patience_ms
    }

    /// Rewrites both of its moments.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.deadline(&mut self.at);
        to.moment(&mut self.since);
    }
}
