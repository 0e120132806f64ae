//! `sexton comment`: a remark on a task.

use serde_json::json;

use crate::board::card;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;

/// Add a comment to a task.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton comment t_0123abcd see the second page of the report
  sexton comment t_0123abcd --author ana 'looks good'")]
pub struct Args {
    /// Id of the task.
    #[arg(value_name = "TASK")]
    id: String,
    /// The text of the comment.
    #[arg(value_name = "TEXT", required = true)]
    text: Vec<String>,
    /// Author of the comment.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

/// Adds the comment.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let author = args.author.clone().unwrap_or_else(|| place.author());
    place.write(|conn, columns, now| {
        card::comment(conn, columns, now, &args.id, &author, &args.text.join(" "))
    })?;
    let mut out = Out::new();
    if globals.json {
        out.json(&json!({"commented": args.id, "author": author}))?;
    } else {
        out.line(format_args!("Comment added to {}", args.id))?;
    }
    out.flush()
}
