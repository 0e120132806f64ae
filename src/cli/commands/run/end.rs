//! What is left when `run` ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::board::card::{self, Filter, Task, Wait};
use crate::cli::describe::{brief, wait_json};
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::plain::plain;
use crate::cli::read_boards;
use crate::config::Config;
use crate::root::{BoardPaths, Slug};
use crate::runtime::boards::Known;
use crate::runtime::clock;
use crate::runtime::daemon::Outcome;
use crate::runtime::report::{HANGS, meaning};
use crate::runtime::tally::Tally;

/// What one board still holds.
#[derive(Debug)]
pub struct Left {
    board: Slug,
    /// How many tasks are in which status; or why that is not known.
    counts: Result<BTreeMap<String, i64>, String>,
    held: Vec<(Task, Wait)>,
    /// True if more are held than are listed.
    more_held: bool,
}

/// At most this many held tasks of a board are listed.
const HELD: usize = 1_000;

/// Looks at what is left on each board, without writing. One that hangs is not touched, and what
/// does not answer is not waited for.
pub fn what_is_left(boards: Vec<Known>, config: &Arc<Config>) -> Vec<Left> {
    let config = Arc::clone(config);
    look_at_each(boards, read_boards::LIMIT_MS, move |board| left_on(board, &config))
}

fn look_at_each(
    boards: Vec<Known>,
    within_ms: u64,
    look: impl Fn(&BoardPaths) -> Left + Clone + Send + 'static,
) -> Vec<Left> {
    let answer = boards.iter().filter(|known| !known.hangs).map(|known| known.paths.clone());
    let mut found = read_boards::each(answer.collect(), within_ms, look).into_iter();
    let left = boards.iter().map(|known| {
        let found = if known.hangs { None } else { found.next() };
        let found = found.unwrap_or_else(|| Err(HANGS.to_owned()));
        found.unwrap_or_else(|why| out_of_use(&known.paths, why))
    });
    left.collect()
}

fn out_of_use(board: &BoardPaths, why: String) -> Left {
    Left { board: board.slug.clone(), counts: Err(why), held: Vec::new(), more_held: false }
}

fn left_on(board: &BoardPaths, config: &Config) -> Left {
    let read = || -> Result<_, card::CardError> {
        let opened = card::open_for_reading(&board.db)?;
        let counts = card::count_by_status(&opened.conn)?;
        let judge = config.judge(clock::unix());
        let mut held = Vec::new();
        for task in card::list(&opened.conn, &opened.columns, &Filter::default())? {
            if let Some(wait) = card::wait(&opened.conn, judge, &task)? {
                if held.len() == HELD {
                    return Ok((counts, held, true));
                }
                held.push((task, wait));
            }
        }
        Ok((counts, held, false))
    };
    match read() {
        Ok((counts, held, more_held)) => {
            Left { board: board.slug.clone(), counts: Ok(counts), held, more_held }
        }
        Err(error) => out_of_use(board, error.to_string()),
    }
}

/// Prints the end of a run: numbers, what is left (if that was read) and what holds it, and exits
/// that no board took.
pub fn print(
    tally: &Tally,
    outcome: &Outcome,
    left: Option<&[Left]>,
    json: bool,
) -> Result<(), Failure> {
    let mut out = Out::new();
    if json {
        out.json(&end_json(tally, outcome, left))?;
        return out.flush();
    }
    out.line(tally.line())?;
    for left in left.unwrap_or_default() {
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
        let (more, or_more) = (left.held.len() - SHOWN, if left.more_held { "+" } else { "" });
        out.line(format_args!("  and {more}{or_more} more; see `sexton list`"))?;
    }
    Ok(())
}

fn end_json(tally: &Tally, outcome: &Outcome, left: Option<&[Left]>) -> Value {
    let boards = left.map(|left| left.iter().map(left_json).collect::<Vec<_>>());
    let unrecorded = outcome.unrecorded.iter().map(|(board, task, verdict)| {
        json!({"board": board, "task": task, "verdict": meaning(*verdict)})
    });
    json!({
        "spawned": tally.spawned,
        "reaped": tally.reaped,
        "orphans": tally.orphans,
        "recorded": tally.recorded,
        "boards": boards,
        "unrecorded": unrecorded.collect::<Vec<_>>(),
    })
}

fn left_json(left: &Left) -> Value {
    let now = clock::unix();
    let held = left
        .held
        .iter()
        .map(|(task, wait)| json!({"task": task.id, "wait": wait_json(wait, task, now)}));
    json!({
        "board": left.board.as_str(),
        "tasks": left.counts.as_ref().ok(),
        "out_of_use": left.counts.as_ref().err(),
        "held": held.collect::<Vec<_>>(),
        "more_held": left.more_held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Environment;
    use std::path::Path;
    use std::sync::mpsc::channel;

    #[test]
    fn a_board_that_hangs_is_not_touched_and_one_that_turns_out_to_is_not_waited_for() {
        let known = |slug: &str, hangs| {
            let slug = slug.parse().unwrap();
            let paths = BoardPaths::new(Path::new("/nowhere"), slug, &Environment::default());
            Known { paths, hangs }
        };
        let boards = vec![known("known", true), known("well", false), known("hangs", false)];
        // What hangs is let go when the test is over.
        let (_ends_with_the_test, hung) = channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let left = look_at_each(boards, 1_000, move |board| {
            match board.slug.as_str() {
                "known" => unreachable!("it was touched"),
                "hangs" => drop(hung.lock().unwrap().recv()),
                _ => {}
            }
            let counts = Ok(BTreeMap::new());
            Left { board: board.slug.clone(), counts, held: Vec::new(), more_held: false }
        });
        let counts: Vec<_> = left.iter().map(|left| left.counts.as_ref().err()).collect();
        let hangs = HANGS.to_owned();
        assert_eq!(counts, [Some(&hangs), None, Some(&hangs)]);
    }
}
