//! The only place that reads clocks.
#![expect(clippy::disallowed_methods, reason = "this is the one file that reads clocks")]

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::machine::time::{Mono, Now};

/// What the monotonic clock showed when it was first asked. It is large, so that earlier times, such
/// as the start of an adopted worker, can be represented.
const BEGAN_MS: u128 = 100 * 365 * 24 * 3_600_000;
/// When it was first asked.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The wall clock in whole seconds since 1970; negative before that.
#[must_use]
pub fn unix() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds)
        }
    }
}

/// Both clocks. The monotonic one is `CLOCK_MONOTONIC`, so suspend does not count.
#[must_use]
pub fn now() -> Now {
    let millis = BEGAN_MS + START.elapsed().as_millis();
    Now { mono: Mono(u64::try_from(millis).unwrap_or(u64::MAX)), unix: unix() }
}

/// Returns how long ago a file was written; `None` if its time is in the future.
#[must_use]
pub fn age_of(written: SystemTime) -> Option<std::time::Duration> {
    SystemTime::now().duration_since(written).ok()
}
