//! The log: to standard error, for people on a terminal, for programs elsewhere if they ask. Nothing
//! waits for it: see [`queue`].

mod queue;

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use queue::Queue;

use super::colour::wants_colour;
use super::failure::Failure;
use super::globals::LogFormat;

/// Lines that wait for standard error, at the most: some MB, and minutes of an ordinary day.
const ROOM: usize = 8192;
/// How long the end of the program waits for the last lines to be written.
const PATIENCE: Duration = Duration::from_secs(2);

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Starts the log. `SEXTON_LOG` sets its level, as in `SEXTON_LOG=debug`.
pub fn start(format: Option<LogFormat>, default: &str) -> Result<(), Failure> {
    let as_json = format == Some(LogFormat::Json);
    let queue = Queue::start(io::stderr(), ROOM, if as_json { lost_json } else { lost_human })
        .map_err(|error| Failure::Refused(format!("cannot start the log: {error}")))?;
    let queue = QUEUE.get_or_init(|| queue);
    let filter = EnvFilter::try_from_env("SEXTON_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(move || queue.clone())
        .log_internal_errors(false)
        .with_target(false);
    // A second start, as in tests, changes nothing.
    let _started = match format {
        Some(LogFormat::Json) => log.json().try_init(),
        Some(LogFormat::Human) | None => log.with_ansi(wants_colour(&io::stderr())).try_init(),
    };
    Ok(())
}

/// Says something on standard error that is not of the log, in its place among what is.
pub fn say(text: impl Display) {
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{text}\n").into_bytes()),
        // That it cannot be written changes nothing.
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// The last lines go out before the program ends, unless nobody takes them.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.finish(PATIENCE);
    }
}

fn lost_human(lost: u64) -> String {
    format!("{:.6}  WARN {}\n", Timestamp::now(), lost_text(lost))
}

fn lost_json(lost: u64) -> String {
    let timestamp = format!("{:.6}", Timestamp::now());
    let fields = json!({"message": lost_text(lost)});
    format!("{}\n", json!({"timestamp": timestamp, "level": "WARN", "fields": fields}))
}

fn lost_text(lost: u64) -> String {
    format!("{lost} line(s) of this log are lost: standard error did not take them")
}
