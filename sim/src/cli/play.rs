//! `play`: a script's events to the machine, and what it answers.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, say};

/// Play a script of events to the machine and print what it answers to each
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
                        sexton-sim play tests/scenarios/no_zombie_outlives_a_tick.txt")]
pub struct Play {
    /// One event a line
    file: PathBuf,
}

impl Play {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.file).map_err(Failure::file(
            "read the script",
            &self.file,
            "tests/scenarios/ has scripts to play",
        ))?;
        let transcript = sexton_sim::script::play(&text)
            .map_err(|error| Failure::Usage(format!("{}:{error}", self.file.display())))?;
        say(transcript.trim_end())
    }
}
