//! Everything about one task.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::run::{self, Run};
use super::task::{self, Task};
use super::{CardError, value};
use crate::board::rows::columns::Columns;
use crate::board::sql;

/// A task with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Card {
    /// The row of the task.
    pub task: Task,
    /// What it waits for, or waited for.
    pub parents: Vec<String>,
    /// What waits for it.
    pub children: Vec<String>,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// What happened to it, oldest first.
    pub events: Vec<Event>,
    /// Its attempts, oldest first.
    pub runs: Vec<Run>,
}

/// A comment on a task.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after their columns")]
pub struct Comment {
    pub author: String,
    pub body: String,
    pub created_at: i64,
}

/// An event in the history of a task.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after their columns")]
pub struct Event {
    pub id: i64,
    pub run_id: Option<i64>,
    pub kind: String,
    pub payload: Value,
    pub created_at: i64,
}

impl Card {
    /// The newest summary that an attempt left.
    #[must_use]
    pub fn latest_summary(&self) -> Option<&str> {
        self.runs.iter().rev().find_map(|run| run.summary.as_deref())
    }
}

/// Reads a task and what belongs to it.
pub fn show(conn: &Connection, columns: &Columns, id: &str) -> Result<Card, CardError> {
    let task = task::find(conn, columns, id)?;
    let related = |query| sql::all(conn, query, [id], |row| value::required(row, 0));
    Ok(Card {
        parents: related("SELECT parent_id FROM task_links WHERE child_id = ? ORDER BY rowid")?,
        children: related("SELECT child_id FROM task_links WHERE parent_id = ? ORDER BY rowid")?,
        comments: comments(conn, id)?,
        events: events_after(conn, id, 0)?,
        runs: run::of_task(conn, id)?,
        task,
    })
}

fn comments(conn: &Connection, id: &str) -> rusqlite::Result<Vec<Comment>> {
    let query = "SELECT author, body, created_at FROM task_comments WHERE task_id = ? ORDER BY id";
    sql::all(conn, query, [id], |row| {
        Ok(Comment {
            author: value::required(row, 0)?,
            body: value::required(row, 1)?,
            created_at: value::integer(row, 2)?.unwrap_or(0),
        })
    })
}

/// The events of a task that are newer than the event `after`, oldest first.
pub fn events_after(conn: &Connection, id: &str, after: i64) -> Result<Vec<Event>, CardError> {
    let query = "SELECT id, run_id, kind, payload, created_at FROM task_events \
                 WHERE task_id = ? AND id > ? ORDER BY id";
    Ok(sql::all(conn, query, params![id, after], |row| {
        Ok(Event {
            id: value::integer(row, 0)?.unwrap_or(0),
            run_id: value::integer(row, 1)?,
            kind: value::required(row, 2)?,
            payload: value::json(row, 3)?,
            created_at: value::integer(row, 4)?.unwrap_or(0),
        })
    })?)
}
