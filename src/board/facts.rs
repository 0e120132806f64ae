//! What the start of a worker needs to know of its task, read in the transaction that claimed it.

use rusqlite::{Result, Row};

use super::pass::Pass;
use super::{sql, value};
use crate::machine::ids::{RunId, TaskId};

/// A claimed task. Texts are as they stand in the board; bytes that are no text are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnFacts {
    /// The task.
    pub task: TaskId,
    /// The run that was opened for it.
    pub run: RunId,
    /// `tasks.title`
    pub title: String,
    /// `tasks.body`
    pub body: Option<String>,
    /// `tasks.assignee`
    pub assignee: String,
    /// `tasks.claim_lock`, to the letter
    pub claim_lock: String,
    /// `tasks.workspace_kind`
    pub workspace_kind: String,
    /// `tasks.workspace_path`
    pub workspace_path: Option<String>,
    /// `tasks.branch_name`
    pub branch_name: Option<String>,
    /// `tasks.tenant`
    pub tenant: Option<String>,
    /// `tasks.project_id`
    pub project_id: Option<String>,
    /// `tasks.session_id`
    pub session_id: Option<String>,
    /// `tasks.created_by`
    pub created_by: Option<String>,
    /// `tasks.skills`: a JSON array of names
    pub skills: Option<String>,
    /// `tasks.model_override`
    pub model_override: Option<String>,
    /// `tasks.provider_override`
    pub provider_override: Option<String>,
    /// `tasks.reasoning_effort`
    pub reasoning_effort: Option<String>,
    /// `tasks.max_runtime_seconds`, if it is a limit
    pub max_runtime_s: Option<u32>,
    /// `tasks.goal_mode`
    pub goal_mode: bool,
    /// `tasks.goal_max_turns`
    pub goal_max_turns: Option<i64>,
}

/// Reads the facts of a task just claimed.
pub(super) fn read(pass: &Pass<'_>, task: TaskId, run: RunId) -> Result<Option<SpawnFacts>> {
    let query = format!("SELECT {} FROM tasks WHERE id = ?1", pass.shape.facts);
    sql::one(pass.conn, &query, [task.as_str()], |row| facts(row, task, run))
}

fn facts(row: &Row<'_>, task: TaskId, run: RunId) -> Result<SpawnFacts> {
    let text = |column| value::text(row, column);
    Ok(SpawnFacts {
        task,
        run,
        title: text("title")?.unwrap_or_default(),
        body: text("body")?,
        assignee: text("assignee")?.unwrap_or_default(),
        claim_lock: text("claim_lock")?.unwrap_or_default(),
        workspace_kind: text("workspace_kind")?.unwrap_or_default(),
        workspace_path: text("workspace_path")?,
        branch_name: text("branch_name")?,
        tenant: text("tenant")?,
        project_id: text("project_id")?,
        session_id: text("session_id")?,
        created_by: text("created_by")?,
        skills: text("skills")?,
        model_override: text("model_override")?,
        provider_override: text("provider_override")?,
        reasoning_effort: text("reasoning_effort")?,
        max_runtime_s: value::int(row, "max_runtime_seconds")?
            .filter(|limit| *limit > 0)
            .map(value::count),
        goal_mode: value::int(row, "goal_mode")?.is_some_and(|mode| mode != 0),
        goal_max_turns: value::int(row, "goal_max_turns")?,
    })
}
