//! A remark on a task.

use rusqlite::{Connection, params};
use serde_json::json;

use super::{CardError, task};
use crate::board::rows::columns::Columns;
use crate::board::rows::event::append;

/// Adds a comment to a task, and an event for it.
pub fn comment(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    id: &str,
    author: &str,
    text: &str,
) -> Result<(), CardError> {
    let task = task::find(conn, columns, id)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(CardError::Blank("comment"));
    }
    conn.prepare_cached(
        "INSERT INTO task_comments (task_id, author, body, created_at) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![task.id, author, text, now])?;
    let payload = json!({"author": author, "len": text.chars().count()});
    append(conn, now, &task.id, None, "commented", &payload)?;
    Ok(())
}
