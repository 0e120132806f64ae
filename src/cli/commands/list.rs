//! `sexton list`: the tasks of a board, and what keeps those that do not run.

use comfy_table::{Cell, Color, Table};
use serde_json::Value;

use crate::board::card::{self, Filter, Task, Wait};
use crate::cli::describe::{board_brief, board_full, board_holds_json, brief, task_json};
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::cli::plain::plain;
use crate::cli::table::table;
use crate::runtime::clock;
use crate::runtime::status::Told;

/// List tasks in the order in which they would run, with what holds each of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton list
  sexton list --status blocked
  sexton --board night-shift list --assignee shell --json")]
pub struct Args {
    /// Only tasks of this assignee.
    #[arg(long, value_name = "NAME")]
    assignee: Option<String>,
    /// Only in this status.
    #[arg(long, value_parser = STATUSES)]
    status: Option<String>,
    /// Only with this label.
    #[arg(long)]
    tenant: Option<String>,
    /// The archived ones too.
    #[arg(long)]
    archived: bool,
}

const STATUSES: [&str; 9] =
    ["triage", "todo", "scheduled", "ready", "running", "blocked", "review", "done", "archived"];

/// Prints the tasks.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let config = place.config()?;
    let now = clock::unix();
    let filter = Filter {
        assignee: args.assignee.clone(),
        status: args.status.clone(),
        tenant: args.tenant.clone(),
        archived: args.archived,
    };
    let judge = config.judge(now);
    let tasks = place.read(|conn, columns| {
        let tasks = card::list(conn, columns, &filter)?.into_iter();
        tasks.map(|task| Ok((card::wait(conn, judge, &task)?, task))).collect::<Result<Vec<_>, _>>()
    })?;
    let holds = place.board_holds()?;
    let mut out = Out::new();
    if globals.json {
        let board_holds = board_holds_json(&holds);
        let each = tasks.iter().map(|(wait, task)| {
            let mut json = task_json(task, wait.as_ref(), now);
            json["board_holds"] = board_holds.clone();
            json
        });
        out.json(&Value::Array(each.collect()))?;
        return out.flush();
    }
    for told in &holds {
        out.line(format_args!("held: {}", board_full(told, now)))?;
    }
    if tasks.is_empty() {
        out.line("(no matching tasks)")?;
    } else {
        out.line(rows(&tasks, &holds, now).trim_fmt())?;
    }
    out.flush()
}

fn rows(tasks: &[(Option<Wait>, Task)], holds: &[Told], now: i64) -> Table {
    let mut table = table(&["TASK", "STATUS", "PRIO", "ASSIGNEE", "TITLE", "HOLD"]);
    for (wait, task) in tasks {
        table.add_row([
            Cell::new(plain(&task.id)),
            status(&task.status),
            Cell::new(task.priority),
            Cell::new(plain(task.assignee.as_deref().unwrap_or("-"))),
            Cell::new(plain(&task.title)),
            Cell::new(held(wait.as_ref(), task, holds, now)),
        ]);
    }
    table
}

/// Its own hold; what nothing else holds is held by what holds the board.
fn held(wait: Option<&Wait>, task: &Task, holds: &[Told], now: i64) -> String {
    match (wait, holds.first()) {
        (Some(wait), _) => brief(wait, now),
        (None, Some(told)) if task.status == "ready" => board_brief(told, now),
        (None, _) => String::new(),
    }
}

fn status(status: &str) -> Cell {
    let cell = Cell::new(plain(status));
    match status {
        "running" => cell.fg(Color::Cyan),
        "ready" => cell.fg(Color::Green),
        "blocked" => cell.fg(Color::Red),
        "done" | "archived" => cell.fg(Color::DarkGrey),
        _ => cell,
    }
}
