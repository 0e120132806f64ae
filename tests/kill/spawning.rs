//! Dispatchers that die while they start a worker: the next one finds out what happened, and does not
//! guess.

use nix::sys::signal::Signal;

use crate::body::{self, Log};
use crate::claims::Claim;
use crate::moments;
use crate::processes;
use crate::scene::{self, Scene};
use crate::support::hung::Hung;
use crate::support::running::Running;
use crate::support::wait::wait_until;
use crate::traced;

/// So that no tick and no end of a lease causes anything here.
const NEVER: &str = "interval = \"1h\"\nclaim_ttl = \"1h\"";

fn outcomes(scene: &Scene) -> Vec<String> {
    scene.rows("SELECT outcome, error FROM task_runs ORDER BY id")
}

fn wait_for_status(scene: &Scene, status: &str) {
    let query = "SELECT DISTINCT status FROM tasks";
    wait_until(status, || scene.rows(query) == [status]);
}

#[test]
fn a_claim_without_a_process_is_given_back_at_once() {
    if !traced::can_trace() {
        return;
    }
    let scene = Scene::new(NEVER, "");
    scene.add([body::command(&scene.bodies(), 10, "0")]);
    let mut first = traced::run(&scene, &["clone:signal=KILL:when=1"]);
    assert_eq!(first.code(), -1, "{}", first.log());
    let claims = Claim::all(&scene);
    assert_eq!(claims.iter().map(Claim::owner).collect::<Vec<_>>(), [first.pid()]);
    assert_eq!(Log::of(&scene.bodies(), "t_1").began, []);

    let mut second = scene.run(&[]);
    wait_for_status(&scene, "done");
    assert_eq!(outcomes(&scene), ["reclaimed|sexton: not started", "completed|NULL"]);
    assert_eq!(Log::of(&scene.bodies(), "t_1").began.len(), 1);
    scene::kill(&mut second);
}

/// A task whose worker's program is on a disk that hangs until this is dropped.
struct Hanging {
    /// Dropped first: the scene's directories cannot be removed before that.
    hung: Hung,
    scene: Scene,
    settings: &'static str,
}

impl Hanging {
    fn new(settings: &'static str) -> Option<Hanging> {
        let scene = Scene::new("", "");
        let disk = scene.sandbox.path("mount");
        let hung = Hung::over(&disk)?;
        scene.add([body::command(&scene.bodies(), 10, "0")]);
        scene.configure_shell(&disk.join("sh"), settings, "");
        Some(Hanging { hung, scene, settings })
    }

    /// Returns a dispatcher whose child waits for the disk, and the pid of that child.
    fn start(&self) -> (Running, i32) {
        let sexton = self.scene.run(&[]);
        let mut child = None;
        wait_until("a child to wait for the disk", || {
            let claims = Claim::all(&self.scene);
            child = claims.iter().find_map(|claim| moments::worker(&self.scene, claim));
            child.is_some_and(processes::has_not_executed)
        });
        (sexton, child.unwrap())
    }

    /// The next dispatcher, whose workers are on a good disk, waits only for the child of the previous
    /// one. `told`: what it logs meanwhile.
    fn settle(self, child: i32, told: &str) {
        // In this order, so that the disk is released first if this fails.
        let Hanging { scene, hung, settings } = self;
        scene.configure(settings, "");
        let mut next = scene.run(&[]);
        wait_until(told, || next.log().contains(told));
        assert!(processes::has_not_executed(child));
        assert_eq!(outcomes(&scene), ["NULL|NULL"]);
        drop(hung);
        wait_for_status(&scene, "done");
        assert!(!processes::lives(child));
        let outcomes = outcomes(&scene);
        assert_eq!(outcomes.len(), 2, "{outcomes:?}");
        assert_eq!(outcomes[1], "completed|NULL");
        assert_eq!(Log::of(&scene.bodies(), "t_1").began.len(), 1);
        scene::kill(&mut next);
    }
}

#[test]
fn a_claim_whose_child_has_not_executed_is_not_given_back_before_that_is_gone() {
    let Some(hanging) = Hanging::new(NEVER) else { return };
    let (mut first, child) = hanging.start();
    scene::kill(&mut first);
    assert!(processes::has_not_executed(child));
    hanging.settle(child, "its worker was found");
}

#[test]
fn a_child_that_has_not_executed_is_found_without_a_keeper_too() {
    let settings = "interval = \"1h\"\nclaim_ttl = \"1h\"\nkeeper = false";
    let Some(hanging) = Hanging::new(settings) else { return };
    let (mut first, child) = hanging.start();
    scene::kill(&mut first);
    assert!(processes::has_not_executed(child));
    hanging.settle(child, "it cannot be told");
}

#[test]
fn a_claim_that_was_adopted_and_not_settled_is_settled_by_the_one_after() {
    let settings = "interval = \"1h\"\nclaim_ttl = \"1h\"\nkeeper = false";
    let Some(hanging) = Hanging::new(settings) else { return };
    let (mut first, child) = hanging.start();
    scene::kill(&mut first);
    hanging.scene.configure(settings, "");
    // It stops in order, and leaves no records.
    let mut second = hanging.scene.run(&["--grace", "1ms"]);
    wait_until("it to be adopted", || second.log().contains("it cannot be told"));
    second.signal(Signal::SIGTERM);
    second.code();
    hanging.settle(child, "it cannot be told");
}

#[test]
fn a_second_term_during_an_exec_ends_the_dispatcher_and_the_next_one_settles_it() {
    let Some(hanging) = Hanging::new(NEVER) else { return };
    let (mut first, child) = hanging.start();
    wait_until("a second signal to be taken", || {
        // Signals right after the first one count as the same.
        first.signal(Signal::SIGTERM);
        first.log().contains("stopping immediately")
    });
    assert_eq!(first.code(), 1, "{}", first.log());
    assert!(processes::has_not_executed(child));
    hanging.settle(child, "its worker was found");
}
