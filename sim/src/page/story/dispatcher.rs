//! Dispatchers: when each lived, and what its questions and answers say of boards and processes. Those
//! are read from the text of the records.

use std::ops::Range;

use super::Story;
use super::board::{Board, Outcome};
use super::process::Start;
use crate::trace::What;

/// A dispatcher's place.
#[derive(Clone, Debug, Default)]
pub struct Seat {
    /// Its lives.
    pub lives: Vec<Range<usize>>,
    /// It is alive when the run ends.
    pub alive: bool,
    /// Everything about it.
    pub marks: Vec<usize>,
}

impl Seat {
    /// Who is alive lives until the end.
    pub(super) fn close(&mut self, end: usize) {
        if let Some(life) = self.lives.last_mut().filter(|_| self.alive) {
            life.end = end;
        }
    }
}

impl Story {
    /// Something happened to a dispatcher, or was done by it.
    pub(super) fn dispatcher(&mut self, n: usize, seat: usize, what: &What) {
        self.acting = Some(seat);
        let place = self.seats.entry(seat).or_default();
        place.marks.push(n);
        match what {
            What::Note(text) if text.starts_with("begins") => {
                place.lives.push(n..n);
                place.alive = true;
            }
            What::Note(text) if text.starts_with("dies") => self.dies(n, seat),
            What::Event(text) => self.told(n, seat, text),
            What::Effect(text) => self.asks(n, seat, text),
            What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Fault(_)
            | What::Calm
            | What::Broken { .. } => {}
        }
    }

    fn dies(&mut self, n: usize, seat: usize) {
        let place = self.seats.entry(seat).or_default();
        place.alive = false;
        if let Some(life) = place.lives.last_mut() {
            life.end = n;
        }
        self.starts.retain(|start| start.seat != seat);
        for board in self.boards.values_mut() {
            board.answered(n, seat, None, Outcome::Lost);
            board.back(n, seat);
        }
        self.processes.values_mut().for_each(|process| process.left(n, seat));
    }

    fn told(&mut self, n: usize, seat: usize, text: &str) {
        let spawn = number(text, "SpawnId(");
        match name(text) {
            "Exchanged" | "Connected" => {
                let Some(board) = self.board_of(text) else { return };
                let wrote = text
                    .split_once("taken: [")
                    .and_then(|(_, rest)| rest.split(']').next())
                    .is_some_and(|taken| taken.contains("Yes") || taken.contains("Claimed"));
                let outcome = if wrote { Outcome::Wrote } else { Outcome::Looked };
                let writes = board.answered(n, seat, number(text, "seq: "), outcome);
                board.heal(
                    n,
                    if writes { &["busy", "disk full", "read-only"] } else { &["busy"] },
                    true,
                );
            }
            "ExchangeFailed" | "ConnectFailed" => {
                let maybe = text.contains("commit: Maybe");
                let outcome = if maybe { Outcome::Maybe } else { Outcome::Failed };
                if let Some(board) = self.board_of(text) {
                    board.answered(n, seat, number(text, "seq: "), outcome);
                }
            }
            "SpawnCancelled" | "SpawnFailed" => {
                self.starts.retain(|start| start.seat != seat || start.spawn != spawn);
            }
            _ => {}
        }
    }

    fn asks(&mut self, n: usize, seat: usize, text: &str) {
        match name(text) {
            "Exchange" | "Connect" => {
                let writes = text.contains("changes: [") && !text.contains("changes: []");
                if let Some(board) = self.board_of(text) {
                    board.ask(n, seat, writes, number(text, "seq: "));
                }
            }
            "Spawn" => {
                let task = text.split_once("task: ").and_then(|(_, rest)| rest.split(',').next());
                self.starts.push(Start {
                    seat,
                    spawn: number(text, "SpawnId("),
                    task: task.unwrap_or_default().to_owned(),
                });
            }
            "Report" if text.starts_with("Report(BoardSick") => {
                if let Some(board) = self.board_of(text) {
                    board.set_aside(n, seat);
                }
            }
            "Report" if text.starts_with("Report(BoardWell") => {
                if let Some(board) = self.board_of(text) {
                    board.back(n, seat);
                }
            }
            _ => {}
        }
    }

    fn board_of(&mut self, text: &str) -> Option<&mut Board> {
        let board = u32::try_from(number(text, "BoardId(")?).ok()?;
        Some(self.boards.entry(board).or_default())
    }
}

/// The name with which a text begins.
fn name(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// The number behind a mark.
fn number(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
