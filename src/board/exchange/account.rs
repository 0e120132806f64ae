//! How a worker's failure is worded in its run and its events, as the client words it: rows 16 to 19.

use serde_json::{Map, Value, json};

use super::ending::Ending;
use crate::machine::verdict::{ExitStatus, Verdict};

/// The end of a run in the client's words.
pub(super) struct Account {
    /// Status and outcome of the run.
    pub(super) outcome: &'static str,
    /// Kind of the event.
    pub(super) kind: &'static str,
    /// Error of the run.
    pub(super) error: String,
    /// Payload of the event, and metadata of the run.
    pub(super) payload: Map<String, Value>,
    /// Further assignments to the task.
    pub(super) also: Also,
    /// What the event of a tripped breaker names as its cause.
    pub(super) trigger: &'static str,
    /// What that event adds.
    pub(super) trip: Map<String, Value>,
}

/// What the end of a run changes in its task besides status and claim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Also {
    Nothing,
    StoreError,
    ClearHeartbeat,
}

const VIOLATION: &str = "worker exited cleanly (rc=0) without calling kanban_complete or \
    kanban_block — protocol violation. If the prior run already did the work, verify it and report \
    the result via kanban_complete; a run that ends without a terminal kanban call counts as failed \
    no matter what it did.";

impl Account {
    /// Returns `None` for verdicts that are not the failure of a spawned worker.
    pub(super) fn of(ending: Ending<'_>, verdict: Verdict) -> Option<Account> {
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
            Verdict::Completed | Verdict::Unknown | Verdict::SpawnFailed | Verdict::Released(_) => {
                return None;
            }
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

/// The entries of a JSON object; none of any other value.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
