//! What a run that ends leaves in its own row and in its task's.

use rusqlite::{Error, Result, params};
use serde_json::Value;

use super::tx::Tx;
use crate::board::rows::event;
use crate::board::rows::task::TaskRow;
use crate::board::sql;
use crate::machine::ids::RunId;

/// A run that ends, as its rows were before.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) row: &'a TaskRow,
    pub(super) run: Option<RunId>,
    /// The pid of its process, if it had one.
    pub(super) pid: Option<i64>,
    /// The status of the task if it may be tried again: `ready`, or `review` if the run reviewed it.
    pub(super) retry: &'static str,
}

impl Ending<'_> {
    /// Takes the claim off the task, so that it can be tried again.
    pub(super) fn requeue(self, tx: &Tx<'_>) -> Result<()> {
        let params = params![self.row.id.as_str(), self.retry];
        sql::change(tx.conn, &tx.statements.requeue, params)
    }

    /// The same, and clears the heartbeat.
    pub(super) fn requeue_and_clear_heartbeat(self, tx: &Tx<'_>) -> Result<()> {
        let params = params![self.row.id.as_str(), self.retry];
        sql::change(tx.conn, &tx.statements.requeue_and_clear_heartbeat, params)
    }

    /// Row 23, and the task's part of rows 20 to 22.
    pub(super) fn count_failure(
        self,
        tx: &Tx<'_>,
        status: Option<&str>,
        failures: u32,
        error: &str,
    ) -> Result<()> {
        let update = "UPDATE tasks SET status = ifnull(?2, status), consecutive_failures = ?3, \
                      last_failure_error = ?4 WHERE id = ?1";
        let params = params![self.row.id.as_str(), status, failures, clip(error)];
        sql::change(tx.conn, update, params)
    }

    /// Closes the run, if it is still open. A trigger can keep it open without an error; what was not
    /// written must not be reported as written, and without the end of its run a task would be tried
    /// again without a rest.
    pub(super) fn close_run(self, tx: &Tx<'_>, how: &Closed<'_>) -> Result<()> {
        let Some(run) = self.run else { return Ok(()) };
        let metadata = event::text_of(&how.metadata);
        tx.conn.prepare_cached(&tx.statements.close_run)?.execute(params![
            run.0,
            how.status,
            how.outcome,
            how.summary,
            how.error,
            metadata,
            tx.unix
        ])?;
        let open = "SELECT 1 FROM task_runs WHERE id = ?1 AND ended_at IS NULL";
        match sql::one(tx.conn, open, [run.0], |_| Ok(()))? {
            Some(()) => Err(Error::StatementChangedRows(0)),
            None => Ok(()),
        }
    }
}

/// How a run is closed.
pub(super) struct Closed<'a> {
    pub(super) status: &'a str,
    pub(super) outcome: &'a str,
    pub(super) summary: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) metadata: Value,
}

impl Closed<'_> {
    pub(super) fn with(outcome: &str) -> Closed<'_> {
        Closed { status: outcome, outcome, summary: None, error: None, metadata: Value::Null }
    }
}

/// The first 500 characters: a task keeps no more of an error.
pub(super) fn clip(error: &str) -> String {
    error.chars().take(500).collect()
}
