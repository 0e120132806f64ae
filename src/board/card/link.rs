//! One task that waits for another.

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use serde_json::json;

use super::fields::Fields;
use super::{CardError, task};
use crate::board::rows::columns::Columns;
use crate::board::rows::event::append;
use crate::board::sql;

/// Makes `child` wait for `parent`. A child that was ready goes back to waiting unless the parent is
/// done or archived.
pub fn link(
    conn: &Connection,
    columns: &Columns,
    now: i64,
    parent: &str,
    child: &str,
) -> Result<(), CardError> {
    let parent = task::find(conn, columns, parent)?;
    let child = task::find(conn, columns, child)?;
    if parent.id == child.id {
        return Err(CardError::SelfLink(child.id));
    }
    if waits_for(conn, &parent.id, &child.id)? {
        return Err(CardError::Cycle { parent: parent.id, child: child.id });
    }
    conn.prepare_cached("INSERT OR IGNORE INTO task_links (parent_id, child_id) VALUES (?, ?)")?
        .execute(params![parent.id, child.id])?;
    if !matches!(parent.status.as_str(), "done" | "archived") {
        Fields::of(columns, "tasks").set("status", "todo".to_owned()).update(
            conn,
            "id = ? AND status = 'ready'",
            [Value::Text(child.id.clone())],
        )?;
    }
    let payload = json!({"parent": parent.id, "child": child.id});
    append(conn, now, &child.id, None, "linked", &payload)?;
    Ok(())
}

/// Whether `task` waits for `other`, directly or by others.
fn waits_for(conn: &Connection, task: &str, other: &str) -> rusqlite::Result<bool> {
    let query = "WITH RECURSIVE above(id) AS (\
                   SELECT parent_id FROM task_links WHERE child_id = ?1 \
                   UNION \
                   SELECT l.parent_id FROM task_links l JOIN above a ON l.child_id = a.id) \
                 SELECT 1 FROM above WHERE id = ?2 LIMIT 1";
    Ok(sql::one(conn, query, params![task, other], |_| Ok(()))?.is_some())
}
