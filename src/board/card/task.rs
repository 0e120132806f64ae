//! A row of `tasks`.

use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::{CardError, value};
use crate::board::rows::columns::Columns;
use crate::board::sql;

/// What commands show and decide by.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named after their columns")]
pub struct Task {
    pub id: String,
    pub title: String,
    pub body: Option<String>,
    pub assignee: Option<String>,
    pub status: String,
    pub priority: i64,
    pub created_by: Option<String>,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub workspace_kind: String,
    pub workspace_path: Option<String>,
    pub branch_name: Option<String>,
    pub project_id: Option<String>,
    pub claim_lock: Option<String>,
    pub claim_expires: Option<i64>,
    pub tenant: Option<String>,
    pub result: Option<String>,
    pub consecutive_failures: i64,
    pub worker_pid: Option<i64>,
    pub last_failure_error: Option<String>,
    pub max_runtime_seconds: Option<i64>,
    pub last_heartbeat_at: Option<i64>,
    pub current_run_id: Option<i64>,
    pub current_step_key: Option<String>,
    pub skills: Value,
    pub model_override: Option<String>,
    pub max_retries: Option<i64>,
    pub session_id: Option<String>,
    pub block_kind: Option<String>,
    pub block_recurrences: i64,
}

/// Every column that [`read`] reads, in its order.
const COLUMNS: [&str; 31] = [
    "id",
    "title",
    "body",
    "assignee",
    "status",
    "priority",
    "created_by",
    "created_at",
    "started_at",
    "completed_at",
    "workspace_kind",
    "workspace_path",
    "branch_name",
    "project_id",
    "claim_lock",
    "claim_expires",
    "tenant",
    "result",
    "consecutive_failures",
    "worker_pid",
    "last_failure_error",
    "max_runtime_seconds",
    "last_heartbeat_at",
    "current_run_id",
    "current_step_key",
    "skills",
    "model_override",
    "max_retries",
    "session_id",
    "block_kind",
    "block_recurrences",
];

/// The task of this id.
pub fn find(conn: &Connection, columns: &Columns, id: &str) -> Result<Task, CardError> {
    let sql = format!("SELECT {} FROM tasks WHERE id = ?", select(columns));
    sql::one(conn, &sql, [id], read)?.ok_or_else(|| CardError::NoTask(id.to_owned()))
}

/// The list of columns for a SELECT that [`read`] reads.
pub(super) fn select(columns: &Columns) -> String {
    COLUMNS.map(|name| columns.or_null("tasks", name)).join(", ")
}

/// One row of such a SELECT.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: value::required(row, 0)?,
        title: value::required(row, 1)?,
        body: value::text(row, 2)?,
        assignee: value::text(row, 3)?,
        status: value::required(row, 4)?,
        priority: value::integer(row, 5)?.unwrap_or(0),
        created_by: value::text(row, 6)?,
        created_at: value::integer(row, 7)?.unwrap_or(0),
        started_at: value::integer(row, 8)?,
        completed_at: value::integer(row, 9)?,
        workspace_kind: value::required(row, 10)?,
        workspace_path: value::text(row, 11)?,
        branch_name: value::text(row, 12)?,
        project_id: value::text(row, 13)?,
        claim_lock: value::text(row, 14)?,
        claim_expires: value::integer(row, 15)?,
        tenant: value::text(row, 16)?,
        result: value::text(row, 17)?,
        consecutive_failures: value::integer(row, 18)?.unwrap_or(0),
        worker_pid: value::integer(row, 19)?,
        last_failure_error: value::text(row, 20)?,
        max_runtime_seconds: value::integer(row, 21)?,
        last_heartbeat_at: value::integer(row, 22)?,
        current_run_id: value::integer(row, 23)?,
        current_step_key: value::text(row, 24)?,
        skills: value::json(row, 25)?,
        model_override: value::text(row, 26)?,
        max_retries: value::integer(row, 27)?,
        session_id: value::text(row, 28)?,
        block_kind: value::text(row, 29)?,
        block_recurrences: value::integer(row, 30)?.unwrap_or(0),
    })
}

impl Task {
    /// Refuses unless the task is in one of `statuses`.
    pub(super) fn must_be(
        &self,
        statuses: &[&str],
        allowed: &'static str,
        done: &'static str,
    ) -> Result<(), CardError> {
        if statuses.contains(&self.status.as_str()) {
            return Ok(());
        }
        let (task, status) = (self.id.clone(), self.status.clone());
        Err(CardError::Status { task, status, allowed, done })
    }

    /// Refuses if the caller is the worker of a run that is not the current one.
    pub(super) fn must_be_in(&self, run: Option<i64>) -> Result<(), CardError> {
        match run {
            Some(run) if self.current_run_id != Some(run) => {
                Err(CardError::Superseded { task: self.id.clone(), run })
            }
            _ => Ok(()),
        }
    }
}

/// Returns the lock of the dispatcher responsible for a running task: the one that adopted its run,
/// else the one that made the claim.
pub fn owner(
    conn: &Connection,
    columns: &Columns,
    task: &Task,
) -> Result<Option<String>, CardError> {
    if task.status != "running" {
        return Ok(None);
    }
    let adopter = if columns.has_own_runs() {
        let query = "SELECT owner FROM sexton_runs WHERE run_id = ?1 AND lock = ?2";
        let key = params![task.current_run_id, task.claim_lock];
        sql::one(conn, query, key, |row| value::text(row, "owner"))?.flatten()
    } else {
        None
    };
    Ok(adopter.or_else(|| task.claim_lock.clone()))
}
