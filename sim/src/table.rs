//! The machine as two tables: what each event does to an attempt in each stage, and to the file of a
//! board in each state. The cells come from simulated worlds; a cell that none of them meets is
//! tried on a machine in that state, and names the code that keeps worlds from meeting it.

mod axes;
mod cause;
mod impossible;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sexton::machine::Dispatcher;
use sexton::machine::attempt::Attempt;
use sexton::machine::effect::Effect;
use sexton::machine::event::Event;
use sexton::machine::ids::{BoardId, SpawnId};
use sexton::machine::time::Now;

use crate::sweep::{SIZE, entropy};
use crate::world::{Options, run};

pub use impossible::{IMPOSSIBLE, Impossible, wrong};

use axes::{Cell, LINKS, STAGES, TO_ATTEMPTS, TO_BOARDS, link_name, stage_name};
use cause::{board_cause, cause_for, events_for};
use outcome::{attempt_outcome, board_outcome};

/// Worlds from which the tables are made.
pub const SEEDS: u64 = 8_000;

/// Which cells were met, and what came of them.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    met: BTreeMap<Cell, BTreeSet<String>>,
    /// A machine with an attempt, or a board, in each state.
    samples: BTreeMap<&'static str, Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    machine: Dispatcher,
    now: Now,
    board: BoardId,
    spawn: Option<SpawnId>,
}

/// How a machine stood before an event.
pub struct Before {
    now: Now,
    attempts: Vec<(BoardId, Attempt)>,
    boards: Vec<(BoardId, &'static str)>,
}

impl Before {
    /// This machine, to which something will happen at `now`.
    #[must_use]
    pub fn of(machine: &Dispatcher, now: Now) -> Before {
        let attempts = machine.attempts().map(|(board, attempt)| (board, attempt.clone()));
        let boards = machine.boards().map(|board| (board.id(), link_name(board)));
        Before { now, attempts: attempts.collect(), boards: boards.collect() }
    }
}

impl Cells {
    /// Writes down what an event did.
    pub fn note(
        &mut self,
        before: &Before,
        event: &Event,
        machine: &Dispatcher,
        effects: &[Effect],
    ) {
        for (board, attempt) in &before.attempts {
            if let Some(cause) = cause_for(attempt, *board, event, before.now) {
                let cell = (stage_name(attempt.stage()), cause);
                let outcome = attempt_outcome(attempt, machine, effects);
                self.met.entry(cell).or_default().insert(outcome);
            }
        }
        for (board, link) in &before.boards {
            if let Some(cause) = board_cause(*board, event) {
                let outcome = board_outcome(*board, link, machine, effects);
                self.met.entry((link, cause)).or_default().insert(outcome);
            }
        }
        self.keep_samples(machine, before.now);
    }

    fn keep_samples(&mut self, machine: &Dispatcher, now: Now) {
        for (board, attempt) in machine.attempts() {
            let spawn = Some(attempt.id());
            let sample = || Sample { machine: machine.clone(), now, board, spawn };
            self.samples.entry(stage_name(attempt.stage())).or_insert_with(sample);
        }
        for board in machine.boards() {
            let board_id = board.id();
            let sample = || Sample { machine: machine.clone(), now, board: board_id, spawn: None };
            self.samples.entry(link_name(board)).or_insert_with(sample);
        }
    }

    fn add(&mut self, other: Cells) {
        for (cell, outcomes) in other.met {
            self.met.entry(cell).or_default().extend(outcomes);
        }
        for (state, sample) in other.samples {
            self.samples.entry(state).or_insert(sample);
        }
    }

    /// Of a cell that was not met: what a machine in that state does.
    fn tried(&self, cell: Cell) -> String {
        let Some(sample) = self.samples.get(cell.0) else { return "never seen".to_owned() };
        let (machine, now) = (&mut sample.machine.clone(), sample.now);
        let before = Before::of(machine, now);
        let mut effects = Vec::new();
        let (events, at) = events_for(cell.1, sample, &before);
        for event in events {
            machine.step(at, event, &mut effects);
        }
        match sample.spawn {
            Some(spawn) => {
                let attempt = before.attempts.iter().find(|(_, a)| a.id() == spawn);
                attempt.map_or_else(String::new, |(_, a)| attempt_outcome(a, machine, &effects))
            }
            None => board_outcome(sample.board, cell.0, machine, &effects),
        }
    }
}

/// Runs this many worlds.
#[must_use]
pub fn cells(seeds: u64) -> Cells {
    let mut cells = Cells::default();
    for seed in 0..seeds {
        let options = Options { cells: true, ..Options::default() };
        cells.add(run(entropy(seed, SIZE), options).cells.unwrap_or_default());
    }
    cells
}

/// The two tables in Markdown.
#[must_use]
pub fn markdown(cells: &Cells) -> String {
    let mut text = String::from(
        "Made by `cargo sim table` from simulated worlds: what comes of each event, by the state in \
         which it is taken in. Several outcomes of one cell depend on the event's content. Cells in \
         *italics* were met by no world; what stands there was tried on a machine in that state.\n",
    );
    table(&mut text, cells, "An attempt", &STAGES, &TO_ATTEMPTS);
    table(&mut text, cells, "The file of a board", &LINKS, &TO_BOARDS);
    text.push_str("\nWhy no world meets a cell in italics:\n\n");
    for Impossible { states, causes, why, code, file } in IMPOSSIBLE {
        let (states, causes) = (states.join(", "), causes.join("; "));
        let _written = writeln!(text, "* {states} × {causes}: {why} (`{code}` in `{file}`).");
    }
    text
}

fn table(
    text: &mut String,
    cells: &Cells,
    what: &str,
    states: &[&'static str],
    causes: &[&'static str],
) {
    let _written = writeln!(text, "\n| {what} | {} |", states.join(" | "));
    let _written = writeln!(text, "|---|{}", "---|".repeat(states.len()));
    for cause in causes {
        let _written = write!(text, "| {cause} |");
        for state in states {
            let _written = match cells.met.get(&(*state, *cause)) {
                Some(outcomes) => {
                    let outcomes: Vec<&str> = outcomes.iter().map(String::as_str).collect();
                    write!(text, " {} |", outcomes.join(" / "))
                }
                None => write!(text, " *{}* |", cells.tried((state, cause))),
            };
        }
        text.push('\n');
    }
}
