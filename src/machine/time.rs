//! Time, as the machine sees it: handed in with each event, never read.

/// A point on the monotonic clock, in milliseconds since an arbitrary start. Suspend does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// `millis` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, millis: u64) -> Mono {
        Mono(self.0.saturating_add(millis))
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
    /// Monotonic milliseconds.
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
