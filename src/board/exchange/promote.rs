//! Promotes a waiting task: row 4.

use rusqlite::{Result, params};

use super::tx::Tx;
use crate::board::rows::task::TaskRow;
use crate::board::rows::{event, history};
use crate::board::sql;
use crate::machine::exchange::{Refusal, Taken};
use crate::machine::ids::TaskId;

/// Makes a waiting task ready, if it may.
pub(super) fn promote(tx: &Tx<'_>, task: TaskId, failure_limit: u32) -> Result<Taken> {
    let row = tx.task(task)?;
    let Some(row) = row else { return Ok(Taken::No(Refusal::Superseded)) };
    if !may(tx, &row, failure_limit)? {
        return Ok(Taken::No(Refusal::Superseded));
    }
    let status = history::resume_status(tx.conn, task.as_str())?;
    let update = "UPDATE tasks SET status = ?2 WHERE id = ?1";
    sql::change(tx.conn, update, params![task.as_str(), status])?;
    tx.event(task, None, "promoted", &event::promoted(status))?;
    Ok(Taken::Yes)
}

/// Whether a task may be promoted now.
pub(super) fn may(tx: &Tx<'_>, row: &TaskRow, failure_limit: u32) -> Result<bool> {
    Ok(match row.status.as_str() {
        "todo" => tx.parents_done(row.id)?,
        "blocked" => {
            let limit = row.max_retries.unwrap_or(failure_limit).max(1);
            row.failures < limit
                && !history::needs_a_person(tx.conn, row.id.as_str())?
                && tx.parents_done(row.id)?
        }
        _ => false,
    })
}
