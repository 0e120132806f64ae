//! Waiting tasks whose time has come: row 4.

use rusqlite::{Connection, Result, params};
use serde_json::{Value, json};

use super::tx::Pass;
use crate::board::rows::event;
use crate::board::rows::task::TaskRow;
use crate::board::rows::value;
use crate::board::sql;
use crate::machine::exchange::{Refusal, Taken};
use crate::machine::ids::TaskId;

/// Makes a waiting task ready, if it may.
pub(super) fn promote(pass: &Pass<'_>, task: TaskId, failure_limit: u32) -> Result<Taken> {
    let row = pass.task(task)?;
    let Some(row) = row else { return Ok(Taken::No(Refusal::Superseded)) };
    if !may(pass, &row, failure_limit)? {
        return Ok(Taken::No(Refusal::Superseded));
    }
    let phase = phase(pass.conn, task.as_str())?;
    let update = "UPDATE tasks SET status = ?2 WHERE id = ?1";
    sql::change(pass.conn, update, params![task.as_str(), phase])?;
    event::append(pass.conn, task, None, "promoted", &said_of(phase), pass.unix)?;
    Ok(Taken::Yes)
}

/// Whether a task may be promoted now.
pub(super) fn may(pass: &Pass<'_>, row: &TaskRow, failure_limit: u32) -> Result<bool> {
    Ok(match row.status.as_str() {
        "todo" => pass.parents_done(row.id)?,
        "blocked" => {
            let limit = row.max_retries.unwrap_or(failure_limit).max(1);
            row.failures < limit
                && !is_held(pass.conn, row.id.as_str())?
                && pass.parents_done(row.id)?
        }
        _ => false,
    })
}

/// Whether a person must unblock it: it was blocked by one, or created so, or the breaker tripped
/// for good.
pub(crate) fn is_held(conn: &Connection, task: &str) -> Result<bool> {
    let query = "SELECT kind, payload FROM task_events WHERE task_id = ?1 \
                 AND kind IN ('created', 'blocked', 'unblocked') ORDER BY +id DESC LIMIT 1";
    let blocked = sql::one(conn, query, [task], |row| {
        let kind = value::text(row, "kind")?.unwrap_or_default();
        let payload = event::parse(value::text(row, "payload")?);
        Ok(kind == "blocked" || (kind == "created" && payload["status"] == "blocked"))
    })?;
    let query = "SELECT payload FROM task_events WHERE task_id = ?1 \
                 AND kind IN ('gave_up', 'unblocked') ORDER BY +id DESC LIMIT 1";
    let sticky = sql::one(conn, query, [task], |row| {
        Ok(event::parse(value::text(row, "payload")?)["sticky"] == Value::Bool(true))
    })?;
    Ok(blocked == Some(true) || sticky == Some(true))
}

/// Where the task takes up again: it may have been stopped while it was being reviewed.
pub(crate) fn phase(conn: &Connection, task: &str) -> Result<&'static str> {
    let query = "SELECT payload FROM task_events WHERE task_id = ?1 AND kind IN ('blocked', \
                 'block_loop_detected', 'dependency_wait', 'gave_up', 'unblocked', \
                 'changes_requested', 'review_reopened', 'status', 'reclaimed', 'stale', \
                 'timed_out', 'crashed', 'spawn_failed', 'rate_limited') ORDER BY +id DESC LIMIT 1";
    let payload = sql::one(conn, query, [task], |row| value::text(row, "payload"))?;
    let payload = event::parse(payload.flatten());
    let named = ["resume_status", "retry_status", "source_status"];
    let review = named.iter().any(|key| payload[*key] == "review");
    Ok(if review { "review" } else { "ready" })
}

/// The payload of the event that tells of a promotion to this phase.
pub(crate) fn said_of(phase: &str) -> Value {
    if phase == "review" { json!({"status": phase}) } else { Value::Null }
}
