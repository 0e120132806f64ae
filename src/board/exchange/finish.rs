//! Ends a run, and does to its task what the end means: rows 14, 16 to 23 and 25.
//!
//! The client writes the end of a run and the count of the failure in two transactions. The rows are
//! the same here, in one.

use rusqlite::{Result, params};
use serde_json::{Value, json};

use super::account::{Account, Also, object};
use super::ending::{Closed, Ending, clip};
use super::lease::is_local;
use super::tx::Tx;
use crate::board::rows::task::TaskRow;
use crate::board::rows::{history, own_runs};
use crate::board::sql;
use crate::machine::exchange::{Fence, Refusal, Taken};
use crate::machine::ids::Pid;
use crate::machine::verdict::{Budget, Release, Settlement, Verdict, settle};

/// Ends a run of ours.
pub(super) fn finish(
    tx: &Tx<'_>,
    fence: Fence,
    pid: Option<Pid>,
    verdict: Verdict,
    failure_limit: u32,
) -> Result<Taken> {
    let Some(row) = tx.fenced(fence)? else { return Ok(Taken::No(Refusal::Superseded)) };
    let pid = pid.map(|pid| i64::from(pid.0)).or(row.worker_pid);
    let run = Some(fence.run);
    let ending = Ending { row: &row, run, pid, retry: history::retry_status(tx.conn, run)? };
    match verdict {
        Verdict::Completed => completed(tx, ending)?,
        Verdict::Released(release) => released(tx, ending, release)?,
        Verdict::SpawnFailed => {
            let text = (tx.context.spawn_error)(fence.spawn);
            spawn_failed(tx, ending, text, failure_limit)?;
        }
        Verdict::Unknown => unknown(tx, ending, failure_limit)?,
        Verdict::Crashed(_)
        | Verdict::ProtocolViolation
        | Verdict::RateLimited
        | Verdict::CredentialsRefused
        | Verdict::TimedOut { .. } => failed(tx, ending, verdict, failure_limit)?,
    }
    if tx.statements.has_own_runs && verdict != Verdict::Unknown {
        own_runs::forget(tx.conn, fence.run)?;
    }
    Ok(Taken::Yes)
}

/// Row 14, since the client has no name for it; our own table has the true outcome. It is not a
/// failure, but three in a row need a person.
fn unknown(tx: &Tx<'_>, ending: Ending<'_>, failure_limit: u32) -> Result<()> {
    const WHY: &str = "sexton: how the worker ended is unknown: it ended while no dispatcher lived";
    own_runs::create(tx.conn)?;
    // Must be read before this run is closed.
    let streak = history::unknown_ends(tx.conn, ending.row.id)?.saturating_add(1);
    reclaimed(tx, ending, WHY, false)?;
    if let Some(run) = ending.run {
        own_runs::set_unknown(tx.conn, run)?;
    }
    let budget = Budget { streak, ..budget(tx, ending.row, failure_limit)? };
    let Settlement::Blocked { failures, limit, own_limit, sticky } =
        settle(Verdict::Unknown, budget)
    else {
        return Ok(());
    };
    ending.count_failure(tx, Some("blocked"), failures, WHY)?;
    let payload = json!({
        "failures": failures,
        "effective_limit": limit,
        "limit_source": source(own_limit),
        "error": WHY,
        "trigger_outcome": "unknown",
        "retry_status": ending.retry,
        "sticky": sticky,
        "unknown_ends": streak,
    });
    tx.event(ending.row.id, None, "gave_up", &payload)
}

/// Row 25: the task is done.
fn completed(tx: &Tx<'_>, ending: Ending<'_>) -> Result<()> {
    const SUMMARY: &str = "exit 0";
    sql::change(tx.conn, &tx.statements.complete, params![ending.row.id.as_str(), tx.unix])?;
    let how = Closed { status: "done", summary: Some(SUMMARY), ..Closed::with("completed") };
    ending.close_run(tx, &how)?;
    let payload = json!({"result_len": 0, "summary": SUMMARY});
    tx.event(ending.row.id, ending.run, "completed", &payload)
}

/// Row 14: given back without a failure.
fn released(tx: &Tx<'_>, ending: Ending<'_>, release: Release) -> Result<()> {
    let why = match release {
        Release::Shutdown => "sexton: shutdown",
        Release::HostRefused => "sexton: the host refused to start a process",
        Release::NotStarted => "sexton: not started",
        Release::Superseded => "sexton: it looked as if the run were no longer ours",
    };
    let ended_by_us = matches!(release, Release::Shutdown | Release::Superseded);
    let signalled = ended_by_us && ending.pid.is_some();
    reclaimed(tx, ending, why, signalled)
}

/// Row 14: the run was reclaimed. `signalled` is true if we ended the worker.
pub(super) fn reclaimed(
    tx: &Tx<'_>,
    ending: Ending<'_>,
    error: &str,
    signalled: bool,
) -> Result<()> {
    let row = ending.row;
    let pid = ending.pid.filter(|pid| *pid > 0 && row.claim_lock.is_some());
    let local = row.claim_lock.as_deref().is_some_and(|lock| is_local(tx, lock));
    let heartbeat_stale = row.last_heartbeat_at.is_some_and(|at| tx.unix.saturating_sub(at) > 3600);
    let payload = json!({
        "stale_lock": row.claim_lock,
        "worker_pid": ending.pid,
        "claim_expires": row.claim_expires,
        "last_heartbeat_at": row.last_heartbeat_at,
        "now": tx.unix,
        "host_local": pid.is_some() && local,
        "heartbeat_stale": heartbeat_stale,
        "retry_status": ending.retry,
        "prev_pid": pid,
        "termination_attempted": signalled,
        "terminated": signalled,
        "sigkill": false,
    });
    let metadata = json!({
        "prev_pid": pid,
        "host_local": pid.is_some() && local,
        "termination_attempted": signalled,
        "terminated": signalled,
        "sigkill": false,
    });
    ending.requeue(tx)?;
    let how = Closed { error: Some(error), metadata, ..Closed::with("reclaimed") };
    ending.close_run(tx, &how)?;
    tx.event(row.id, ending.run, "reclaimed", &payload)
}

/// Rows 20 and 21: the worker could not be spawned.
fn spawn_failed(
    tx: &Tx<'_>,
    ending: Ending<'_>,
    text: Option<String>,
    failure_limit: u32,
) -> Result<()> {
    let error = clip(&text.unwrap_or_else(|| "the worker could not be started".to_owned()));
    let budget = budget(tx, ending.row, failure_limit)?;
    ending.requeue(tx)?;
    match settle(Verdict::SpawnFailed, budget) {
        Settlement::Blocked { failures, limit, own_limit, sticky: _ } => {
            let (limit_source, outcome) = (source(own_limit), "spawn_failed");
            ending.count_failure(tx, Some("blocked"), failures, &error)?;
            let metadata = json!({
                "failures": failures,
                "trigger_outcome": outcome,
                "effective_limit": limit,
                "limit_source": limit_source,
                "retry_status": ending.retry,
            });
            let how = Closed { error: Some(&error), metadata, ..Closed::with("gave_up") };
            ending.close_run(tx, &how)?;
            let payload = json!({
                "failures": failures,
                "effective_limit": limit,
                "limit_source": limit_source,
                "error": error,
                "trigger_outcome": outcome,
                "retry_status": ending.retry,
            });
            tx.event(ending.row.id, ending.run, "gave_up", &payload)
        }
        Settlement::Ready { failures } => {
            ending.count_failure(tx, None, failures, &error)?;
            let metadata = json!({"failures": failures, "retry_status": ending.retry});
            let how = Closed { error: Some(&error), metadata, ..Closed::with("spawn_failed") };
            ending.close_run(tx, &how)?;
            let payload =
                json!({"error": error, "failures": failures, "retry_status": ending.retry});
            tx.event(ending.row.id, ending.run, "spawn_failed", &payload)
        }
        Settlement::Done => Ok(()),
    }
}

/// Rows 16 to 19, and then 22 or 23: the worker was spawned, and failed.
pub(super) fn failed(
    tx: &Tx<'_>,
    ending: Ending<'_>,
    verdict: Verdict,
    failure_limit: u32,
) -> Result<()> {
    let Some(account) = Account::of(ending, verdict) else { return Ok(()) };
    let budget = budget(tx, ending.row, failure_limit)?;
    write_account(tx, ending, &account)?;
    match settle(verdict, budget) {
        Settlement::Done => Ok(()),
        Settlement::Ready { failures } if failures == budget.failures => Ok(()),
        Settlement::Ready { failures } => ending.count_failure(tx, None, failures, &account.error),
        Settlement::Blocked { failures, limit, own_limit, sticky } => {
            ending.count_failure(tx, Some("blocked"), failures, &account.error)?;
            let mut payload = object(json!({
                "failures": failures,
                "effective_limit": limit,
                "limit_source": source(own_limit),
                "error": clip(&account.error),
                "trigger_outcome": account.trigger,
                "retry_status": ending.retry,
            }));
            if sticky {
                payload.insert("sticky".to_owned(), Value::Bool(true));
            }
            payload.extend(account.trip);
            if verdict == Verdict::ProtocolViolation {
                payload.insert("protocol_violations".to_owned(), budget.streak.into());
                payload.insert("protocol_violation_limit".to_owned(), limit.into());
            }
            tx.event(ending.row.id, None, "gave_up", &payload.into())
        }
    }
}

fn write_account(tx: &Tx<'_>, ending: Ending<'_>, account: &Account) -> Result<()> {
    match account.also {
        Also::ClearHeartbeat => ending.requeue_and_clear_heartbeat(tx)?,
        Also::StoreError | Also::Nothing => ending.requeue(tx)?,
    }
    if account.also == Also::StoreError {
        tx.conn
            .prepare_cached("UPDATE tasks SET last_failure_error = ?2 WHERE id = ?1")?
            .execute(params![ending.row.id.as_str(), clip(&account.error)])?;
    }
    let payload = Value::from(account.payload.clone());
    let metadata = payload.clone();
    let how = Closed { error: Some(&account.error), metadata, ..Closed::with(account.outcome) };
    ending.close_run(tx, &how)?;
    tx.event(ending.row.id, ending.run, account.kind, &payload)
}

/// What the task has used up so far.
fn budget(tx: &Tx<'_>, row: &TaskRow, failure_limit: u32) -> Result<Budget> {
    Ok(Budget {
        failures: row.failures,
        failure_limit,
        max_retries: row.max_retries,
        streak: history::violations(tx.conn, row.id)?.saturating_add(1),
    })
}

/// Who set the limit.
fn source(own_limit: bool) -> &'static str {
    if own_limit { "task" } else { "dispatcher" }
}
