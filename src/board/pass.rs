//! One transaction with a board, as its parts see it.

use rusqlite::{Connection, Result, params};

use super::context::Context;
use super::shape::Shape;
use super::{sql, value};
use crate::machine::exchange::{Candidate, LastEnd};
use crate::machine::ids::{RunId, TaskId};

use super::row::TaskRow;

/// What every part of an exchange needs.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) conn: &'a Connection,
    pub(super) shape: &'a Shape,
    pub(super) context: &'a Context<'a>,
    /// The second that all rows of this transaction carry.
    pub(super) unix: i64,
}

impl Pass<'_> {
    /// The row of a task.
    pub(super) fn task(&self, task: TaskId) -> Result<Option<TaskRow>> {
        let query = format!("SELECT {} FROM tasks WHERE id = ?1", self.shape.row);
        let row = sql::one(self.conn, &query, [task.as_str()], TaskRow::read)?;
        Ok(row.flatten())
    }

    /// Rows that are running, whoever runs them.
    pub(super) fn running(&self) -> Result<u32> {
        let query = "SELECT count(*) FROM tasks WHERE status = 'running'";
        Ok(sql::one(self.conn, query, [], |row| row.get(0))?.map_or(0, value::count))
    }

    /// Whether everything that `task` waits for is done. Parents that do not exist are.
    pub(super) fn parents_done(&self, task: TaskId) -> Result<bool> {
        let query = "SELECT 1 FROM task_links l JOIN tasks p ON p.id = l.parent_id \
                     WHERE l.child_id = ?1 AND p.status NOT IN ('done', 'archived')";
        Ok(sql::one(self.conn, query, [task.as_str()], |_| Ok(()))?.is_none())
    }

    /// When a run began.
    pub(super) fn run_start(&self, task: TaskId, run: Option<RunId>) -> Result<Option<i64>> {
        let Some(run) = run else { return Ok(None) };
        let query = "SELECT started_at FROM task_runs WHERE id = ?1 AND task_id = ?2";
        let start = sql::one(self.conn, query, params![run.0, task.as_str()], |row| {
            value::int(row, "started_at")
        })?;
        Ok(start.flatten())
    }

    /// A task as the rules see it.
    pub(super) fn candidate(&self, row: &TaskRow) -> Result<Candidate> {
        Ok(Candidate {
            task: row.id,
            lane: row.lane(self.context.workers),
            priority: row.priority,
            created_at: row.created_at,
            order: row.rowid,
            has_body: row.has_body,
            failures: row.failures,
            last_end: self.last_end(row)?,
        })
    }

    /// How the newest closed run of a task ended.
    fn last_end(&self, row: &TaskRow) -> Result<Option<LastEnd>> {
        if row.started_at.is_none() {
            return Ok(None);
        }
        let query = "SELECT ended_at, outcome FROM task_runs WHERE task_id = ?1 \
                     AND ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1";
        let end = sql::one(self.conn, query, [row.id.as_str()], |row| {
            let rate_limited = value::text(row, "outcome")?.as_deref() == Some("rate_limited");
            Ok(value::int(row, "ended_at")?.map(|at| LastEnd { at, rate_limited }))
        })?;
        Ok(end.flatten())
    }
}
