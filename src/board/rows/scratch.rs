//! Scratch workspaces that are no longer needed: those of completed tasks whose children are all
//! finished. Until then a child may read what its parent left there.

use rusqlite::{Connection, Result};

use super::value;
use crate::board::sql;
use crate::machine::ids::TaskId;

/// The scratch workspace of a completed task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scratch {
    /// The completed task.
    pub task: TaskId,
    /// `tasks.workspace_path`; without one it is in the board's workspaces directory.
    pub path: Option<String>,
}

/// A task that was archived without having been done keeps its directory. The plus signs keep SQLite
/// from using the index on status, and so from reading every task that was ever done.
const UNNEEDED: &str = "SELECT id, workspace_path FROM tasks t WHERE workspace_kind = 'scratch' \
     AND (+status = 'done' OR +status = 'archived' AND completed_at IS NOT NULL) \
     AND NOT EXISTS (SELECT 1 FROM task_links l JOIN tasks c ON c.id = l.child_id \
                      WHERE l.parent_id = t.id AND c.status NOT IN ('done', 'archived'))";

const OWN_AND_PARENTS: [&str; 2] =
    ["id = ?1", "id IN (SELECT parent_id FROM task_links WHERE child_id = ?1)"];

impl Scratch {
    /// Finds those that are no longer needed now that `task` is finished: its own, and those of its
    /// parents.
    pub fn unneeded(conn: &Connection, task: &str) -> Result<Vec<Scratch>> {
        let mut found = Vec::new();
        for whose in OWN_AND_PARENTS {
            let query = format!("{UNNEEDED} AND {whose}");
            let rows = sql::all(conn, &query, [task], |row| {
                let path = value::text(row, "workspace_path")?;
                Ok(value::task(row, "id")?.map(|task| Scratch { task, path }))
            })?;
            found.extend(rows.into_iter().flatten());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_depends_on_the_tasks_links_and_not_on_the_board() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kanban.db");
        crate::board::create(&path).unwrap();
        let conn = Connection::open(path).unwrap();
        for whose in OWN_AND_PARENTS {
            let query = format!("EXPLAIN QUERY PLAN {UNNEEDED} AND {whose}");
            let plan = sql::all(&conn, &query, ["t_1"], |row| row.get::<_, String>(3)).unwrap();
            let costly = |step: &&String| step.contains("SCAN t") || step.contains("status");
            assert_eq!(plan.iter().find(costly), None, "{plan:?}");
            assert!(plan.iter().any(|step| step.contains("SEARCH t ")), "{plan:?}");
        }
    }
}
