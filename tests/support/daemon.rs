//! A daemon on the boards of a sandbox, and what becomes of their tasks.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::support::root::rows;
use crate::support::running::{Running, reaped_lines};
use crate::support::sandbox::Sandbox;
use crate::support::wait::wait_until;

/// A root with these settings; `worker` goes into `[worker.shell]`.
pub fn sandbox(dispatch: &str, worker: &str) -> Sandbox {
    let s = Sandbox::new();
    configure(&s, dispatch, worker, "");
    s
}

pub fn configure(s: &Sandbox, dispatch: &str, worker: &str, more: &str) {
    let text = format!(
        "[dispatch]\ndefault_assignee = \"shell\"\n{dispatch}\n\
         [worker.shell]\ncommand = [\"sh\", \"-c\", \"{{body}}\"]\n{worker}\n{more}"
    );
    fs::write(s.root().join("sexton.toml"), text).unwrap();
}

pub fn create(s: &Sandbox, body: &str) -> String {
    s.create(&["task", "--body", body])
}

pub fn run(s: &Sandbox, args: &[&str]) -> Running {
    Running::start(s.command(&[&["run"], args].concat()).process_group(0), &s.path(""), "run")
}

/// A second board and its file.
pub fn second_board(s: &Sandbox) -> PathBuf {
    s.ok(&["boards", "create", "second"]);
    s.root().join("kanban/boards/second/kanban.db")
}

/// `status|consecutive_failures|last_failure_error` of a task.
pub fn state(db: &Path, id: &str) -> String {
    let columns = "status, consecutive_failures, last_failure_error";
    rows(db, &format!("SELECT {columns} FROM tasks WHERE id = '{id}'")).remove(0)
}

pub fn wait_for_state(db: &Path, id: &str, wanted: &str) {
    wait_until(wanted, || state(db, id) == wanted);
}

/// As [`wait_until`], for something that is there only then.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(what, || {
        found = find();
        found.is_some()
    });
    found.unwrap()
}

impl Running {
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || self.log().contains(text));
    }
}

/// The outcomes of a task's runs in order.
pub fn outcomes(db: &Path, id: &str) -> Vec<String> {
    rows(db, &format!("SELECT outcome FROM task_runs WHERE task_id = '{id}' ORDER BY id"))
}

/// The pid of the worker that runs a task.
pub fn worker(db: &Path, id: &str) -> i32 {
    let query = format!(
        "SELECT worker_pid FROM tasks WHERE id = '{id}' AND status = 'running' \
         AND worker_pid NOT NULL"
    );
    wait_for("the worker's pid", || rows(db, &query).first()?.parse().ok())
}

/// The pid that a process wrote into a file.
pub fn written_pid(file: &Path) -> i32 {
    wait_for("a pid in a file", || {
        let text = fs::read_to_string(file).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
}

pub fn was_reaped(sexton: &Running, pid: i32) -> bool {
    reaped_lines(&sexton.log()).concat().contains(&pid)
}

pub fn stop(mut sexton: Running) {
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    assert!(!sexton.log().contains("panicked"), "{}", sexton.log());
}
