//! `sexton run`: the daemon.

mod end;

use crate::cli::dispatcher;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::logging;
use crate::cli::place::Place;
use crate::cli::times;
use crate::runtime::daemon::Until;

/// Run the tasks of all boards, until a signal stops it.
///
/// TERM and INT: nothing new is started, workers may finish within --grace, the rest is ended and
/// will run again. A second one ends everything immediately. HUP: the configuration is read again.
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
    /// Time to wait at the end for workers, and for boards or a host that are temporarily
    /// unavailable.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = times::millis)]
    pub grace: u64,
}

/// Runs it. Code 1 if exits are left that no board took, or if it was cut short.
pub fn run(args: &Args, globals: &Globals) -> Result<u8, Failure> {
    let place = Place::existing(globals)?;
    logging::start(globals.log_format, "info")?;
    let mut daemon = dispatcher::begin(&place, globals, false)?;
    daemon.tell_others(place.root.path.clone(), place.env.clone());
    daemon.count_only();
    let until = if args.until_idle { Until::Idle(args.grace) } else { Until::Stopped };
    let outcome = daemon.run(until, args.grace);
    dispatcher::log_unrecorded(&outcome);
    let (tally, config) = (daemon.take_tally(), daemon.config());
    // Closes its connections before anything else in this process opens the files.
    let boards = daemon.shutdown();
    drop(daemon);
    // After a second signal this would take too long.
    let left = (!outcome.aborted).then(|| end::what_is_left(boards, &config));
    end::print(&tally, &outcome, left.as_deref(), globals.json)?;
    Ok(u8::from(!outcome.unrecorded.is_empty() || outcome.aborted))
}
