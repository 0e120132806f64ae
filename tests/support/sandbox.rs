//! A temporary root, and the real program in a clean environment.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;
use tempfile::TempDir;

pub struct Sandbox {
    dir: TempDir,
}

/// What came of one command.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    /// An empty home.
    pub fn empty() -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Sandbox { dir }
    }

    /// One with a root made by `init`.
    pub fn new() -> Sandbox {
        let sandbox = Sandbox::empty();
        sandbox.ok(&["init"]);
        sandbox
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn db(&self) -> PathBuf {
        self.root().join("kanban.db")
    }

    /// The program without any root said.
    pub fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("TZ", "UTC")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        // Where `.ci/coverage` has the program note which lines it ran; else it notes them here.
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
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

    /// A command that must fail with this code and one line on standard error.
    pub fn refused(&self, args: &[&str], code: i32) -> String {
        let done = self.run(args);
        assert_eq!(done.code, code, "{args:?}: {done:?}");
        assert_eq!(done.stdout, "", "{args:?}");
        assert_eq!(done.stderr.trim_end().lines().count(), 1, "{args:?}: {}", done.stderr);
        done.stderr
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Makes a task and gives its id.
    pub fn create(&self, args: &[&str]) -> String {
        let mut all = vec!["create"];
        all.extend_from_slice(args);
        self.json(&all)["id"].as_str().unwrap().to_owned()
    }

    pub fn sql(&self, statements: &str) {
        sql(&self.db(), statements);
    }

    /// Rows of the default board, cells parted by `|`.
    pub fn rows(&self, query: &str) -> Vec<String> {
        rows(&self.db(), query)
    }

    /// Kind, run and payload of a task's events; ids are replaced by names.
    pub fn events(&self, id: &str) -> Vec<String> {
        self.rows(&format!(
            "SELECT kind, run_id, payload FROM task_events WHERE task_id = '{id}' ORDER BY id"
        ))
    }
}

pub fn finish(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A user whom nobody else is, so that limits and permissions hold; `None`, and says so, unless we
/// may become anybody.
pub fn somebody(s: &Sandbox) -> Option<u32> {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: this needs root, to become a user of its own");
        return None;
    }
    // Distinct for each process; each test that calls this has its own sandbox and needs no more
    // than that no other process counts against it.
    let ino = s.path("").metadata().unwrap().ino();
    let uid = 1_000_000 + u32::try_from(ino % 1_000_000_000).unwrap();
    let chown =
        Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(s.path("")).status();
    assert!(chown.unwrap().success());
    let tried = s.command(&["--version"]).uid(uid).gid(uid).output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: the program is where no other user reaches it: {tried:?}");
        return None;
    }
    Some(uid)
}

pub fn sql(db: &Path, statements: &str) {
    let conn = Connection::open(db).unwrap();
    for statement in statements.split(';').filter(|text| !text.trim().is_empty()) {
        let mut statement = conn.prepare(statement).unwrap();
        let mut rows = statement.query([]).unwrap();
        while rows.next().unwrap().is_some() {}
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
