//! Runs: the attempts of a task, and what ends one.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::fields::Fields;
use super::task::Task;
use super::value;
use crate::board::rows::columns::Columns;
use crate::board::sql;

/// One attempt, as commands show it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after their columns")]
pub struct Run {
    pub id: i64,
    pub profile: Option<String>,
    pub step_key: Option<String>,
    pub status: String,
    pub outcome: Option<String>,
    pub summary: Option<String>,
    pub error: Option<String>,
    pub metadata: serde_json::Value,
    pub worker_pid: Option<i64>,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
}

/// All attempts of a task, oldest first.
pub(super) fn of_task(conn: &Connection, task: &str) -> rusqlite::Result<Vec<Run>> {
    let query = "SELECT id, profile, step_key, status, outcome, summary, error, metadata, \
                 worker_pid, started_at, ended_at FROM task_runs WHERE task_id = ? ORDER BY id";
    sql::all(conn, query, [task], |row| {
        Ok(Run {
            id: value::integer(row, 0)?.unwrap_or(0),
            profile: value::text(row, 1)?,
            step_key: value::text(row, 2)?,
            status: value::required(row, 3)?,
            outcome: value::text(row, 4)?,
            summary: value::text(row, 5)?,
            error: value::text(row, 6)?,
            metadata: value::json(row, 7)?,
            worker_pid: value::integer(row, 8)?,
            started_at: value::integer(row, 9)?,
            ended_at: value::integer(row, 10)?,
        })
    })
}

/// How an attempt ended.
pub(super) struct Ending<'a> {
    /// The status of a run that was claimed.
    pub status: &'a str,
    /// Its outcome, which is also the status of a run that is made up.
    pub outcome: &'a str,
    pub summary: Option<&'a str>,
    pub metadata: Option<String>,
}

impl Ending<'_> {
    /// Ends the task's current run. Without one, inserts a closed run if there is something to keep
    /// in it. Returns the run's id.
    pub(super) fn record(
        self,
        conn: &Connection,
        columns: &Columns,
        now: i64,
        task: &Task,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(run) = task.current_run_id {
            self.close(conn, columns, now, task, run)?;
            return Ok(Some(run));
        }
        if self.summary.is_none() && self.metadata.is_none() {
            return Ok(None);
        }
        self.make_up(conn, columns, now, task).map(Some)
    }

    fn close(
        self,
        conn: &Connection,
        columns: &Columns,
        now: i64,
        task: &Task,
        run: i64,
    ) -> rusqlite::Result<()> {
        unclaimed(columns)
            .set("status", self.status.to_owned())
            .set("outcome", self.outcome.to_owned())
            .set("summary", self.summary.map(str::to_owned))
            .clear(&["error"])
            .set("metadata", self.metadata)
            .set("ended_at", now)
            .update(conn, "id = ? AND ended_at IS NULL", [Value::Integer(run)])?;
        Fields::of(columns, "tasks").clear(&["current_run_id"]).update(
            conn,
            "id = ?",
            [Value::Text(task.id.clone())],
        )?;
        Ok(())
    }

    fn make_up(
        self,
        conn: &Connection,
        columns: &Columns,
        now: i64,
        task: &Task,
    ) -> rusqlite::Result<i64> {
        Fields::of(columns, "task_runs")
            .set("task_id", task.id.clone())
            .set("profile", task.assignee.clone())
            .set("step_key", task.current_step_key.clone())
            .set("status", self.outcome.to_owned())
            .set("started_at", now)
            .set("ended_at", now)
            .set("outcome", self.outcome.to_owned())
            .set("summary", self.summary.map(str::to_owned))
            .set("metadata", self.metadata)
            .insert(conn)
    }
}

/// Closes a run that was left open by a task that is not running.
pub(super) fn close_leaked(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    run: i64,
    why: &str,
) -> rusqlite::Result<()> {
    let open = sql::one(
        conn,
        "SELECT summary FROM task_runs WHERE id = ? AND ended_at IS NULL",
        [run],
        |row| value::text(row, 0),
    )?;
    let Some(summary) = open else { return Ok(()) };
    unclaimed(columns)
        .set("status", "reclaimed".to_owned())
        .set("outcome", "reclaimed".to_owned())
        .set("summary", summary.unwrap_or_else(|| why.to_owned()))
        .set("ended_at", now)
        .update(conn, "id = ?", [Value::Integer(run)])?;
    Ok(())
}

/// Takes the claim off a run that ends.
fn unclaimed(columns: &Columns) -> Fields<'_> {
    Fields::of(columns, "task_runs").clear(columns.claim_of_ended_run())
}
