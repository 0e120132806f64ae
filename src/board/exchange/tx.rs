//! The transaction in which the verbs of an exchange work.

use rusqlite::{Connection, Result, ToSql, params};
use serde_json::Value;

use super::context::Context;
use crate::board::rows::spawn_facts::SpawnFacts;
use crate::board::rows::statements::{OnBoth, Statements};
use crate::board::rows::task::TaskRow;
use crate::board::rows::{event, history, value};
use crate::board::sql;
use crate::machine::exchange::Fence;
use crate::machine::hold::Candidate;
use crate::machine::ids::{RunId, TaskId};

/// What every verb needs.
#[derive(Clone, Copy)]
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) statements: &'a Statements,
    pub(super) context: &'a Context<'a>,
    /// The second that all rows of this transaction carry.
    pub(super) unix: i64,
}

impl Tx<'_> {
    /// The row of a task.
    pub(super) fn task(&self, task: TaskId) -> Result<Option<TaskRow>> {
        let query = &self.statements.task;
        Ok(sql::one(self.conn, query, [task.as_str()], TaskRow::read)?.flatten())
    }

    /// The row behind a fence, if the run is still ours.
    pub(super) fn fenced(&self, fence: Fence) -> Result<Option<TaskRow>> {
        let lock = self.context.owner.lock(fence.spawn);
        Ok(self.task(fence.task)?.filter(|row| {
            row.status == "running"
                && row.current_run == Some(fence.run)
                && row.owner() == Some(lock.as_str())
        }))
    }

    /// What the spawn needs to know of a task that was just claimed.
    pub(super) fn spawn_facts(&self, task: TaskId, run: RunId) -> Result<Option<SpawnFacts>> {
        let query = &self.statements.spawn_facts;
        sql::one(self.conn, query, [task.as_str()], |row| SpawnFacts::read(row, task, run))
    }

    /// Updates the task and the run behind a fence.
    pub(super) fn on_both(
        &self,
        update: &OnBoth,
        fence: Fence,
        values: &[(&str, &dyn ToSql)],
    ) -> Result<()> {
        sql::update_named(self.conn, &update.task, (":id", &fence.task.as_str()), values)?;
        sql::update_named(self.conn, &update.run, (":id", &fence.run.0), values)
    }

    /// Appends an event of a task.
    pub(super) fn event(
        &self,
        task: TaskId,
        run: Option<RunId>,
        kind: &str,
        payload: &Value,
    ) -> Result<()> {
        let run = run.map(|run| run.0);
        event::append(self.conn, self.unix, task.as_str(), run, kind, payload)
    }

    /// Counts the running tasks, of all dispatchers.
    pub(super) fn running(&self) -> Result<u32> {
        let query = "SELECT count(*) FROM tasks WHERE status = 'running'";
        Ok(sql::one(self.conn, query, [], |row| row.get(0))?.map_or(0, value::count))
    }

    /// Whether everything that `task` waits for is done. A parent that does not exist counts as done.
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
                history::last_end(self.conn, row.id, row.failures, self.context.policy, self.unix)?
            } else {
                None
            },
        })
    }
}
