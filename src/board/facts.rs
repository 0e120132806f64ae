//! What the start of a worker needs to know of its task, read in the transaction that claimed it.

use rusqlite::{Result, Row};

use super::columns::Columns;
use super::pass::Pass;
use super::sql;
use super::value::{self, Fields};
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

impl SpawnFacts {
    /// What a SELECT from `tasks` is to list for [`read`], in this order. Columns that the board lacks
    /// are NULL.
    pub(super) fn list(columns: &Columns) -> String {
        let optional = [
            "branch_name",
            "tenant",
            "project_id",
            "session_id",
            "created_by",
            "skills",
            "model_override",
            "provider_override",
            "reasoning_effort",
            "max_runtime_seconds",
            "goal_mode",
            "goal_max_turns",
        ];
        let optional = optional.map(|column| columns.or_null("tasks", column)).join(", ");
        format!("title, body, assignee, claim_lock, workspace_kind, workspace_path, {optional}")
    }
}

fn facts(row: &Row<'_>, task: TaskId, run: RunId) -> Result<SpawnFacts> {
    let mut fields = Fields::of(row);
    Ok(SpawnFacts {
        task,
        run,
        title: fields.text()?.unwrap_or_default(),
        body: fields.text()?,
        assignee: fields.text()?.unwrap_or_default(),
        claim_lock: fields.text()?.unwrap_or_default(),
        workspace_kind: fields.text()?.unwrap_or_default(),
        workspace_path: fields.text()?,
        branch_name: fields.text()?,
        tenant: fields.text()?,
        project_id: fields.text()?,
        session_id: fields.text()?,
        created_by: fields.text()?,
        skills: fields.text()?,
        model_override: fields.text()?,
        provider_override: fields.text()?,
        reasoning_effort: fields.text()?,
        max_runtime_s: fields.int()?.filter(|limit| *limit > 0).map(value::count),
        goal_mode: fields.int()?.is_some_and(|mode| mode != 0),
        goal_max_turns: fields.int()?,
    })
}
