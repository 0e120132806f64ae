//! What the events and runs of a task mean for what may become of it.

use rusqlite::{Connection, Result, params};
use serde_json::Value;

use super::{event, value};
use crate::board::sql;
use crate::machine::hold::{self, LastEnd};
use crate::machine::ids::{RunId, TaskId};
use crate::machine::policy::Policy;
use crate::machine::verdict::STREAK_LIMIT;

/// How the newest closed run of a task ended.
///
/// An end that is not a number, or lies further ahead than it could hold the task, does not count (see
/// [`hold::on`]). It would sort above all later ends and hide them, and the task would never rest
/// again.
pub(crate) fn last_end(
    conn: &Connection,
    task: TaskId,
    failures: u32,
    policy: &Policy,
    unix: i64,
) -> Result<Option<LastEnd>> {
    let query = "SELECT ended_at, limited FROM (\
                   SELECT id, ended_at, ifnull(CAST(outcome AS TEXT) = 'rate_limited', 0) AS limited \
                   FROM task_runs WHERE task_id = ?1 AND typeof(ended_at) IN ('integer', 'real')) \
                 WHERE ended_at <= iif(limited, ?2, ?3) ORDER BY ended_at DESC, id DESC LIMIT 1";
    let [limited, failed] = [true, false].map(|rate_limited| {
        unix.saturating_add(hold::rest_s(policy, task, failures, rate_limited))
    });
    let end = sql::one(conn, query, params![task.as_str(), limited, failed], |row| {
        let rate_limited = row.get("limited")?;
        Ok(value::int(row, "ended_at")?.map(|at| LastEnd { at, rate_limited }))
    })?;
    Ok(end.flatten())
}

/// The status to which a failed run returns its task: that from which it was claimed.
pub(crate) fn retry_status(conn: &Connection, run: Option<RunId>) -> Result<&'static str> {
    let Some(run) = run else { return Ok("ready") };
    let claimed = event::of_run(conn, run, "claimed")?;
    Ok(if claimed["source_status"] == "review" { "review" } else { "ready" })
}

/// The status in which a waiting task goes on: it may have been stopped during its review.
pub(crate) fn resume_status(conn: &Connection, task: &str) -> Result<&'static str> {
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

/// Whether only a person may unblock it: a person blocked it, or it was created blocked, or the
/// breaker's trip is sticky.
pub(crate) fn needs_a_person(conn: &Connection, task: &str) -> Result<bool> {
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

/// Counts the newest closed runs of a task that are protocol violations, up to the first that is not.
/// Rate limits are skipped.
pub(crate) fn violations(conn: &Connection, task: TaskId) -> Result<u32> {
    let query = "SELECT outcome, metadata, error FROM task_runs WHERE task_id = ?1 \
                 AND ended_at IS NOT NULL ORDER BY +id DESC LIMIT 50";
    let runs = sql::all(conn, query, [task.as_str()], |run| {
        let outcome = value::text(run, "outcome")?.unwrap_or_default();
        let metadata = event::parse(value::text(run, "metadata")?);
        let error = value::text(run, "error")?.unwrap_or_default();
        let marked = metadata.get("protocol_violation").map(|mark| *mark == Value::Bool(true));
        let violation = marked.unwrap_or_else(|| error.contains("protocol violation"));
        Ok((outcome, violation))
    })?;
    let streak = runs
        .iter()
        .filter(|(outcome, _)| outcome != "rate_limited")
        .take_while(|(outcome, violation)| outcome == "crashed" && *violation)
        .count();
    Ok(u32::try_from(streak).unwrap_or(STREAK_LIMIT))
}

/// Returns how many of the newest closed runs of a task in a row have an unknown end. Rate limits are
/// skipped. Reads our own table, which must exist.
pub(crate) fn unknown_ends(conn: &Connection, task: TaskId) -> Result<u32> {
    let query = "SELECT ifnull(o.outcome = 'unknown', 0) FROM task_runs r \
                 LEFT JOIN sexton_runs o ON o.run_id = r.id \
                 WHERE r.task_id = ?1 AND r.ended_at IS NOT NULL \
                 AND r.outcome IS NOT 'rate_limited' ORDER BY +r.id DESC LIMIT 50";
    let runs = sql::all(conn, query, [task.as_str()], |row| row.get::<_, bool>(0))?;
    let streak = runs.iter().take_while(|unknown| **unknown).count();
    Ok(u32::try_from(streak).unwrap_or(STREAK_LIMIT))
}
