//! What a task waits for, and what will end that.

use rusqlite::Connection;
use serde_json::Value;

use super::task::Task;
use super::{CardError, promote, value};
use crate::board::Workers;
use crate::board::rows::history;
use crate::board::sql;
use crate::machine::hold::Candidate;
use crate::machine::hold::{self, End, Hold};
use crate::machine::ids::TaskId;
use crate::machine::policy::Policy;

/// Why a task that is not over does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It is ready, but held.
    Hold(Hold),
    /// Its id is longer than any that sexton dispatches.
    LongId,
    /// These must be done first.
    Parents(Vec<Parent>),
    /// Nothing holds it; the next pass of a dispatcher makes it ready.
    Promotion,
    /// A person or a worker blocked it.
    Blocked {
        /// What was said, if anything.
        reason: Option<String>,
    },
    /// It failed too often.
    GaveUp {
        /// The last failure, if it left a text.
        error: Option<String>,
    },
    /// Somebody put it off.
    Scheduled {
        /// What was said, if anything.
        reason: Option<String>,
    },
    /// Nobody has sorted it in yet.
    Triage,
    /// It is in a status that sexton does not know.
    Unknown,
}

/// A task that must be done first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's id.
    pub id: String,
    /// The parent's status.
    pub status: String,
}

/// Who or what ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// At this second since 1970, without any action.
    At(i64),
    /// The next pass of a dispatcher ends it.
    NextPass,
    /// Other tasks end it.
    Tasks,
    /// When a person acts, in any role.
    Somebody,
}

impl Wait {
    /// What ends it. Every wait has something that does.
    #[must_use]
    pub fn ends(&self) -> Ends {
        match self {
            Wait::Hold(hold) => match hold.end() {
                End::At(unix) => Ends::At(unix),
                End::Owner(_) => Ends::Somebody,
            },
            Wait::Parents(_) => Ends::Tasks,
            Wait::Promotion => Ends::NextPass,
            Wait::LongId
            | Wait::Blocked { .. }
            | Wait::GaveUp { .. }
            | Wait::Scheduled { .. }
            | Wait::Triage
            | Wait::Unknown => Ends::Somebody,
        }
    }
}

/// By what a task is judged.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The limits in force.
    pub policy: &'a Policy,
    /// Whose work a task is.
    pub workers: &'a Workers,
    /// The wall clock, in seconds since 1970.
    pub now: i64,
}

/// What `task` waits for; `None` if it runs, is over, or may run at any moment.
pub fn wait(conn: &Connection, judge: Judge<'_>, task: &Task) -> Result<Option<Wait>, CardError> {
    Ok(match task.status.as_str() {
        "running" | "done" | "archived" => None,
        "ready" => on_ready(conn, judge, task)?,
        "review" => Some(Wait::Hold(Hold::Review)),
        "todo" => Some(on_parents(conn, task)?.unwrap_or(Wait::Promotion)),
        "blocked" => Some(on_blocked(conn, judge, task)?),
        "scheduled" => Some(Wait::Scheduled { reason: last_reason(conn, task, "scheduled")? }),
        "triage" => Some(Wait::Triage),
        _ => Some(Wait::Unknown),
    })
}

fn on_ready(conn: &Connection, judge: Judge<'_>, task: &Task) -> Result<Option<Wait>, CardError> {
    if let Some(parents) = on_parents(conn, task)? {
        return Ok(Some(parents));
    }
    let Some(id) = TaskId::new(&task.id) else { return Ok(Some(Wait::LongId)) };
    let failures = u32::try_from(task.consecutive_failures.max(0)).unwrap_or(u32::MAX);
    let candidate = Candidate {
        task: id,
        lane: judge.workers.lane(task.assignee.as_deref()),
        priority: task.priority,
        created_at: task.created_at,
        order: 0,
        has_body: task.body.as_deref().is_some_and(|body| !body.trim_matches(' ').is_empty()),
        failures,
        last_end: history::last_end(conn, id, failures, judge.policy, judge.now)?,
    };
    Ok(hold::on(&candidate, judge.policy, judge.now).map(Wait::Hold))
}

fn on_parents(conn: &Connection, task: &Task) -> rusqlite::Result<Option<Wait>> {
    let open = promote::open_parents(conn, &task.id)?;
    let parents: Vec<_> = open.into_iter().map(|(id, status)| Parent { id, status }).collect();
    Ok((!parents.is_empty()).then_some(Wait::Parents(parents)))
}

fn on_blocked(conn: &Connection, judge: Judge<'_>, task: &Task) -> Result<Wait, CardError> {
    let query = "SELECT kind, payload FROM task_events \
                 WHERE task_id = ? AND kind IN ('blocked', 'gave_up', 'unblocked') \
                 ORDER BY id DESC LIMIT 1";
    let last = sql::one(conn, query, [&task.id], |row| {
        Ok((value::required(row, 0)?, value::json(row, 1)?))
    })?;
    if promote::is_due(conn, task, judge.policy.failure_limit)? {
        return Ok(Wait::Promotion);
    }
    Ok(match last {
        Some((kind, payload)) if kind == "blocked" => Wait::Blocked { reason: reason(&payload) },
        Some((kind, _)) if kind == "gave_up" => {
            Wait::GaveUp { error: task.last_failure_error.clone() }
        }
        _ => on_parents(conn, task)?.unwrap_or(Wait::Blocked { reason: None }),
    })
}

fn last_reason(conn: &Connection, task: &Task, kind: &str) -> rusqlite::Result<Option<String>> {
    let query =
        "SELECT payload FROM task_events WHERE task_id = ? AND kind = ? ORDER BY id DESC LIMIT 1";
    let payload = sql::one(conn, query, [task.id.as_str(), kind], |row| value::json(row, 0))?;
    Ok(payload.as_ref().and_then(reason))
}

fn reason(payload: &Value) -> Option<String> {
    match payload["reason"].as_str() {
        // What `create` writes, in the client's words.
        Some("initial_status") => Some("it was created blocked".to_owned()),
        reason => reason.map(str::to_owned),
    }
}
