//! What a board must have to be dispatched. Everything else may be missing.

use rusqlite::{Connection, Result};

use super::columns::Columns;
use crate::board::sql;

const COLUMNS: [&str; 38] = [
    "tasks.id",
    "tasks.title",
    "tasks.body",
    "tasks.assignee",
    "tasks.status",
    "tasks.priority",
    "tasks.created_at",
    "tasks.started_at",
    "tasks.completed_at",
    "tasks.workspace_kind",
    "tasks.workspace_path",
    "tasks.claim_lock",
    "tasks.claim_expires",
    "tasks.worker_pid",
    "tasks.current_run_id",
    "tasks.consecutive_failures",
    "tasks.last_failure_error",
    "task_links.parent_id",
    "task_links.child_id",
    "task_events.id",
    "task_events.task_id",
    "task_events.run_id",
    "task_events.kind",
    "task_events.payload",
    "task_events.created_at",
    "task_runs.id",
    "task_runs.task_id",
    "task_runs.profile",
    "task_runs.status",
    "task_runs.claim_lock",
    "task_runs.claim_expires",
    "task_runs.worker_pid",
    "task_runs.started_at",
    "task_runs.ended_at",
    "task_runs.outcome",
    "task_runs.summary",
    "task_runs.metadata",
    "task_runs.error",
];

/// Tables whose rows must have an integer primary key, and how a missing one is named: a run without a
/// number could never be closed.
const NUMBERED: [(&str, &str); 2] = [
    ("task_events", "integer primary key task_events.id"),
    ("task_runs", "integer primary key task_runs.id"),
];

/// Returns the first thing that a board must have and this one lacks.
pub(crate) fn missing(conn: &Connection) -> Result<Option<&'static str>> {
    let columns = Columns::read(conn)?;
    if let Some(column) = COLUMNS.into_iter().find(|column| !columns.has(column)) {
        return Ok(Some(column));
    }
    for (table, key) in NUMBERED {
        // Every primary key has an index, except one that is the rowid itself.
        let query = "SELECT 1 FROM pragma_table_info(?1) WHERE name = 'id' AND pk = 1 \
                     AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
        if sql::one(conn, query, [table], |_| Ok(()))?.is_none() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
