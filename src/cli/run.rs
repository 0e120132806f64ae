//! `sexton run`: the daemon.

use super::{Failure, Globals, times};

/// Run the tasks of all boards, until told to stop.
///
/// TERM and INT: nothing new is started, workers may finish within --grace, the rest is ended and
/// will run again. HUP: the configuration is read again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton run
  sexton run --until-idle
  sexton run --grace 1m --log-format json")]
pub struct Args {
    /// End when nothing runs and nothing can run within a minute.
    #[arg(long)]
    pub until_idle: bool,
    /// How long workers may go on after TERM or INT.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = times::millis)]
    pub grace: u64,
}

/// Runs it.
pub fn run(_: &Args, _: &Globals) -> Result<u8, Failure> {
    Err(Failure::Refused("`run` is not built yet".to_owned()))
}
