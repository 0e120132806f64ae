//! What becomes of each dispatcher, board and process, read from the records. The records do not
//! tell everything: where they are silent, this says so and does not guess.
//!
//! Each party has a file with what is known of it and how its own records are read; here is what
//! concerns all of them.

mod board;
mod dispatcher;
mod process;

use std::collections::BTreeMap;

use crate::kernel::Uid;
use crate::trace::{Record, What, Who};

pub use board::{Asked, Board, Outcome, Trouble};
pub use dispatcher::Seat;
pub use process::{Gone, Process};

use process::Start;

/// All of it.
#[derive(Default)]
pub struct Story {
    pub seats: BTreeMap<usize, Seat>,
    pub boards: BTreeMap<u32, Board>,
    pub processes: BTreeMap<Uid, Process>,
    pub calm: Option<usize>,
    pub broken: Option<usize>,
    /// Faults and notes of the world as a whole.
    pub world: Vec<usize>,
    starts: Vec<Start>,
    /// Which dispatcher was the last to do anything.
    acting: Option<usize>,
}

impl Story {
    /// Reads the records.
    pub fn of(records: &[Record]) -> Story {
        let mut story = Story::default();
        for (n, record) in records.iter().enumerate() {
            match record.who {
                Who::World => story.world(n, &record.what),
                Who::Dispatcher(seat) => story.dispatcher(n, seat, &record.what),
                Who::Board(board) => {
                    story.boards.entry(board.0).or_default().happens(n, &record.what)
                }
                Who::Process(uid) => story.process(n, uid, &record.what),
            }
        }
        let end = records.len().saturating_sub(1);
        story.seats.values_mut().for_each(|seat| seat.close(end));
        story.boards.values_mut().for_each(|board| board.close(end));
        story
    }

    fn world(&mut self, n: usize, what: &What) {
        match what {
            What::Calm => {
                self.calm = Some(n);
                for board in self.boards.values_mut() {
                    board.heal(n, &["busy", "disk full", "read-only"], true);
                }
            }
            What::Broken { .. } => self.broken = Some(n),
            What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Fault(_) => self.world.push(n),
        }
    }
}

#[cfg(test)]
mod tests;
