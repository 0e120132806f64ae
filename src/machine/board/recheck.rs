//! The looks that follow a change notice. It can come before the change can be seen, so there are
//! several, each longer after the last.

use super::super::renamer::Renamer;
use super::super::time::Mono;

/// Milliseconds from a change notice to the first look, and then from look to look.
const WAITS_MS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Where the looks after a self-notice begin. Earlier ones would find our own write only.
const SELF_NOTICE: usize = 4;

/// The looks that are still to come.
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
    /// A notice came: looks begin anew. If it was most likely a self-notice, a later look is enough,
    /// but for what may hide behind our own write: a commit of others that takes its time.
    pub fn noticed(before: Option<Recheck>, by_us: bool, now: Mono) -> Recheck {
        let step = if by_us { SELF_NOTICE } else { 0 };
        let at = now.after(WAITS_MS[step]);
        let Some(before) = before else { return Recheck { at, step, since: now, by_us } };
        Recheck {
            // Never later than the next look was: notices without a pause must not put it off for
            // ever.
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

    /// We wrote: patience with those that write without a pause begins anew.
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

    /// Rewrites its moments.
    pub fn rename(&mut self, to: &impl Renamer) {
        to.deadline(&mut self.at);
        to.moment(&mut self.since);
    }
}
