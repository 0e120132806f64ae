//! A task that may go on.

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use super::comment::comment;
use super::fields::Fields;
use super::{CardError, promote, run, task};
use crate::board::rows::columns::Columns;
use crate::board::rows::event::append;

/// What is said with it.
#[derive(Clone, Debug, Default)]
pub struct Unblock {
    /// For people; blank is none.
    pub reason: Option<String>,
    /// Name of the author, for the event.
    pub author: String,
}

/// Makes a blocked or scheduled task ready, or lets it wait for its parents. Failures so far are
/// forgiven.
pub fn unblock(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    id: &str,
    with: &Unblock,
) -> Result<(), CardError> {
    let task = task::find(conn, columns, id)?;
    task.must_be(&["blocked", "scheduled"], "blocked or scheduled", "unblocked")?;
    let reason = with.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if let Some(reason) = reason {
        comment(conn, columns, now, id, &with.author, &format!("UNBLOCK: {reason}"))?;
    }
    if let Some(leaked) = task.current_run_id {
        run::close_leaked(conn, columns, now, leaked, "invariant recovery on unblock")?;
    }
    let waits = !promote::open_parents(conn, &task.id)?.is_empty();
    Fields::of(columns, "tasks")
        .set("status", if waits { "todo" } else { "ready" }.to_owned())
        .clear(&["current_run_id", "last_failure_error"])
        .set("consecutive_failures", 0)
        .update(conn, "id = ?", [Value::Text(task.id.clone())])?;
    let payload = if waits { json!({"status": "todo"}) } else { Json::Null };
    append(conn, now, &task.id, None, "unblocked", &payload)?;
    Ok(())
}
