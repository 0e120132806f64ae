//! Dispatchers of one root, each in its own pid namespace, as in containers.

use std::fs;
use std::process::Command;

use crate::claims::Claim;
use crate::scene::{self, Scene};
use crate::support::gate::Gate;
use crate::support::running::Running;
use crate::support::skip::skipped;
use crate::support::wait::wait_until;

/// Runs a program as pid 1 of a new namespace, which ends with this command.
const UNSHARE: [&str; 4] = ["-p", "-f", "--mount-proc", "--kill-child"];

fn can_unshare() -> bool {
    let tried = Command::new("unshare").args(UNSHARE).arg("true").output();
    let can = tried.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        skipped(format!("this needs a pid namespace of its own: {tried:?}"));
    }
    can
}

/// Starts the program in its own namespace.
fn elsewhere(scene: &Scene, args: &[&str]) -> Command {
    let real = scene.command(args);
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg(real.get_program()).args(real.get_args()).env_clear();
    command.envs(real.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(scene.sandbox.path(""));
    command
}

/// Adds a task that waits at a gate, and returns a file with a line for each time that it began.
fn held(settings: &str) -> (Scene, Gate) {
    let scene = Scene::new(&format!("interval = \"1h\"\n{settings}"), "");
    let gate = Gate::new(scene.sandbox.path("gate"));
    let log = scene.bodies().join("log");
    scene.add([format!("echo began >> '{}'; {}", log.display(), gate.wait())]);
    (scene, gate)
}

fn began(scene: &Scene) -> usize {
    fs::read_to_string(scene.bodies().join("log")).unwrap_or_default().lines().count()
}

fn run(scene: &Scene) -> Running {
    let sexton = scene.start(&mut elsewhere(scene, &["run"]));
    wait_until("the worker to run", || {
        began(scene) > 0 && Claim::all(scene).iter().any(|claim| claim.worker.is_some())
    });
    sexton
}

/// Ends a namespace, and all processes in it.
fn end(mut sexton: Running) {
    scene::kill(&mut sexton);
}

#[test]
fn a_claim_of_another_pid_namespace_stands_while_its_dispatcher_renews_it() {
    if !can_unshare() {
        return;
    }
    let (scene, gate) = held("claim_ttl = \"2s\"");
    let first = run(&scene);
    let standby = scene.start(&mut elsewhere(&scene, &["run"]));
    let expires = || scene.count("SELECT claim_expires FROM tasks");
    for _ in 0..4 {
        let last = expires();
        wait_until("the lease to be renewed", || expires() > last);
        let done = elsewhere(&scene, &["dispatch"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(scene.rows("SELECT count(*), max(status) FROM task_runs"), ["1|running"]);
    }
    assert_eq!(began(&scene), 1);
    gate.let_pass(1);
    wait_until("it to be done", || scene.rows("SELECT status FROM tasks") == ["done"]);
    assert_eq!(scene.rows("SELECT outcome FROM task_runs"), ["completed"]);
    assert_eq!(began(&scene), 1);
    end(first);
    end(standby);
}

#[test]
fn a_task_of_a_container_that_was_killed_is_started_again_by_the_next_one() {
    if !can_unshare() {
        return;
    }
    let (scene, gate) = held("claim_ttl = \"15m\"");
    end(run(&scene));
    wait_until("its namespace to be gone", || scene.workers().is_empty());
    let next = scene.start(&mut elsewhere(&scene, &["run"]));
    wait_until("it to begin again", || began(&scene) == 2);
    gate.let_pass(1);
    wait_until("it to be done", || scene.rows("SELECT status FROM tasks") == ["done"]);
    let runs = "SELECT outcome, EXISTS (SELECT 1 FROM sexton_runs WHERE run_id = id \
                AND outcome = 'unknown') FROM task_runs ORDER BY id";
    assert_eq!(scene.rows(runs), ["reclaimed|1", "completed|0"]);
    end(next);
}
