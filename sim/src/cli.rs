//! The program's commands, one file each.

mod bugs;
mod exhaust;
mod failure;
mod play;
mod progress;
mod replay;
mod shrink;
mod sweep;
mod table;
mod watch;

use std::fmt;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use serde_json::{Value, json};
use sexton_sim::saboteur::Saboteur;
use sexton_sim::sweep::SIZE;
use sexton_sim::trace::Record;
use sexton_sim::trace::json::record;
use sexton_sim::world::{Broken, Options};

pub use failure::Failure;

/// Runs the dispatcher's own machine through simulated worlds in which everything goes wrong, and
/// judges every promise after every event.
#[derive(Debug, Parser)]
#[command(name = "sexton-sim", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sexton-sim sweep --seeds 1000            look for a seed that breaks a promise
  sexton-sim replay --seed 62 --trace      see all that happens in one world
  sexton-sim sweep --seeds 100 --bug 'reap inside the pass'
                                           see what a finding looks like

Exit codes: 0 done; 1 a promise was broken, a sweep showed nothing of a fault or state, or a planted
bug was not found; 2 wrong usage, or a file that cannot be read or written.

Every command prints JSON with --json: what was found on standard output, also with code 1; talk on
standard error, and with code 2 nothing else.";

#[derive(Debug, Subcommand)]
enum Command {
    Sweep(sweep::Sweep),
    Replay(replay::Replay),
    Shrink(shrink::Shrink),
    Exhaust(exhaust::Exhaust),
    Bugs(bugs::Bugs),
    Table(table::Table),
    Play(play::Play),
}

impl Cli {
    /// Runs the chosen command.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Sweep(sweep) => sweep.run(),
            Command::Replay(replay) => replay.run(),
            Command::Shrink(shrink) => shrink.run(),
            Command::Exhaust(exhaust) => exhaust.run(),
            Command::Bugs(bugs) => bugs.run(),
            Command::Table(table) => table.run(),
            Command::Play(play) => play.run(),
        }
    }
}

/// The option that plants a bug.
#[derive(Debug, Args)]
struct Plant {
    /// Plant this bug (see `bugs`), to see how it is found
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
}

impl Plant {
    fn options(&self) -> Result<Options, Failure> {
        let Some(name) = &self.bug else { return Ok(Options::default()) };
        let known = Saboteur::ALL.iter().find(|saboteur| saboteur.name() == name);
        match known {
            Some(saboteur) => Ok(Options { saboteur: Some(*saboteur), ..Options::default() }),
            None => Err(Failure::Usage(format!(
                "no bug is called '{name}'; `sexton-sim bugs --list` names them"
            ))),
        }
    }

    /// How to say it on a command line.
    fn argument(&self) -> String {
        self.bug.as_ref().map_or_else(String::new, |name| format!(" --bug '{name}'"))
    }
}

/// The option for the number of threads.
#[derive(Debug, Args)]
struct Jobs {
    /// Threads; as many as there are processors if not given
    #[arg(long, value_name = "J")]
    jobs: Option<NonZero<usize>>,
}

impl Jobs {
    fn count(&self) -> usize {
        let processors = || std::thread::available_parallelism().ok();
        self.jobs.or_else(processors).map_or(1, NonZero::get)
    }
}

/// What a run is made of.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group(ArgGroup::new("run").required(true)))]
struct Source {
    /// The run of this seed
    #[arg(long, value_name = "S", group = "run")]
    seed: Option<u64>,
    /// The run of the bytes in this file, as `shrink` and the fuzzer leave them
    #[arg(long, value_name = "FILE", group = "run")]
    entropy: Option<PathBuf>,
    /// Bytes of entropy of the longest runs of a seed
    #[arg(long, value_name = "K", default_value_t = SIZE, conflicts_with = "entropy")]
    size: usize,
}

impl Source {
    /// What the run is called.
    fn name(&self) -> String {
        match (&self.entropy, self.seed) {
            (Some(path), _) => format!("the run of {}", path.display()),
            (None, seed) => format!("seed {}", seed.unwrap_or(0)),
        }
    }

    /// How to say it on a command line.
    fn argument(&self) -> String {
        match (&self.entropy, self.seed) {
            (Some(path), _) => format!(" --entropy {}", path.display()),
            (None, seed) if self.size == SIZE => format!(" --seed {}", seed.unwrap_or(0)),
            (None, seed) => format!(" --seed {} --size {}", seed.unwrap_or(0), self.size),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        match (&self.entropy, self.seed) {
            (Some(path), _) => std::fs::read(path).map_err(Failure::file(
                "read the entropy in",
                path,
                "name a file that `shrink` or the fuzzer wrote, or give --seed",
            )),
            (None, seed) => Ok(sexton_sim::sweep::entropy(seed.unwrap_or(0), self.size)),
        }
    }
}

/// The command that shows a run again.
fn replay_command(source: &Source, plant: &Plant) -> String {
    format!("cargo sim replay{}{} --trace", source.argument(), plant.argument())
}

/// Prints a line to standard output.
fn say(text: impl fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)
}

/// Returns one line that names the broken promise.
fn told(broken: &Broken) -> String {
    let (seconds, millis) = (broken.at / 1000, broken.at % 1000);
    format!("{} broken at {seconds}.{millis:03} s: {}", broken.promise, broken.how)
}

/// What was broken, for programs.
fn broken_json(broken: &Broken) -> Value {
    json!({"promise": broken.promise, "how": broken.how, "at_ms": broken.at})
}

/// What happened, for programs.
fn trace_json(records: &[Record]) -> Value {
    records.iter().map(record).collect()
}
