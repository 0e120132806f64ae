//! The statements that read the ready list, by the indexes that a board has.

use rusqlite::{Connection, Result};

use crate::board::sql;

/// What the look at the ready list needs.
pub(super) struct ReadyList {
    /// The ready tasks of one assignee, in the board's order, up to a limit.
    pub(super) ready_of: String,
    /// The assignees, each once.
    pub(super) assignees: &'static str,
}

pub(super) fn statements(conn: &Connection) -> Result<ReadyList> {
    let indexed = has_ready_index(conn);
    Ok(ReadyList {
        ready_of: format!(
            "SELECT rowid AS row, priority, created_at FROM tasks {} WHERE assignee IS ?1 \
             AND status = 'ready' AND claim_lock IS NULL \
             ORDER BY priority DESC, created_at, rowid LIMIT ?2",
            if indexed { "INDEXED BY sexton_ready" } else { "" }
        ),
        assignees: match (indexed, leads_an_index(conn)?) {
            (true, _) => SKIP_READY,
            (false, true) => SKIP_ALL,
            (false, false) => DISTINCT,
        },
    })
}

/// One step for each assignee that has ready tasks, on a board of any size.
const SKIP_READY: &str = "WITH RECURSIVE names(name) AS (\
    SELECT min(assignee) FROM tasks INDEXED BY sexton_ready \
     WHERE status = 'ready' AND claim_lock IS NULL \
    UNION ALL SELECT (\
     SELECT min(assignee) FROM tasks INDEXED BY sexton_ready \
      WHERE status = 'ready' AND claim_lock IS NULL AND assignee > name) \
    FROM names WHERE name IS NOT NULL) \
    SELECT name FROM names WHERE name IS NOT NULL";

/// One step for each assignee.
const SKIP_ALL: &str = "WITH RECURSIVE names(name) AS (\
    SELECT min(assignee) FROM tasks \
    UNION ALL SELECT (SELECT min(assignee) FROM tasks WHERE assignee > name) \
    FROM names WHERE name IS NOT NULL) \
    SELECT name FROM names WHERE name IS NOT NULL";

/// Without an index, one step for each ready task.
const DISTINCT: &str = "SELECT DISTINCT assignee AS name FROM tasks \
    WHERE status = 'ready' AND assignee IS NOT NULL";

/// True if our own index exists and these statements can use it. Another index of that name is
/// ignored.
fn has_ready_index(conn: &Connection) -> bool {
    let query = "SELECT rowid FROM tasks INDEXED BY sexton_ready WHERE assignee IS ?1 \
                 AND status = 'ready' AND claim_lock IS NULL \
                 ORDER BY priority DESC, created_at, rowid";
    conn.prepare(query).is_ok() && conn.prepare(SKIP_READY).is_ok()
}

/// True if an index that is not partial begins with the assignee.
fn leads_an_index(conn: &Connection) -> Result<bool> {
    let query = "SELECT 1 FROM pragma_index_list('tasks') l, pragma_index_info(l.name) i \
                 WHERE i.seqno = 0 AND i.name = 'assignee' AND l.partial = 0";
    Ok(sql::one(conn, query, [], |_| Ok(()))?.is_some())
}
