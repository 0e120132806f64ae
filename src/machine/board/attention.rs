//! When to look at a board, and at how much of it.

use super::super::renamer::Renamer;
use super::super::time::{Mono, Now};
use super::recheck::Recheck;

/// Milliseconds for which a change notice is taken for a self-notice: notices are gathered for a
/// while before they are passed on.
const SELF_NOTICE_MS: u64 = 20;
/// Milliseconds between two looks at everything that waits, not only at what is known to have
/// changed.
const SWEEP_MS: u64 = 300_000;

/// When to look at a board, and at how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Look as soon as it is idle.
    look: bool,
    /// From when on a tick has everything looked at; `None` if the next look does.
    sweep_from: Option<Mono>,
    recheck: Option<Recheck>,
    /// Until when a change notice is taken for a self-notice.
    wrote_until: Mono,
    /// When time alone changes one of its rows, in seconds since 1970.
    due: Option<i64>,
}

impl Attention {
    /// A board that was just listed.
    pub fn new(now: Mono) -> Attention {
        Attention { look: true, sweep_from: None, recheck: None, wrote_until: now, due: None }
    }

    /// Asks for a look as soon as the board is idle.
    pub fn look(&mut self) {
        self.look = true;
    }

    /// Asks for a look at everything as soon as the board is idle.
    pub fn look_at_everything(&mut self) {
        (self.look, self.sweep_from) = (true, None);
    }

    /// A tick: look, now and then at everything.
    pub fn tick(&mut self, now: Mono) {
        self.look = true;
        self.sweep_from = self.sweep_from.filter(|from| now < *from);
    }

    /// Whether there is a reason to look, even if there is nothing to write.
    pub fn wants_look(&self) -> bool {
        self.look
    }

    /// Whether the next look covers everything.
    pub fn wants_everything(&self) -> bool {
        self.sweep_from.is_none()
    }

    /// Notes that a look begins at `now`.
    pub fn looks(&mut self, now: Mono) {
        self.look = false;
        self.sweep_from = self.sweep_from.or(Some(now.after(SWEEP_MS)));
    }

    /// What was seen is no longer believed.
    pub fn forget(&mut self) {
        self.due = None;
        self.look_at_everything();
    }

    /// Notes a write of our own, whose notice will follow.
    pub fn wrote(&mut self, now: Mono) {
        self.wrote_until = now.after(SELF_NOTICE_MS);
        self.recheck.iter_mut().for_each(|recheck| recheck.wrote(now));
    }

    /// Something near its file changed, while a write of ours was under way or not.
    pub fn noticed(&mut self, writing: bool, now: Mono) {
        let by_us = writing || now < self.wrote_until;
        self.recheck = Some(Recheck::noticed(self.recheck, by_us, now));
    }

    /// The next look after a change notice is due.
    pub fn recheck(&mut self, now: Mono) {
        self.look = true;
        self.recheck = self.recheck.and_then(|recheck| recheck.looked(now));
    }

    /// Returns when the next look after a change notice is due.
    pub fn recheck_at(&self) -> Option<Mono> {
        self.recheck.map(Recheck::at)
    }

    /// Whether a change notice is still followed by looks that are worth waiting for.
    pub fn is_rechecking(&self, now: Mono, grace_ms: u64) -> bool {
        self.recheck.is_some_and(|recheck| recheck.is_awaited(now, grace_ms))
    }

    /// Time alone changes its rows at `due`. A row that is overdue is looked at once a second, not
    /// in a busy loop.
    pub fn rows_change(&mut self, due: Option<i64>, now: Now) {
        self.due = due.map(|due| due.max(now.unix.saturating_add(1)));
    }

    /// That second has come.
    pub fn rows_changed(&mut self) {
        (self.look, self.due) = (true, None);
    }

    /// Returns the second at which time alone changes one of its rows.
    pub fn due(&self) -> Option<i64> {
        self.due
    }

    /// Rewrites all of its moments.
    pub fn rename(&mut self, to: &impl Renamer) {
        self.sweep_from.iter_mut().for_each(|from| to.deadline(from));
        self.recheck.iter_mut().for_each(|recheck| recheck.rename(to));
        to.deadline(&mut self.wrote_until);
        self.due.iter_mut().for_each(|due| to.second(due));
    }
}
