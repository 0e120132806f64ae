//! A task that cannot go on.

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use super::comment::comment;
use super::fields::Fields;
use super::run::Ending;
use super::task::Task;
use super::{CardError, promote, task};
use crate::board::rows::columns::Columns;
use crate::board::rows::event::append;

/// Why a task cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Other tasks must be done first.
    Dependency,
    /// A person must answer.
    NeedsInput,
    /// The worker lacks an ability.
    Capability,
    /// A condition that will pass without action.
    Transient,
}

impl BlockKind {
    /// As it stands in the board.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BlockKind::Dependency => "dependency",
            BlockKind::NeedsInput => "needs_input",
            BlockKind::Capability => "capability",
            BlockKind::Transient => "transient",
        }
    }
}

/// What is said with a block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// For people; blank is none.
    pub reason: Option<String>,
    /// Why it is blocked, which decides who is asked.
    pub kind: Option<BlockKind>,
    /// Name of the author, for the event.
    pub author: String,
    /// The run that the caller belongs to, if it is a worker.
    pub own_run: Option<i64>,
}

/// A task that is blocked this often for the same reason goes back to triage.
const LIMIT: i64 = 2;

/// Where a block leads.
struct Route {
    status: &'static str,
    event: &'static str,
    kind: Option<BlockKind>,
    recurrences: Option<i64>,
    payload: Json,
}

/// Blocks a running or ready task.
pub fn block(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    id: &str,
    with: &Block,
) -> Result<(), CardError> {
    let task = task::find(conn, columns, id)?;
    task.must_be(&["running", "ready"], "running or ready", "blocked")?;
    task.must_be_in(with.own_run)?;
    let reason = with.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if let Some(reason) = reason {
        comment(conn, columns, now, id, &with.author, &format!("BLOCKED: {reason}"))?;
    }
    let route = route(conn, columns, &task, reason, with.kind)?;

    let fields = Fields::of(columns, "tasks")
        .set("status", route.status.to_owned())
        .unclaim()
        .set("block_kind", route.kind.map(|kind| kind.as_str().to_owned()));
    let fields = match route.recurrences {
        Some(count) => fields.set("block_recurrences", count),
        None => fields,
    };
    fields.update(conn, "id = ?", [Value::Text(task.id.clone())])?;
    let ending = Ending { status: "blocked", outcome: "blocked", summary: reason, metadata: None };
    let run = ending.record(conn, columns, now, &task)?;
    append(conn, now, &task.id, run, route.event, &route.payload)?;
    Ok(())
}

fn route(
    conn: &Connection,
    columns: &Columns,
    task: &Task,
    reason: Option<&str>,
    kind: Option<BlockKind>,
) -> Result<Route, CardError> {
    if kind == Some(BlockKind::Dependency) {
        return waiting_for_parents(conn, task, reason);
    }
    Ok(held(columns, task, reason, kind))
}

/// A dependency needs no person: the task becomes ready when its parents are done. Without open
/// parents it would become ready immediately, again and again; so then a person must answer.
fn waiting_for_parents(
    conn: &Connection,
    task: &Task,
    reason: Option<&str>,
) -> Result<Route, CardError> {
    if !promote::open_parents(conn, &task.id)?.is_empty() {
        return Ok(Route {
            status: "todo",
            event: "dependency_wait",
            kind: Some(BlockKind::Dependency),
            recurrences: None,
            payload: json!({"reason": reason, "kind": "dependency"}),
        });
    }
    let kind = BlockKind::NeedsInput;
    let recurrences = recurrences(task, Some(kind));
    let payload = json!({
        "reason": reason, "kind": kind.as_str(), "recurrences": recurrences,
        "requested_kind": "dependency", "rekind_reason": "no open parents",
    });
    Ok(Route {
        status: "blocked",
        event: "blocked",
        kind: Some(kind),
        recurrences: Some(recurrences),
        payload,
    })
}

fn held(columns: &Columns, task: &Task, reason: Option<&str>, kind: Option<BlockKind>) -> Route {
    let recurrences = recurrences(task, kind);
    let name = kind.map(BlockKind::as_str);
    let (status, event, payload) = if recurrences >= LIMIT {
        let payload =
            json!({"reason": reason, "kind": name, "recurrences": recurrences, "limit": LIMIT});
        ("triage", "block_loop_detected", payload)
    } else if columns.has("tasks.block_kind") {
        let payload = json!({"reason": reason, "kind": name, "recurrences": recurrences});
        ("blocked", "blocked", payload)
    } else {
        ("blocked", "blocked", json!({"reason": reason}))
    };
    Route { status, event, kind, recurrences: Some(recurrences), payload }
}

/// How often the task has now been blocked for this kind of reason. A block without a kind is like
/// no other: two of them say nothing about a loop.
fn recurrences(task: &Task, kind: Option<BlockKind>) -> i64 {
    match kind {
        Some(kind) if task.block_kind.as_deref() == Some(kind.as_str()) => {
            task.block_recurrences.saturating_add(1)
        }
        _ => 1,
    }
}
