//! Stores the pid of a worker that was spawned: row 9.

use rusqlite::{Result, ToSql};
use serde_json::json;

use super::tx::Tx;
use crate::board::rows::event;
use crate::board::rows::task::UNVERIFIED;
use crate::machine::exchange::{Fence, Refusal, Taken};
use crate::machine::ids::Pid;

/// Stores the pid, once.
pub(super) fn started(tx: &Tx<'_>, fence: Fence, pid: Pid) -> Result<Taken> {
    let Some(row) = tx.fenced(fence)? else { return Ok(Taken::No(Refusal::Superseded)) };
    if row.worker_pid.is_some_and(|known| known != i64::from(pid.0)) {
        return Ok(Taken::No(Refusal::Superseded));
    }
    if event::exists(tx.conn, fence.run, "spawned")? {
        return Ok(Taken::Yes);
    }
    let fingerprint = (tx.context.fingerprint)(fence.spawn);
    let fingerprint = fingerprint.as_deref().unwrap_or(UNVERIFIED);
    let values: [(&str, &dyn ToSql); 2] = [(":pid", &pid.0), (":fingerprint", &fingerprint)];
    tx.on_both(&tx.statements.store_pid, fence, &values)?;
    // The fingerprint too: boards without a column for it keep it nowhere else.
    let payload = json!({"pid": pid.0, "started_at": fingerprint});
    tx.event(fence.task, Some(fence.run), "spawned", &payload)?;
    Ok(Taken::Yes)
}
