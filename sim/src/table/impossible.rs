//! The cells that no world meets, each with the code that keeps worlds from meeting it.

use super::Cells;
use super::axes::{Cell, FOUND, TO_BOARDS, every_cell};

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
        file: "sim/src/table/cause.rs",
    },
    Impossible {
        states: &["Finding"],
        causes: &["Found, too late"],
        why: "what is looked for is found in time",
        code: "Event::Found { spawn, .. } if mine(spawn) && !is_looked_for(attempt) => {",
        file: "sim/src/table/cause.rs",
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
