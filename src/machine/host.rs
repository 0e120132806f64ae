//! The host: how many workers it may have, and whether it starts processes.

use super::backoff::Backoff;
use super::hold::BoardHold;
use super::renamer::Renamer;
use super::time::Mono;

/// What is known of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Slots in use, over all boards.
    used: u32,
    refusals: Backoff,
    /// The errno of the last refusal.
    errno: i32,
}

impl Host {
    /// A host on which nothing runs.
    pub fn new() -> Host {
        Host { used: 0, refusals: Backoff::new(Mono(0)), errno: 0 }
    }

    /// Returns the number of slots in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// An attempt begins, or ceases, to use a slot.
    pub fn count(&mut self, before: bool, after: bool) {
        self.used = (self.used + u32::from(after)).saturating_sub(u32::from(before));
    }

    /// It refused to start a process. Returns until when none is started now, unless that was known.
    pub fn refused(&mut self, errno: i32, now: Mono) -> Option<Mono> {
        let until = self.refusals.failed(now)?;
        self.errno = errno;
        Some(until)
    }

    /// It started a process.
    pub fn started(&mut self) {
        self.refusals.succeeded();
    }

    /// Until when it starts nothing, if it does not at `now`.
    pub fn refuses_until(&self, now: Mono) -> Option<Mono> {
        self.refusals.until(now)
    }

    /// Whether it has refused for `ms` without a process that started in between.
    pub fn has_refused_for(&self, now: Mono, ms: u64) -> bool {
        self.refusals.has_refused_for(now, ms)
    }

    /// What keeps the tasks of all boards from running, if it does.
    pub fn hold(&self, now: Mono) -> Option<BoardHold> {
        let errno = self.errno;
        self.refuses_until(now).map(|until| BoardHold::HostRefuses { errno, until })
    }

    /// Rewrites the moments of its backoff.
    pub fn rename(&mut self, to: &impl Renamer) {
        self.refusals.rename(to);
    }
}
