//! The program's commands, one file each.

mod bugs;
mod exhaust;
mod play;
mod replay;
mod shrink;
mod sweep;
mod watch;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use sexton_sim::saboteur::Saboteur;
use sexton_sim::world::{Broken, Options};

/// Runs the dispatcher's own machine through simulated worlds in which everything goes wrong, and
/// judges every promise after every event.
#[derive(Debug, Parser)]
#[command(name = "sexton-sim", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sweep(sweep::Sweep),
    Replay(replay::Replay),
    Shrink(shrink::Shrink),
    Exhaust(exhaust::Exhaust),
    Bugs(bugs::Bugs),
    Play(play::Play),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Sweep(sweep) => sweep.run(),
            Command::Replay(replay) => replay.run(),
            Command::Shrink(shrink) => shrink.run(),
            Command::Exhaust(exhaust) => exhaust.run(),
            Command::Bugs(bugs) => bugs.run(),
            Command::Play(play) => play.run(),
        }
    }
}

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub enum Failure {
    /// A promise was broken, or something that must be reached was not. Exit code 1.
    Found(String),
    /// What was asked for makes no sense. Exit code 2.
    Usage(String),
    /// A file or the output. Exit code 1.
    Io(String, io::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Found(_) | Failure::Io(..) => 1,
            Failure::Usage(_) => 2,
        }
    }

    fn file(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure::Io(path.display().to_string(), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Found(text) | Failure::Usage(text) => f.write_str(text),
            Failure::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

/// A planted bug.
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

/// What a run is made of.
#[derive(Debug, Args)]
struct Source {
    /// The run of this seed
    #[arg(long, value_name = "S", required_unless_present = "entropy")]
    seed: Option<u64>,
    /// Bytes of entropy of the longest runs of a seed
    #[arg(long, value_name = "K", default_value_t = sexton_sim::sweep::SIZE)]
    size: usize,
    /// The run of the bytes in this file, as `shrink` and the fuzzer leave them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "size"])]
    entropy: Option<PathBuf>,
}

impl Source {
    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        match (&self.entropy, self.seed) {
            (Some(path), _) => std::fs::read(path).map_err(Failure::file(path)),
            (None, seed) => Ok(sexton_sim::sweep::entropy(seed.unwrap_or(0), self.size)),
        }
    }
}

/// Prints a line for whoever reads the output.
fn say(text: impl fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(|error| Failure::Io("stdout".to_owned(), error))
}

/// One line that says what was broken.
fn told(broken: &Broken) -> String {
    let (seconds, millis) = (broken.at / 1000, broken.at % 1000);
    format!("{} broken at {seconds}.{millis:03} s: {}", broken.promise, broken.how)
}
