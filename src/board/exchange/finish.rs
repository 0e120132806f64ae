//! Ending a run: rows 14, 16 to 23 and 25, together with what the end does to the task.
//!
//! The client writes the end of a run and the count of the failure in two transactions. The rows
//! are the same here, in one.

use rusqlite::{Error, Result, params};
use serde_json::{Map, Value, json};

use super::claim;
use super::lease::is_local;
use super::tx::Pass;
use crate::board::rows::event;
use crate::board::rows::task::TaskRow;
use crate::board::rows::value;
use crate::board::sql;
use crate::machine::exchange::{Fence, Refusal, Taken};
use crate::machine::ids::{Pid, RunId};
use crate::machine::verdict::{
    Budget, ExitStatus, Release, Settlement, VIOLATION_LIMIT, Verdict, settle,
};

/// A run that ends, as it was found.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) row: &'a TaskRow,
    pub(super) run: Option<RunId>,
    /// Its process, if there ever was one.
    pub(super) pid: Option<i64>,
    /// Where the task goes if it may be tried again: `ready`, or `review` if the run reviewed it.
    pub(super) retry: &'static str,
}

/// Ends a run of ours.
pub(super) fn finish(
    pass: &Pass<'_>,
    fence: Fence,
    pid: Option<Pid>,
    verdict: Verdict,
    failure_limit: u32,
) -> Result<Taken> {
    let Some(row) = claim::fenced(pass, fence)? else { return Ok(Taken::No(Refusal::Superseded)) };
    let pid = pid.map(|pid| i64::from(pid.0)).or(row.worker_pid);
    let run = Some(fence.run);
    let ending = Ending { row: &row, run, pid, retry: retry_status(pass, run)? };
    match verdict {
        Verdict::Completed => completed(pass, ending)?,
        Verdict::Released(release) => released(pass, ending, release)?,
        Verdict::SpawnFailed => {
            let text = (pass.context.spawn_error)(fence.spawn);
            spawn_failed(pass, ending, text, failure_limit)?;
        }
        Verdict::Crashed(_)
        | Verdict::ProtocolViolation
        | Verdict::RateLimited
        | Verdict::CredentialsRefused
        | Verdict::TimedOut { .. } => failed(pass, ending, verdict, failure_limit)?,
    }
    Ok(Taken::Yes)
}

/// The status to which a failed run returns its task.
pub(super) fn retry_status(pass: &Pass<'_>, run: Option<RunId>) -> Result<&'static str> {
    let Some(run) = run else { return Ok("ready") };
    let claimed = event::of_run(pass.conn, run, "claimed")?;
    Ok(if claimed["source_status"] == "review" { "review" } else { "ready" })
}

/// Row 25.
fn completed(pass: &Pass<'_>, ending: Ending<'_>) -> Result<()> {
    const SUMMARY: &str = "exit 0";
    let update = format!(
        "UPDATE tasks SET status = 'done', completed_at = ?2, {}, current_run_id = NULL, \
         consecutive_failures = 0, last_failure_error = NULL{}{} WHERE id = ?1",
        pass.shape.free(),
        pass.shape.and("tasks", "block_kind", ", block_kind = NULL"),
        pass.shape.and("tasks", "block_recurrences", ", block_recurrences = 0"),
    );
    sql::change(pass.conn, &update, params![ending.row.id.as_str(), pass.unix])?;
    let how = Closed { status: "done", summary: Some(SUMMARY), ..Closed::with("completed") };
    close_run(pass, ending.run, &how)?;
    let payload = json!({"result_len": 0, "summary": SUMMARY});
    event::append(pass.conn, ending.row.id, ending.run, "completed", &payload, pass.unix)
}

/// Given back without blame, in the words of row 14.
fn released(pass: &Pass<'_>, ending: Ending<'_>, release: Release) -> Result<()> {
    let why = match release {
        Release::Shutdown => "sexton: shutdown",
        Release::HostRefused => "sexton: the host refused to start a process",
        Release::NotStarted => "sexton: not started",
        Release::Superseded => "sexton: it looked as if the run were no longer ours",
    };
    let ended_by_us = matches!(release, Release::Shutdown | Release::Superseded);
    let signalled = ended_by_us && ending.pid.is_some();
    reclaimed(pass, ending, why, signalled)
}

/// Row 14. `signalled` if the worker was ended by us.
pub(super) fn reclaimed(
    pass: &Pass<'_>,
    ending: Ending<'_>,
    error: &str,
    signalled: bool,
) -> Result<()> {
    let row = ending.row;
    let pid = ending.pid.filter(|pid| *pid > 0 && row.claim_lock.is_some());
    let local = row.claim_lock.as_deref().is_some_and(|lock| is_local(pass, lock));
    let heartbeat_stale =
        row.last_heartbeat_at.is_some_and(|at| pass.unix.saturating_sub(at) > 3600);
    let payload = json!({
        "stale_lock": row.claim_lock,
        "worker_pid": ending.pid,
        "claim_expires": row.claim_expires,
        "last_heartbeat_at": row.last_heartbeat_at,
        "now": pass.unix,
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
    requeue(pass, ending, "")?;
    let how = Closed { error: Some(error), metadata, ..Closed::with("reclaimed") };
    close_run(pass, ending.run, &how)?;
    event::append(pass.conn, row.id, ending.run, "reclaimed", &payload, pass.unix)
}

/// Rows 20 and 21: the worker never came to life.
fn spawn_failed(
    pass: &Pass<'_>,
    ending: Ending<'_>,
    text: Option<String>,
    failure_limit: u32,
) -> Result<()> {
    let error = clip(&text.unwrap_or_else(|| "the worker could not be started".to_owned()));
    let budget = budget(pass, ending.row, failure_limit)?;
    requeue(pass, ending, "")?;
    match settle(Verdict::SpawnFailed, budget) {
        Settlement::Blocked { failures, limit, own_limit, sticky: _ } => {
            let (limit_source, outcome) = (source(own_limit), "spawn_failed");
            count_failure(pass, ending, Some("blocked"), failures, &error)?;
            let metadata = json!({
                "failures": failures,
                "trigger_outcome": outcome,
                "effective_limit": limit,
                "limit_source": limit_source,
                "retry_status": ending.retry,
            });
            let how = Closed { error: Some(&error), metadata, ..Closed::with("gave_up") };
            close_run(pass, ending.run, &how)?;
            let payload = json!({
                "failures": failures,
                "effective_limit": limit,
                "limit_source": limit_source,
                "error": error,
                "trigger_outcome": outcome,
                "retry_status": ending.retry,
            });
            event::append(pass.conn, ending.row.id, ending.run, "gave_up", &payload, pass.unix)
        }
        Settlement::Ready { failures } => {
            count_failure(pass, ending, None, failures, &error)?;
            let metadata = json!({"failures": failures, "retry_status": ending.retry});
            let how = Closed { error: Some(&error), metadata, ..Closed::with("spawn_failed") };
            close_run(pass, ending.run, &how)?;
            let payload =
                json!({"error": error, "failures": failures, "retry_status": ending.retry});
            event::append(pass.conn, ending.row.id, ending.run, "spawn_failed", &payload, pass.unix)
        }
        Settlement::Done => Ok(()),
    }
}

/// Rows 16 to 19, and then 22 or 23: the worker lived, and failed.
pub(super) fn failed(
    pass: &Pass<'_>,
    ending: Ending<'_>,
    verdict: Verdict,
    failure_limit: u32,
) -> Result<()> {
    let Some(account) = Account::of(ending, verdict) else { return Ok(()) };
    let budget = budget(pass, ending.row, failure_limit)?;
    write_account(pass, ending, &account)?;
    match settle(verdict, budget) {
        Settlement::Done => Ok(()),
        Settlement::Ready { failures } if failures == budget.failures => Ok(()),
        Settlement::Ready { failures } => {
            count_failure(pass, ending, None, failures, &account.error)
        }
        Settlement::Blocked { failures, limit, own_limit, sticky } => {
            count_failure(pass, ending, Some("blocked"), failures, &account.error)?;
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
                payload.insert("protocol_violations".to_owned(), budget.violations.into());
                payload.insert("protocol_violation_limit".to_owned(), limit.into());
            }
            event::append(pass.conn, ending.row.id, None, "gave_up", &payload.into(), pass.unix)
        }
    }
}

/// The end of a run in the client's words.
struct Account {
    /// Status and outcome of the run.
    outcome: &'static str,
    /// Kind of the event.
    kind: &'static str,
    /// Error of the run.
    error: String,
    /// Payload of the event, and metadata of the run.
    payload: Map<String, Value>,
    /// Further assignments to the task.
    also: Also,
    /// What the event of a tripped breaker names as its cause.
    trigger: &'static str,
    /// What that event adds.
    trip: Map<String, Value>,
}

/// What the end of a run changes in its task besides status and claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Also {
    Nothing,
    StoreError,
    ClearHeartbeat,
}

const VIOLATION: &str = "worker exited cleanly (rc=0) without calling kanban_complete or \
    kanban_block — protocol violation. If the prior run already did the work, verify it and report \
    the result via kanban_complete; a run that ends without a terminal kanban call counts as failed \
    no matter what it did.";

impl Account {
    /// `None` for verdicts that are no failure of a living worker.
    fn of(ending: Ending<'_>, verdict: Verdict) -> Option<Account> {
        let pid = ending.pid;
        let claimer = ending.row.claim_lock.as_deref();
        let who = pid.map_or_else(|| "worker".to_owned(), |pid| format!("pid {pid}"));
        let (kind, error, details) = match verdict {
            Verdict::Crashed(status) => crash(&who, status),
            Verdict::ProtocolViolation => {
                let details = json!({"exit_code": 0, "protocol_violation": true});
                ("protocol_violation", VIOLATION.to_owned(), details)
            }
            Verdict::RateLimited => {
                let text = "exited rate-limited (quota wall) — requeued without counting a failure";
                ("rate_limited", format!("{who} {text}"), json!({"exit_code": 75}))
            }
            Verdict::CredentialsRefused => {
                let text = "exited on a terminal provider error (exit 78): credential or model \
                            rejected";
                let details = json!({
                    "exit_kind": "terminal_provider", "exit_code": 78, "terminal_provider": true
                });
                ("crashed", format!("{who} {text}"), details)
            }
            Verdict::TimedOut { elapsed_s, limit_s, killed } => {
                return Some(Account::timed_out(ending, elapsed_s, limit_s, killed));
            }
            Verdict::Completed | Verdict::SpawnFailed | Verdict::Released(_) => return None,
        };
        let mut trip = object(json!({"pid": pid, "claimer": claimer}));
        let mut payload = trip.clone();
        payload.extend(object(details));
        payload.insert("retry_status".to_owned(), ending.retry.into());
        if verdict == Verdict::CredentialsRefused {
            trip.insert("terminal_provider".to_owned(), Value::Bool(true));
        }
        let rate_limited = verdict == Verdict::RateLimited;
        let at_once = rate_limited || verdict == Verdict::ProtocolViolation;
        Some(Account {
            outcome: if rate_limited { "rate_limited" } else { "crashed" },
            kind,
            error,
            payload,
            also: if at_once { Also::StoreError } else { Also::Nothing },
            trigger: "crashed",
            trip,
        })
    }

    fn timed_out(ending: Ending<'_>, elapsed_s: u32, limit_s: u32, killed: bool) -> Account {
        let payload = json!({
            "pid": ending.pid,
            "elapsed_seconds": elapsed_s,
            "limit_seconds": limit_s,
            "sigkill": killed,
            "retry_status": ending.retry,
        });
        Account {
            outcome: "timed_out",
            kind: "timed_out",
            error: format!("elapsed {elapsed_s}s > limit {limit_s}s"),
            payload: object(payload),
            also: Also::ClearHeartbeat,
            trigger: "timed_out",
            trip: object(json!({"pid": ending.pid, "sigkill": killed})),
        }
    }
}

/// Row 16: kind, error and details of a crash.
fn crash(who: &str, status: ExitStatus) -> (&'static str, String, Value) {
    let (error, details) = match status {
        ExitStatus::Code(code) => (
            format!("{who} exited with code {code}"),
            json!({"exit_kind": "nonzero_exit", "exit_code": code}),
        ),
        ExitStatus::Signal(signal) => (
            format!("{who} killed by signal {signal}"),
            json!({"exit_kind": "signaled", "exit_code": signal}),
        ),
        ExitStatus::Unknown => (format!("{who} not alive"), Value::Null),
    };
    ("crashed", error, details)
}

fn write_account(pass: &Pass<'_>, ending: Ending<'_>, account: &Account) -> Result<()> {
    let heartbeat = pass.shape.and("tasks", "last_heartbeat_at", ", last_heartbeat_at = NULL");
    requeue(pass, ending, if account.also == Also::ClearHeartbeat { heartbeat } else { "" })?;
    if account.also == Also::StoreError {
        pass.conn
            .prepare_cached("UPDATE tasks SET last_failure_error = ?2 WHERE id = ?1")?
            .execute(params![ending.row.id.as_str(), clip(&account.error)])?;
    }
    let payload = Value::from(account.payload.clone());
    let metadata = payload.clone();
    let how = Closed { error: Some(&account.error), metadata, ..Closed::with(account.outcome) };
    close_run(pass, ending.run, &how)?;
    event::append(pass.conn, ending.row.id, ending.run, account.kind, &payload, pass.unix)
}

/// Frees the task, so that it can be tried again.
fn requeue(pass: &Pass<'_>, ending: Ending<'_>, also: &str) -> Result<()> {
    let update = format!(
        "UPDATE tasks SET status = ?2, {}, current_run_id = NULL{also} WHERE id = ?1",
        pass.shape.free()
    );
    sql::change(pass.conn, &update, params![ending.row.id.as_str(), ending.retry])
}

/// Row 23, and the task's part of rows 20 to 22.
fn count_failure(
    pass: &Pass<'_>,
    ending: Ending<'_>,
    status: Option<&str>,
    failures: u32,
    error: &str,
) -> Result<()> {
    let update = "UPDATE tasks SET status = ifnull(?2, status), consecutive_failures = ?3, \
                  last_failure_error = ?4 WHERE id = ?1";
    let params = params![ending.row.id.as_str(), status, failures, clip(error)];
    sql::change(pass.conn, update, params)
}

/// How a run is closed.
struct Closed<'a> {
    status: &'a str,
    outcome: &'a str,
    summary: Option<&'a str>,
    error: Option<&'a str>,
    metadata: Value,
}

impl Closed<'_> {
    fn with(outcome: &str) -> Closed<'_> {
        Closed { status: outcome, outcome, summary: None, error: None, metadata: Value::Null }
    }
}

/// Closes a run, if it is still open. Triggers can keep it open without a word; what was not written
/// must not be told as written, and a run without an end would let its task go without rest.
fn close_run(pass: &Pass<'_>, run: Option<RunId>, how: &Closed<'_>) -> Result<()> {
    let Some(run) = run else { return Ok(()) };
    let update = format!(
        "UPDATE task_runs SET status = ?2, outcome = ?3, summary = ?4, error = ?5, metadata = ?6, \
         ended_at = ?7, {} WHERE id = ?1 AND ended_at IS NULL",
        pass.shape.unclaim()
    );
    let metadata = event::json(&how.metadata);
    pass.conn.prepare_cached(&update)?.execute(params![
        run.0,
        how.status,
        how.outcome,
        how.summary,
        how.error,
        metadata,
        pass.unix
    ])?;
    let open = "SELECT 1 FROM task_runs WHERE id = ?1 AND ended_at IS NULL";
    match sql::one(pass.conn, open, [run.0], |_| Ok(()))? {
        Some(()) => Err(Error::StatementChangedRows(0)),
        None => Ok(()),
    }
}

/// What the task has used up so far.
fn budget(pass: &Pass<'_>, row: &TaskRow, failure_limit: u32) -> Result<Budget> {
    Ok(Budget {
        failures: row.failures,
        failure_limit,
        max_retries: row.max_retries,
        violations: violations(pass, row)?.saturating_add(1),
    })
}

/// Protocol violations in a row among the closed runs, newest first. Rate limits neither count nor
/// end the row.
fn violations(pass: &Pass<'_>, row: &TaskRow) -> Result<u32> {
    let query = "SELECT outcome, metadata, error FROM task_runs WHERE task_id = ?1 \
                 AND ended_at IS NOT NULL ORDER BY +id DESC LIMIT 50";
    let runs = sql::all(pass.conn, query, [row.id.as_str()], |run| {
        let outcome = value::text(run, "outcome")?.unwrap_or_default();
        let metadata = event::parse(value::text(run, "metadata")?);
        let error = value::text(run, "error")?.unwrap_or_default();
        let marked = metadata.get("protocol_violation").map(|mark| *mark == Value::Bool(true));
        let violation = marked.unwrap_or_else(|| error.contains("protocol violation"));
        Ok((outcome, violation))
    })?;
    let streak = runs
        .iter()
        .filter(|(outcome, _)| outcome != "rate_limited")
        .take_while(|(outcome, violation)| outcome == "crashed" && *violation)
        .count();
    Ok(u32::try_from(streak).unwrap_or(VIOLATION_LIMIT))
}

/// Who set the limit.
fn source(own_limit: bool) -> &'static str {
    if own_limit { "task" } else { "dispatcher" }
}

/// The first 500 characters, which is all that a task keeps of an error.
fn clip(error: &str) -> String {
    error.chars().take(500).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
