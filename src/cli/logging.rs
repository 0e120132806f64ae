//! The log, on standard error: for people, or for programs if they ask for JSON. Nothing waits for
//! it: see [`queue`].

mod queue;

use std::env::{self, VarError};
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use queue::Queue;

use super::colour::wants_colour;
use super::failure::Failure;
use super::globals::LogFormat;
use super::plain::plain;

/// At most this many lines wait for standard error: some MB, and minutes of an ordinary day.
const ROOM: usize = 8192;
/// How long the end of the program waits for the last lines to be written.
const PATIENCE: Duration = Duration::from_secs(2);

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Starts the log. `SEXTON_LOG` sets its level, as in `SEXTON_LOG=debug`; unset or empty means
/// `default`.
pub fn start(format: Option<LogFormat>, default: &str) -> Result<(), Failure> {
    let filter = filter(default)?;
    let as_json = format == Some(LogFormat::Json);
    let queue = Queue::start(io::stderr(), ROOM, if as_json { lost_json } else { lost_human })
        .map_err(|error| Failure::Refused(format!("cannot start the log: {error}")))?;
    let queue = QUEUE.get_or_init(|| queue);
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

fn filter(default: &str) -> Result<EnvFilter, Failure> {
    let text = match env::var("SEXTON_LOG") {
        Ok(text) if !text.is_empty() => text,
        Ok(_) | Err(VarError::NotPresent) => return Ok(EnvFilter::new(default)),
        Err(VarError::NotUnicode(_)) => return Err(invalid("not valid UTF-8")),
    };
    if let Some(word) = text.split(',').map(str::trim).find(|word| selects_nothing(word)) {
        return Err(invalid(format_args!("`{}` is not a level", plain(word))));
    }
    EnvFilter::try_new(&text).map_err(|error| invalid(format_args!("`{}`: {error}", plain(&text))))
}

/// Whether a directive is a bare word that only looks like a level. The library takes it for the name
/// of a crate, and the log would stay empty.
fn selects_nothing(directive: &str) -> bool {
    let is_bare = !directive.is_empty() && directive.chars().all(|c| c.is_ascii_alphanumeric());
    is_bare && directive != "sexton" && directive.parse::<LevelFilter>().is_err()
}

fn invalid(why: impl Display) -> Failure {
    Failure::Usage(format!("SEXTON_LOG is invalid: {why}; write for example SEXTON_LOG=debug"))
}

/// Writes a line to standard error through the log's queue, so that it keeps its order.
pub fn say(text: impl Display) {
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{text}\n").into_bytes()),
        // A failure of this write cannot be reported anywhere.
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Waits for the last lines to be written, within a limit: a full pipe must not keep the program.
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
