//! Claims a ready task: rows 6 and 7.

use rusqlite::{Result, params};
use serde_json::json;

use super::tx::Tx;
use crate::board::rows::task::TaskRow;
use crate::board::sql;
use crate::machine::exchange::{Refusal, Taken};
use crate::machine::hold::{self, Lane};
use crate::machine::ids::{RunId, SpawnId, TaskId, WorkerId};
use crate::machine::plan;

/// The task to claim, and under which conditions.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) spawn: SpawnId,
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    pub(super) ttl_s: u32,
    pub(super) cap: u32,
}

/// Claims a task if every condition still holds.
pub(super) fn claim(tx: &Tx<'_>, claim: Claim) -> Result<Taken> {
    let Some(row) = tx.task(claim.task)? else { return Ok(Taken::No(Refusal::Superseded)) };
    let lock = tx.context.owner.lock(claim.spawn);
    if let Some(run) = already(&row, &lock) {
        return Ok(Taken::Claimed { run, max_runtime_s: row.max_runtime_s });
    }
    if row.status != "ready" || row.claim_lock.is_some() {
        return Ok(Taken::No(Refusal::Superseded));
    }
    if let Some(refusal) = refuse(tx, &row, claim)? {
        return Ok(Taken::No(refusal));
    }
    if !tx.parents_done(row.id)? {
        send_back(tx, &row)?;
        return Ok(Taken::No(Refusal::Superseded));
    }
    if row.lane(tx.context.workers) == Lane::Unassigned {
        assign(tx, &row, claim.worker)?;
    }
    close_leaked_runs(tx, &row)?;
    let run = open_run(tx, &row, &lock, claim.ttl_s)?;
    Ok(Taken::Claimed { run, max_runtime_s: row.max_runtime_s })
}

/// The run of an earlier copy of the same claim.
fn already(row: &TaskRow, lock: &str) -> Option<RunId> {
    let ours = row.status == "running" && row.claim_lock.as_deref() == Some(lock);
    row.current_run.filter(|_| ours)
}

/// Why the task may not be claimed now, although it is ready and unclaimed.
fn refuse(tx: &Tx<'_>, row: &TaskRow, claim: Claim) -> Result<Option<Refusal>> {
    let candidate = tx.candidate(row)?;
    let policy = tx.context.policy;
    if let Some(hold) = hold::on(&candidate, policy, tx.unix) {
        return Ok(Some(Refusal::Held(hold)));
    }
    if plan::worker(candidate.lane, policy) != Some(claim.worker) {
        return Ok(Some(Refusal::Superseded));
    }
    Ok((tx.running()? >= claim.cap).then_some(Refusal::Full))
}

/// Row 6: a task that it waits for is not done after all.
fn send_back(tx: &Tx<'_>, row: &TaskRow) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE tasks SET status = 'todo' WHERE id = ?1 AND status = 'ready'")?
        .execute([row.id.as_str()])?;
    let payload = json!({"reason": "parents_not_done"});
    tx.event(row.id, None, "claim_rejected", &payload)
}

/// Row 32 as the dispatcher does it: a task without an assignee goes to the default worker.
fn assign(tx: &Tx<'_>, row: &TaskRow, worker: WorkerId) -> Result<()> {
    let name = tx.context.workers.name(worker).unwrap_or_default();
    tx.conn
        .prepare_cached("UPDATE tasks SET assignee = ?2 WHERE id = ?1")?
        .execute([row.id.as_str(), name])?;
    let payload = json!({"assignee": name, "source": "kanban.default_assignee"});
    tx.event(row.id, None, "assigned", &payload)
}

/// Closes runs that another client left open although their task is ready again.
fn close_leaked_runs(tx: &Tx<'_>, row: &TaskRow) -> Result<()> {
    let close = &tx.statements.close_leaked_runs;
    tx.conn.prepare_cached(close)?.execute(params![row.id.as_str(), tx.unix])?;
    Ok(())
}

/// Row 7: opens the run of the claim.
fn open_run(tx: &Tx<'_>, row: &TaskRow, lock: &str, ttl_s: u32) -> Result<RunId> {
    let expires = tx.unix.saturating_add(i64::from(ttl_s));
    let run = insert_run(tx, row.id, lock, expires)?;
    let params = params![row.id.as_str(), lock, expires, tx.unix, run.0];
    sql::change(tx.conn, &tx.statements.take, params)?;
    let payload = json!({"lock": lock, "expires": expires, "run_id": run.0});
    tx.event(row.id, Some(run), "claimed", &payload)?;
    Ok(run)
}

fn insert_run(tx: &Tx<'_>, task: TaskId, lock: &str, expires: i64) -> Result<RunId> {
    // If a trigger skipped the row, the last rowid would be that of another row.
    sql::change(tx.conn, &tx.statements.open_run, params![task.as_str(), lock, expires, tx.unix])?;
    Ok(RunId(tx.conn.last_insert_rowid()))
}
