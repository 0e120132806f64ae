//! The reaping depends on no board: the seven behaviours, against real processes and real files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli_sandbox;
mod common;

use std::process::Stdio;

use cli_sandbox::{Sandbox, finish};
use common::{Gate, damage, exists, is_zombie, wait_until};
use nix::errno::Errno;
use sexton::machine::event::Event;
use sexton::machine::ids::Pid;
use sexton::machine::now::Mono;
use sexton::runtime::clock;
use sexton::runtime::config::Config;
use sexton::runtime::daemon::{Daemon, Settings};
use sexton::runtime::listing::Place;
use sexton::runtime::root::Environment;

const CONFIG: &str = "[dispatch]\ninterval = \"1h\"\n\
                      [worker.shell]\ncommand = [\"sh\", \"-c\", \"{body}\"]\n";

/// A dispatcher in this process.
fn daemon(sandbox: &Sandbox) -> Daemon {
    Daemon::new(Settings {
        place: Place { root: sandbox.root(), env: Environment::of(&[]), only: None },
        config: Config::parse(CONFIG, "sexton.toml".as_ref()).unwrap(),
        once: false,
        adopt: false,
    })
    .unwrap()
}

fn create(sandbox: &Sandbox, count: usize, body: &str) {
    for n in 0..count {
        sandbox.create(&[&format!("task {n}"), "--body", body, "--assignee", "shell"]);
    }
}

/// Lets the daemon work until a condition holds.
fn work_until(daemon: &mut Daemon, what: &str, condition: impl Fn(&Daemon) -> bool) {
    for _ in 0..10_000 {
        if condition(daemon) {
            return;
        }
        let Mono(now) = clock::now().mono;
        daemon.turn(Mono(now + 3), None);
    }
    panic!("waited in vain: {what}");
}

fn pids(daemon: &Daemon) -> Vec<Pid> {
    let mut pids: Vec<Pid> = daemon.machine().runs().filter_map(|run| run.pid).collect();
    pids.sort_unstable();
    pids
}

/// Workers exit while no board can be used; one tick must reap them all.
fn check_that_a_tick_reaps_although_every_board_fails(
    plant: impl Fn(&mut Daemon),
) -> Result<(), String> {
    let sandbox = Sandbox::new();
    let mut gate = Gate::new(sandbox.path("gate"));
    create(&sandbox, 3, &gate.body("exit 0"));
    let mut daemon = daemon(&sandbox);
    plant(&mut daemon);
    daemon.feed(Event::Tick);
    work_until(&mut daemon, "three workers", |d| d.tally().spawned == 3);
    let workers = pids(&daemon);

    damage(&sandbox.db());
    work_until(&mut daemon, "the damage is seen", |d| !d.tally().sick.is_empty());
    gate.open(3);
    wait_until("all have exited", || workers.iter().all(|pid| is_zombie(*pid)));
    daemon.feed(Event::Tick);

    let left: Vec<&Pid> = workers.iter().filter(|pid| exists(**pid)).collect();
    if !left.is_empty() {
        // Whatever the bug under test, no zombie is left to the other tests.
        let _ = daemon.children().reap();
        return Err(format!("a tick has passed and these are zombies: {left:?}"));
    }
    let mut reaped = daemon.tally().reaped.clone();
    reaped.sort_unstable();
    (reaped == workers).then_some(()).ok_or(format!("{reaped:?} are not {workers:?}"))
}

#[test]
fn reaps_on_every_tick_even_when_every_board_fails() {
    check_that_a_tick_reaps_although_every_board_fails(|_| {}).unwrap();
}

/// The bug that this program exists for, put back: the test above must notice.
#[cfg(feature = "sabotage")]
#[test]
fn the_historical_bug_is_caught() {
    let planted = |daemon: &mut Daemon| {
        daemon.machine_mut().sabotage.reap_inside_the_pass = true;
    };
    let noticed = check_that_a_tick_reaps_although_every_board_fails(planted).unwrap_err();
    assert!(noticed.contains("zombies"), "{noticed}");
}

#[test]
fn returns_the_reaped_pids_and_logs_them() {
    let sandbox = Sandbox::new();
    let mut gate = Gate::new(sandbox.path("gate"));
    create(&sandbox, 2, &gate.body("exit 0"));
    let mut daemon = daemon(&sandbox);
    daemon.tick();
    work_until(&mut daemon, "two workers", |d| d.machine().runs().all(|r| r.pid.is_some()));
    let workers = pids(&daemon);
    gate.open(2);
    wait_until("both have exited", || workers.iter().all(|pid| is_zombie(*pid)));
    let mut reaped = daemon.tick().reaped;
    reaped.sort_unstable();
    assert_eq!(reaped, workers);

    create(&sandbox, 1, "exit 0");
    let done = finish(&mut sandbox.command(&["--json", "run", "--until-idle"]));
    let end: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let line = format!("reaped 1 zombie worker(s), pids=[{}]", end["reaped"][0]);
    assert_eq!(done.stderr.matches(&line).count(), 1, "{}", done.stderr);
}

#[test]
fn a_healthy_pass_reaps_too() {
    let sandbox = Sandbox::new();
    create(&sandbox, 3, "exit 0");
    let mut daemon = daemon(&sandbox);
    daemon.feed(Event::Tick);
    work_until(&mut daemon, "three ends recorded", |d| d.tally().recorded.len() == 3);
    assert_eq!(daemon.tally().reaped.len(), 3);
    assert_eq!(daemon.children().unreaped(), 0);
    assert_eq!(sandbox.rows("SELECT count(*) FROM task_runs WHERE outcome = 'completed'"), ["3"]);
}

#[test]
fn never_reaps_a_child_twice() {
    let sandbox = Sandbox::new();
    create(&sandbox, 20, "exit 0");
    let mut daemon = daemon(&sandbox);
    daemon.feed(Event::Tick);
    work_until(&mut daemon, "all ends recorded", |d| d.tally().recorded.len() == 20);
    for _ in 0..5 {
        daemon.feed(Event::KernelReady);
        daemon.feed(Event::Tick);
    }
    let mut reaped = daemon.tally().reaped.clone();
    reaped.sort_unstable();
    reaped.dedup();
    assert_eq!((reaped.len(), daemon.tally().reaped.len()), (20, 20));
}

#[test]
fn a_failing_reaper_does_not_stop_the_tick() {
    let sandbox = Sandbox::new();
    create(&sandbox, 1, "exit 0");
    let mut daemon = daemon(&sandbox);
    daemon.children().plant_trouble(|| Some(Errno::EIO));
    daemon.feed(Event::Tick);
    work_until(&mut daemon, "a worker although reaping fails", |d| d.tally().spawned == 1);
    assert_eq!(daemon.tally().reap_failures, 1, "told once, not once for each attempt");

    // And the other way round: once the kernel answers, the child is reaped without a tick.
    daemon.children().plant_trouble(|| None);
    work_until(&mut daemon, "the end recorded", |d| d.tally().recorded.len() == 1);
    assert_eq!(daemon.tally().reaped.len(), 1);

    damage(&sandbox.db());
    daemon.feed(Event::Tick);
    work_until(&mut daemon, "the damage is seen", |d| !d.tally().sick.is_empty());
    assert_eq!(daemon.tally().reap_failures, 1, "a failing board is no failing reaper");
}

#[test]
fn a_tick_without_children_is_quiet() {
    let sandbox = Sandbox::new();
    let mut daemon = daemon(&sandbox);
    let tally = daemon.tick();
    assert_eq!(tally, sexton::runtime::report::Tally::default());
    let done = finish(&mut sandbox.command(&["run", "--until-idle"]));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
}

#[test]
fn overlapping_ticks_are_safe() {
    // In one process: ticks that begin before the passes of the one before have ended.
    let sandbox = Sandbox::new();
    create(&sandbox, 12, "exit 0");
    let mut daemon = daemon(&sandbox);
    for _ in 0..5 {
        daemon.feed(Event::Tick);
    }
    work_until(&mut daemon, "all ends recorded", |d| d.tally().recorded.len() == 12);
    each_ran_once(&sandbox, 12);

    // Between processes: three dispatchers on one board.
    let sandbox = Sandbox::new();
    create(&sandbox, 30, "exit 0");
    let three: Vec<_> = (0..3)
        .map(|_| {
            let mut command = sandbox.command(&["run", "--until-idle"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in three {
        assert!(child.wait().unwrap().success());
    }
    each_ran_once(&sandbox, 30);
}

fn each_ran_once(sandbox: &Sandbox, count: usize) {
    let expected = format!("{count}|{count}");
    let runs = "SELECT count(*), count(DISTINCT task_id) FROM task_runs WHERE outcome='completed'";
    assert_eq!(sandbox.rows(runs), [expected.as_str()]);
    let spawned = "SELECT count(*), count(DISTINCT task_id) FROM task_events WHERE kind='spawned'";
    assert_eq!(sandbox.rows(spawned), [expected.as_str()]);
    assert_eq!(sandbox.rows("SELECT count(*) FROM task_runs"), [count.to_string()]);
}
