//! What the spawn of a worker needs to know of its task, read in the transaction that claimed it.

use rusqlite::{Result, Row};

use super::columns::Columns;
use super::value::Fields;
use crate::machine::ids::{RunId, TaskId};

/// A claimed task. Texts are as they stand in the board; bytes that are not UTF-8 are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnFacts {
    /// The claimed task.
    pub task: TaskId,
    /// The run that was opened for it.
    pub run: RunId,
    /// `tasks.title`
    pub title: String,
    /// `tasks.body`
    pub body: Option<String>,
    /// `tasks.assignee`
    pub assignee: String,
    /// `tasks.claim_lock`, byte for byte
    pub claim_lock: String,
    /// `tasks.workspace_kind`
    pub workspace_kind: String,
    /// `tasks.workspace_path`
    pub workspace_path: Option<String>,
    /// `tasks.branch_name`
    pub branch_name: Option<String>,
    /// `tasks.tenant`
    pub tenant: Option<String>,
}

impl SpawnFacts {
    /// The list of a SELECT from `tasks` for [`read`](SpawnFacts::read). Columns that the board lacks
    /// are NULL.
    pub(crate) fn list(columns: &Columns) -> String {
        let optional = |column| columns.or_null("tasks", column);
        let (branch, tenant) = (optional("branch_name"), optional("tenant"));
        format!(
            "title, body, assignee, claim_lock, workspace_kind, workspace_path, {branch}, {tenant}"
        )
    }

    /// Reads the columns of [`list`](SpawnFacts::list).
    pub(crate) fn read(row: &Row<'_>, task: TaskId, run: RunId) -> Result<SpawnFacts> {
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
        })
    }
}
