//! What this board's tables look like, and the statements that depend on it.

use rusqlite::{Connection, Result};

use super::columns::Columns;
use super::spawn_facts::SpawnFacts;
use super::task::TaskRow;
use crate::board::sql;

/// What a board must have to be dispatched. Everything else may be missing.
const NEEDED: [&str; 38] = [
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

/// Tables whose rows must be known by a number that SQLite gives them, and the name of what is lacking
/// where they are not: a run without a number could never be closed.
const NUMBERED: [(&str, &str); 2] = [
    ("task_events", "integer primary key task_events.id"),
    ("task_runs", "integer primary key task_runs.id"),
];

/// The shape of one board, valid for one `schema_version`.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) columns: Columns,
    pub(crate) version: i64,
    /// The columns of a [`TaskRow`](super::row::TaskRow), for the list of a SELECT from `tasks`.
    pub(crate) row: String,
    /// The columns of spawn facts.
    pub(crate) facts: String,
    /// Ready tasks of one assignee, in the board's order, as many as are asked for.
    pub(crate) ready_of: String,
    /// The assignees there are, each once.
    pub(crate) assignees: &'static str,
    missing: Option<&'static str>,
}

impl Shape {
    /// Reads it.
    pub(crate) fn read(conn: &Connection) -> Result<Shape> {
        let version = version(conn)?;
        let columns = Columns::read(conn)?;
        let indexed = has_ready_index(conn);
        Ok(Shape {
            row: TaskRow::list(&columns),
            facts: SpawnFacts::list(&columns),
            ready_of: format!(
                "SELECT rowid AS row, priority, created_at FROM tasks {} WHERE assignee IS ?1 \
                 AND status = 'ready' AND claim_lock IS NULL \
                 ORDER BY priority DESC, created_at, rowid LIMIT ?2",
                if indexed { "INDEXED BY sexton_ready" } else { "" }
            ),
            assignees: match (indexed, leads_an_index(conn)?) {
                (true, _) => SKIP_READY,
                (false, true) => SKIP_ALL,
                (false, false) => {
                    "SELECT DISTINCT assignee AS name FROM tasks \
                                   WHERE status = 'ready' AND assignee IS NOT NULL"
                }
            },
            missing: missing(conn, &columns)?,
            columns,
            version,
        })
    }

    /// The first thing that a board must have and that is not there.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.missing
    }

    /// `, name` if the column is there: for the lists of a statement.
    pub(crate) fn and(&self, table: &str, column: &str, text: &'static str) -> &'static str {
        if self.columns.has(&format!("{table}.{column}")) { text } else { "" }
    }

    /// True if pids come with the fingerprint of their process.
    pub(crate) fn fingerprints(&self) -> bool {
        self.columns.has("tasks.worker_started_at")
    }

    /// The assignments that free a task of its claim.
    pub(crate) fn free(&self) -> &'static str {
        if self.fingerprints() {
            "claim_lock = NULL, claim_expires = NULL, worker_pid = NULL, worker_started_at = NULL"
        } else {
            "claim_lock = NULL, claim_expires = NULL, worker_pid = NULL"
        }
    }

    /// The assignments that take the claim off a run that ends. Where runs keep the fingerprint of
    /// their process they also keep the claim, as evidence.
    pub(crate) fn unclaim(&self) -> &'static str {
        if self.columns.has("task_runs.worker_started_at") {
            "claim_expires = NULL"
        } else {
            "claim_lock = NULL, claim_expires = NULL, worker_pid = NULL"
        }
    }
}

fn missing(conn: &Connection, columns: &Columns) -> Result<Option<&'static str>> {
    if let Some(column) = NEEDED.into_iter().find(|column| !columns.has(column)) {
        return Ok(Some(column));
    }
    for (table, key) in NUMBERED {
        // Every primary key has an index, but for the one that is the number of its row.
        let query = "SELECT 1 FROM pragma_table_info(?1) WHERE name = 'id' AND pk = 1 \
                     AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
        if sql::one(conn, query, [table], |_| Ok(()))?.is_none() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Changes whenever the schema does.
pub(crate) fn version(conn: &Connection) -> Result<i64> {
    Ok(sql::one(conn, "PRAGMA schema_version", [], |row| row.get(0))?.unwrap_or(0))
}

/// One step for each assignee that has ready tasks, whatever the size of the board.
const SKIP_READY: &str = "WITH RECURSIVE names(name) AS (\
    SELECT min(assignee) FROM tasks INDEXED BY sexton_ready \
     WHERE status = 'ready' AND claim_lock IS NULL \
    UNION ALL SELECT (\
     SELECT min(assignee) FROM tasks INDEXED BY sexton_ready \
      WHERE status = 'ready' AND claim_lock IS NULL AND assignee > name) \
    FROM names WHERE name IS NOT NULL) \
    SELECT name FROM names WHERE name IS NOT NULL";

/// One step for each assignee.
const SKIP_ALL: &str = "WITH RECURSIVE names(name) AS (\
    SELECT min(assignee) FROM tasks \
    UNION ALL SELECT (SELECT min(assignee) FROM tasks WHERE assignee > name) \
    FROM names WHERE name IS NOT NULL) \
    SELECT name FROM names WHERE name IS NOT NULL";

/// True if our own index is there and fit for use: an index of that name which is not is ignored.
fn has_ready_index(conn: &Connection) -> bool {
    let query = "SELECT rowid FROM tasks INDEXED BY sexton_ready WHERE assignee IS ?1 \
                 AND status = 'ready' AND claim_lock IS NULL \
                 ORDER BY priority DESC, created_at, rowid";
    conn.prepare(query).is_ok() && conn.prepare(SKIP_READY).is_ok()
}

/// True if some whole index begins with the assignee.
fn leads_an_index(conn: &Connection) -> Result<bool> {
    let query = "SELECT 1 FROM pragma_index_list('tasks') l, pragma_index_info(l.name) i \
                 WHERE i.seqno = 0 AND i.name = 'assignee' AND l.partial = 0";
    Ok(sql::one(conn, query, [], |_| Ok(()))?.is_some())
}
