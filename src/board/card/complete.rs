//! A task that is done.

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::json;

use super::fields::Fields;
use super::run::Ending;
use super::{CardError, promote, task};
use crate::board::rows::columns::Columns;
use crate::board::rows::event::{append, json_text};

/// What a finished task leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Complete {
    /// The result, which stays with the task.
    pub result: Option<String>,
    /// The summary, which stays with the run. A blank one is none.
    pub summary: Option<String>,
    /// Facts for later readers: a JSON object.
    pub metadata: Option<serde_json::Value>,
    /// The run that the caller belongs to, if it is a worker.
    pub own_run: Option<i64>,
    /// From how many failures on a blocked child stays blocked.
    pub failure_limit: u32,
}

/// The longest summary that an event repeats, in characters.
const PREVIEW: usize = 400;

/// Completes a task, and makes its children ready that waited only for it.
pub fn complete(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    id: &str,
    with: &Complete,
) -> Result<(), CardError> {
    let task = task::find(conn, columns, id)?;
    task.must_be(&["running", "ready", "blocked"], "running, ready or blocked", "completed")?;
    task.must_be_in(with.own_run)?;

    let said = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let summary = said(&with.summary).or_else(|| said(&with.result));
    Fields::of(columns, "tasks")
        .set("status", "done".to_owned())
        .set("result", with.result.clone())
        .set("completed_at", now)
        .unclaim()
        .clear(&["block_kind"])
        .set("block_recurrences", 0)
        .set("consecutive_failures", 0)
        .clear(&["last_failure_error"])
        .update(conn, "id = ?", [Value::Text(task.id.clone())])?;
    let ending = Ending {
        status: "done",
        outcome: "completed",
        summary: summary.as_deref(),
        metadata: with.metadata.as_ref().map(json_text),
    };
    let run = ending.record(conn, columns, now, &task)?;
    let payload = json!({
        "result_len": with.result.as_ref().map_or(0, |result| result.chars().count()),
        "summary": summary.as_deref().map(first_line),
    });
    append(conn, now, &task.id, run, "completed", &payload)?;
    promote::children(conn, columns, now, &task.id, with.failure_limit)
}

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or("").chars().take(PREVIEW).collect()
}
