//! A row of `tasks`, as far as decisions depend on it.

use rusqlite::{Result, Row};

use super::columns::Columns;
use super::value::{self, Fields};
use super::workers::Workers;
use crate::machine::hold::Lane;
use crate::machine::ids::{Pid, RunId, TaskId};

/// The columns of a task that decide whether it runs.
#[derive(Clone, Debug)]
pub(crate) struct TaskRow {
    pub(crate) rowid: i64,
    pub(crate) id: TaskId,
    pub(crate) assignee: Option<String>,
    pub(crate) status: String,
    pub(crate) priority: i64,
    pub(crate) created_at: i64,
    pub(crate) started_at: Option<i64>,
    pub(crate) claim_lock: Option<String>,
    pub(crate) claim_expires: Option<i64>,
    pub(crate) worker_pid: Option<i64>,
    pub(crate) worker_started_at: Option<String>,
    pub(crate) current_run: Option<RunId>,
    pub(crate) failures: u32,
    pub(crate) max_retries: Option<u32>,
    pub(crate) max_runtime_s: Option<u32>,
    pub(crate) last_heartbeat_at: Option<i64>,
    pub(crate) has_body: bool,
    /// True if `started_at` is not NULL, even if it is not a number.
    pub(crate) was_started: bool,
    /// The owner of its run, if it was adopted: the text of a lock.
    pub(crate) adopter: Option<String>,
}

/// Part of a SELECT from `tasks`.
const ADOPTER: &str = "(SELECT owner FROM sexton_runs WHERE run_id = current_run_id AND lock = claim_lock) AS adopter";

impl TaskRow {
    /// The list of a SELECT from `tasks` for [`read`](TaskRow::read). Columns that the board lacks are
    /// NULL.
    pub(crate) fn list(columns: &Columns) -> String {
        let optional = |column| columns.or_null("tasks", column);
        format!(
            "rowid AS row, id, assignee, status, priority, created_at, started_at, claim_lock, \
             claim_expires, worker_pid, {}, current_run_id, consecutive_failures, {}, {}, {}, \
             ifnull(length(trim(body)), 0) > 0 AS has_body, \
             started_at IS NOT NULL AS was_started, {}",
            optional("worker_started_at"),
            optional("max_retries"),
            optional("max_runtime_seconds"),
            optional("last_heartbeat_at"),
            if columns.has_own_runs() { ADOPTER } else { "NULL AS adopter" },
        )
    }

    /// Reads the columns of [`list`](TaskRow::list); `None` if the id is not text, or too
    /// long.
    pub(crate) fn read(row: &Row<'_>) -> Result<Option<TaskRow>> {
        let mut fields = Fields::of(row);
        let rowid = fields.int()?.unwrap_or_default();
        let Some(id) = fields.task()? else { return Ok(None) };
        let limit = |n: i64| value::count(n.max(1));
        Ok(Some(TaskRow {
            rowid,
            id,
            assignee: fields.text()?,
            status: fields.text()?.unwrap_or_default(),
            priority: fields.order()?,
            created_at: fields.order()?,
            started_at: fields.int()?,
            claim_lock: fields.text()?,
            claim_expires: fields.int()?,
            worker_pid: fields.int()?,
            worker_started_at: fields.text()?,
            current_run: fields.int()?.map(RunId),
            failures: value::count(fields.int()?.unwrap_or(0)),
            max_retries: fields.int()?.map(limit),
            max_runtime_s: fields.int()?.filter(|limit| *limit > 0).map(value::count),
            last_heartbeat_at: fields.int()?,
            has_body: fields.int()? == Some(1),
            was_started: fields.int()? == Some(1),
            adopter: fields.text()?,
        }))
    }

    /// Returns the lane of its assignee.
    pub(crate) fn lane(&self, workers: &Workers) -> Lane {
        workers.lane(self.assignee.as_deref())
    }

    /// The lock of the dispatcher responsible for its run: the one that adopted it, else the one that
    /// made the claim.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.adopter.as_deref().or(self.claim_lock.as_deref())
    }

    /// The pid of its worker, if it can be one.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let pid = self.worker_pid.and_then(|pid| i32::try_from(pid).ok())?;
        (pid > 0).then_some(Pid(pid))
    }

    /// The fingerprint of its worker, if one was taken.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.worker_started_at.as_deref().filter(|text| *text != UNVERIFIED)
    }
}

/// Stored in place of a fingerprint that could not be taken.
pub(crate) const UNVERIFIED: &str = "unverified";
