//! `shrink`: the least that still breaks a promise.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use sexton_sim::shrink::shrink;
use sexton_sim::world::run;

use super::{Failure, Plant, Source, broken_json, say, told};

/// Where what is left goes; the tests run every file in there.
const REGRESSIONS: &str = "tests/regressions";
/// Most runs of one search.
const TRIES: usize = 50_000;

const EXAMPLES: &str = "\
Examples:
  sexton-sim shrink --seed 3 --bug 'reap inside the pass' --output small.entropy
  sexton-sim shrink --entropy fuzz/artifacts/world/crash-…

What is left goes to tests/regressions/PROMISE.entropy, or PROMISE-2.entropy and so on if another run
is kept there. Exit code 2, before the search, if the directory is missing or the file of --output is
there already.";

/// Find the smallest entropy that breaks the same promise, and keep it as a regression
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Shrink {
    #[command(flatten)]
    source: Source,
    /// Write what is left to this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over the file of --output
    #[arg(long, requires = "output")]
    force: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plant: Plant,
}

impl Shrink {
    /// Searches for a smaller run.
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
        let path = self.keep(broken.promise, &small)?;
        let left = run(small.clone(), options).broken.unwrap_or(broken);
        if self.json {
            return say(json!({
                "broken": broken_json(&left),
                "bytes_before": before,
                "bytes": small.len(),
                "file": path.display().to_string(),
            }));
        }
        say(told(&left))?;
        say(format!("{before} bytes of entropy became {}", small.len()))?;
        let bug = self.plant.argument();
        say(format!("  cargo sim replay --entropy {}{bug} --trace", path.display()))
    }

    /// Refuses before the search what could not be written after it.
    fn check(&self) -> Result<(), Failure> {
        let directory = match &self.output {
            Some(path) => {
                path.parent().filter(|directory| *directory != "").unwrap_or(Path::new("."))
            }
            None => Path::new(REGRESSIONS),
        };
        let remedy =
            "run at the top of the project, make the directory, or name a file with --output";
        fs::read_dir(directory).map(drop).map_err(Failure::file(
            "write into the directory",
            directory,
            remedy,
        ))?;
        match &self.output {
            Some(path) if path.exists() && !self.force => Err(Failure::Usage(format!(
                "'{}' is there already; name another file with --output, or write over it with \
                 --force",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Writes the smallest entropy, and overwrites a file only with `--force`. Returns the path.
    fn keep(&self, promise: &str, small: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.output.clone().unwrap_or_else(|| regression(promise, small));
        if self.output.is_none() && holds(&path, small) {
            return Ok(path);
        }
        let file = if self.force { File::create(&path) } else { File::create_new(&path) };
        file.and_then(|mut file| file.write_all(small)).map_err(Failure::file(
            "write what is left to",
            &path,
            "name a file that can be written with --output",
        ))?;
        Ok(path)
    }
}

/// The first file for a broken promise that is not there yet, or holds just this.
fn regression(promise: &str, small: &[u8]) -> PathBuf {
    let mut path = Path::new(REGRESSIONS).join(format!("{promise}.entropy"));
    let mut number = 1;
    while path.exists() && !holds(&path, small) {
        number += 1;
        path.set_file_name(format!("{promise}-{number}.entropy"));
    }
    path
}

fn holds(path: &Path, bytes: &[u8]) -> bool {
    fs::read(path).is_ok_and(|held| held == bytes)
}
