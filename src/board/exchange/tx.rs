//! One transaction with a board, as its parts see it.

use rusqlite::{Connection, Result, params};

use super::context::Context;
use crate::board::rows::statements::Shape;
use crate::board::rows::value;
use crate::board::sql;
use crate::machine::hold::{self, Candidate, LastEnd};
use crate::machine::ids::{RunId, TaskId};
use crate::machine::policy::Policy;

use crate::board::rows::task::TaskRow;

/// What every part of an exchange needs.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) shape: &'a Shape,
    pub(crate) context: &'a Context<'a>,
    /// The second that all rows of this transaction carry.
    pub(crate) unix: i64,
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
            // Most tasks were never tried.
            last_end: if row.was_started {
                last_end(self.conn, row.id, row.failures, self.context.policy, self.unix)?
            } else {
                None
            },
        })
    }
}

/// How the newest closed run of a task ended.
///
/// An end that is no number, or lies further ahead than it could hold the task, is no time (see
/// [`hold::on`]). Such a one sorts above all that follow, so it is left out: else it would hide them,
/// and the task would never rest again.
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
