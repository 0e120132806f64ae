//! `exhaust`: every interleaving of a small world.

use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;
use sexton_sim::exhaust::exhaust;

use super::watch::Watch;
use super::{Failure, Jobs, say, told};

/// Follow every interleaving of two dispatchers, one board and two tasks
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sexton-sim exhaust --scope small")]
pub struct Exhaust {
    /// With every placement of one fault (small) or two (medium)
    #[arg(long, value_enum, default_value_t = Scope::Small)]
    scope: Scope,
    #[command(flatten)]
    jobs: Jobs,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// No fault at all.
    None,
    /// One fault.
    Small,
    /// Two faults.
    Medium,
}

impl Exhaust {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let faults = match self.scope {
            Scope::None => 0,
            Scope::Small => 1,
            Scope::Medium => 2,
        };
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        let watch = Watch::start();
        let found = exhaust(faults, self.jobs.count(), |states| {
            bar.set_message(format!("{states} states"))
        });
        bar.finish_and_clear();
        let seconds = watch.elapsed().as_secs_f64();
        if let Some((broken, record)) = found.broken {
            for line in record {
                say(line)?;
            }
            return Err(Failure::Found(told(&broken)));
        }
        if self.json {
            return say(json!({
                "states": found.states,
                "choices": found.choices,
                "depth": found.depth,
                "ends": found.ends,
                "seconds": seconds,
            }));
        }
        say(format!(
            "every promise holds in all of {} states ({} choices, at most {} one after another, {} \
             ends); {seconds:.1} s",
            found.states, found.choices, found.depth, found.ends
        ))
    }
}
