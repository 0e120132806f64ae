//! Columns to write, without those that the board lacks.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::board::rows::columns::{Columns, TASK_CLAIM};

/// Some columns of one table, and what to write to them.
pub(super) struct Fields<'a> {
    columns: &'a Columns,
    table: &'static str,
    names: Vec<&'static str>,
    values: Vec<Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(columns: &'a Columns, table: &'static str) -> Fields<'a> {
        Fields { columns, table, names: Vec::new(), values: Vec::new() }
    }

    /// Adds a column if the table has it.
    pub(super) fn set(mut self, name: &'static str, value: impl Into<Value>) -> Fields<'a> {
        if self.columns.has(&format!("{}.{name}", self.table)) {
            self.names.push(name);
            self.values.push(value.into());
        }
        self
    }

    /// Adds columns that become NULL.
    pub(super) fn clear(self, names: &[&'static str]) -> Fields<'a> {
        names.iter().fold(self, |fields, name| fields.set(name, Value::Null))
    }

    /// Inserts a row with them and returns its rowid.
    pub(super) fn insert(self, conn: &Connection) -> rusqlite::Result<i64> {
        let places = vec!["?"; self.names.len()].join(", ");
        let sql =
            format!("INSERT INTO {} ({}) VALUES ({places})", self.table, self.names.join(", "));
        conn.prepare_cached(&sql)?.execute(params_from_iter(self.values))?;
        Ok(conn.last_insert_rowid())
    }

    /// Updates the rows that meet `condition`, whose parameters are `args`, and returns their
    /// number.
    pub(super) fn update(
        mut self,
        conn: &Connection,
        condition: &str,
        args: impl IntoIterator<Item = Value>,
    ) -> rusqlite::Result<usize> {
        let set = self.names.iter().map(|name| format!("{name} = ?")).collect::<Vec<_>>();
        let sql = format!("UPDATE {} SET {} WHERE {condition}", self.table, set.join(", "));
        self.values.extend(args);
        conn.prepare_cached(&sql)?.execute(params_from_iter(self.values))
    }

    /// Takes the claim off a task.
    pub(super) fn unclaim(self) -> Fields<'a> {
        self.clear(&TASK_CLAIM)
    }
}
