//! Writes to a board as another client would.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::path::Path;

use rusqlite::Connection;

use crate::support::sandbox::Sandbox;

impl Sandbox {
    pub fn sql(&self, statements: &str) {
        sql(&self.db(), statements);
    }
}

pub fn sql(db: &Path, statements: &str) {
    let conn = Connection::open(db).unwrap();
    for statement in statements.split(';').filter(|text| !text.trim().is_empty()) {
        let mut statement = conn.prepare(statement).unwrap();
        let mut rows = statement.query([]).unwrap();
        while rows.next().unwrap().is_some() {}
    }
}
