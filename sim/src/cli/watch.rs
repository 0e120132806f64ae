//! How long something takes. The one place of this program that reads a clock: no world does.
#![allow(clippy::disallowed_methods, reason = "this is where the clock is read")]

use std::time::{Duration, Instant};

/// Runs since it was made.
pub struct Watch(Instant);

impl Watch {
    /// Starts the stopwatch.
    pub fn start() -> Watch {
        Watch(Instant::now())
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
