//! Tasks, their events, and what they wait for, in words and as JSON.

use serde_json::{Value, json};

use crate::board::card::{self, Ends, Event, Task, Wait};
use crate::machine::hold::{End, Hold};
use crate::runtime::status::{Kind, Told};

use super::plain::plain;
use super::times::moment;

/// A few words for a column.
#[must_use]
pub fn brief(wait: &Wait, now: i64) -> String {
    match wait {
        Wait::Hold(Hold::ForeignLane) => "foreign lane".to_owned(),
        Wait::Hold(Hold::Unassigned) => "no assignee".to_owned(),
        Wait::Hold(Hold::NeedsBody) => "needs a body".to_owned(),
        Wait::Hold(Hold::Cooldown { until }) => format!("cooldown until {}", moment(*until, now)),
        Wait::Hold(Hold::Backoff { until }) => format!("retry at {}", moment(*until, now)),
        Wait::Hold(Hold::Review) => "needs a reviewer".to_owned(),
        Wait::LongId => "id too long".to_owned(),
        Wait::Parents(parents) => {
            let ids: Vec<_> = parents.iter().map(|parent| plain(&parent.id)).collect();
            format!("waits for {}", ids.join(", "))
        }
        Wait::Promotion => "ready at the next pass".to_owned(),
        Wait::Blocked { reason } => with("needs a person", reason.as_deref()),
        Wait::GaveUp { error } => with("gave up", error.as_deref()),
        Wait::Scheduled { reason } => with("put off", reason.as_deref()),
        Wait::Triage => "to be sorted in".to_owned(),
        Wait::Unknown => "status unknown to sexton".to_owned(),
    }
}

fn with(words: &str, detail: Option<&str>) -> String {
    match detail.map(|detail| plain(detail.trim())).filter(|detail| !detail.is_empty()) {
        Some(detail) => format!("{words}: {detail}"),
        None => words.to_owned(),
    }
}

/// What holds a whole board, in a few words for a column.
#[must_use]
pub fn board_brief(told: &Told, now: i64) -> String {
    let until = |words: &str| match told.until {
        Some(until) => format!("{words} {}", moment(until, now)),
        None => words.to_owned(),
    };
    match told.kind {
        Kind::Quarantined => until("board quarantined until"),
        Kind::Hung => "board does not answer".to_owned(),
        Kind::SpawnThreadsStuck => "spawns hang".to_owned(),
        Kind::DirectoriesFail => until("the board's directories fail; tried again at"),
        Kind::WorkersUnclear => "workers of a dead dispatcher may live".to_owned(),
        Kind::HostRefuses => until("the host starts no processes; tried again at"),
    }
}

/// The same with the reason, and with who can end it if time does not.
#[must_use]
pub fn board_full(told: &Told, now: i64) -> String {
    let words = board_brief(told, now);
    let reason = match (&told.reason, told.kind) {
        (Some(reason), _) => format!(" ({})", plain(reason)),
        (None, Kind::Hung) => " (its disk may hang)".to_owned(),
        (None, _) => String::new(),
    };
    let owner = match told.until {
        Some(_) => String::new(),
        None if told.kind == Kind::WorkersUnclear => format!(
            "; these tasks are not started again before that is clear, which the {} can help by \
             ending what is left of them",
            plain(&told.ends_by)
        ),
        None => format!("; it ends when the disk answers, or by the {}", plain(&told.ends_by)),
    };
    format!("{words}{reason}{owner}")
}

/// The same for programs.
#[must_use]
pub fn board_holds_json(holds: &[Told]) -> Value {
    json!(holds)
}

/// Returns a sentence that also names what ends it.
#[must_use]
pub fn full(wait: &Wait, task: &Task, now: i64) -> String {
    let id = plain(&task.id);
    match wait {
        Wait::Hold(Hold::ForeignLane) => {
            let name = plain(task.assignee.as_deref().unwrap_or("").trim());
            format!(
                "foreign lane: no worker `{name}` is configured here; it is left to the dispatcher that runs \
                 that lane, or to you: add [worker.{name}] to sexton.toml"
            )
        }
        Wait::Hold(Hold::Unassigned) => {
            "no assignee, and no default_assignee is configured; assign it, or set one".to_owned()
        }
        Wait::Hold(Hold::NeedsBody) => {
            "its worker's command uses the body, and it has none; create it again with --body"
                .to_owned()
        }
        Wait::Hold(Hold::Cooldown { until }) => {
            format!("cooldown after a rate limit; ends at {}", moment(*until, now))
        }
        Wait::Hold(Hold::Backoff { until }) => {
            format!("its last attempt failed; it is tried again at {}", moment(*until, now))
        }
        Wait::Hold(Hold::Review) => {
            "waits for a reviewer; sexton does not run the review lane".to_owned()
        }
        Wait::LongId => "its id is too long for sexton; create it again".to_owned(),
        Wait::Parents(parents) => {
            let each = parents.iter().map(|p| format!("{} ({})", plain(&p.id), plain(&p.status)));
            format!("waits for {}", each.collect::<Vec<_>>().join(", "))
        }
        Wait::Promotion => "nothing holds it; the next pass makes it ready".to_owned(),
        Wait::Blocked { .. } => {
            format!("{}; `sexton unblock {id}` lets it go on", brief(wait, now))
        }
        Wait::GaveUp { .. } => {
            let count = task.consecutive_failures;
            format!("{} ({count} in a row); `sexton unblock {id}` tries again", brief(wait, now))
        }
        Wait::Scheduled { .. } => {
            format!("{}; `sexton unblock {id}` lets it start", brief(wait, now))
        }
        Wait::Triage => "waits for a person to sort it".to_owned(),
        Wait::Unknown => "sexton does not know this status and leaves the task alone".to_owned(),
    }
}

/// The same for programs.
#[must_use]
pub fn wait_json(wait: &Wait, task: &Task, now: i64) -> Value {
    let until = match wait.ends() {
        Ends::At(unix) => Some(unix),
        Ends::NextPass | Ends::Tasks | Ends::Somebody => None,
    };
    let parents = if let Wait::Parents(parents) = wait { parents.as_slice() } else { &[] };
    let parents: Vec<_> = parents.iter().map(|p| json!({"id": p.id, "status": p.status})).collect();
    json!({
        "kind": kind(wait), "text": full(wait, task, now), "ends_by": ends_by(wait),
        "until": until, "parents": parents,
    })
}

fn kind(wait: &Wait) -> &'static str {
    match wait {
        Wait::Hold(Hold::ForeignLane) => "foreign_lane",
        Wait::Hold(Hold::Unassigned) => "unassigned",
        Wait::Hold(Hold::NeedsBody) => "needs_body",
        Wait::Hold(Hold::Cooldown { .. }) => "cooldown",
        Wait::Hold(Hold::Backoff { .. }) => "backoff",
        Wait::Hold(Hold::Review) => "review",
        Wait::LongId => "long_id",
        Wait::Parents(_) => "parents",
        Wait::Promotion => "promotion",
        Wait::Blocked { .. } => "blocked",
        Wait::GaveUp { .. } => "gave_up",
        Wait::Scheduled { .. } => "scheduled",
        Wait::Triage => "triage",
        Wait::Unknown => "unknown_status",
    }
}

fn ends_by(wait: &Wait) -> &'static str {
    if let Wait::Hold(hold) = wait
        && let End::Owner(owner) = hold.end()
    {
        return owner.name();
    }
    match wait.ends() {
        Ends::At(_) => "itself",
        Ends::NextPass => "next_pass",
        Ends::Tasks => "tasks",
        Ends::Somebody => "somebody",
    }
}

/// A task with the keys that the client prints, and some more.
#[must_use]
pub fn task_json(task: &Task, wait: Option<&Wait>, now: i64) -> Value {
    json!({
        "id": task.id,
        "title": task.title,
        "body": task.body,
        "assignee": task.assignee,
        "status": task.status,
        "priority": task.priority,
        "tenant": task.tenant,
        "workspace_kind": task.workspace_kind,
        "workspace_path": task.workspace_path,
        "branch_name": task.branch_name,
        "project_id": task.project_id,
        "created_by": task.created_by,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "completed_at": task.completed_at,
        "result": task.result,
        "skills": if task.skills.is_null() { json!([]) } else { task.skills.clone() },
        "max_runtime_seconds": task.max_runtime_seconds,
        "max_retries": task.max_retries,
        "model_override": task.model_override,
        "session_id": task.session_id,
        "current_step_key": task.current_step_key,
        "last_failure_error": task.last_failure_error,
        "consecutive_failures": task.consecutive_failures,
        "current_run_id": task.current_run_id,
        "claim_lock": task.claim_lock,
        "claim_expires": task.claim_expires,
        "worker_pid": task.worker_pid,
        "last_heartbeat_at": task.last_heartbeat_at,
        "block_kind": task.block_kind,
        "block_recurrences": task.block_recurrences,
        "wait": wait.map(|wait| wait_json(wait, task, now)),
    })
}

/// An event as the client prints it.
pub fn event_json(event: &Event) -> Value {
    json!({
        "kind": event.kind, "payload": event.payload, "created_at": event.created_at,
        "run_id": event.run_id,
    })
}

/// An event on one line.
pub fn event_line(event: &Event, now: i64) -> String {
    let run = event.run_id.map_or_else(String::new, |run| format!(" [run {run}]"));
    let payload = if event.payload.is_null() {
        String::new()
    } else {
        format!(" {}", plain(&card::json_text(&event.payload)))
    };
    format!("[{}]{run} {}{payload}", moment(event.created_at, now), plain(&event.kind))
}
