//! `table`: the machine as state × event.

use clap::Args;
use sexton_sim::table::{SEEDS, cells, markdown, wrong};

use super::{Failure, say};

/// Print what each event does to attempts and boards in each state, and which cells worlds meet
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sexton-sim table > src/machine/table.md")]
pub struct Table {}

impl Table {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let cells = cells(SEEDS);
        say(markdown(&cells).trim_end())?;
        let wrong = wrong(&cells, true);
        if wrong.is_empty() { Ok(()) } else { Err(Failure::Found(wrong.join("; "))) }
    }
}
