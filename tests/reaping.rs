//! The seven promises about reaping, against real processes and files.
//!
//! A program of its own: the dispatchers here reap the children of this process.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

mod support {
    pub mod gate;
    pub mod process;
    pub mod root;
    pub mod running;
    pub mod sandbox;
    pub mod shell;
    pub mod wait;
    pub mod zombie;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::gate::Gate;
use crate::support::process::is_child;
use crate::support::running::{Running, reaped_lines};
use crate::support::sandbox::Sandbox;
use crate::support::shell::shell;
use crate::support::wait::wait_until;
use crate::support::zombie::{is_zombie, zombies_of};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use sexton::config::Config;
use sexton::machine::board::Link;
use sexton::machine::effect::Whom;
use sexton::machine::event::Event;
use sexton::machine::verdict::Verdict;
use sexton::process::children::Children;
use sexton::process::wait;
use sexton::root::Environment;
use sexton::runtime::clock;
use sexton::runtime::daemon::{Daemon, Settings};
use sexton::runtime::listing::Place;
use sexton::runtime::tally::Tally;

const CONFIG: &str = r#"
[dispatch]
default_assignee = "shell"
max_workers = 16
max_in_progress = 16

[worker.shell]
command = ["sh", "-c", "{body}"]
"#;

/// Overwrites the first bytes of a board.
fn damage_header(db: &Path) {
    shell(&format!(
        "printf 'sixteen bad byte' | dd of='{}' conv=notrunc bs=16 count=1 2>/dev/null",
        db.display()
    ));
}

/// A dispatcher in this process, whose every step the test requests.
fn daemon(s: &Sandbox) -> Daemon {
    daemon_with(s, Children::new().unwrap())
}

fn daemon_with(s: &Sandbox, children: Children) -> Daemon {
    let place =
        Place { root: s.root(), env: Environment::of(&[("HOME", "/nonexistent")]), only: None };
    let config = Config::parse(CONFIG, &PathBuf::from("sexton.toml")).unwrap();
    Daemon::with(
        Settings { place, config, state: None, once: false, adopt: false, signals: None },
        children,
    )
    .unwrap()
}

/// Turns the loop until `condition` holds.
fn turn_until(daemon: &mut Daemon, what: &str, mut condition: impl FnMut(&Daemon) -> bool) {
    wait_until(what, || {
        let done = condition(daemon);
        if !done {
            daemon.turn(clock::now().mono.after(50));
        }
        done
    });
}

/// Starts everything that is ready, `count` workers, and returns their pids, sorted.
fn start(daemon: &mut Daemon, count: u64) -> Vec<i32> {
    let mut spawned = daemon.tick().spawned;
    let before = spawned;
    turn_until(daemon, "the workers to start", |d| before + d.tally().spawned >= count);
    spawned += daemon.tally().spawned;
    assert_eq!(spawned, count);
    turn_until(daemon, "their pids to be recorded", |d| {
        d.machine().attempts().all(|(_, a)| a.debt().owed_pid().is_none())
    });
    turn_until(daemon, "the boards to settle", |d| d.machine().is_settled());
    let mut pids: Vec<i32> =
        daemon.machine().attempts().filter_map(|(_, a)| a.debt().pid()).map(|pid| pid.0).collect();
    pids.sort_unstable();
    assert_eq!(pids.len(), usize::try_from(count).unwrap());
    pids
}

/// Waits until these processes are zombies, while the loop does not run.
fn wait_for_zombies(pids: &[i32]) {
    for pid in pids {
        wait_until("a worker to exit", || is_zombie(*pid));
    }
}

fn reaped(tally: &Tally) -> Vec<i32> {
    let mut pids: Vec<i32> = tally.each.reaped.iter().map(|pid| pid.0).collect();
    pids.sort_unstable();
    pids
}

fn me() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// The first promise, as a check that can also be seen to fail: with every board out of use, each
/// in another way, one tick reaps every worker that has exited.
fn every_board_may_fail(prepare: impl FnOnce(&mut Daemon)) -> Result<(), String> {
    let s = Sandbox::new();
    let gate = Gate::new(s.path("gate"));
    for slug in ["removed", "folder"] {
        s.ok(&["boards", "create", slug]);
    }
    let db = |slug: &str| s.root().join("kanban/boards").join(slug).join("kanban.db");
    for board in ["default", "default", "removed"] {
        s.create(&["waits", "--board", board, "--body", &gate.wait()]);
    }
    // One that was never a file.
    fs::remove_file(db("folder")).unwrap();
    fs::create_dir(db("folder")).unwrap();
    let mut daemon = daemon(&s);
    prepare(&mut daemon);
    let pids = start(&mut daemon, 3);

    // The others fail while their workers run: one is damaged, one removed.
    damage_header(&s.db());
    fs::rename(db("removed"), s.path("elsewhere.db")).unwrap();
    turn_until(&mut daemon, "every board to be out of use", |d| {
        d.machine().boards().all(|b| !matches!(b.link(), Link::Idle | Link::Exchanging(_)))
    });
    daemon.take_tally();

    gate.let_pass(3);
    wait_for_zombies(&pids);
    let tally = daemon.tick();
    let usable = daemon.machine().boards().filter(|b| *b.link() == Link::Idle).count();
    assert_eq!(usable, 0, "a board could be used after all, so this shows nothing");
    let left: Vec<&i32> = pids.iter().filter(|pid| is_child(**pid, me())).collect();
    if reaped(&tally) != pids || !left.is_empty() {
        let found = reaped(&tally);
        return Err(format!("of the exited {pids:?} one tick reaped {found:?}; left: {left:?}"));
    }
    // And so on every tick.
    if daemon.tick().reaped == 0 { Ok(()) } else { Err("reaped twice".to_owned()) }
}

#[test]
fn reaps_on_every_tick_even_when_every_board_fails() {
    every_board_may_fail(|_| {}).unwrap();
}

#[cfg(feature = "sabotage")]
#[test]
fn the_historical_bug_is_caught() {
    let plant = |daemon: &mut Daemon| daemon.machine_mut().sabotage.reap_inside_the_pass = true;
    let found = every_board_may_fail(plant).unwrap_err();
    assert!(found.contains("one tick reaped []"), "{found}");
}

#[test]
fn returns_the_reaped_pids_and_logs_them() {
    let s = Sandbox::new();
    let gate = Gate::new(s.path("gate"));
    for _ in 0..3 {
        s.create(&["waits", "--body", &gate.wait()]);
    }
    let mut daemon = daemon(&s);
    let pids = start(&mut daemon, 3);
    gate.let_pass(3);
    wait_for_zombies(&pids);
    assert_eq!(reaped(&daemon.tick()), pids);
    drop(daemon);

    // The real program logs this in one line.
    for _ in 0..3 {
        s.create(&["waits", "--body", &gate.wait()]);
    }
    let mut sexton = Running::start(&mut s.command(&["run"]), &s.path(""), "run");
    let query = "SELECT worker_pid FROM tasks WHERE status = 'running' AND worker_pid NOT NULL \
                 ORDER BY worker_pid";
    wait_until("the workers to start", || s.rows(query).len() == 3);
    let pids: Vec<i32> = s.rows(query).iter().map(|pid| pid.parse().unwrap()).collect();
    sexton.signal(Signal::SIGSTOP);
    gate.let_pass(3);
    wait_for_zombies(&pids);
    sexton.signal(Signal::SIGCONT);
    wait_until("the line", || !reaped_lines(&sexton.log()).is_empty());
    assert!(zombies_of(sexton.pid()).is_empty());
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    assert_eq!(reaped_lines(&sexton.log()), [pids]);
}

#[test]
fn a_healthy_pass_reaps_too() {
    let s = Sandbox::new();
    let gate = Gate::new(s.path("gate"));
    let id = s.create(&["waits", "--body", &gate.wait()]);
    let mut daemon = daemon(&s);
    let pids = start(&mut daemon, 1);
    gate.let_pass(1);
    wait_for_zombies(&pids);
    let tally = daemon.tick();
    assert_eq!(reaped(&tally), pids);
    assert!(!is_child(pids[0], me()));
    let verdicts: Vec<Verdict> = tally.each.recorded.iter().map(|(_, verdict)| *verdict).collect();
    assert_eq!(verdicts, [Verdict::Completed]);
    assert_eq!(s.rows(&format!("SELECT status FROM tasks WHERE id = '{id}'")), ["done"]);
}

#[test]
fn never_reaps_a_child_twice() {
    let s = Sandbox::new();
    let gate = Gate::new(s.path("gate"));
    for _ in 0..12 {
        s.create(&["waits", "--body", &gate.wait()]);
    }
    let mut daemon = daemon(&s);
    let pids = start(&mut daemon, 12);
    let mut seen = Vec::new();
    for _ in 0..6 {
        gate.let_pass(2);
        wait_until("two more to exit", || pids.iter().filter(|pid| is_zombie(**pid)).count() == 2);
        // Every way in which a reaping step can begin, on top of each other.
        for event in [Event::KernelReady, Event::Tick, Event::KernelReady, Event::Wake] {
            daemon.feed(event);
        }
        seen.extend(reaped(&daemon.take_tally()));
        seen.extend(reaped(&daemon.tick()));
    }
    seen.sort_unstable();
    assert_eq!(seen, pids, "each once");
    turn_until(&mut daemon, "every end to be recorded", |d| d.machine().attempts().count() == 0);
    assert_eq!(daemon.tick().reaped, 0);
    assert_eq!(daemon.children().reap(Whom::All).exits, []);
    assert_eq!(s.rows("SELECT count(*), count(DISTINCT task_id) FROM task_runs"), ["12|12"]);
}

#[test]
fn a_failing_reaper_does_not_stop_the_tick() {
    let s = Sandbox::new();
    let gate = Gate::new(s.path("gate"));
    s.create(&["waits", "--body", &gate.wait()]);
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let children = Children::with(Box::new(move |which, flags| {
        if breaks.load(Ordering::Relaxed) { Err(Errno::EIO) } else { wait::wait(which, flags) }
    }));
    let mut daemon = daemon_with(&s, children.unwrap());
    let first = start(&mut daemon, 1);
    broken.store(true, Ordering::Relaxed);
    gate.let_pass(1);
    wait_for_zombies(&first);

    // The tick's other work is done: a new task is claimed and started.
    s.create(&["waits, too", "--body", &gate.wait()]);
    let tally = daemon.tick();
    assert_eq!((reaped(&tally), tally.reap_failures), (vec![], 1));
    let before = tally.spawned;
    turn_until(&mut daemon, "the second worker", |d| before + d.tally().spawned == 1);
    assert_eq!(daemon.take_tally().reap_failures, 0, "told once, not at each try");
    assert!(is_zombie(first[0]));

    // Nothing was lost by it.
    broken.store(false, Ordering::Relaxed);
    assert_eq!(reaped(&daemon.tick()), first);
    let second: Vec<i32> = daemon
        .machine()
        .attempts()
        .filter_map(|(_, a)| a.debt().pid())
        .map(|p| p.0)
        .filter(|p| *p != first[0])
        .collect();

    // The other way round: a tick whose pass fails has reaped.
    damage_header(&s.db());
    gate.let_pass(1);
    wait_for_zombies(&second);
    let tally = daemon.tick();
    assert_eq!(reaped(&tally), second);
    assert_eq!((tally.sick.len(), tally.recorded), (1, 0));
}

#[test]
fn a_tick_without_children_is_quiet() {
    let s = Sandbox::new();
    let mut daemon = daemon(&s);
    for _ in 0..3 {
        assert_eq!(daemon.tick(), Tally::default());
    }
    drop(daemon);
    let done = s.run(&["run", "--until-idle"]);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert!(done.stdout.starts_with("0 started, 0 reaped, 0 recorded\n"), "{}", done.stdout);
}

#[test]
fn overlapping_ticks_are_safe() {
    let s = Sandbox::new();
    let file = s.path("ran");
    let body = format!("echo $SEXTON_TASK_ID >> '{}'", file.display());
    let mut ids = BTreeSet::new();
    for _ in 0..9 {
        ids.insert(s.create(&["runs once", "--body", &body]));
    }
    // In one process: each tick begins before anything of the last is answered.
    let mut daemon = daemon(&s);
    for _ in 0..5 {
        daemon.feed(Event::Tick);
        daemon.feed(Event::KernelReady);
    }
    wait_until("all to be done", || {
        daemon.feed(Event::Tick);
        daemon.turn(clock::now().mono.after(5));
        daemon.feed(Event::Tick);
        s.rows("SELECT count(*) FROM tasks WHERE status = 'done'") == ["9"]
    });
    let pids = reaped(daemon.tally());
    let distinct: BTreeSet<&i32> = pids.iter().collect();
    assert_eq!((pids.len(), distinct.len(), daemon.tally().spawned), (9, 9, 9));
    drop(daemon);

    // Three processes on one board.
    for _ in 0..12 {
        ids.insert(s.create(&["runs once", "--body", &body]));
    }
    let start = |name| Running::start(&mut s.command(&["run", "--until-idle"]), &s.path(""), name);
    let mut all = ["a", "b", "c"].map(start);
    for sexton in &mut all {
        assert_eq!(sexton.code(), 0, "{}", sexton.log());
    }
    let ran = fs::read_to_string(file).unwrap();
    assert_eq!(ran.lines().count(), 21, "{ran}");
    assert_eq!(ran.lines().map(str::to_owned).collect::<BTreeSet<_>>(), ids);
    assert_eq!(
        s.rows(
            "SELECT count(*), count(DISTINCT task_id), min(outcome), max(outcome) FROM task_runs"
        ),
        ["21|21|completed|completed"]
    );
    let pids: Vec<i32> = all.iter().flat_map(|s| reaped_lines(&s.log())).flatten().collect();
    assert_eq!(pids.len(), 12);
}
