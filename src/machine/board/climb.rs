//! The looks that follow a change notice. It can come before the change can be seen, so there are
//! several, each longer after the last: a ladder.

use super::super::canonical::Renaming;
use super::super::time::Mono;

/// Milliseconds from a change notice, and then from look to look.
const LADDER_MS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// The rung at which the looks after an echo begin. Lower ones would find our own write only.
const ECHO_RUNG: usize = 4;

/// Where on the ladder a board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Climb {
    /// When the next look is due.
    pub at: Mono,
    /// Which rung that is.
    rung: usize,
    /// Since when notices have followed each other before the top was reached, and nothing of ours
    /// was written.
    pub since: Mono,
    /// True if all of them were most likely caused by our own writes.
    echo: bool,
}

impl Climb {
    /// A notice came: from its foot. If it was most likely an `echo` of ourselves, a look later on is
    /// enough, but for what may hide behind our own write: others whose commit takes its time.
    pub fn noticed(before: Option<Climb>, echo: bool, now: Mono) -> Climb {
        let rung = if echo { ECHO_RUNG } else { 0 };
        let at = now.after(LADDER_MS[rung]);
        let Some(before) = before else { return Climb { at, rung, since: now, echo } };
        Climb {
            // Never later than the next look was: notices without a pause must not put it off for
            // ever.
            at: before.at.min(at),
            rung: before.rung.min(rung),
            since: before.since,
            echo: before.echo && echo,
        }
    }

    /// One look later; `None` at the top.
    pub fn up(self, now: Mono) -> Option<Climb> {
        let rung = self.rung + 1;
        LADDER_MS.get(rung).map(|wait| Climb { at: now.after(*wait), rung, ..self })
    }

    /// Whether whoever wants to end should wait for the top, unless others have caused one notice
    /// after the other for `grace_ms`. The looks after one alone are never too long; those for what
    /// may hide behind an echo are not waited for, but for the first.
    pub fn is_awaited(self, now: Mono, grace_ms: u64) -> bool {
        let patience_ms = grace_ms.max(LADDER_MS.iter().sum());
        (!self.echo || self.rung <= ECHO_RUNG) && now.since(self.since) < patience_ms
    }

    /// Its canonical form.
    pub fn relative(self, seen: &Renaming) -> Climb {
        Climb { at: seen.deadline(self.at), since: seen.moment(self.since), ..self }
    }
}
