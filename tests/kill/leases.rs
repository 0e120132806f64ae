//! The next dispatcher treats workers of an earlier one as its own.

use std::fs;

use crate::claims::Claim;
use crate::processes;
use crate::scene::{self, Scene};
use crate::support::gate::Gate;
use crate::support::running::Running;
use crate::support::wait::wait_until;

/// Kills a dispatcher once this many workers run whose pids are in the board.
fn killed_with(scene: &Scene, workers: usize) {
    let mut sexton = scene.run(&[]);
    wait_until("the workers to run", || {
        Claim::all(scene).iter().filter(|claim| claim.worker.is_some()).count() == workers
    });
    scene::kill(&mut sexton);
}

/// Starts the next dispatcher, and returns when it has found this many workers.
fn found(scene: &Scene, workers: usize) -> Running {
    let next = scene.run(&[]);
    wait_until("the workers to be found", || {
        next.log().matches("its worker was found").count() == workers
    });
    next
}

/// One look at a board returns at most 256 claims of dead dispatchers.
#[test]
fn more_workers_than_one_look_returns_are_all_found() {
    let scene = Scene::new("interval = \"1h\"\nmax_workers = 300\nmax_in_progress = 300", "");
    let gate = Gate::new(scene.sandbox.path("gate"));
    scene.add((0..300).map(|_| gate.wait()));
    killed_with(&scene, 300);
    let mut next = found(&scene, 300);
    let owners: Vec<i32> = Claim::all(&scene).iter().map(Claim::owner).collect();
    assert_eq!(owners, [next.pid()].repeat(300));
    scene::kill(&mut next);
}

#[test]
fn the_time_that_a_worker_may_run_is_kept_across_a_restart() {
    let settings = "interval = \"1h\"\nfailure_limit = 1";
    let scene = Scene::new(settings, "max_runtime = \"2s\"");
    scene.add(["exec sleep 600".to_owned()]);
    killed_with(&scene, 1);
    let worker = Claim::all(&scene)[0].worker.unwrap();
    let mut next = found(&scene, 1);
    wait_until("it to be ended", || !processes::lives(worker));
    let ended = "SELECT status, outcome FROM task_runs";
    wait_until("that to be recorded", || scene.rows(ended) == ["timed_out|timed_out"]);
    assert_eq!(scene.rows("SELECT status FROM tasks"), ["blocked"]);
    scene::kill(&mut next);
}

/// Eight tasks on each of some boards, of which at most two may be in progress at a time, across the
/// lives of two dispatchers.
fn at_most_two(settings: &str, boards: &[&str]) {
    let scene =
        Scene::new(&format!("default_assignee = \"shell\"\ninterval = \"1h\"\n{settings}"), "");
    let (gate, seen) = (Gate::new(scene.sandbox.path("gate")), scene.sandbox.path("seen"));
    let body = format!("echo + >> '{0}'; {1}; echo - >> '{0}'", seen.display(), gate.wait());
    for board in boards {
        if *board != "default" {
            scene.sandbox.ok(&["boards", "create", board]);
        }
        for _ in 0..8 {
            scene.sandbox.create(&["a task", "--board", board, "--body", &body]);
        }
    }
    let signs = || fs::read_to_string(&seen).unwrap_or_default();
    let mut first = scene.run(&[]);
    wait_until("two workers", || signs().matches('+').count() == 2);
    scene::kill(&mut first);
    let mut next = scene.run(&["--until-idle"]);
    wait_until("them to be found", || next.log().matches("its worker was found").count() == 2);
    gate.let_pass(8 * boards.len());
    assert_eq!(next.code(), 0);
    let mut at_a_time = 0;
    for sign in signs().lines() {
        at_a_time += if sign == "+" { 1 } else { -1 };
        assert!(at_a_time <= 2, "{}", signs());
    }
    assert_eq!(signs().lines().count(), 16 * boards.len());
}

#[test]
fn workers_of_an_earlier_life_count_against_max_workers() {
    at_most_two("max_workers = 2\nmax_in_progress = 8", &["default", "second"]);
}

#[test]
fn workers_of_an_earlier_life_count_against_max_in_progress() {
    at_most_two("max_workers = 8\nmax_in_progress = 2", &["default"]);
}

#[test]
fn the_leases_of_an_earlier_life_are_renewed_and_nothing_else_of_its_claims_changes() {
    let scene = Scene::new("interval = \"1h\"\nclaim_ttl = \"2s\"", "");
    let gate = Gate::new(scene.sandbox.path("gate"));
    scene.add([format!(
        "echo began >> '{}'; {}",
        scene.bodies().join("log").display(),
        gate.wait()
    )]);
    killed_with(&scene, 1);
    let before = Claim::all(&scene);
    let mut next = found(&scene, 1);
    let expires = || scene.count("SELECT claim_expires FROM tasks");
    // Far beyond its original lease.
    for _ in 0..5 {
        let last = expires();
        wait_until("the lease to be renewed", || expires() > last);
        let now = Claim::all(&scene);
        assert_eq!(now.iter().map(Claim::owner).collect::<Vec<_>>(), [next.pid()]);
        assert_eq!(without_owner(now), without_owner(before.clone()));
        assert_eq!(scene.rows("SELECT max(status), count(*) FROM task_runs"), ["running|1"]);
    }
    gate.let_pass(1);
    wait_until("it to be done", || scene.rows("SELECT status FROM tasks") == ["done"]);
    assert_eq!(fs::read_to_string(scene.bodies().join("log")).unwrap(), "began\n");
    scene::kill(&mut next);
}

fn without_owner(claims: Vec<Claim>) -> Vec<Claim> {
    claims.into_iter().map(|claim| Claim { adopter: None, ..claim }).collect()
}
