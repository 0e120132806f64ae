//! How long the next dispatcher takes to find 500 workers of a killed one, and what the records of a
//! worker cost compared with the worker itself.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;
use sexton::board::sql;
use sexton::evidence::records::{Intent, Records};
use sexton::machine::ids::{RunId, SpawnId, TaskId};
use sexton::machine::verdict::Verdict;

/// Time limit for adopting all of them.
const WANTED_S: f64 = 1.0;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (workers, rounds) = if is_test { (10, 1) } else { (500, 3) };
    for _ in 0..rounds {
        let took = adoption(workers).as_secs_f64();
        println!("{workers} workers found {took:.2} s after the start (under {WANTED_S:.0} s)");
    }
    let attempts = if is_test { 10 } else { 5_000 };
    let (records, spawn) =
        (micros(records(attempts), attempts), micros(spawns(attempts), attempts));
    println!(
        "records: {records:.1} µs a task, bare spawn and wait {spawn:.0} µs, ratio {:.3}",
        records / spawn
    );
}

/// Measures from the start of a dispatcher until it has found all workers of the previous one.
fn adoption(workers: usize) -> Duration {
    let scene = Scene::new(workers);
    let started = "SELECT count(worker_pid) FROM tasks WHERE status = 'running'";
    let mut first = scene.start("first");
    wait(|| scene.count(started) == workers);
    first.kill().unwrap();
    first.wait().unwrap();

    let begin = Instant::now();
    let mut second = scene.start("second");
    wait(|| scene.log("second").matches("its worker was found").count() == workers);
    let took = begin.elapsed();
    let adopted =
        format!("SELECT count(*) FROM sexton_runs WHERE owner LIKE '%:{}:%'", second.id());
    assert_eq!(scene.count(&adopted), workers);
    second.kill().unwrap();
    second.wait().unwrap();
    took
}

/// Polls rarely enough to cost the dispatcher nothing.
fn wait(until: impl Fn() -> bool) {
    let begin = Instant::now();
    while !until() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
        sleep(Duration::from_millis(5));
    }
}

/// Creates a root with as many tasks as workers.
struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    fn new(workers: usize) -> Scene {
        let root = tempfile::tempdir().unwrap();
        let db = root.path().join("kanban.db");
        sexton::board::create(&db).unwrap();
        let config = format!(
            "[dispatch]\nmax_in_progress = {workers}\nmax_workers = {workers}\n\
             [worker.sleep]\ncommand = [\"sleep\", \"600\"]\n"
        );
        fs::write(root.path().join("sexton.toml"), config).unwrap();
        let conn = Connection::open(&db).unwrap();
        let insert = "INSERT INTO tasks (id, title, status, assignee, created_at) \
                      VALUES (?1, 'a task', 'ready', 'sleep', 1)";
        sql::run(&conn, "BEGIN").unwrap();
        for n in 0..workers {
            conn.execute(insert, [format!("t_{n}")]).unwrap();
        }
        sql::run(&conn, "COMMIT").unwrap();
        Scene { root }
    }

    fn start(&self, name: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_sexton"))
            .arg("--root")
            .arg(self.root.path())
            .arg("run")
            .env("XDG_STATE_HOME", self.root.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.root.path().join(name)).unwrap())
            .spawn()
            .unwrap()
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).unwrap()
    }

    fn count(&self, query: &str) -> usize {
        let conn = Connection::open(self.root.path().join("kanban.db")).unwrap();
        let count: Option<i64> = sql::one(&conn, query, [], |row| row.get(0)).unwrap();
        usize::try_from(count.unwrap()).unwrap()
    }

    /// Returns the processes that have this root in their environment or arguments.
    fn processes(&self) -> Vec<i32> {
        let root = self.root.path().to_str().unwrap();
        let names = |pid: &i32| {
            ["environ", "cmdline"].iter().any(|file| {
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&text).contains(root)
            })
        };
        let all = fs::read_dir("/proc").unwrap();
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(names)
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ended_by_itself = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Writes everything that is recorded of an attempt: intent, start, end, and clearing.
fn records(attempts: u32) -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let records = Records::create(directory.path(), "1.a-benchmark").unwrap();
    let intent =
        Intent { board: "default".to_owned(), task: TaskId::new("t_1").unwrap(), run: RunId(1) };
    let begin = Instant::now();
    for n in 0..u64::from(attempts) {
        let spawn = SpawnId(n);
        records.intend(spawn, &intent).unwrap();
        records.pid_known(spawn, sexton::machine::ids::Pid(1)).unwrap();
        records.started(spawn, n).unwrap();
        records.ended(spawn, Verdict::Completed).unwrap();
        records.clear(spawn).unwrap();
    }
    begin.elapsed()
}

fn spawns(attempts: u32) -> Duration {
    let begin = Instant::now();
    for _ in 0..attempts {
        Command::new("/bin/true").stdin(Stdio::null()).status().unwrap();
    }
    begin.elapsed()
}

fn micros(took: Duration, attempts: u32) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(attempts)
}
