//! `shrink`: the least that still breaks a promise.

use std::path::PathBuf;

use clap::Args;
use sexton_sim::shrink::shrink;
use sexton_sim::world::run;

use super::{Failure, Plant, Source, say, told};

/// Runs that the search makes at the most.
const TRIES: usize = 50_000;

/// Find the smallest entropy that breaks the same promise, and keep it as a regression
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sexton-sim shrink --seed 62")]
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
        let options = self.plant.options()?;
        let bytes = self.source.bytes()?;
        let Some(broken) = run(bytes.clone(), options).broken else {
            return Err(Failure::Usage("this run breaks no promise".to_owned()));
        };
        let before = bytes.len();
        let small = shrink(bytes, options, broken.promise, TRIES);
        let path = self.output.unwrap_or_else(|| {
            PathBuf::from(format!("tests/regressions/{}.entropy", broken.promise))
        });
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Failure::file(folder))?;
        }
        std::fs::write(&path, &small).map_err(Failure::file(&path))?;
        let left = run(small.clone(), options).broken.unwrap_or(broken);
        say(told(&left))?;
        say(format!("{before} bytes of entropy became {}", small.len()))?;
        let bug = self.plant.argument();
        say(format!("  cargo sim replay --entropy {}{bug} --trace", path.display()))
    }
}
