//! `sexton complete`: tasks that are done.

use std::io::{self, Write};

use serde_json::Value;

use crate::board::Scratch;
use crate::board::card::{self, Complete};
use crate::cli::acknowledge::acknowledge;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::place::Place;
use crate::cli::plain::plain;
use crate::process::workspace::WorkspaceError;
use crate::runtime::cleaner;

/// Complete tasks: all that are named, or none.
///
/// Tasks that waited only for these become ready, and scratch workspaces that are no longer
/// needed are removed. A worker may complete its own task only while its run is the current one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton complete t_0123abcd --result 42 --summary 'counted twice'
  sexton complete t_0123abcd t_4567cdef")]
pub struct Args {
    /// Ids of the tasks.
    #[arg(value_name = "TASK", required = true)]
    ids: Vec<String>,
    /// The result, as text.
    #[arg(long)]
    result: Option<String>,
    /// What was done, in a few words; one task only.
    #[arg(long)]
    summary: Option<String>,
    /// Facts for later workers: a JSON object; one task only.
    #[arg(long, value_name = "JSON", value_parser = object)]
    metadata: Option<Value>,
}

/// Completes the tasks.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    if args.ids.len() > 1 && (args.summary.is_some() || args.metadata.is_some()) {
        let problem = "--summary and --metadata are for one task; complete the tasks one by one";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let place = Place::existing(globals)?;
    let failure_limit = place.failure_limit();
    let unneeded = place.write(|conn, columns, now| {
        let mut at_work = Vec::new();
        for id in &args.ids {
            let with = Complete {
                result: args.result.clone(),
                summary: args.summary.clone(),
                metadata: args.metadata.clone(),
                own_run: place.own_run(id),
                failure_limit,
            };
            at_work.extend((card::find(conn, columns, id)?.status == "running").then_some(id));
            card::complete(conn, columns, now, id, &with)?;
        }
        let mut unneeded = Vec::new();
        for id in &args.ids {
            unneeded.extend(Scratch::unneeded(conn, id)?);
        }
        // A worker may still be in its directory; its dispatcher removes that after reaping it.
        unneeded.retain(|scratch| !at_work.iter().any(|id| *id == scratch.task.as_str()));
        Ok(unneeded)
    })?;
    clean(&place, &unneeded)?;
    acknowledge(&args.ids, "Completed", "completed", globals)
}

/// Removes scratch workspaces that are no longer needed. The tasks are done, also if this fails.
fn clean(place: &Place<'_>, unneeded: &[Scratch]) -> Result<(), Failure> {
    let board = place.board()?;
    if !place.is_in_root(&board) {
        return Ok(());
    }
    for scratch in unneeded {
        match cleaner::remove(scratch, &board.workspaces) {
            // It is gone, or not ours to remove.
            Ok(_) | Err(WorkspaceError::Request(_)) => {}
            Err(error) => {
                let task = plain(scratch.task.as_str());
                let _stderr_is_the_last_resort =
                    writeln!(io::stderr(), "sexton: the workspace of {task} stays: {error}");
            }
        }
    }
    Ok(())
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("this is not a JSON object; write for example '{\"files\": 3}'".to_owned()),
        Err(error) => Err(format!("this is not JSON: {error}")),
    }
}
