//! What the demo comes to.

use serde_json::{Value, json};

use crate::board::card::{self, Filter, Task};
use crate::board::sql;
use crate::runtime::daemon::Outcome;
use crate::runtime::report::{Tally, meaning};

use super::super::list::table;
use super::super::{Failure, Out};
use super::boards::{Boards, FALLING, SOUND, TORN, digest};
use super::zombies::Seen;

/// One row of the table: tasks of a board that did the same and came to the same.
struct Row {
    board: &'static str,
    title: String,
    outcome: String,
    tasks: usize,
    attempts: i64,
}

/// Everything that is told at the end.
pub struct Summary {
    spawned: u64,
    reaped: usize,
    zombies: Seen,
    rows: Vec<Row>,
    /// Tasks of sound boards that are neither ended nor held by a rule.
    unsettled: usize,
    unrecorded: Vec<(String, String, String)>,
    /// Of each damaged board: its name, and whether its bytes are what they were.
    untouched: Vec<(&'static str, bool)>,
}

impl Summary {
    /// Draws it up.
    pub fn of(
        boards: &Boards,
        tally: &Tally,
        outcome: &Outcome,
        zombies: &Seen,
        fallen: Option<String>,
    ) -> Summary {
        let mut rows = Vec::new();
        let mut unsettled = 0;
        for slug in SOUND {
            match tasks(boards, slug) {
                Ok(tasks) => {
                    unsettled += tasks.iter().filter(|(task, _)| !is_settled(task)).count();
                    add_rows(&mut rows, slug, &tasks);
                }
                Err(_) => unsettled += 1,
            }
        }
        let same = |slug, before: Option<&String>| {
            (slug, before.is_some() && digest(&boards.db(slug)).as_ref() == before)
        };
        Summary {
            spawned: tally.spawned,
            reaped: tally.reaped.len(),
            zombies: zombies.clone(),
            rows,
            unsettled,
            unrecorded: outcome
                .unrecorded
                .iter()
                .map(|(board, task, verdict)| (board.clone(), task.clone(), meaning(*verdict)))
                .collect(),
            untouched: vec![same(TORN, boards.torn.as_ref()), same(FALLING, fallen.as_ref())],
        }
    }

    /// Whether everything that the demo is to show was seen.
    pub fn all_is_well(&self) -> bool {
        self.zombies.left == 0
            && self.spawned == self.reaped as u64
            && self.unsettled == 0
            && self.untouched.iter().all(|(_, same)| *same)
    }

    /// Prints it.
    pub fn print(&self, as_json: bool) -> Result<(), Failure> {
        let mut out = Out::new();
        if as_json {
            out.json(&self.json())?;
        } else {
            self.print_text(&mut out)?;
        }
        out.flush()
    }

    fn print_text(&self, out: &mut Out) -> Result<(), Failure> {
        let mut rows = table(&["BOARD", "TASK", "TASKS", "ATTEMPTS", "OUTCOME"]);
        for row in &self.rows {
            let (tasks, attempts) = (row.tasks.to_string(), row.attempts.to_string());
            rows.add_row([row.board, &row.title, &tasks, &attempts, &row.outcome]);
        }
        out.line(rows.trim_fmt())?;
        out.line("")?;
        out.line(format_args!("workers started        {}", self.spawned))?;
        out.line(format_args!("workers reaped         {}", self.reaped))?;
        out.line(format_args!("zombies left           {}", self.zombies.left))?;
        out.line(format_args!(
            "longest zombie life    {} ms, seen from outside in {} looks",
            self.zombies.longest_ms, self.zombies.looks
        ))?;
        let cost = if self.unsettled == 0 {
            "nothing: every task of the sound boards has come to its end".to_owned()
        } else {
            format!("{} task(s) of the sound boards did not come to their end", self.unsettled)
        };
        out.line(format_args!("cost of the sick ones  {cost}"))?;
        for (board, same) in &self.untouched {
            let what = if *same { "not a byte changed since the damage" } else { "CHANGED" };
            let board = format!("board `{board}`");
            out.line(format_args!("{board:22} {what}"))?;
        }
        for (board, task, meaning) in &self.unrecorded {
            out.line(format_args!(
                "not recorded           {board}/{task} {meaning}: its board fell"
            ))?;
        }
        out.line(if self.all_is_well() { "All is well." } else { "NOT all is well." })
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({"board": row.board, "title": row.title, "outcome": row.outcome,
                   "tasks": row.tasks, "attempts": row.attempts})
        });
        let untouched: serde_json::Map<String, Value> =
            self.untouched.iter().map(|(board, same)| ((*board).to_owned(), json!(same))).collect();
        json!({
            "spawned": self.spawned,
            "reaped": self.reaped,
            "zombies_left": self.zombies.left,
            "longest_zombie_ms": self.zombies.longest_ms,
            "tasks": rows.collect::<Vec<_>>(),
            "unsettled": self.unsettled,
            "unrecorded": self.unrecorded.iter().map(|(board, task, meaning)| {
                json!({"board": board, "task": task, "verdict": meaning})
            }).collect::<Vec<_>>(),
            "untouched": untouched,
            "all_is_well": self.all_is_well(),
        })
    }
}

/// The tasks of a board with the number of their attempts.
fn tasks(boards: &Boards, slug: &str) -> Result<Vec<(Task, i64)>, card::CardError> {
    let opened = card::open_for_reading(&boards.db(slug))?;
    let count = "SELECT count(*) FROM task_runs WHERE task_id = ?1";
    card::list(&opened.conn, &opened.columns, &Filter::default())?
        .into_iter()
        .map(|task| {
            let attempts = sql::one(&opened.conn, count, [&task.id], |row| row.get(0))?;
            Ok((task, attempts.unwrap_or(0)))
        })
        .collect()
}

/// Done, given up, or resting after a rate limit: there is nothing more to do for it now.
fn is_settled(task: &Task) -> bool {
    match task.status.as_str() {
        "done" | "blocked" => true,
        "ready" => task.title == "meets a rate limit",
        _ => false,
    }
}

fn outcome(task: &Task) -> String {
    match task.status.as_str() {
        "blocked" => {
            let why = task.last_failure_error.clone().unwrap_or_default();
            let why =
                why.split_once(' ').filter(|_| why.starts_with("pid")).map_or(&*why, |(_, w)| w);
            let why = why.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            format!("given up: {why}")
        }
        "ready" => "rests, ready again".to_owned(),
        status => status.to_owned(),
    }
}

fn add_rows(rows: &mut Vec<Row>, board: &'static str, tasks: &[(Task, i64)]) {
    for (task, attempts) in tasks {
        let outcome = outcome(task);
        let same = rows
            .iter_mut()
            .find(|row| row.board == board && row.title == task.title && row.outcome == outcome);
        match same {
            Some(row) => {
                row.tasks += 1;
                row.attempts += attempts;
            }
            None => rows.push(Row {
                board,
                title: task.title.clone(),
                outcome,
                tasks: 1,
                attempts: *attempts,
            }),
        }
    }
}
