//! `replay`: shows a single run in full.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use sexton_sim::page::{Subject, page};
use sexton_sim::world::{Options, Run, run};

use super::{Failure, Plant, Source, broken_json, replay_command, say, told, trace_json};

const EXAMPLES: &str = "\
Examples:
  sexton-sim replay --seed 62 --trace
  sexton-sim replay --entropy tests/regressions/a_death_in_the_calm.entropy --html run.html";

/// Run one world again and show what happened
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    #[command(flatten)]
    source: Source,
    /// Print one line for each thing that happened
    #[arg(long)]
    trace: bool,
    /// Draw the run into this file: one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the outcome as JSON; with --trace also what happened
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plant: Plant,
}

impl Replay {
    /// Replays the run.
    pub fn run(self) -> Result<(), Failure> {
        let tracing = self.trace || self.html.is_some();
        let options = Options { trace: tracing, ..self.plant.options()? };
        let run = run(self.source.bytes()?, options);
        if let Some(path) = &self.html {
            std::fs::write(path, self.page(&run)).map_err(Failure::file(
                "write the page",
                path,
                "name a file in a directory that is there",
            ))?;
        }
        if self.json {
            say(as_json(&run, self.trace))?;
        } else {
            if self.trace {
                run.trace.iter().try_for_each(say)?;
            }
            if run.broken.is_none() {
                say(format!("every promise held: {} events, {:016x}", run.events, run.hash))?;
            }
        }
        run.broken.map_or(Ok(()), |broken| Err(Failure::Found(told(&broken))))
    }

    fn page(&self, run: &Run) -> String {
        let subject = Subject {
            name: &self.source.name(),
            replay: &replay_command(&self.source, &self.plant),
            bug: self.plant.bug.as_deref(),
        };
        page(&subject, run)
    }
}

fn as_json(run: &Run, trace: bool) -> Value {
    let mut json = json!({
        "broken": run.broken.as_ref().map(broken_json),
        "events": run.events,
        "hash": format!("{:016x}", run.hash),
    });
    if trace {
        json["trace"] = trace_json(&run.trace);
    }
    json
}
