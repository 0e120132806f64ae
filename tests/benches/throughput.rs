//! How fast: tasks of `/bin/true` from a durable board beside a bare loop that only spawns and
//! waits, and what an idle tick costs on a small and on a large board.
//!
//! Only ratios of one run mean anything: the bare loop runs in turn with the real thing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::cast_precision_loss, reason = "a benchmark divides counts")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sexton::board::{Board, Context, Dispatcher, Liveness, Owner, Worker, Workers, sql};
use sexton::machine::exchange::Request;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::policy::{Policy, WorkerPolicy};

const ROUNDS: usize = 5;

fn main() {
    let tasks = if std::env::args().any(|arg| arg == "--test") { 20 } else { 3_000 };
    for (width, wanted) in [(8, 0.5), (2, 0.35)] {
        throughput(tasks, width, wanted);
    }
    // Not compared: a file system that has just removed thousands of directories is slow to create
    // new ones, which would be measured instead of the dispatcher.
    let took = dispatched(tasks, 8, Directories::OnDisk);
    println!("8 in flight, directories on disk: {:.0} tasks/s", tasks as f64 / took.as_secs_f64());
    for size in [1_000, 100_000] {
        idle_tick(if tasks < 100 { 100 } else { size });
    }
}

fn throughput(tasks: usize, width: usize, wanted: f64) {
    let (mut bare, mut real) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(tasks as f64 / bare_loop(tasks, width).as_secs_f64());
        real.push(tasks as f64 / dispatched(tasks, width, Directories::InMemory).as_secs_f64());
    }
    let (bare, real) = (median(bare), median(real));
    println!(
        "{width} in flight: {real:.0} tasks/s, bare spawn and wait {bare:.0}/s, ratio {:.2} \
         (at least {wanted})",
        real / bare
    );
}

/// `width` threads that spawn and wait, each one process at a time.
fn bare_loop(tasks: usize, width: usize) -> Duration {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..width {
            scope.spawn(move || {
                for _ in 0..(tasks / width + usize::from(n < tasks % width)) {
                    Command::new("/bin/true").stdin(Stdio::null()).status().unwrap();
                }
            });
        }
    });
    begin.elapsed()
}

/// Where each task's log file and workspace are made. The board is on disk, and durable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directories {
    OnDisk,
    InMemory,
}

/// The same number of tasks through the program, from its start to its end.
fn dispatched(tasks: usize, width: usize, directories: Directories) -> Duration {
    let root = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    if directories == Directories::InMemory {
        std::os::unix::fs::symlink(memory.path(), root.path().join("kanban")).unwrap();
    }
    let db = root.path().join("kanban.db");
    sexton::board::create(&db).unwrap();
    fill(&db, tasks, "ready", "true");
    let config = format!(
        "[dispatch]\nmax_in_progress = {width}\nmax_workers = {width}\n\
         [worker.true]\ncommand = [\"/bin/true\"]\n"
    );
    std::fs::write(root.path().join("sexton.toml"), config).unwrap();
    let begin = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_sexton"))
        .arg("--root")
        .arg(root.path())
        .args(["run", "--until-idle"])
        .env("SEXTON_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let took = begin.elapsed();
    assert!(status.success());
    let done = "SELECT count(*) FROM task_runs WHERE outcome = 'completed'";
    let conn = Connection::open(&db).unwrap();
    let done: Option<i64> = sql::one(&conn, done, [], |row| row.get(0)).unwrap();
    assert_eq!(done, i64::try_from(tasks).ok());
    took
}

/// What a tick costs a board on which nothing has changed.
fn idle_tick(size: usize) {
    const TICKS: u32 = 10_000;
    let root = tempfile::tempdir().unwrap();
    let db = root.path().join("kanban.db");
    sexton::board::create(&db).unwrap();
    for status in ["done", "todo", "ready"] {
        fill(&db, size / 3, status, "somebody-else");
    }
    let mut board = Board::open(&db).unwrap();
    let policy = Policy { workers: vec![WorkerPolicy::default()], ..Policy::default() };
    let context = Context {
        policy: &policy,
        workers: &Workers::new(["true"]),
        owner: &Owner::new("host", Pid(1), "identity"),
        spawn_error: &|_| None,
        fingerprint: &|_| None,
        liveness: &Everybody,
    };
    let mut request =
        Request { changes: Vec::new(), fresh: true, relist: false, want: 8, unix: 1_000_000 };
    board.exchange(&request, &context).unwrap();
    request.fresh = false;
    let begin = Instant::now();
    for _ in 0..TICKS {
        assert!(board.exchange(&request, &context).unwrap().answer.observation.is_none());
    }
    let each = begin.elapsed() / TICKS;
    println!("idle tick on {size} tasks: {:.1} µs (under 100)", each.as_secs_f64() * 1e6);
}

struct Everybody;

impl Liveness for Everybody {
    fn worker(&self, _: Pid, _: Option<&str>) -> Worker {
        Worker::MayLive
    }

    fn attempt(&self, _: Pid, _: &str, _: SpawnId) -> Worker {
        Worker::MayLive
    }

    fn dispatcher(&self, _: Pid, _: &str) -> Dispatcher {
        Dispatcher::Lives
    }
}

fn fill(db: &Path, count: usize, status: &str, assignee: &str) {
    let conn = Connection::open(db).unwrap();
    sql::run(&conn, "BEGIN").unwrap();
    let insert = "INSERT INTO tasks (id, title, status, assignee, created_at, workspace_kind) \
                  VALUES (?1, 'a task', ?2, ?3, ?4, 'scratch')";
    let link = "INSERT INTO task_links (parent_id, child_id) VALUES ('t_ready1', ?1)";
    for n in 0..count {
        let id = format!("t_{status}{n}");
        conn.execute(insert, (&id, status, assignee, i64::try_from(n).unwrap())).unwrap();
        if status == "todo" {
            conn.execute(link, [&id]).unwrap();
        }
    }
    sql::run(&conn, "COMMIT").unwrap();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
