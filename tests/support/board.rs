//! A board on a real file, a dispatcher that uses it, and a world in which pids live or do not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use sexton::board::{
    Board, Context, Dispatcher, ExchangeError, Exchanged, Liveness, Owner, Worker, Workers, sql,
};
use sexton::machine::exchange::{Change, Fence, Observation, Request, Taken};
use sexton::machine::ids::{Pid, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton::machine::verdict::Verdict;
use tempfile::TempDir;

/// The clock of most tests.
pub const NOW: i64 = 1_795_500_000;

/// Which processes of this host are alive.
#[derive(Default)]
pub struct Host {
    pub workers: RefCell<BTreeSet<i32>>,
    /// The fingerprints of those that have one.
    pub fingerprints: RefCell<BTreeMap<i32, String>>,
    /// Dispatchers that are alive.
    pub dispatchers: RefCell<BTreeSet<(i32, String)>>,
    /// Dispatchers of another pid namespace.
    pub elsewhere: RefCell<BTreeSet<(i32, String)>>,
    /// Dead dispatchers that have left their records.
    pub recorded: RefCell<BTreeSet<(i32, String)>>,
    /// The attempts of live dispatchers that have a worker, by their records.
    pub attempts: RefCell<BTreeSet<(i32, u64)>>,
}

impl Liveness for Host {
    fn worker(&self, pid: Pid, fingerprint: Option<&str>) -> Worker {
        let fingerprints = self.fingerprints.borrow();
        let another = fingerprints.get(&pid.0).zip(fingerprint).is_some_and(|(is, was)| is != was);
        let lives = self.workers.borrow().contains(&pid.0) && !another;
        if lives { Worker::MayLive } else { Worker::Gone }
    }

    fn attempt(&self, pid: Pid, _: &str, attempt: SpawnId) -> Worker {
        let lives = self.attempts.borrow().contains(&(pid.0, attempt.0));
        if lives { Worker::MayLive } else { Worker::Gone }
    }

    fn dispatcher(&self, pid: Pid, instance: &str) -> Dispatcher {
        let who = (pid.0, instance.to_owned());
        if self.dispatchers.borrow().contains(&who) {
            Dispatcher::Lives
        } else if self.elsewhere.borrow().contains(&who) {
            Dispatcher::CannotTell
        } else {
            Dispatcher::Dead { recorded: self.recorded.borrow().contains(&who) }
        }
    }
}

/// One dispatcher with one board.
pub struct World {
    pub board: Board,
    pub owner: Owner,
    pub policy: Policy,
    pub workers: Workers,
    pub host: Host,
    pub unix: i64,
    pub path: PathBuf,
    pub dir: TempDir,
}

pub fn task(id: &str) -> TaskId {
    TaskId::new(id).expect("a task id")
}

/// The path of a new, empty board.
pub fn new_board() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kanban.db");
    sexton::board::create(&path).expect("a new board");
    (dir, path)
}

/// A copy of a board of the client.
pub fn fixture(name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kanban.db");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::copy(from, &path).expect("a copy");
    (dir, path)
}

impl World {
    pub fn new() -> World {
        World::with(new_board())
    }

    pub fn with((dir, path): (TempDir, PathBuf)) -> World {
        let board = Board::open(&path).expect("an open board");
        let policy = Policy { workers: vec![WorkerPolicy::default(); 2], ..Policy::default() };
        World {
            board,
            owner: Owner::new("vm", Pid(77), "boot.1.1.1"),
            policy,
            workers: Workers::new(["shell", "critic"]),
            host: Host::default(),
            unix: NOW,
            path,
            dir,
        }
    }

    /// Writes past the dispatcher, as another client would.
    pub fn rival(&self, statement: &str) {
        let conn = Connection::open(&self.path).expect("a rival's connection");
        conn.execute(statement, []).expect(statement);
    }

    /// The lock text of an attempt of this dispatcher.
    pub fn lock(&self, spawn: u64) -> String {
        self.owner.lock(SpawnId(spawn))
    }

    /// Adds a task in this status.
    pub fn add(&self, id: &str, status: &str) {
        let insert = "INSERT INTO tasks (id, title, assignee, status, created_at) \
                      VALUES (?1, 'a title', 'shell', ?2, ?3)";
        let conn = Connection::open(&self.path).expect("a rival's connection");
        conn.execute(insert, params![id, status, NOW - 1000]).expect("a new task");
    }

    pub fn link(&self, parent: &str, child: &str) {
        self.rival(&format!("INSERT INTO task_links VALUES ('{parent}', '{child}')"));
    }

    pub fn event(&self, id: &str, kind: &str, payload: &str) {
        let insert = "INSERT INTO task_events (task_id, kind, payload, created_at) \
                      VALUES (?1, ?2, nullif(?3, ''), ?4)";
        let conn = Connection::open(&self.path).expect("a rival's connection");
        conn.execute(insert, params![id, kind, payload, NOW - 500]).expect("a new event");
    }

    pub fn try_send(&mut self, request: &Request) -> Result<Exchanged, ExchangeError> {
        let context = Context {
            policy: &self.policy,
            workers: &self.workers,
            owner: &self.owner,
            spawn_error: &|_| Some("workspace: no space".to_owned()),
            fingerprint: &|spawn| Some(format!("boot:1|{}", spawn.0)),
            liveness: &self.host,
        };
        self.board.exchange(request, &context)
    }

    pub fn send(&mut self, changes: &[Change], fresh: bool) -> Exchanged {
        let request =
            Request { changes: changes.to_vec(), fresh, relist: false, want: 10, unix: self.unix };
        self.try_send(&request).expect("an exchange")
    }

    /// What became of one change.
    pub fn change(&mut self, change: Change) -> Taken {
        self.send(&[change], false).answer.taken[0]
    }

    pub fn look(&mut self) -> Observation {
        self.send(&[], true).answer.observation.expect("an observation")
    }

    /// The ids on the ready list.
    pub fn ready(&mut self) -> Vec<String> {
        let ready = self.look().ready.expect("a list");
        ready.tasks.iter().map(|candidate| candidate.task.to_string()).collect()
    }

    pub fn claim_of(&self, id: &str, spawn: u64) -> Change {
        Change::Claim {
            spawn: SpawnId(spawn),
            task: task(id),
            worker: WorkerId(0),
            ttl_s: 900,
            cap: 8,
        }
    }

    /// Claims a ready task.
    pub fn claim(&mut self, id: &str, spawn: u64) -> Fence {
        match self.change(self.claim_of(id, spawn)) {
            Taken::Claimed { run, .. } => Fence { task: task(id), run, spawn: SpawnId(spawn) },
            other @ (Taken::Yes | Taken::No(_)) => panic!("{id} was not claimed: {other:?}"),
        }
    }

    /// Claims a ready task and stores its pid.
    pub fn start(&mut self, id: &str, spawn: u64, pid: i32) -> Fence {
        let fence = self.claim(id, spawn);
        assert_eq!(self.change(Change::Started { fence, pid: Pid(pid) }), Taken::Yes);
        fence
    }

    pub fn finish(&mut self, fence: Fence, pid: i32, verdict: Verdict) -> Taken {
        let pid = Some(Pid(pid));
        self.change(Change::Finish { fence, pid, verdict, failure_limit: 2 })
    }

    /// The rows of a query, columns separated by `|`, NULL as `-`.
    pub fn rows(&self, query: &str) -> Vec<String> {
        rows(self.board.connection(), query)
    }

    pub fn row(&self, query: &str) -> String {
        self.rows(query).join("\n")
    }

    /// The columns of a task that the dispatcher writes.
    pub fn task(&self, id: &str) -> String {
        self.row(&format!(
            "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, \
             consecutive_failures, last_failure_error FROM tasks WHERE id = '{id}'"
        ))
    }

    /// The columns of the newest run of a task.
    pub fn run(&self, id: &str) -> String {
        self.row(&format!(
            "SELECT status, outcome, claim_lock, claim_expires, worker_pid, ended_at, summary, \
             error, metadata FROM task_runs WHERE task_id = '{id}' ORDER BY id DESC LIMIT 1"
        ))
    }

    /// The events of a task after the first `skip`.
    pub fn events(&self, id: &str, skip: usize) -> Vec<String> {
        let query = format!(
            "SELECT run_id, kind, payload FROM task_events WHERE task_id = '{id}' ORDER BY id"
        );
        self.rows(&query).split_off(skip)
    }
}

/// Returns the rows of a query, columns separated by `|`, NULL as `-`.
pub fn rows(conn: &Connection, query: &str) -> Vec<String> {
    rows_by(conn, query, "|")
}

/// Returns the same with another separator.
pub fn rows_by(conn: &Connection, query: &str, separator: &str) -> Vec<String> {
    sql::all(conn, query, [], |row| {
        let mut cells = Vec::new();
        for column in 0..row.as_ref().column_count() {
            cells.push(match row.get(column)? {
                Value::Null => "-".to_owned(),
                Value::Integer(n) => n.to_string(),
                Value::Real(n) => n.to_string(),
                Value::Text(text) => text,
                Value::Blob(_) => "(blob)".to_owned(),
            });
        }
        Ok(cells.join(separator))
    })
    .expect(query)
}
