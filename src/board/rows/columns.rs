//! Which columns a board has. There are boards of several generations, and none is ever migrated here:
//! a column that is missing reads as NULL and is not written.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result};

use super::value;
use crate::board::sql;

/// The columns of a task's claim. The fingerprint is cleared with the pid: one that stayed would make
/// other tools take the next worker for another process.
pub(crate) const TASK_CLAIM: [&str; 4] =
    ["claim_lock", "claim_expires", "worker_pid", "worker_started_at"];

/// The columns of the tables of tasks, links, events and runs, as `table.column`. Other tables are not
/// read.
#[derive(Clone, Debug, Default)]
pub struct Columns(BTreeSet<String>);

impl Columns {
    /// Reads them from the schema. Nothing else in it has to be valid: a table may belong to a module
    /// that is not loaded, a name may not be UTF-8.
    pub fn read(conn: &Connection) -> Result<Columns> {
        let names = sql::all(
            conn,
            "SELECT s.name || '.' || c.name FROM sqlite_schema s, pragma_table_info(s.name) c \
             WHERE s.type = 'table' \
             AND s.name IN ('tasks', 'task_links', 'task_events', 'task_runs', 'sexton_runs')",
            [],
            |row| value::text(row, 0),
        )?;
        Ok(Columns(names.into_iter().flatten().collect()))
    }

    /// Whether `table.column` is there.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.0.contains(column)
    }

    /// Whether `table` has `column`.
    pub(crate) fn has_in(&self, table: &str, column: &str) -> bool {
        self.has(&format!("{table}.{column}"))
    }

    /// Whether our own table about runs exists, with the columns that we know.
    pub(crate) fn has_own_runs(&self) -> bool {
        ["run_id", "lock", "owner", "outcome"]
            .iter()
            .all(|column| self.has_in("sexton_runs", column))
    }

    /// The columns of its claim that a run loses when it ends. Boards that know fingerprints keep lock
    /// and pid of a closed run: by them other tools look for a worker that lives on.
    pub(crate) fn claim_of_ended_run(&self) -> &'static [&'static str] {
        if self.has("task_runs.worker_started_at") {
            &["claim_expires"]
        } else {
            &["claim_lock", "claim_expires", "worker_pid"]
        }
    }

    /// `column` itself if `table` has it, else `NULL AS column`: for the list of a SELECT.
    pub(crate) fn or_null(&self, table: &str, column: &str) -> String {
        if self.has_in(table, column) { column.to_owned() } else { format!("NULL AS {column}") }
    }
}
