//! `sexton unblock`: tasks that may go on.

use crate::board::card::{self, Unblock};
use crate::cli::acknowledge::acknowledge;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::place::Place;

/// Unblock blocked or scheduled tasks: all that are named, or none. Their failures are forgiven.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton unblock t_0123abcd
  sexton unblock t_0123abcd t_4567cdef --reason 'the quota was raised'")]
pub struct Args {
    /// Ids of the tasks.
    #[arg(value_name = "TASK", required = true)]
    ids: Vec<String>,
    /// Why; it also becomes a comment.
    #[arg(long)]
    reason: Option<String>,
}

/// Unblocks the tasks.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let with = Unblock { reason: args.reason.clone(), author: place.author() };
    place.write(|conn, columns, now| {
        args.ids.iter().try_for_each(|id| card::unblock(conn, columns, now, id, &with))
    })?;
    acknowledge(&args.ids, "Unblocked", "unblocked", globals)
}
