//! `sexton demo`: see it work, on boards of its own.

use super::{Failure, Globals};

/// Show sexton at work on temporary boards, two of which are sick.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sexton demo")]
pub struct Args {}

/// Runs it.
pub fn run(_: &Args, _: &Globals) -> Result<u8, Failure> {
    Err(Failure::Refused("`demo` is not built yet".to_owned()))
}
