//! The log: to standard error, for people on a terminal, for programs elsewhere if they ask.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::LogFormat;

/// Starts the log. `SEXTON_LOG` sets its level, as in `SEXTON_LOG=debug`.
pub fn start(format: Option<LogFormat>, default: &str) {
    let filter = EnvFilter::try_from_env("SEXTON_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // A second start, as in tests, changes nothing.
    let _started = match format {
        Some(LogFormat::Json) => log.json().try_init(),
        Some(LogFormat::Human) | None => log.with_ansi(wants_colour()).try_init(),
    };
}

fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_set("NO_COLOR")
}
