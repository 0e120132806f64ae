//! What `run`, `dispatch` and `demo` share: a daemon in this process, and what is left when it ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::board::card::{self, Filter, Task, Wait};
use crate::process::children;
use crate::process::descriptors;
use crate::runtime::clock;
use crate::runtime::config::Config;
use crate::runtime::daemon::{Daemon, Outcome, Settings};
use crate::runtime::listing;
use crate::runtime::report::{Tally, meaning};
use crate::runtime::root::{self, BoardPaths, Slug};

use super::describe::{brief, wait_json};
use super::out::plain;
use super::{Failure, Globals, Out, Place};

/// Makes this process a dispatcher: what it starts inherits nothing, and what its workers leave
/// behind falls to it. Only from the main thread.
pub fn begin(place: &Place<'_>, globals: &Globals, once: bool) -> Result<Daemon, Failure> {
    let refused = |errno: nix::errno::Errno| Failure::Refused(format!("cannot start: {errno}"));
    descriptors::close_on_exec_all().map_err(refused)?;
    children::become_subreaper().map_err(refused)?;
    if globals.board.is_some() {
        // Says so if that board does not exist.
        place.board()?;
    }
    let settings = Settings {
        place: listing::Place {
            root: place.root.path.clone(),
            env: place.env.clone(),
            only: globals.board.clone(),
        },
        config: place.config()?,
        once,
        adopt: true,
    };
    Daemon::new(settings).map_err(|error| Failure::Refused(error.to_string()))
}

/// What one board still holds.
pub struct Left {
    board: Slug,
    /// How many tasks are in which status; or why that is not known.
    counts: Result<BTreeMap<String, i64>, String>,
    held: Vec<(Task, Wait)>,
}

/// Looks at what is left on each board, without writing.
pub fn what_is_left(place: &Place<'_>, only: Option<&Slug>) -> Result<Vec<Left>, Failure> {
    let config = place.config()?;
    let boards = root::list_boards(&place.root.path, &place.env)?;
    let wanted = boards.into_iter().filter(|board| only.is_none_or(|slug| *slug == board.slug));
    Ok(wanted.map(|board| left_on(&board, &config)).collect())
}

fn left_on(board: &BoardPaths, config: &Config) -> Left {
    let read = || -> Result<_, card::CardError> {
        let opened = card::open_for_reading(&board.db)?;
        let counts = card::count_by_status(&opened.conn)?;
        let judge = config.judge(clock::unix());
        let mut held = Vec::new();
        for task in card::list(&opened.conn, &opened.columns, &Filter::default())? {
            if let Some(wait) = card::wait(&opened.conn, judge, &task)? {
                held.push((task, wait));
            }
        }
        Ok((counts, held))
    };
    match read() {
        Ok((counts, held)) => Left { board: board.slug.clone(), counts: Ok(counts), held },
        Err(error) => {
            let counts = Err(error.to_string());
            Left { board: board.slug.clone(), counts, held: Vec::new() }
        }
    }
}

/// Prints the end of a run: numbers, what is left and what holds it, and exits that no board took.
pub fn print_end(
    tally: &Tally,
    outcome: &Outcome,
    left: &[Left],
    json: bool,
) -> Result<(), Failure> {
    let mut out = Out::new();
    if json {
        out.json(&end_json(tally, outcome, left))?;
        return out.flush();
    }
    out.line(tally.line())?;
    for left in left {
        print_left(&mut out, left)?;
    }
    for (board, task, verdict) in &outcome.unrecorded {
        let meaning = meaning(*verdict);
        out.line(format_args!("{board}: {task} {meaning}, and the board did not take it"))?;
    }
    out.flush()
}

fn print_left(out: &mut Out, left: &Left) -> Result<(), Failure> {
    const SHOWN: usize = 20;
    match &left.counts {
        Err(why) => return out.line(format_args!("{}: out of use: {}", left.board, plain(why))),
        Ok(counts) if counts.is_empty() => out.line(format_args!("{}: empty", left.board))?,
        Ok(counts) => {
            let counts: Vec<String> = counts.iter().map(|(s, n)| format!("{n} {s}")).collect();
            out.line(format_args!("{}: {}", left.board, plain(&counts.join(", "))))?;
        }
    }
    let now = clock::unix();
    for (task, wait) in left.held.iter().take(SHOWN) {
        out.line(format_args!("  {} {}: {}", plain(&task.id), task.status, brief(wait, now)))?;
    }
    if left.held.len() > SHOWN {
        out.line(format_args!("  and {} more; see `sexton list`", left.held.len() - SHOWN))?;
    }
    Ok(())
}

fn end_json(tally: &Tally, outcome: &Outcome, left: &[Left]) -> Value {
    let now = clock::unix();
    let boards: Vec<Value> =
        left.iter()
            .map(|left| {
                let held = left.held.iter().map(
                    |(task, wait)| json!({"task": task.id, "wait": wait_json(wait, task, now)}),
                );
                json!({
                    "board": left.board.as_str(),
                    "tasks": left.counts.as_ref().ok(),
                    "out_of_use": left.counts.as_ref().err(),
                    "held": held.collect::<Vec<_>>(),
                })
            })
            .collect();
    let unrecorded = outcome.unrecorded.iter().map(|(board, task, verdict)| {
        json!({"board": board, "task": task, "verdict": meaning(*verdict)})
    });
    json!({
        "spawned": tally.spawned,
        "reaped": tally.reaped.iter().map(|pid| pid.0).collect::<Vec<_>>(),
        "orphans": tally.orphans,
        "recorded": tally.recorded.len(),
        "boards": boards,
        "unrecorded": unrecorded.collect::<Vec<_>>(),
    })
}
