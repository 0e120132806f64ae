//! Waiting tasks that become ready because what they waited for is done.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::fields::Fields;
use super::task::Task;
use super::{CardError, task, value};
use crate::board::rows::columns::Columns;
use crate::board::rows::{event, history};
use crate::board::sql;

/// The parents that a task still waits for, with their statuses. A parent that does not exist, or
/// is archived, holds nothing up.
pub(super) fn open_parents(
    conn: &Connection,
    child: &str,
) -> rusqlite::Result<Vec<(String, String)>> {
    let query = "SELECT p.id, p.status FROM task_links l JOIN tasks p ON p.id = l.parent_id \
                 WHERE l.child_id = ? AND p.status NOT IN ('done', 'archived') ORDER BY l.rowid";
    sql::all(conn, query, [child], |row| Ok((value::required(row, 0)?, value::required(row, 1)?)))
}

/// Promotes the children of `parent` that may become ready.
pub(super) fn children(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    parent: &str,
    failure_limit: u32,
) -> Result<(), CardError> {
    let query = "SELECT c.id FROM task_links l JOIN tasks c ON c.id = l.child_id \
                 WHERE l.parent_id = ? AND c.status IN ('todo', 'blocked') \
                 ORDER BY c.status, c.rowid";
    for id in sql::all(conn, query, [parent], |row| value::required(row, 0))? {
        let child = task::find(conn, columns, &id)?;
        if is_due(conn, &child, failure_limit)? {
            let (id, status) = (Value::Text(child.id.clone()), Value::Text(child.status));
            let resumed = history::resume_status(conn, &child.id)?;
            Fields::of(columns, "tasks").set("status", resumed.to_owned()).update(
                conn,
                "id = ? AND status = ?",
                [id, status],
            )?;
            event::append(conn, now, &child.id, None, "promoted", &event::promoted(resumed))?;
        }
    }
    Ok(())
}

/// Whether the next pass of a dispatcher would make this waiting task ready.
pub(super) fn is_due(
    conn: &Connection,
    task: &Task,
    failure_limit: u32,
) -> Result<bool, CardError> {
    if !open_parents(conn, &task.id)?.is_empty() {
        return Ok(false);
    }
    Ok(match task.status.as_str() {
        "todo" => true,
        "blocked" => {
            let limit = task.max_retries.unwrap_or_else(|| i64::from(failure_limit)).max(1);
            task.consecutive_failures < limit && !history::needs_a_person(conn, &task.id)?
        }
        _ => false,
    })
}
