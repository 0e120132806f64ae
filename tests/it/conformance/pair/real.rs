//! The board on a file.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sexton::board::card::{self, Judge, Wait};
use sexton::board::{self, Board, Columns, Context, Workers, sql};
use sexton::machine::exchange::{Answer, Request};
use sexton::machine::policy::Policy;
use tempfile::TempDir;

use crate::support::board::rows_by;

/// A board, and the connection of another process.
pub struct Real {
    board: Option<Board>,
    pub rival: Connection,
    pub columns: Columns,
    dispatch_lock: File,
    path: PathBuf,
    _dir: TempDir,
}

impl Real {
    pub fn new() -> Real {
        // Where there is a file system in memory, nothing waits for a disk.
        let mut builder = tempfile::Builder::new();
        builder.prefix("sexton-conformance-");
        let dir = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir());
        let dir = dir.expect("a directory");
        let path = dir.path().join("kanban.db");
        board::create(&path).expect("a new board");
        let board = open(&path);
        let rival = Connection::open(&path).expect("a rival's connection");
        sql::run(&rival, "PRAGMA synchronous = OFF").expect("a setting");
        let columns = Columns::read(&rival).expect("its columns");
        let lock = dir.path().join("kanban.db.dispatch.lock");
        let dispatch_lock =
            OpenOptions::new().create(true).append(true).open(lock).expect("the lock file");
        Real { board: Some(board), rival, columns, dispatch_lock, path, _dir: dir }
    }

    /// Closes the connection and opens another.
    pub fn reopen(&mut self) {
        self.board = None;
        self.board = Some(open(&self.path));
    }

    pub fn exchange(
        &mut self,
        request: &Request,
        context: &Context<'_>,
        contended: bool,
    ) -> Answer {
        if contended {
            self.dispatch_lock.lock().expect("the lock of another dispatcher");
        }
        let board = self.board.as_mut().expect("an open board");
        let exchanged = board.exchange(request, context);
        if contended {
            self.dispatch_lock.unlock().expect("its end");
        }
        exchanged.expect("an exchange").answer
    }

    /// Changes with every commit of the dispatcher.
    pub fn data_version(&self) -> i64 {
        let version = sql::one(&self.rival, "PRAGMA data_version", [], |row| row.get(0));
        version.expect("a version").expect("a row")
    }

    pub fn tasks(&self) -> String {
        self.rows(
            "SELECT rowid, id, status, assignee, 'p' || priority, 'c' || created_at, \
             's' || ifnull(started_at, '-'), 'f' || consecutive_failures, claim_lock, \
             claim_expires, worker_pid, current_run_id FROM tasks ORDER BY rowid",
        )
    }

    pub fn runs(&self) -> String {
        self.rows("SELECT id, task_id, outcome, started_at, ended_at FROM task_runs ORDER BY id")
    }

    pub fn links(&self) -> String {
        self.rows("SELECT parent_id, child_id FROM task_links ORDER BY parent_id, child_id")
    }

    /// What cards say that the tasks wait for.
    pub fn said(&self, policy: &Policy, workers: &Workers, now: i64) -> String {
        let judge = Judge { policy, workers, now };
        let ids = self.rows("SELECT id FROM tasks ORDER BY rowid");
        let said = ids.lines().map(|id| {
            let task = card::find(&self.rival, &self.columns, id).expect("a task");
            let wait = card::wait(&self.rival, judge, &task).expect("a wait");
            match (task.status.as_str(), wait) {
                ("ready", None) => format!("{id} nothing\n"),
                ("ready", Some(Wait::Hold(hold))) => format!("{id} {hold:?}\n"),
                ("ready" | "todo", Some(Wait::Parents(_))) => format!("{id} parents\n"),
                (_, Some(Wait::Promotion)) => format!("{id} promotion\n"),
                _ => format!("{id} others\n"),
            }
        });
        said.collect()
    }

    /// Returns the rows of a query, one per line, columns separated by blanks, NULL as `-`.
    fn rows(&self, query: &str) -> String {
        rows_by(&self.rival, query, " ").into_iter().map(|row| row + "\n").collect()
    }
}

fn open(path: &Path) -> Board {
    Board::open(path).expect("an open board")
}
