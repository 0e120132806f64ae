//! `shrink`: the least that still breaks a promise.

use std::path::{Path, PathBuf};

use clap::Args;
use sexton_sim::shrink::shrink;
use sexton_sim::world::run;

use super::{Failure, Plant, Source, say, told};

/// Where what is left goes; the tests run every file in there.
const REGRESSIONS: &str = "tests/regressions";
/// Runs that the search makes at the most.
const TRIES: usize = 50_000;

const EXAMPLES: &str = "\
Examples:
  sexton-sim shrink --seed 1 --bug 'reap inside the pass' --output small.entropy
  sexton-sim shrink --entropy fuzz/artifacts/world/crash-…";

/// Find the smallest entropy that breaks the same promise, and keep it as a regression
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Shrink {
    #[command(flatten)]
    source: Source,
    /// Where to write what is left; the tests run every file in that folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    plant: Plant,
}

impl Shrink {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        self.check()?;
        let options = self.plant.options()?;
        let bytes = self.source.bytes()?;
        let Some(broken) = run(bytes.clone(), options).broken else {
            return Err(Failure::Usage(
                "this run breaks no promise, so there is nothing to shrink; `sexton-sim sweep` looks \
                 for seeds that break one"
                    .to_owned(),
            ));
        };
        let before = bytes.len();
        let small = shrink(bytes, options, broken.promise, TRIES);
        let path = self
            .output
            .unwrap_or_else(|| Path::new(REGRESSIONS).join(format!("{}.entropy", broken.promise)));
        std::fs::write(&path, &small).map_err(Failure::file(
            "write what is left to",
            &path,
            "name a file that can be written with --output",
        ))?;
        let left = run(small.clone(), options).broken.unwrap_or(broken);
        say(told(&left))?;
        say(format!("{before} bytes of entropy became {}", small.len()))?;
        let bug = self.plant.argument();
        say(format!("  cargo sim replay --entropy {}{bug} --trace", path.display()))
    }

    /// Refuses before the search what could not be written after it.
    fn check(&self) -> Result<(), Failure> {
        let folder = match &self.output {
            Some(path) => path.parent().filter(|folder| *folder != "").unwrap_or(Path::new(".")),
            None => Path::new(REGRESSIONS),
        };
        let remedy = "run at the top of the project, make the folder, or name a file with --output";
        std::fs::read_dir(folder).map(drop).map_err(Failure::file(
            "write into the folder",
            folder,
            remedy,
        ))
    }
}
