//! `sexton link`: one task that waits for another.

use serde_json::json;

use crate::board::card;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;

/// Make one task wait for another.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  sexton link t_0123abcd t_4567cdef     t_4567cdef waits until t_0123abcd is done")]
pub struct Args {
    /// The task that must be done first.
    parent: String,
    /// The task that waits for it.
    child: String,
}

/// Adds or removes the link.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    place.write(|conn, columns, now| card::link(conn, columns, now, &args.parent, &args.child))?;
    let mut out = Out::new();
    if globals.json {
        out.json(&json!({"parent": args.parent, "child": args.child}))?;
    } else {
        out.line(format_args!("Linked {} -> {}", args.parent, args.child))?;
    }
    out.flush()
}
