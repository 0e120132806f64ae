//! `sexton dispatch`: one tick over all boards.

use super::{Failure, Globals};

/// Run one tick over all boards, and record how the workers that it started ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton dispatch --dry-run     what would be done; changes nothing at all
  sexton dispatch               start what can run, and wait for it
  sexton dispatch --no-wait     start it, and leave")]
pub struct Args {
    /// Do not wait for the workers that were started.
    #[arg(long)]
    pub no_wait: bool,
    /// Say what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs it.
pub fn run(_: &Args, _: &Globals) -> Result<u8, Failure> {
    Err(Failure::Refused("`dispatch` is not built yet".to_owned()))
}
