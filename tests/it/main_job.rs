//! What `run` and `dispatch` do with real tasks and real processes.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::root::rows;
use crate::support::sandbox::{Done, Sandbox};
use crate::support::sql::sql;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

const SHELL: &str = "[worker.shell]\ncommand = [\"sh\", \"-c\", \"{body}\"]\n";

fn configure(s: &Sandbox, dispatch: &str) {
    let text = format!("[dispatch]\n{dispatch}\n{SHELL}");
    fs::write(s.root().join("sexton.toml"), text).unwrap();
}

/// Adds ready tasks `t_00000001` and so on.
fn fill(db: &Path, count: u32, body: &str) {
    sql(
        db,
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO tasks (id, title, body, assignee, status, created_at) \
             SELECT printf('t_%08x', i), 'task ' || i, '{body}', 'shell', 'ready', 1790000000 + i \
             FROM n"
        ),
    );
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn done(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// Polls until `is_so` returns true; panics after about a minute.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let (_never, pause) = channel::<()>();
    for _ in 0..1_200 {
        if is_so() {
            return;
        }
        assert_eq!(pause.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    }
    panic!("not within a minute: {what}");
}

/// Looks every 5 ms for zombie children of one process.
struct Observer {
    stop: Sender<()>,
    longest: JoinHandle<u32>,
}

impl Observer {
    fn of(parent: u32) -> Observer {
        let (stop, stopped) = channel();
        Observer { stop, longest: thread::spawn(move || longest_life(parent, &stopped)) }
    }

    /// Returns the largest number of samples in a row that show the same zombie.
    fn longest(self) -> u32 {
        self.stop.send(()).unwrap();
        self.longest.join().unwrap()
    }
}

fn longest_life(parent: u32, stopped: &Receiver<()>) -> u32 {
    let (mut seen, mut longest) = (BTreeMap::new(), 0);
    while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
        let mut now = BTreeMap::new();
        for zombie in zombies(parent) {
            let samples = seen.get(&zombie).copied().unwrap_or(0) + 1;
            longest = longest.max(samples);
            now.insert(zombie, samples);
        }
        seen = now;
    }
    longest
}

/// Pid and start time of each zombie child.
fn zombies(parent: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have gone meanwhile.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if fields[0] == "Z" && fields[1] == parent.to_string() {
            found.push((pid, fields[19].to_owned()));
        }
    }
    found
}

fn all_done(s: &Sandbox, count: u32) {
    let one = |query: &str| s.rows(query).remove(0);
    assert_eq!(s.rows("SELECT status, count(*) FROM tasks GROUP BY 1"), [format!("done|{count}")]);
    assert_eq!(
        s.rows("SELECT outcome, count(*), count(DISTINCT task_id) FROM task_runs GROUP BY 1"),
        [format!("completed|{count}|{count}")]
    );
    assert_eq!(one("SELECT count(*) FROM task_events WHERE kind = 'spawned'"), count.to_string());
    assert_eq!(one("PRAGMA integrity_check"), "ok");
}

/// Runs 200 tasks to their end while sampling zombies; returns the output.
fn two_hundred(s: &Sandbox) -> Done {
    configure(s, "max_in_progress = 8");
    fill(&s.db(), 200, "exit 0");
    let child = start(&mut s.command(&["run", "--until-idle", "--json"]));
    let observer = Observer::of(child.id());
    let done = done(child);
    let longest = observer.longest();
    assert_eq!(done.code, 0, "{done:?}");
    let end: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&end["spawned"], &end["recorded"]), (&json!(200), &json!(200)));
    assert_eq!(end["reaped"], 200);
    assert_eq!(end["unrecorded"], json!([]));
    all_done(s, 200);
    assert!(longest <= 10, "a zombie was seen in {longest} samples in a row");
    done
}

#[test]
fn two_hundred_tasks_are_done_and_no_zombie_lasts() {
    let s = Sandbox::new();
    let done = two_hundred(&s);
    assert!(!done.stderr.contains("WARN"), "{}", done.stderr);
}

#[test]
fn sick_boards_cost_the_others_nothing() {
    let s = Sandbox::new();
    s.ok(&["boards", "create", "header"]);
    s.ok(&["boards", "create", "folder"]);
    let header = s.root().join("kanban/boards/header/kanban.db");
    let directory = s.root().join("kanban/boards/folder/kanban.db");
    let mut bytes = fs::read(&header).unwrap();
    let noise = b"\x9c\x03\xf1\x7e\x00\x55\xaa\xd2\x81\x10\xee\x42\x6b\x97\x04\xbd";
    bytes[..16].copy_from_slice(noise);
    fs::write(&header, &bytes).unwrap();
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    let done = two_hundred(&s);
    for board in ["header", "folder"] {
        let about = |line: &&str| line.contains("WARN") && line.contains(board);
        assert_eq!(done.stderr.lines().filter(about).count(), 1, "{}", done.stderr);
    }
    let warnings = done.stderr.lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 2, "{}", done.stderr);
    assert_eq!(fs::read(&header).unwrap(), bytes);
    assert!(fs::read_dir(&directory).unwrap().next().is_none());
}

/// Runs several dispatchers at the same time, on one board of 200 tasks.
fn run_every_task_once<const DISPATCHERS: usize>() {
    let s = Sandbox::new();
    configure(&s, "max_in_progress = 8");
    fill(&s.db(), 200, "exit 0");
    let all = [(); DISPATCHERS].map(|()| start(&mut s.command(&["run", "--until-idle", "--json"])));
    let spawned = all.map(|child| {
        let done = done(child);
        assert_eq!(done.code, 0, "{done:?}");
        let end: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(end["unrecorded"], json!([]));
        let spawned = end["spawned"].as_u64().unwrap();
        assert_eq!(end["reaped"], spawned);
        spawned
    });
    assert_eq!(spawned.iter().sum::<u64>(), 200);
    all_done(&s, 200);
    let pids = s.rows("SELECT payload ->> 'pid' FROM task_events WHERE kind = 'spawned'");
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!stat.contains(") Z "), "{stat}");
    }
}

#[test]
fn two_dispatchers_run_every_task_once() {
    run_every_task_once::<2>();
}

#[test]
fn eight_dispatchers_run_every_task_once() {
    run_every_task_once::<8>();
}

#[test]
fn a_thousand_ticks_leave_no_descriptor_behind() {
    let s = Sandbox::new();
    configure(&s, "interval = \"1ms\"");
    s.ok(&["boards", "create", "sick"]);
    fs::write(s.root().join("kanban/boards/sick/kanban.db"), b"no database").unwrap();
    let mut child = start(s.command(&["run"]).env("SEXTON_LOG", "trace"));
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let descriptors = PathBuf::from(format!("/proc/{}/fd", child.id()));
    // A look at the directories holds one for a moment: the fewest of some counts is what stays.
    let mut fewest_of_next = |ticks: u32| {
        let mut fewest = usize::MAX;
        let mut left = ticks;
        while left > 0 {
            left -= u32::from(log.next().unwrap().unwrap().ends_with(" tick"));
            fewest = fewest.min(fs::read_dir(&descriptors).unwrap().count());
        }
        fewest
    };
    let _first_ten = fewest_of_next(10);
    let early = fewest_of_next(50);
    let _a_thousand = fewest_of_next(1_000);
    let late = fewest_of_next(50);
    kill(pid_of(&child), Signal::SIGTERM).unwrap();
    for line in log {
        line.unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(late, early);
}

#[test]
fn exits_that_no_board_takes_are_named() {
    let s = Sandbox::new();
    configure(&s, "");
    let destroy = "for f in \"\" -wal -shm; do dd if=/dev/urandom of=\"$HERMES_KANBAN_DB$f\" \
                   bs=4096 count=32 conv=notrunc; done";
    let id = s.create(&["the last", "--assignee", "shell", "--body", destroy]);
    let done = s.run(&["run", "--until-idle", "--grace", "500ms", "--json"]);
    assert_eq!(done.code, 1, "{done:?}");
    let end: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        end["unrecorded"],
        json!([{"board": "default", "task": id, "verdict": "completed"}]),
        "{done:?}"
    );
    assert_eq!(end["reaped"], 1);
}

#[test]
fn the_summary_names_what_is_left_and_what_holds_it() {
    let s = Sandbox::new();
    configure(&s, "");
    let foreign = s.create(&["foreign", "--assignee", "orion-cc"]);
    let nobody = s.create(&["nobody"]);
    let blocked = s.create(&["blocked", "--assignee", "shell", "--initial-status", "blocked"]);
    let cooling = s.create(&["cooling", "--assignee", "shell", "--body", "exit 75"]);
    let done = s.run(&["run", "--until-idle", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let end: Value = serde_json::from_str(&done.stdout).unwrap();
    let held: BTreeMap<&str, &Value> = end["boards"][0]["held"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| (held["task"].as_str().unwrap(), &held["wait"]["kind"]))
        .collect();
    let expected = [
        (foreign.as_str(), json!("foreign_lane")),
        (&nobody, json!("unassigned")),
        (&blocked, json!("blocked")),
        (&cooling, json!("cooldown")),
    ];
    assert_eq!(held, expected.iter().map(|(id, kind)| (*id, kind)).collect());
    let said = s.run(&["run", "--until-idle"]).stdout;
    for words in ["foreign lane", "no assignee", "needs a person", "cooldown until"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn larger_priorities_first_and_parents_before_children() {
    let s = Sandbox::new();
    configure(&s, "max_in_progress = 1");
    let body = ["--assignee", "shell", "--body", "exit 0"];
    let make = |title: &str, more: &[&str]| s.create(&[&[title], &body[..], more].concat());
    let low = make("low", &["--priority", "1"]);
    let parent = make("parent", &["--priority", "2"]);
    let child = make("child", &["--priority", "9", "--parent", &parent]);
    let high = make("high", &["--priority", "5"]);
    let done = s.run(&["run", "--until-idle"]);
    assert_eq!(done.code, 0, "{done:?}");
    let order = s.rows("SELECT task_id FROM task_runs ORDER BY id");
    let at = |id: &String| order.iter().position(|task| task == id).unwrap();
    // A child that has just been made ready competes from the next pass on.
    assert_eq!(order.len(), 4);
    assert!(at(&high) < at(&parent) && at(&parent) < at(&low) && at(&parent) < at(&child));
}

#[test]
fn a_new_task_is_picked_up_immediately_and_its_worker_knows_it() {
    let s = Sandbox::new();
    configure(&s, "interval = \"1h\"");
    let child = start(&mut s.command(&["run"]));
    let body = format!("env > '{}'", s.path("env").display());
    // The first is there at the start or not; the second comes after a worker has run.
    let first = s.create(&["first", "--assignee", "shell", "--body", "exit 0"]);
    let is_done = |id: &str| {
        rows(&s.db(), &format!("SELECT status FROM tasks WHERE id = '{id}'")) == ["done"]
    };
    until("the first is done", || is_done(&first));
    let second = s.create(&["second", "--assignee", "shell", "--tenant", "acme", "--body", &body]);
    until("the second is done", || is_done(&second));
    kill(pid_of(&child), Signal::SIGTERM).unwrap();
    let done = done(child);
    assert_eq!(done.code, 0, "{done:?}");

    let text = fs::read_to_string(s.path("env")).unwrap();
    let env: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let run = s.rows(&format!("SELECT id FROM task_runs WHERE task_id = '{second}'")).remove(0);
    let db = s.db().display().to_string();
    for (name, value) in [
        ("SEXTON_TASK_ID", second.as_str()),
        ("SEXTON_RUN_ID", &run),
        ("SEXTON_TITLE", "second"),
        ("SEXTON_BOARD", "default"),
        ("SEXTON_BODY", &body),
        ("HERMES_KANBAN_TASK", &second),
        ("HERMES_KANBAN_RUN_ID", &run),
        ("HERMES_KANBAN_DB", &db),
        ("HERMES_KANBAN_BOARD", "default"),
        ("HERMES_TENANT", "acme"),
        ("HERMES_PROFILE", "shell"),
    ] {
        assert_eq!(env.get(name), Some(&value), "{name}");
    }
    let lock = s.rows(&format!(
        "SELECT json_extract(payload, '$.lock') FROM task_events \
         WHERE task_id = '{second}' AND kind = 'claimed'"
    ));
    assert_eq!(env.get("HERMES_KANBAN_CLAIM_LOCK"), Some(&lock[0].as_str()));
    assert_eq!(env["SEXTON_WORKSPACE"], env["HERMES_KANBAN_WORKSPACE"]);
}

#[test]
fn dispatch_starts_what_the_cap_allows_and_waits_for_it() {
    let s = Sandbox::new();
    configure(&s, "max_in_progress = 2");
    fill(&s.db(), 5, "exit 0");
    let said = s.json(&["dispatch"]);
    assert_eq!(said["spawned"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(said["reaped"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(said["recorded"], json!(2));
    assert_eq!(
        s.rows("SELECT status, count(*) FROM tasks GROUP BY 1 ORDER BY 1"),
        ["done|2", "ready|3"]
    );
}

#[test]
fn dispatch_without_waiting_leaves_them_running() {
    let s = Sandbox::new();
    configure(&s, "max_in_progress = 2");
    let gate = s.path("gate");
    mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fill(&s.db(), 5, &format!("read x < \"{}\"", gate.display()));
    let said = s.json(&["dispatch", "--no-wait"]);
    assert_eq!(said["spawned"].as_array().unwrap().len(), 2, "{said}");
    let running = s.rows("SELECT worker_pid FROM tasks WHERE status = 'running'");
    assert_eq!(running.len(), 2);
    for pid in &running {
        // Fails unless it is there.
        killpg(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    }
}

#[test]
fn dispatch_without_waiting_leaves_what_finds_no_slot() {
    let s = Sandbox::new();
    configure(&s, "max_workers = 1");
    s.ok(&["boards", "create", "second"]);
    let second = s.root().join("kanban/boards/second/kanban.db");
    let gate = s.path("gate");
    mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let body = format!("read x < \"{}\"", gate.display());
    fill(&s.db(), 1, &body);
    fill(&second, 1, &body);
    let mut dispatch = start(&mut s.command(&["dispatch", "--no-wait", "--json"]));
    until("dispatch to end", || dispatch.try_wait().unwrap().is_some());
    let said: Value = serde_json::from_str(&done(dispatch).stdout).unwrap();
    assert_eq!(said["spawned"].as_array().unwrap().len(), 1, "{said}");
    let query = "SELECT worker_pid FROM tasks WHERE status = 'running'";
    let running = [&s.db(), &second].map(|db| rows(db, query)).concat();
    let [pid] = &running[..] else { panic!("{running:?}") };
    killpg(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn a_dry_run_changes_nothing_at_all() {
    let s = Sandbox::new();
    configure(&s, "max_in_progress = 2");
    s.ok(&["boards", "create", "sick"]);
    fs::write(s.root().join("kanban/boards/sick/kanban.db"), b"no database").unwrap();
    fill(&s.db(), 5, "exit 0");
    let before = files(&s.root());
    let said = s.json(&["dispatch", "--dry-run"]);
    let tasks = said.as_array().unwrap().iter().filter(|said| said["task_id"].is_string());
    assert_eq!(tasks.count(), 2, "{said}");
    assert!(s.ok(&["dispatch", "--dry-run"]).contains("would start default/t_00000001"));
    assert!(files(&s.root()) == before, "some file has changed");
}

/// Every file below a directory, with what is in it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
            all.insert(path, Vec::new());
        } else {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

#[test]
fn the_scratch_workspaces_of_completed_tasks_are_removed_when_no_child_needs_them() {
    let s = Sandbox::new();
    configure(&s, "failure_limit = 1");
    let workspaces = s.root().join("kanban/workspaces");
    let make = |title: &str, body: &str, more: &[&str]| {
        s.create(&[&[title, "--assignee", "shell", "--body", body], more].concat())
    };
    let fill = "mkdir -p a/b && echo text > a/b/c && ln -s / a/root";
    let parent = make("parent", fill, &[]);
    let read =
        format!("test text = \"$(cat '{}')\"", workspaces.join(&parent).join("a/b/c").display());
    let child = make("child", &read, &["--parent", &parent]);
    let needed = make("needed", fill, &[]);
    s.create(&["foreign", "--assignee", "orion", "--parent", &needed]);
    let failed = make("failed", "echo > trace; exit 1", &[]);
    let elsewhere = s.path("elsewhere");
    let given = make("given", fill, &[]);
    s.sql(&format!(
        "UPDATE tasks SET workspace_path = '{}' WHERE id = '{given}'",
        elsewhere.display()
    ));
    let done = s.run(&["run", "--until-idle"]);
    assert_eq!(done.code, 0, "{done:?}");
    let state = |id: &str| s.rows(&format!("SELECT status FROM tasks WHERE id = '{id}'")).remove(0);
    assert_eq!([state(&parent), state(&child), state(&failed)], ["done", "done", "blocked"]);
    let left = || {
        let names = fs::read_dir(&workspaces).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let mut expected = [needed.clone(), failed.clone()];
    expected.sort();
    assert_eq!(left(), expected, "one has an unfinished child, the other is not completed");
    assert!(elsewhere.join("a/b/c").exists(), "outside of the workspaces nothing is removed");
    s.ok(&["complete", &failed]);
    assert_eq!(left(), [needed], "what a person completes is removed as well");
}

#[test]
fn a_worker_that_completes_its_own_task_has_its_directory_to_the_end() {
    let s = Sandbox::new();
    configure(&s, "");
    let (sexton, root) = (env!("CARGO_BIN_EXE_sexton"), s.root());
    let out = s.path("out");
    let body = format!(
        "echo kept > file; '{sexton}' --root '{}' complete $SEXTON_TASK_ID && cat file > '{}'",
        root.display(),
        out.display()
    );
    let id = s.create(&["self", "--assignee", "shell", "--body", &body]);
    let done = s.run(&["run", "--until-idle"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "kept\n");
    assert_eq!(s.rows("SELECT status FROM tasks"), ["done"]);
    assert!(!root.join("kanban/workspaces").join(&id).exists());
}
