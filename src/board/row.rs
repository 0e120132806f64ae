//! A row of `tasks`, as far as decisions depend on it.

use rusqlite::{Result, Row};

use super::value;
use super::workers::Workers;
use crate::machine::exchange::Lane;
use crate::machine::ids::{Pid, RunId, TaskId};

/// One task.
#[derive(Clone, Debug)]
pub(super) struct TaskRow {
    pub(super) rowid: i64,
    pub(super) id: TaskId,
    pub(super) assignee: Option<String>,
    pub(super) status: String,
    pub(super) priority: i64,
    pub(super) created_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) claim_lock: Option<String>,
    pub(super) claim_expires: Option<i64>,
    pub(super) worker_pid: Option<i64>,
    pub(super) worker_started_at: Option<String>,
    pub(super) current_run: Option<RunId>,
    pub(super) failures: u32,
    pub(super) max_retries: Option<u32>,
    pub(super) max_runtime_s: Option<u32>,
    pub(super) last_heartbeat_at: Option<i64>,
    pub(super) has_body: bool,
}

impl TaskRow {
    /// Reads the columns of [`Shape::row`](super::shape::Shape); `None` if the row cannot be
    /// understood: an id that is no text, or too long.
    pub(super) fn read(row: &Row<'_>) -> Result<Option<TaskRow>> {
        let Some(id) = value::task(row, "id")? else { return Ok(None) };
        let limit = |n: i64| value::count(n.max(1));
        Ok(Some(TaskRow {
            rowid: row.get("row")?,
            id,
            assignee: value::text(row, "assignee")?,
            status: value::text(row, "status")?.unwrap_or_default(),
            priority: value::order(row, "priority")?,
            created_at: value::order(row, "created_at")?,
            started_at: value::int(row, "started_at")?,
            claim_lock: value::text(row, "claim_lock")?,
            claim_expires: value::int(row, "claim_expires")?,
            worker_pid: value::int(row, "worker_pid")?,
            worker_started_at: value::text(row, "worker_started_at")?,
            current_run: value::int(row, "current_run_id")?.map(RunId),
            failures: value::count(value::int(row, "consecutive_failures")?.unwrap_or(0)),
            max_retries: value::int(row, "max_retries")?.map(limit),
            max_runtime_s: value::int(row, "max_runtime_seconds")?
                .filter(|limit| *limit > 0)
                .map(value::count),
            last_heartbeat_at: value::int(row, "last_heartbeat_at")?,
            has_body: row.get("has_body")?,
        }))
    }

    /// Whose work it is.
    pub(super) fn lane(&self, workers: &Workers) -> Lane {
        match self.assignee.as_deref().map(str::trim) {
            None | Some("") => Lane::Unassigned,
            Some(name) => workers.id(name).map_or(Lane::Foreign, Lane::Worker),
        }
    }

    /// Its worker, if it has one that can be a process.
    pub(super) fn pid(&self) -> Option<Pid> {
        let pid = self.worker_pid.and_then(|pid| i32::try_from(pid).ok())?;
        (pid > 0).then_some(Pid(pid))
    }

    /// The fingerprint of its worker, if one was taken.
    pub(super) fn fingerprint(&self) -> Option<&str> {
        self.worker_started_at.as_deref().filter(|text| *text != UNVERIFIED)
    }
}

/// Stands in place of a fingerprint that could not be taken.
pub(super) const UNVERIFIED: &str = "unverified";
