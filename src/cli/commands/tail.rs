//! `sexton tail`: a task's events and log as they come.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::json;

use crate::board::card::{self, Event, Opened};
use crate::cli::describe::{event_json, event_line};
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::cli::watch::Watch;
use crate::regular;
use crate::runtime::clock;

/// Follow a task's events and log until it is over or blocked, or until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton tail t_0123abcd
  sexton tail t_0123abcd --json     one JSON object a line")]
pub struct Args {
    /// Id of the task.
    #[arg(value_name = "TASK")]
    id: String,
}

/// Follows the task until it is done.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let board = place.board()?;
    // Kept open all the time: this is cheaper, and other processes that close the board cannot
    // delete its WAL.
    let opened = card::open_to_follow(&board.db)?;
    card::find(&opened.conn, &opened.columns, &args.id)?;
    let mut watch = Watch::new(&[board.db.parent(), Some(&board.logs)])?;
    let mut log = Log { path: board.log(&args.id), offset: 0, line: Vec::new() };
    let mut printer = Printer { out: Out::new(), json: globals.json };
    let mut last_event = 0;
    loop {
        // The status first: what was written before the task ended is then read after it.
        let is_over = is_over(&opened, &args.id)?;
        for event in card::events_after(&opened.conn, &args.id, last_event)? {
            last_event = event.id;
            printer.event(&event)?;
        }
        for line in log.read() {
            printer.log_line(&line)?;
        }
        if is_over {
            log.rest().map_or(Ok(()), |line| printer.log_line(&line))?;
            return printer.out.flush();
        }
        printer.out.flush()?;
        watch.wait()?;
    }
}

/// A task that was removed is over too.
fn is_over(opened: &Opened, id: &str) -> Result<bool, Failure> {
    match card::find(&opened.conn, &opened.columns, id) {
        Ok(task) => Ok(matches!(task.status.as_str(), "done" | "archived" | "blocked" | "triage")),
        Err(card::CardError::NoTask(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

struct Printer {
    out: Out,
    json: bool,
}

impl Printer {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.json {
            self.out.line(json!({"event": event_json(event)}))
        } else {
            self.out.line(event_line(event, clock::unix()))
        }
    }

    fn log_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        if self.json {
            self.out.line(json!({"log": String::from_utf8_lossy(line)}))
        } else {
            self.out.bytes(line)?;
            self.out.bytes(b"\n")
        }
    }
}

/// A log file that grows, and may be rotated.
struct Log {
    path: Option<PathBuf>,
    offset: u64,
    /// A line whose end has not been written yet.
    line: Vec<u8>,
}

/// What is read at a time; the rest comes with the next look.
const CHUNK: u64 = 1 << 20;

impl Log {
    /// The lines that were finished since the last look. A log that cannot be read has none.
    fn read(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        while let Ok(bytes) = self.more()
            && !bytes.is_empty()
        {
            for byte in bytes {
                if byte == b'\n' {
                    lines.push(std::mem::take(&mut self.line));
                } else {
                    self.line.push(byte);
                }
            }
        }
        lines
    }

    /// The last line, if its end never came.
    fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.line.is_empty()).then(|| std::mem::take(&mut self.line))
    }

    fn more(&mut self) -> io::Result<Vec<u8>> {
        let path = self.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut file = regular::open(path)?;
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        let count = file.take(CHUNK).read_to_end(&mut bytes)?;
        self.offset += u64::try_from(count).unwrap_or(0);
        Ok(bytes)
    }
}
