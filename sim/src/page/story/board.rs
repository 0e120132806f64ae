//! Boards: what was asked of each and what came of it, what is wrong with it and for how long, and who
//! leaves it alone meanwhile.

use std::ops::Range;

use crate::fault::Fault;
use crate::trace::What;

/// What came of a request to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, and wrote something.
    Wrote,
    /// It was answered, and wrote nothing.
    Looked,
    /// It failed, and wrote nothing.
    Failed,
    /// It failed, and may have written.
    Maybe,
    /// Nobody was there any more to be told.
    Lost,
    /// It was not answered before the run ended.
    Open,
}

/// A request to a board, from being sent to being answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub seat: usize,
    pub from: usize,
    pub to: usize,
    pub outcome: Outcome,
    writes: bool,
    seq: Option<u64>,
}

/// What is wrong with a board for a while.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub name: &'static str,
    pub from: usize,
    pub to: usize,
    /// When it ended is not told: this is when it was first seen to have ended.
    pub seen: bool,
}

/// A board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub asked: Vec<Asked>,
    pub troubles: Vec<Trouble>,
    /// Times in which a dispatcher leaves it alone, because it failed.
    pub aside: Vec<(usize, Range<usize>)>,
    /// Faults and what was noted.
    pub marks: Vec<usize>,
}

impl Board {
    /// Something happened to it.
    pub(super) fn happens(&mut self, n: usize, what: &What) {
        self.marks.push(n);
        let trouble = match what {
            What::Note(text) if text == "its header is overwritten" => "corrupt",
            What::Note(text) if text == "its file is removed" => "removed",
            What::Note(text) if text == "another file takes its place" => {
                return self.heal(n, &["corrupt", "removed"], false);
            }
            What::Fault(Fault::BusyShort | Fault::BusyLong | Fault::BusyForEver) => "busy",
            What::Fault(Fault::DiskFull) => "disk full",
            What::Fault(Fault::ReadOnly) => "read-only",
            What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Fault(_)
            | What::Calm
            | What::Broken { .. } => return,
        };
        self.heal(n, &[trouble], true);
        self.troubles.push(Trouble { name: trouble, from: n, to: usize::MAX, seen: false });
    }

    /// A dispatcher asks for something.
    pub(super) fn ask(&mut self, n: usize, seat: usize, writes: bool, seq: Option<u64>) {
        let outcome = Outcome::Open;
        self.asked.push(Asked { seat, from: n, to: n, outcome, writes, seq });
    }

    /// A request is over. Says whether it was to write anything.
    pub(super) fn answered(
        &mut self,
        n: usize,
        seat: usize,
        seq: Option<u64>,
        outcome: Outcome,
    ) -> bool {
        let open = |asked: &&mut Asked| {
            asked.outcome == Outcome::Open
                && asked.seat == seat
                && (seq.is_none() || asked.seq == seq)
        };
        let Some(asked) = self.asked.iter_mut().rev().find(open) else { return false };
        (asked.to, asked.outcome) = (n, outcome);
        asked.writes
    }

    /// These troubles are over. `seen`: not when they ended, but when that was first seen.
    pub(super) fn heal(&mut self, n: usize, names: &[&str], seen: bool) {
        for trouble in &mut self.troubles {
            if trouble.to == usize::MAX && names.contains(&trouble.name) {
                (trouble.to, trouble.seen) = (n, seen);
            }
        }
    }

    /// A dispatcher leaves it alone from here on, because it failed.
    pub(super) fn set_aside(&mut self, n: usize, seat: usize) {
        self.back(n, seat);
        self.aside.push((seat, n..usize::MAX));
    }

    /// A dispatcher leaves it alone no more.
    pub(super) fn back(&mut self, n: usize, seat: usize) {
        for (of, aside) in &mut self.aside {
            if *of == seat && aside.end == usize::MAX {
                aside.end = n;
            }
        }
    }

    /// Whatever is open lasts until the end.
    pub(super) fn close(&mut self, end: usize) {
        for asked in self.asked.iter_mut().filter(|asked| asked.outcome == Outcome::Open) {
            asked.to = end;
        }
        self.troubles.iter_mut().for_each(|trouble| trouble.to = trouble.to.min(end));
        self.aside.iter_mut().for_each(|(_, aside)| aside.end = aside.end.min(end));
    }
}
