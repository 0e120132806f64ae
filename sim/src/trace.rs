//! What happened in a run: a hash over all of it and, where a trace is wanted, one record
//! each.

pub mod json;

use std::fmt;
use std::hash::{Hash, Hasher};

use sexton::machine::effect::Effect;
use sexton::machine::event::Event;
use sexton::machine::ids::{BoardId, Pid, TaskId};
use sexton::machine::verdict::ExitStatus;

use crate::board::Instance;
use crate::fault::Fault;
use crate::kernel::Uid;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, in milliseconds since the beginning.
    pub at: u64,
    /// The dispatcher, board or process that it concerns.
    pub who: Who,
    /// What happened.
    pub what: What,
}

/// The parties of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The world as a whole.
    World,
    /// A dispatcher, by the number of its seat.
    Dispatcher(usize),
    /// A board, by its number.
    Board(BoardId),
    /// A process, by its unique number.
    Process(Uid),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Who::World => "world".to_owned(),
            Who::Dispatcher(seat) => format!("sexton {seat}"),
            Who::Board(board) => format!("board {}", board.0),
            Who::Process(uid) => format!("process {}", uid.0),
        };
        f.pad(&text)
    }
}

/// Everything that can happen in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A dispatcher got this event.
    Event(Event),
    /// A dispatcher asked for this.
    Effect(Effect),
    /// A dispatcher was started.
    Begins(Instance),
    /// A dispatcher crashed.
    Dies,
    /// A process was started.
    Started {
        /// Its pid, which may be reused.
        pid: Pid,
        /// Where it comes from.
        origin: Origin,
    },
    /// A process exited or was killed.
    Ended {
        /// Its exit status.
        status: ExitStatus,
        /// The seat of the dispatcher that must reap it; `None` if its parent or pid 1 does so
        /// immediately.
        reaper: Option<usize>,
    },
    /// A process was reaped.
    Reaped,
    /// The header of a board's file was overwritten.
    Overwritten,
    /// A board's file was removed.
    Removed,
    /// Another file was put in the place of a board's.
    Replaced,
    /// Something else was done to a board.
    Note(String),
    /// A fault was injected.
    Fault(Fault),
    /// No faults from here on.
    Calm,
    /// A promise was broken.
    Broken {
        /// Name of the promise.
        promise: &'static str,
        /// How it was broken, in a sentence.
        how: String,
    },
}

/// Where a process comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A dispatcher started it.
    Worker {
        /// Number of the dispatcher's seat.
        seat: usize,
        /// The task that it works on.
        task: TaskId,
    },
    /// A worker started it: it is in that worker's group.
    Member {
        /// The leader of the group.
        leader: Uid,
    },
    /// It has nothing to do with sexton, and a pid that came back.
    Stranger,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Worker { task, .. } => task.fmt(f),
            Origin::Member { .. } => f.write_str("a group"),
            Origin::Stranger => f.write_str("somebody else"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.at / 1000, self.at % 1000);
        write!(f, "{seconds:>6}.{millis:03}  {:<11}  {}", self.who, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Event(event) => write!(f, "<- {event:?}"),
            What::Effect(effect) => write!(f, "   -> {effect:?}"),
            What::Begins(instance) => write!(f, "begins as {}", instance.0),
            What::Dies => f.write_str("dies"),
            What::Started { pid, origin } => write!(f, "started, pid {} for {origin}", pid.0),
            What::Ended { status, .. } => write!(f, "ended, {status:?}"),
            What::Reaped => f.write_str("reaped"),
            What::Overwritten => f.write_str("its header is overwritten"),
            What::Removed => f.write_str("its file is removed"),
            What::Replaced => f.write_str("another file takes its place"),
            What::Note(text) => f.write_str(text),
            What::Fault(fault) => write!(f, "!! {}", fault.name()),
            What::Calm => f.write_str("== no more faults"),
            What::Broken { promise, how } => write!(f, "## BROKEN {promise}: {how}"),
        }
    }
}

/// A hash over everything that happened: the same in every process, on every host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trail(u64);

impl Trail {
    /// Goes on with this.
    pub fn follow(&mut self, what: &impl Hash) {
        what.hash(self);
    }

    /// What has come together.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Hasher for Trail {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}
