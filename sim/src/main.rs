//! `sexton-sim`: the dispatcher's machine in simulated worlds.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _nobody_listens = writeln!(io::stderr(), "sexton-sim: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
