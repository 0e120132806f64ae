//! Creates a task.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::fields::Fields;
use super::{CardError, ids, task, value};
use crate::board::rows::columns::Columns;
use crate::board::rows::event::{append, json_text};
use crate::board::sql;

/// The fields of a new task.
#[derive(Clone, Debug, Default)]
pub struct NewTask {
    /// Must not be blank.
    pub title: String,
    /// The task's text, which a worker gets.
    pub body: Option<String>,
    /// The worker that the task is for.
    pub assignee: Option<String>,
    /// Tasks that must be done first.
    pub parents: Vec<String>,
    /// Larger runs first.
    pub priority: i64,
    /// A label that other tools group tasks by.
    pub tenant: Option<String>,
    /// Where it is done.
    pub workspace: Workspace,
    /// Name of the branch, for a worktree.
    pub branch_name: Option<String>,
    /// A link to a project of the client.
    pub project_id: Option<String>,
    /// Create it in triage, where a person sorts it.
    pub triage: bool,
    /// Create it blocked, until a person unblocks it.
    pub blocked: bool,
    /// If a task with this key exists, that one is meant.
    pub idempotency_key: Option<String>,
    /// Seconds that an attempt may take.
    pub max_runtime_seconds: Option<i64>,
    /// Its own failure limit.
    pub max_retries: Option<i64>,
    /// Who asks for it.
    pub created_by: String,
    /// Skills that the client's workers load.
    pub skills: Vec<String>,
    /// Run by the client's workers until judged done.
    pub goal_mode: bool,
    /// At most this many turns of that.
    pub goal_max_turns: Option<i64>,
}

/// Where a task is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Workspace {
    /// A directory of its own, created when it first runs.
    #[default]
    Scratch,
    /// The directory at this path.
    Dir(String),
    /// A git worktree, at this place or at one derived from the board's settings.
    Worktree(Option<String>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// A task with this id was made.
    New(String),
    /// A task with the same idempotency key was there.
    Existing(String),
}

/// Makes a task and its links. Refuses a blank title and parents that do not exist.
pub fn create(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    new: &NewTask,
) -> Result<Created, CardError> {
    if new.title.trim().is_empty() {
        return Err(CardError::Blank("title"));
    }
    if let Some(existing) = with_key(conn, new.idempotency_key.as_deref())? {
        return Ok(Created::Existing(existing));
    }
    let parents = distinct(&new.parents);
    let status = status(conn, columns, new, &parents)?;
    let id = ids::unused(conn)?;
    let assignee = new.assignee.as_deref().map(normal).filter(|name| !name.is_empty());
    insert(conn, columns, now, new, &id, status, assignee.as_deref())?;
    for parent in &parents {
        conn.prepare_cached("INSERT INTO task_links (parent_id, child_id) VALUES (?, ?)")?
            .execute(params![parent, id])?;
    }
    let payload = payload(columns, new, status, assignee.as_deref(), &parents);
    append(conn, now, &id, None, "created", &payload)?;
    if status == "blocked" {
        // Without it the next promotion pass would make the task ready.
        let payload =
            json!({"reason": "initial_status", "status": "blocked", "actor": new.created_by});
        append(conn, now, &id, None, "blocked", &payload)?;
    }
    Ok(Created::New(id))
}

fn with_key(conn: &Connection, key: Option<&str>) -> Result<Option<String>, CardError> {
    let Some(key) = key else { return Ok(None) };
    let query = "SELECT id FROM tasks WHERE idempotency_key = ? AND status <> 'archived' \
                 ORDER BY created_at DESC, rowid DESC LIMIT 1";
    Ok(sql::one(conn, query, [key], |row| value::required(row, 0))?)
}

/// Assignees are compared in lower case by all tools.
fn normal(assignee: &str) -> String {
    assignee.trim().to_lowercase()
}

fn distinct(parents: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    parents.iter().map(|parent| parent.trim()).filter(|parent| seen.insert(*parent)).collect()
}

fn status(
    conn: &Connection,
    columns: &Columns,
    new: &NewTask,
    parents: &[&str],
) -> Result<&'static str, CardError> {
    let mut waits = false;
    for parent in parents {
        let parent = task::find(conn, columns, parent)?;
        waits |= !matches!(parent.status.as_str(), "done" | "archived");
    }
    Ok(match (new.blocked, new.triage, waits) {
        (true, _, _) => "blocked",
        (false, true, _) => "triage",
        (false, false, true) => "todo",
        (false, false, false) => "ready",
    })
}

fn insert(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    new: &NewTask,
    id: &str,
    status: &str,
    assignee: Option<&str>,
) -> Result<(), CardError> {
    let (kind, path) = workspace(&new.workspace);
    let skills = (!new.skills.is_empty()).then(|| json_text(&json!(new.skills)));
    Fields::of(columns, "tasks")
        .set("id", id.to_owned())
        .set("title", new.title.trim().to_owned())
        .set("body", new.body.clone())
        .set("assignee", assignee.map(str::to_owned))
        .set("status", status.to_owned())
        .set("priority", new.priority)
        .set("created_by", new.created_by.clone())
        .set("created_at", now)
        .set("workspace_kind", kind.to_owned())
        .set("workspace_path", path.map(str::to_owned))
        .set("branch_name", new.branch_name.clone())
        .set("project_id", new.project_id.clone())
        .set("tenant", new.tenant.clone())
        .set("idempotency_key", new.idempotency_key.clone())
        .set("max_runtime_seconds", new.max_runtime_seconds)
        .set("skills", skills)
        .set("max_retries", new.max_retries)
        .set("goal_mode", i64::from(new.goal_mode))
        .set("goal_max_turns", new.goal_max_turns)
        .insert(conn)?;
    Ok(())
}

fn workspace(workspace: &Workspace) -> (&'static str, Option<&str>) {
    match workspace {
        Workspace::Scratch => ("scratch", None),
        Workspace::Dir(path) => ("dir", Some(path)),
        Workspace::Worktree(path) => ("worktree", path.as_deref()),
    }
}

/// The keys depend on the generation of the board, which its columns show.
fn payload(
    columns: &Columns,
    new: &NewTask,
    status: &str,
    assignee: Option<&str>,
    parents: &[&str],
) -> Value {
    let (kind, path) = workspace(&new.workspace);
    let skills = if new.skills.is_empty() { Value::Null } else { json!(new.skills) };
    let goal_mode = if new.goal_mode { Value::Bool(true) } else { Value::Null };
    if columns.has("tasks.provider_override") {
        json!({
            "assignee": assignee, "status": status, "parents": parents, "creator_task_id": null,
            "tenant": new.tenant, "workspace_kind": kind, "workspace_path": path,
            "branch_name": new.branch_name, "project_id": new.project_id, "skills": skills,
            "goal_mode": goal_mode, "model_override": null, "provider_override": null,
        })
    } else if columns.has("tasks.goal_mode") {
        json!({
            "assignee": assignee, "status": status, "parents": parents, "tenant": new.tenant,
            "branch_name": new.branch_name, "skills": skills, "goal_mode": goal_mode,
        })
    } else {
        json!({
            "assignee": assignee, "status": status, "parents": parents, "tenant": new.tenant,
            "skills": skills,
        })
    }
}
