//! The machine as two tables: what each event does to an attempt in each stage, and to the file of a
//! board in each state. The cells come from simulated worlds; a cell that none of them meets is
//! tried on a machine in that state, and names the code that keeps worlds from meeting it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sexton::machine::Dispatcher;
use sexton::machine::adoption::{self, Evidence, Finding, Process, Record};
use sexton::machine::attempt::{Attempt, Stage};
use sexton::machine::board::{Board, Link};
use sexton::machine::effect::{Effect, Report};
use sexton::machine::event::{Event, Group, Signal, SignalOutcome};
use sexton::machine::exchange::Answer;
use sexton::machine::fault::{Blame, Commit, Fault, FaultClass};
use sexton::machine::ids::{BoardId, Pid, SpawnId};
use sexton::machine::time::{Mono, Now};
use sexton::machine::verdict::ExitStatus;

use crate::sweep::{SIZE, entropy};
use crate::world::{Options, run};

/// Worlds from which the tables are made.
pub const SEEDS: u64 = 8_000;

/// The stages of an attempt, in their order.
const STAGES: [&str; 8] =
    ["Claiming", "Finding", "Preparing", "Cancelling", "Running", "Ending", "Draining", "Gone"];
/// What happens to an attempt.
const TO_ATTEMPTS: [&str; 18] = [
    "Exchanged",
    "ExchangeFailed",
    "SpawnOk",
    "SpawnFailed",
    "SpawnCancelled",
    "ChildExited, alone",
    "ChildExited, others live",
    "Signalled, gone",
    "Signalled, else",
    "its moment comes",
    "the grace is over",
    "Abort",
    "Found, runs",
    "Found, ended",
    "Found, left over",
    "Found, never started",
    "Found, cannot tell",
    "Found, too late",
];
/// What an answer about an adopted attempt may say.
const FOUND: [&str; 5] = [
    "Found, runs",
    "Found, ended",
    "Found, left over",
    "Found, never started",
    "Found, cannot tell",
];
/// The states of a board's file, in their order.
const LINKS: [&str; 5] = ["Absent", "Connecting", "Idle", "Exchanging", "Quarantined"];
/// What happens to a board.
const TO_BOARDS: [&str; 9] = [
    "BoardAdded",
    "BoardRemoved",
    "BoardChanged",
    "Connected",
    "ConnectFailed",
    "Exchanged",
    "ExchangeFailed",
    "Tick",
    "Wake",
];

/// A state and what happens in it.
type Cell = (&'static str, &'static str);

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

/// Why no world meets some cells.
pub struct Impossible {
    /// The states.
    pub states: &'static [&'static str],
    /// What would happen in them.
    pub causes: &'static [&'static str],
    /// The reason.
    pub why: &'static str,
    /// The code that sees to it.
    pub code: &'static str,
    /// Its file, from the top of the project.
    pub file: &'static str,
}

/// The cells that no world meets.
pub const IMPOSSIBLE: &[Impossible] = &[
    Impossible {
        states: &["Claiming"],
        causes: &[
            "SpawnOk",
            "SpawnFailed",
            "SpawnCancelled",
            "ChildExited, alone",
            "ChildExited, others live",
            "Signalled, gone",
            "Signalled, else",
        ],
        why: "nothing is spawned before the claim took",
        code: "if let Input::ClaimTook(_) = input {",
        file: "src/machine/board/pass.rs",
    },
    Impossible {
        states: &["Finding"],
        causes: &["SpawnOk", "SpawnFailed", "SpawnCancelled"],
        why: "what was adopted is not spawned",
        code: "Change::Adopt { spawn, orphan, .. } => self.adopt_answered(spawn, orphan, taken, turn),",
        file: "src/machine/board/pass.rs",
    },
    Impossible {
        states: &["Claiming", "Preparing", "Cancelling"],
        causes: &["Found, too late"],
        why: "only what was adopted is looked for, and it is never spawned",
        code: "(S::Claiming { .. }, I::Adopted(it)) => S::Finding(act.find(it)),",
        file: "src/machine/attempt/table.rs",
    },
    Impossible {
        states: &["Claiming", "Preparing", "Cancelling", "Running", "Ending", "Draining", "Gone"],
        causes: &FOUND,
        why: "what is not looked for was found too late, whatever was found",
        code: "Event::Found { spawn, .. } if mine(spawn) && !is_looked_for(attempt) => {",
        file: "sim/src/table.rs",
    },
    Impossible {
        states: &["Finding"],
        causes: &["Found, too late"],
        why: "what is looked for is found in time",
        code: "Event::Found { spawn, .. } if mine(spawn) && !is_looked_for(attempt) => {",
        file: "sim/src/table.rs",
    },
    Impossible {
        states: &["Running", "Ending", "Draining"],
        causes: &["SpawnFailed"],
        why: "a spawn that made a process has not failed",
        code: "let Some(uid) = made else {",
        file: "sim/src/world/life.rs",
    },
    Impossible {
        states: &["Preparing", "Running", "Ending", "Draining", "Gone"],
        causes: &["SpawnCancelled"],
        why: "a spawn is called off in the step that asks for it, or not at all",
        code: "Effect::CancelSpawn { spawn } => {",
        file: "sim/src/world/perform.rs",
    },
    Impossible {
        states: &["Draining", "Gone"],
        causes: &["ChildExited, alone", "ChildExited, others live"],
        why: "the kernel hands out an exit once",
        code: "let process = self.table.remove(at);",
        file: "sim/src/kernel.rs",
    },
    Impossible {
        states: &["Finding", "Preparing", "Cancelling", "Running"],
        causes: &["Signalled, gone", "Signalled, else"],
        why: "a signal is sent only to what is being ended, and answered at once",
        code: "fn signal(&mut self, signal: Signal) {",
        file: "src/machine/attempt/acts.rs",
    },
    Impossible {
        states: &["Gone"],
        causes: &["Signalled, gone", "Signalled, else"],
        why: "nothing of it is signalled any more",
        code: "S::Claiming { .. } | S::Cancelling(_) | S::Running(_) | S::Gone { .. }, I::Alarm",
        file: "src/machine/attempt/table.rs",
    },
    Impossible {
        states: &["Claiming", "Cancelling", "Gone"],
        causes: &["its moment comes"],
        why: "it waits for no moment",
        code: "Stage::Claiming { .. } | Stage::Cancelling(_) | Stage::Gone { .. } => None,",
        file: "src/machine/attempt/stage.rs",
    },
    Impossible {
        states: &["Absent"],
        causes: &TO_BOARDS,
        why: "it is opened in the step that adds it",
        code: "Link::Absent => Some(Mono(0)),",
        file: "src/machine/board/link.rs",
    },
];

impl Impossible {
    fn is_about(&self, (state, cause): Cell) -> bool {
        self.states.contains(&state) && self.causes.contains(&cause)
    }
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

/// What is wrong with [`IMPOSSIBLE`]: cells that were met all the same, and, if `all` worlds were run,
/// cells that were not met and stand in no row.
#[must_use]
pub fn wrong(cells: &Cells, all: bool) -> Vec<String> {
    every_cell()
        .filter_map(|cell| {
            let met = cells.met.contains_key(&cell);
            let listed = IMPOSSIBLE.iter().any(|row| row.is_about(cell));
            match (met, listed) {
                (true, true) => Some(format!("{cell:?} is met, and listed as impossible")),
                (false, false) if all => Some(format!("{cell:?} is not met, and not listed")),
                (true, false) | (false, true | false) => None,
            }
        })
        .collect()
}

fn every_cell() -> impl Iterator<Item = Cell> {
    let pairs = |states: &'static [&'static str], causes: &'static [&'static str]| {
        states.iter().flat_map(move |state| causes.iter().map(move |cause| (*state, *cause)))
    };
    pairs(&STAGES, &TO_ATTEMPTS).chain(pairs(&LINKS, &TO_BOARDS))
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Claiming { .. } => "Claiming",
        Stage::Finding(_) => "Finding",
        Stage::Preparing(_) => "Preparing",
        Stage::Cancelling(_) => "Cancelling",
        Stage::Running(_) => "Running",
        Stage::Ending(_) => "Ending",
        Stage::Draining(_) => "Draining",
        Stage::Gone { .. } => "Gone",
    }
}

fn link_name(board: &Board) -> &'static str {
    match board.link() {
        Link::Absent => "Absent",
        Link::Connecting(_) => "Connecting",
        Link::Idle => "Idle",
        Link::Exchanging(_) => "Exchanging",
        Link::Quarantined(_) => "Quarantined",
    }
}

/// What an event is to this attempt, if anything.
fn cause_for(attempt: &Attempt, on: BoardId, event: &Event, now: Now) -> Option<&'static str> {
    let mine = |spawn: &SpawnId| *spawn == attempt.id();
    match event {
        Event::Exchanged { board, .. } if *board == on => Some("Exchanged"),
        Event::ExchangeFailed { board, .. } if *board == on => Some("ExchangeFailed"),
        Event::SpawnOk { spawn, .. } if mine(spawn) => Some("SpawnOk"),
        Event::SpawnFailed { spawn, .. } if mine(spawn) => Some("SpawnFailed"),
        Event::SpawnCancelled { spawn } if mine(spawn) => Some("SpawnCancelled"),
        Event::ChildExited { spawn, group, .. } if mine(spawn) => Some(match group {
            Group::Gone => "ChildExited, alone",
            Group::Alive => "ChildExited, others live",
        }),
        Event::Signalled { spawn, outcome, .. } if mine(spawn) => Some(match outcome {
            SignalOutcome::Gone => "Signalled, gone",
            SignalOutcome::Delivered | SignalOutcome::Refused => "Signalled, else",
        }),
        Event::Found { spawn, .. } if mine(spawn) && !is_looked_for(attempt) => {
            Some("Found, too late")
        }
        Event::Found { spawn, evidence } if mine(spawn) => Some(match adoption::judge(*evidence) {
            Finding::Runs { .. } => "Found, runs",
            Finding::Ended(_) => "Found, ended",
            Finding::LeftOver(_) => "Found, left over",
            Finding::NeverStarted => "Found, never started",
            Finding::Wait => "Found, cannot tell",
        }),
        Event::Abort => Some("Abort"),
        Event::Drain { grace_ms: 0 } => Some("the grace is over"),
        Event::Wake if attempt.stage().alarm().is_some_and(|at| at <= now.mono) => {
            Some("its moment comes")
        }
        _ => None,
    }
}

fn is_looked_for(attempt: &Attempt) -> bool {
    matches!(attempt.stage(), Stage::Finding(_))
}

fn board_cause(board: BoardId, event: &Event) -> Option<&'static str> {
    match event {
        Event::BoardAdded { board: of } if *of == board => Some("BoardAdded"),
        Event::BoardRemoved { board: of } if *of == board => Some("BoardRemoved"),
        Event::BoardChanged { board: of } if *of == board => Some("BoardChanged"),
        Event::Connected { board: of, .. } if *of == board => Some("Connected"),
        Event::ConnectFailed { board: of, .. } if *of == board => Some("ConnectFailed"),
        Event::Exchanged { board: of, .. } if *of == board => Some("Exchanged"),
        Event::ExchangeFailed { board: of, .. } if *of == board => Some("ExchangeFailed"),
        Event::Tick => Some("Tick"),
        Event::Wake => Some("Wake"),
        _ => None,
    }
}

/// What became of an attempt.
fn attempt_outcome(attempt: &Attempt, machine: &Dispatcher, effects: &[Effect]) -> String {
    let id = attempt.id();
    let after = machine.attempts().find(|(_, a)| a.id() == id).map(|(_, a)| a.stage());
    let mut text = match after {
        None => "over".to_owned(),
        Some(stage) if stage_name(stage) == stage_name(attempt.stage()) => "stays".to_owned(),
        Some(stage) => stage_name(stage).to_owned(),
    };
    for effect in effects {
        match effect {
            Effect::Signal { spawn, signal } if *spawn == id => text.push_str(match signal {
                Signal::Probe => ", probe",
                Signal::Term => ", TERM",
                Signal::Kill => ", KILL",
            }),
            Effect::Find { spawn } if *spawn == id => text.push_str(", look"),
            Effect::CancelSpawn { spawn } if *spawn == id => text.push_str(", call off"),
            Effect::Report(Report::Unexpected(_)) => text.push_str(", reported as unexpected"),
            _ => {}
        }
    }
    text
}

/// What became of a board.
fn board_outcome(id: BoardId, before: &str, machine: &Dispatcher, effects: &[Effect]) -> String {
    let after = machine.boards().find(|board| board.id() == id).map(link_name);
    let mut text = match after {
        None => "let go".to_owned(),
        Some(link) if link == before => "stays".to_owned(),
        Some(link) => link.to_owned(),
    };
    if effects.iter().any(|effect| matches!(effect, Effect::Report(Report::Unexpected(_)))) {
        text.push_str(", reported as unexpected");
    }
    text
}

/// The events that make a cause, and when they happen.
fn events_for(cause: &str, sample: &Sample, before: &Before) -> (Vec<Event>, Now) {
    let (board, now) = (sample.board, sample.now);
    let spawn = sample.spawn.unwrap_or(SpawnId(0));
    let (pid, status) = (Pid(1), ExitStatus::Code(0));
    let fault = Fault { class: FaultClass::Access, unchanged: false };
    let seq = sample.machine.boards().find(|b| b.id() == board).map_or(0, Board::seq);
    let exited = |group| vec![Event::ChildExited { spawn, pid, status, group }];
    let signalled = |outcome| vec![Event::Signalled { spawn, signal: Signal::Kill, outcome }];
    let found = |process| {
        let evidence = Evidence { record: Record::Started, process, noted: None };
        vec![Event::Found { spawn, evidence }]
    };
    let (record, process) = (Record::NoIntent, Process::None(Group::Gone));
    let never_started =
        vec![Event::Found { spawn, evidence: Evidence { record, process, noted: None } }];
    let answer = Box::new(Answer { taken: Vec::new(), observation: None });
    let alarm = before
        .attempts
        .iter()
        .find(|(_, attempt)| attempt.id() == spawn)
        .and_then(|(_, attempt)| attempt.stage().alarm());
    let at = |mono: Mono| Now { mono, ..now };
    match cause {
        "SpawnOk" => (vec![Event::SpawnOk { spawn, pid }], now),
        "SpawnFailed" => (vec![Event::SpawnFailed { spawn, blame: Blame::Task, errno: 2 }], now),
        "SpawnCancelled" => (vec![Event::SpawnCancelled { spawn }], now),
        "ChildExited, alone" => (exited(Group::Gone), now),
        "ChildExited, others live" => (exited(Group::Alive), now),
        "Signalled, gone" => (signalled(SignalOutcome::Gone), now),
        "Signalled, else" => (signalled(SignalOutcome::Delivered), now),
        "its moment comes" => (vec![Event::Wake], alarm.map_or(now, at)),
        "the grace is over" => (vec![Event::Drain { grace_ms: 0 }], now),
        "Abort" => (vec![Event::Abort], now),
        "Found, runs" => (found(Process::Held { pid, age_ms: 1 }), now),
        "Found, ended" => (found(Process::None(Group::Gone)), now),
        "Found, left over" => (found(Process::None(Group::Alive)), now),
        "Found, never started" => (never_started, now),
        "Found, cannot tell" | "Found, too late" => (found(Process::Hidden), now),
        "BoardAdded" => (vec![Event::BoardAdded { board }], now),
        "BoardRemoved" => (vec![Event::BoardRemoved { board }], now),
        "BoardChanged" => (vec![Event::BoardChanged { board }], now),
        "Connected" => (vec![Event::Connected { board, seq }], now),
        "ConnectFailed" => (vec![Event::ConnectFailed { board, seq, fault }], now),
        "Exchanged" => (vec![Event::Exchanged { board, seq, answer }], now),
        "ExchangeFailed" => {
            (vec![Event::ExchangeFailed { board, seq, fault, commit: Commit::No }], now)
        }
        "Tick" => (vec![Event::Tick], now),
        _ => (vec![Event::Wake], now),
    }
}
