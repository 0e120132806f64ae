//! The tasks of a board.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::task::{self, Task};
use super::{CardError, value};
use crate::board::rows::columns::Columns;
use crate::board::sql;

/// Which tasks are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only tasks of this assignee.
    pub assignee: Option<String>,
    /// Only in this status.
    pub status: Option<String>,
    /// Only with this label.
    pub tenant: Option<String>,
    /// The archived ones too.
    pub archived: bool,
}

/// The tasks that pass, in the order in which they would run.
pub fn list(conn: &Connection, columns: &Columns, filter: &Filter) -> Result<Vec<Task>, CardError> {
    let mut conditions = vec!["1"];
    let mut args = Vec::new();
    let mut only = |condition, wanted: Option<String>| {
        if let Some(wanted) = wanted {
            conditions.push(condition);
            args.push(Value::Text(wanted));
        }
    };
    only("assignee = ?", filter.assignee.as_ref().map(|name| name.trim().to_lowercase()));
    only("status = ?", filter.status.clone());
    only("tenant = ?", filter.tenant.clone());
    if !filter.archived && filter.status.is_none() {
        conditions.push("status <> 'archived'");
    }
    let sql = format!(
        "SELECT {} FROM tasks WHERE {} ORDER BY priority DESC, created_at, rowid",
        task::select(columns),
        conditions.join(" AND ")
    );
    Ok(sql::all(conn, &sql, params_from_iter(args), task::read)?)
}

/// How many tasks there are in each status.
pub fn count_by_status(conn: &Connection) -> Result<BTreeMap<String, i64>, CardError> {
    let query = "SELECT status, count(*) FROM tasks GROUP BY status";
    let rows = sql::all(conn, query, [], |row| {
        Ok((value::required(row, 0)?, value::integer(row, 1)?.unwrap_or(0)))
    })?;
    Ok(rows.into_iter().collect())
}
