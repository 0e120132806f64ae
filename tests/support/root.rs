//! A root in the sandbox, commands on it, and the rows of its boards.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;

use crate::support::sandbox::{Done, Sandbox, finish};

impl Sandbox {
    /// One with a root made by `init`.
    pub fn new() -> Sandbox {
        let sandbox = Sandbox::empty();
        sandbox.ok(&["init"]);
        sandbox
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn db(&self) -> PathBuf {
        self.root().join("kanban.db")
    }

    /// The program on this sandbox's root.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare();
        command.arg("--root").arg(self.root()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        finish(&mut self.command(args))
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        assert_eq!(done.stderr, "", "{args:?}");
        done.stdout
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Creates a task and returns its id.
    pub fn create(&self, args: &[&str]) -> String {
        let mut all = vec!["create"];
        all.extend_from_slice(args);
        self.json(&all)["id"].as_str().unwrap().to_owned()
    }

    /// Rows of the default board, cells parted by `|`.
    pub fn rows(&self, query: &str) -> Vec<String> {
        rows(&self.db(), query)
    }
}

pub fn rows(db: &Path, query: &str) -> Vec<String> {
    let conn = Connection::open(db).unwrap();
    let mut statement = conn.prepare(query).unwrap();
    let count = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells: Vec<String> =
            (0..count).map(|index| cell(row.get_ref(index).unwrap())).collect();
        Ok(cells.join("|"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}
