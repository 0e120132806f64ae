//! Time, as the machine sees it: handed in with each event, never read; and all that waits for it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::ids::{BoardId, SpawnId};

/// A point on the monotonic clock, in milliseconds since an arbitrary start. Suspend does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// `millis` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, millis: u64) -> Mono {
        Mono(self.0.saturating_add(millis))
    }

    /// Returns the time `millis` earlier; at least zero.
    #[must_use]
    pub fn before(self, millis: u64) -> Mono {
        Mono(self.0.saturating_sub(millis))
    }

    /// Milliseconds from `earlier` to here; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks that come with each event: deadlines run on `mono`, rows carry `unix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// The monotonic clock, in milliseconds; it stops during suspend.
    pub mono: Mono,
    /// Wall clock, in whole seconds since 1970.
    pub unix: i64,
}

impl Now {
    /// The monotonic moment at which the wall clock will show `unix`, if it keeps its pace.
    #[must_use]
    pub fn mono_at(self, unix: i64) -> Mono {
        let ahead = unix.saturating_sub(self.unix).max(0);
        self.mono.after(u64::try_from(ahead).unwrap_or(0).saturating_mul(1000))
    }

    /// The first whole second that the wall clock will show from `mono` on, if it keeps its pace.
    #[must_use]
    pub fn unix_at(self, mono: Mono) -> i64 {
        let ahead = mono.since(self.mono).div_ceil(1000);
        self.unix.saturating_add(i64::try_from(ahead).unwrap_or(i64::MAX))
    }
}

/// The earlier of two moments that may not exist.
pub(super) fn earlier<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What waits for a moment. Those that are due are served in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A failed reaping step is tried again.
    Reaper,
    /// The grace of a shutdown is over.
    Drain,
    /// The host may start processes again.
    Host,
    /// An attempt's deadline, limit, next signal or next probe.
    Attempt(SpawnId, BoardId),
    /// A board's file is opened again, rechecked, or has not answered in time.
    File(BoardId),
    /// The next look after a change notice.
    Notice(BoardId),
    /// The rows of a board change by themselves: a lease ends, a cooldown is over. By the wall clock.
    Rows(BoardId),
    /// Another dispatcher's lock is tried again.
    Lock(BoardId),
    /// A task about which the board refused something is asked about again.
    Refused(BoardId),
    /// An expired claim of another dispatcher may be reclaimed.
    Reclaim(BoardId),
    /// A board's directories are tried again.
    Directories(BoardId),
    /// Something owed to a board may be sent: a pid, a verdict, a lease.
    Send(BoardId),
    /// A lease must be renewed by the wall clock, which may run ahead of the monotonic clock.
    Lease(BoardId),
}

/// Everything that waits, by either clock: one ordered set each. What waits knows its own moment;
/// this is the index over all of them, so that a step costs what is due and not what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    mono: BTreeSet<(Mono, Key)>,
    wall: BTreeSet<(i64, Key)>,
    /// A planted bug.
    #[cfg(feature = "sabotage")]
    pub(super) forgets: bool,
}

/// They follow from what waits, which is hashed.
impl Hash for Timers {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Timers {
    /// Lets `key`, which waited for `before`, wait for `after` in its place.
    pub(super) fn set(&mut self, key: Key, before: Option<Mono>, after: Option<Mono>) {
        #[cfg(feature = "sabotage")]
        let after = after
            .filter(|_| !(self.forgets && before.is_some() && matches!(key, Key::Attempt(..))));
        swap(&mut self.mono, before.map(|at| (at, key)), after.map(|at| (at, key)));
    }

    /// The same by the wall clock, in seconds since 1970.
    pub(super) fn set_wall(&mut self, key: Key, before: Option<i64>, after: Option<i64>) {
        swap(&mut self.wall, before.map(|at| (at, key)), after.map(|at| (at, key)));
    }

    /// What is due at `now`. It stays until it is set again.
    pub(super) fn due(&self, now: Now) -> Vec<Key> {
        if self.next(now).is_none_or(|next| next > now.mono) {
            return Vec::new();
        }
        let mono = self.mono.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, key)| *key);
        let wall = self.wall.iter().take_while(|(at, _)| *at <= now.unix).map(|(_, key)| *key);
        let mut keys: Vec<Key> = mono.chain(wall).collect();
        keys.sort_unstable();
        keys
    }

    /// The next moment at which something is due, if the wall clock keeps its pace.
    pub(super) fn next(&self, now: Now) -> Option<Mono> {
        let wall = self.wall.first().map(|(unix, _)| now.mono_at(*unix));
        earlier(self.mono.first().map(|(at, _)| *at), wall)
    }
}

/// Puts `after` in the place of `before`.
pub(super) fn swap<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, after: Option<T>) {
    if before == after {
        return;
    }
    if let Some(before) = before {
        set.remove(&before);
    }
    set.extend(after);
}
