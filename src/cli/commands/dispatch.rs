//! `sexton dispatch`: one tick over all boards.

use serde_json::{Value, json};

use crate::board::card::{self, Filter};
use crate::cli::dispatcher;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::logging;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::cli::plain::plain;
use crate::cli::read_boards;
use crate::config::Config;
use crate::root::{self, BoardPaths};
use crate::runtime::clock;
use crate::runtime::daemon::{Daemon, Until};
use crate::runtime::report::HANGS;

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
    /// Print what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Milliseconds for which a board that falls sick, or a host that refuses, is waited for.
const PATIENCE_MS: u64 = 10_000;

/// Runs it. Code 1 if exits are left that no board took, or if it was cut short.
pub fn run(args: &Args, globals: &Globals) -> Result<u8, Failure> {
    let place = Place::existing(globals)?;
    logging::start(globals.log_format, "warn")?;
    if args.dry_run {
        return dry_run(&place, globals).map(|()| 0);
    }
    let mut daemon = dispatcher::begin(&place, globals, true)?;
    let until = if args.no_wait { Until::Started(PATIENCE_MS) } else { Until::Idle(PATIENCE_MS) };
    let outcome = daemon.run(until, PATIENCE_MS);
    dispatcher::log_unrecorded(&outcome);
    print(&daemon, globals.json)?;
    Ok(u8::from(!outcome.unrecorded.is_empty() || outcome.aborted))
}

/// What the tick did, with the keys of the client's `dispatch --json` where both have them.
fn print(daemon: &Daemon, as_json: bool) -> Result<(), Failure> {
    let (tally, names) = (daemon.tally(), daemon.names());
    let named = |list: &[(crate::machine::ids::BoardId, crate::machine::ids::TaskId)]| {
        let name = |board| names.boards.get(&board).cloned().unwrap_or_default();
        list.iter().map(|(board, task)| (name(*board), task.to_string())).collect::<Vec<_>>()
    };
    let (claimed, promoted, freed) =
        (named(&tally.each.claimed), named(&tally.each.promoted), named(&tally.each.freed));
    let mut out = Out::new();
    if as_json {
        let list = |list: &[(String, String)]| {
            list.iter()
                .map(|(board, task)| json!({"board": board, "task_id": task}))
                .collect::<Vec<Value>>()
        };
        let sick = tally.sick.iter().filter_map(|id| names.boards.get(id)).collect::<Vec<_>>();
        out.json(&json!({
            "spawned": list(&claimed), "promoted": list(&promoted), "reclaimed": list(&freed),
            "reaped": tally.each.reaped.iter().map(|pid| pid.0).collect::<Vec<_>>(),
            "recorded": tally.recorded, "sick_boards": sick,
        }))?;
        return out.flush();
    }
    for (what, list) in [("spawned", claimed), ("promoted", promoted), ("freed", freed)] {
        for (board, task) in list {
            out.line(format_args!("{what} {board}/{}", plain(&task)))?;
        }
    }
    for id in &tally.sick {
        let name = names.boards.get(id).map_or("?", String::as_str);
        let why = names.faults.get(id).map_or(HANGS, String::as_str);
        out.line(format_args!("out of use: {name}: {}", plain(why)))?;
    }
    out.line(tally.line())?;
    out.flush()
}

/// Reads, judges by the same rules, and writes nothing.
fn dry_run(place: &Place<'_>, globals: &Globals) -> Result<(), Failure> {
    let config = place.config()?;
    let boards = match &globals.board {
        Some(_) => vec![place.board()?],
        None => root::possible_boards(&place.root.path, &place.env)?,
    };
    let (judge, is_named) = (config.clone(), globals.board.is_some());
    let found = read_boards::each(boards.clone(), read_boards::LIMIT_MS, move |board| {
        let is_meant = is_named || root::is_dispatched(board);
        is_meant.then(|| would_run(board, &judge).map_err(|error| error.to_string()))
    });
    let mut free = usize::try_from(config.policy.max_workers).unwrap_or(usize::MAX);
    let mut out = Out::new();
    let mut listed = Vec::new();
    for (board, found) in boards.iter().zip(found) {
        let Some(found) = found.unwrap_or_else(|why| Some(Err(why))) else { continue };
        match (&found, globals.json) {
            (Err(error), false) => {
                out.line(format_args!("out of use: {}: {error}", board.slug))?;
            }
            (Err(error), true) => {
                listed.push(json!({"board": board.slug.as_str(), "error": error}));
            }
            (Ok(_), _) => {}
        }
        for task in found.unwrap_or_default().into_iter().take(free) {
            free -= 1;
            if globals.json {
                listed.push(json!({"board": board.slug.as_str(), "task_id": task}));
            } else {
                out.line(format_args!("would start {}/{}", board.slug, plain(&task)))?;
            }
        }
    }
    if globals.json {
        out.json(&Value::Array(listed))?;
    }
    out.flush()
}

/// The tasks of a board that one tick would start, in its order.
fn would_run(board: &BoardPaths, config: &Config) -> Result<Vec<String>, card::CardError> {
    let opened = card::open_for_reading(&board.db)?;
    let policy = &config.policy;
    let judge = config.judge(clock::unix());
    let counts = card::count_by_status(&opened.conn)?;
    let running = counts.get("running").copied().unwrap_or_default();
    let cap = i64::from(policy.max_in_progress).saturating_sub(running).max(0);
    let ready = Filter { status: Some("ready".to_owned()), ..Filter::default() };
    let mut found = Vec::new();
    for task in card::list(&opened.conn, &opened.columns, &ready)? {
        let full = i64::try_from(found.len()).unwrap_or(i64::MAX) >= cap;
        if !full && card::wait(&opened.conn, judge, &task)?.is_none() {
            found.push(task.id);
        }
    }
    Ok(found)
}
