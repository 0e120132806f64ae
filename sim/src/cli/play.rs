//! `play`: a script's events to the machine, and what it answers.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use sexton_sim::script::ANSWER;

use super::{Failure, say};

/// Play a script of events to the machine and print what it answers to each
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
                        sexton-sim play tests/scenarios/no_zombie_outlives_a_tick.txt")]
pub struct Play {
    /// One event a line
    file: PathBuf,
    /// Print JSON: each line, and the answers to it
    #[arg(long)]
    json: bool,
}

impl Play {
    /// Plays the script.
    pub fn run(self) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.file).map_err(Failure::file(
            "read the script",
            &self.file,
            "tests/scenarios/ has scripts to play",
        ))?;
        let transcript = sexton_sim::script::play(&text)
            .map_err(|error| Failure::Usage(format!("{}:{error}", self.file.display())))?;
        if self.json { say(as_json(&transcript)) } else { say(transcript.trim_end()) }
    }
}

/// Each line of the script, and what was answered to it.
fn as_json(transcript: &str) -> Value {
    let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in transcript.lines() {
        match (line.strip_prefix(ANSWER), lines.last_mut()) {
            (Some(answer), Some((_, answers))) => answers.push(answer),
            _ => lines.push((line, Vec::new())),
        }
    }
    lines.iter().map(|(line, answers)| json!({"line": line, "answers": answers})).collect()
}
