//! Claiming a ready task (rows 6 and 7), storing its pid (row 9), prolonging its lease.

use rusqlite::{Result, ToSql, params};
use serde_json::json;

use super::tx::Pass;
use crate::board::rows::event;
use crate::board::rows::task::{TaskRow, UNVERIFIED};
use crate::board::sql;
use crate::machine::exchange::{Fence, Refusal, Taken};
use crate::machine::hold;
use crate::machine::hold::Lane;
use crate::machine::ids::{Pid, RunId, SpawnId, TaskId, WorkerId};
use crate::machine::plan;

/// What is to be claimed, and under which conditions.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) spawn: SpawnId,
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    pub(super) ttl_s: u32,
    pub(super) cap: u32,
}

/// Claims one task.
pub(super) fn claim(pass: &Pass<'_>, claim: Claim) -> Result<Taken> {
    let Some(row) = pass.task(claim.task)? else { return Ok(Taken::No(Refusal::Superseded)) };
    let lock = pass.context.owner.lock(claim.spawn);
    if let Some(run) = already(&row, &lock) {
        return Ok(Taken::Claimed { run, max_runtime_s: row.max_runtime_s });
    }
    if row.status != "ready" || row.claim_lock.is_some() {
        return Ok(Taken::No(Refusal::Superseded));
    }
    if let Some(refusal) = refuse(pass, &row, claim)? {
        return Ok(Taken::No(refusal));
    }
    if !pass.parents_done(row.id)? {
        send_back(pass, &row)?;
        return Ok(Taken::No(Refusal::Superseded));
    }
    if row.lane(pass.context.workers) == Lane::Unassigned {
        assign(pass, &row, claim.worker)?;
    }
    close_leaked(pass, &row)?;
    let run = open_run(pass, &row, &lock, claim.ttl_s)?;
    Ok(Taken::Claimed { run, max_runtime_s: row.max_runtime_s })
}

/// The run of an earlier copy of the same claim.
fn already(row: &TaskRow, lock: &str) -> Option<RunId> {
    let ours = row.status == "running" && row.claim_lock.as_deref() == Some(lock);
    row.current_run.filter(|_| ours)
}

/// Why the task may not be claimed now, although it is ready and free.
fn refuse(pass: &Pass<'_>, row: &TaskRow, claim: Claim) -> Result<Option<Refusal>> {
    let candidate = pass.candidate(row)?;
    let policy = pass.context.policy;
    if let Some(hold) = hold::on(&candidate, policy, pass.unix) {
        return Ok(Some(Refusal::Held(hold)));
    }
    if plan::worker(candidate.lane, policy) != Some(claim.worker) {
        return Ok(Some(Refusal::Superseded));
    }
    Ok((pass.running()? >= claim.cap).then_some(Refusal::Full))
}

/// Row 6: something that it waits for is not done after all.
fn send_back(pass: &Pass<'_>, row: &TaskRow) -> Result<()> {
    pass.conn
        .prepare_cached("UPDATE tasks SET status = 'todo' WHERE id = ?1 AND status = 'ready'")?
        .execute([row.id.as_str()])?;
    let payload = json!({"reason": "parents_not_done"});
    event::append(pass.conn, row.id, None, "claim_rejected", &payload, pass.unix)
}

/// Row 32 as the dispatcher does it: nobody's task goes to the default worker.
fn assign(pass: &Pass<'_>, row: &TaskRow, worker: WorkerId) -> Result<()> {
    let name = pass.context.workers.name(worker).unwrap_or_default();
    pass.conn
        .prepare_cached("UPDATE tasks SET assignee = ?2 WHERE id = ?1")?
        .execute([row.id.as_str(), name])?;
    let payload = json!({"assignee": name, "source": "kanban.default_assignee"});
    event::append(pass.conn, row.id, None, "assigned", &payload, pass.unix)
}

/// Runs that are still open although their task is ready again were left behind by somebody.
fn close_leaked(pass: &Pass<'_>, row: &TaskRow) -> Result<()> {
    let close = format!(
        "UPDATE task_runs SET status = 'reclaimed', outcome = 'reclaimed', \
         summary = ifnull(summary, 'invariant recovery on re-claim'), ended_at = ?2, {} \
         WHERE task_id = ?1 AND status = 'running' AND ended_at IS NULL",
        pass.shape.unclaim()
    );
    pass.conn.prepare_cached(&close)?.execute(params![row.id.as_str(), pass.unix])?;
    Ok(())
}

/// Row 7.
fn open_run(pass: &Pass<'_>, row: &TaskRow, lock: &str, ttl_s: u32) -> Result<RunId> {
    let expires = pass.unix.saturating_add(i64::from(ttl_s));
    let run = insert_run(pass, row.id, lock, expires)?;
    // Neither pid nor heartbeat of an earlier attempt may speak for this one.
    let take = format!(
        "UPDATE tasks SET status = 'running', {}{} claim_lock = ?2, claim_expires = ?3, \
         started_at = ifnull(started_at, ?4), current_run_id = ?5 WHERE id = ?1",
        if pass.shape.fingerprints() {
            "worker_pid = NULL, worker_started_at = NULL,"
        } else {
            "worker_pid = NULL,"
        },
        pass.shape.and("tasks", "last_heartbeat_at", " last_heartbeat_at = NULL,"),
    );
    let params = params![row.id.as_str(), lock, expires, pass.unix, run.0];
    sql::change(pass.conn, &take, params)?;
    let payload = json!({"lock": lock, "expires": expires, "run_id": run.0});
    event::append(pass.conn, row.id, Some(run), "claimed", &payload, pass.unix)?;
    Ok(run)
}

/// The run takes from its task who works on it, at which step, and for how long at most.
fn insert_run(pass: &Pass<'_>, task: TaskId, lock: &str, expires: i64) -> Result<RunId> {
    let both = |column: &str| {
        let there = |table: &str| pass.shape.columns.has(&format!("{table}.{column}"));
        there("tasks") && there("task_runs")
    };
    let step = pass.shape.columns.has("tasks.current_step_key")
        && pass.shape.columns.has("task_runs.step_key");
    let limit = both("max_runtime_seconds");
    let insert = format!(
        "INSERT INTO task_runs (task_id, profile, {}{} status, claim_lock, claim_expires, \
         started_at) SELECT id, assignee, {}{} 'running', ?2, ?3, ?4 FROM tasks WHERE id = ?1",
        if step { "step_key, " } else { "" },
        if limit { "max_runtime_seconds, " } else { "" },
        if step { "current_step_key, " } else { "" },
        if limit { "max_runtime_seconds, " } else { "" },
    );
    // Or the number of a row that is none of this task's would be taken for its run.
    sql::change(pass.conn, &insert, params![task.as_str(), lock, expires, pass.unix])?;
    Ok(RunId(pass.conn.last_insert_rowid()))
}

/// The row behind a fence, if the run is still ours.
pub(super) fn fenced(pass: &Pass<'_>, fence: Fence) -> Result<Option<TaskRow>> {
    let lock = pass.context.owner.lock(fence.spawn);
    Ok(pass.task(fence.task)?.filter(|row| {
        row.status == "running"
            && row.current_run == Some(fence.run)
            && row.claim_lock.as_deref() == Some(lock.as_str())
    }))
}

/// Row 9: the worker exists.
pub(super) fn started(pass: &Pass<'_>, fence: Fence, pid: Pid) -> Result<Taken> {
    let Some(row) = fenced(pass, fence)? else { return Ok(Taken::No(Refusal::Superseded)) };
    if row.worker_pid.is_some_and(|known| known != i64::from(pid.0)) {
        return Ok(Taken::No(Refusal::Superseded));
    }
    if has_event(pass, fence.run, "spawned")? {
        return Ok(Taken::Yes);
    }
    let fingerprint = (pass.context.fingerprint)(fence.spawn);
    let fingerprint = fingerprint.as_deref().unwrap_or(UNVERIFIED);
    store_pid(pass, fence, pid, fingerprint)?;
    // Also where there is a column for it; the other boards have it nowhere else.
    let payload = json!({"pid": pid.0, "started_at": fingerprint});
    event::append(pass.conn, fence.task, Some(fence.run), "spawned", &payload, pass.unix)?;
    Ok(Taken::Yes)
}

fn store_pid(pass: &Pass<'_>, fence: Fence, pid: Pid, fingerprint: &str) -> Result<()> {
    let set = "worker_pid = :pid";
    let stamp = ", worker_started_at = :stamp";
    on_both(pass, fence, set, &[(":pid", &pid.0)], stamp, (":stamp", &fingerprint))
}

/// A lease that goes on, and a heartbeat for workers that have none of their own.
pub(super) fn renew(pass: &Pass<'_>, fence: Fence, ttl_s: u32, heartbeat: bool) -> Result<Taken> {
    if fenced(pass, fence)?.is_none() {
        return Ok(Taken::No(Refusal::Superseded));
    }
    let expires = pass.unix.saturating_add(i64::from(ttl_s));
    let set = "claim_expires = :expires";
    let beat = if heartbeat { ", last_heartbeat_at = :beat" } else { "" };
    on_both(pass, fence, set, &[(":expires", &expires)], beat, (":beat", &pass.unix))?;
    Ok(Taken::Yes)
}

/// Sets the same columns in the task and in its run; the last of them only where it exists.
fn on_both(
    pass: &Pass<'_>,
    fence: Fence,
    set: &str,
    values: &[(&str, &dyn ToSql)],
    extra: &str,
    extra_value: (&str, &dyn ToSql),
) -> Result<()> {
    let column = extra.trim_start_matches(", ").split(' ').next().unwrap_or_default();
    let keys: [(&str, &dyn ToSql); 2] =
        [("tasks", &fence.task.as_str()), ("task_runs", &fence.run.0)];
    for (table, key) in keys {
        let has_extra = pass.shape.columns.has(&format!("{table}.{column}"));
        let extra = if has_extra { extra } else { "" };
        let update = format!("UPDATE {table} SET {set}{extra} WHERE id = :id");
        let mut all = vec![(":id", key)];
        all.extend_from_slice(values);
        all.extend(has_extra.then_some(extra_value));
        pass.conn.prepare_cached(&update)?.execute(all.as_slice())?;
    }
    Ok(())
}

/// Whether a run has an event of this kind.
fn has_event(pass: &Pass<'_>, run: RunId, kind: &str) -> Result<bool> {
    let query = "SELECT 1 FROM task_events WHERE run_id = ?1 AND kind = ?2 LIMIT 1";
    Ok(sql::one(pass.conn, query, params![run.0, kind], |_| Ok(()))?.is_some())
}
