//! The long story: a board of tasks, and a dispatcher that is killed again and again until all are
//! over.

use std::collections::BTreeSet;

use nix::poll::{PollTimeout, poll};

use crate::body;
use crate::claims::Claim;
use crate::dice::Dice;
use crate::moments::{self, Moment, Moments};
use crate::processes;
use crate::scene::{self, Scene};
use crate::sizes::kills;
use crate::support::process::stat;
use crate::support::running::Running;
use crate::support::wait::wait_until;
use crate::{traced, truth};

const TASKS: u64 = 300;

/// System calls at which a dispatcher is killed: each falls into another moment of an attempt.
const CALLS: [&str; 4] = ["clone", "pwrite64", "fsync", "fdatasync"];

/// Of five lives, which one ends while a worker is about to execute its program.
const IN_EXEC: u64 = 1;

struct Story {
    scene: Scene,
    dice: Dice,
    /// How many tasks are in progress at a time.
    width: usize,
    traced: bool,
    /// The keeper is killed with each dispatcher.
    unkept: bool,
    moments: Moments,
    ends: Ends,
}

/// Which ends were seen, by their runs.
#[derive(Default)]
struct Ends {
    /// Open when a dispatcher had died, with their workers' pids.
    open: Vec<(Claim, i32)>,
    /// Those of all deaths.
    ever_open: BTreeSet<i64>,
    /// They came while nothing watched.
    unseen: BTreeSet<i64>,
    /// A dispatcher had found their worker, and was there when it ended.
    seen: BTreeSet<i64>,
}

impl Story {
    fn new(width: usize, unkept: bool) -> Story {
        let (scene, mut dice) = (Scene::new("", ""), Dice::new(width as u64));
        let bodies = scene.bodies();
        scene.add((0..TASKS).map(|_| body::any(&bodies, &mut dice)));
        let (moments, ends) = Default::default();
        Story { scene, dice, width, traced: traced::can_trace(), unkept, moments, ends }
    }

    /// Kills a dispatcher this often, and lets the last one finish.
    fn tell(&mut self, kills: u64) {
        for kill in 0..kills {
            self.configure(kill);
            let mut sexton = self.live(kill);
            self.die(&mut sexton, kill);
            if self.unkept {
                self.scene.kill_keepers();
            }
            self.moments.note(&self.scene);
            self.ends.died(&self.scene, &sexton.log());
            let millis = self.dice.below(3_000);
            pass(millis);
            self.ends.begins();
        }
        self.configure(kills);
        let mut last = self.scene.run(&["--until-idle", "--grace", "60s"]);
        wait_until("the claims of the dead to be taken over", || self.are_taken_over(&last));
        wait_until_idle(&self.scene, &mut last);
        self.ends.died(&self.scene, &last.log());
    }

    /// No tick comes after the first: what is done, is done within it. Each other dispatcher has a
    /// lease that is shorter than the bodies.
    fn configure(&self, kill: u64) {
        let ttl = if kill.is_multiple_of(2) { "1s" } else { "15m" };
        let width = self.width;
        self.scene.configure(
            &format!(
                "interval = \"1h\"\nmax_workers = {width}\nmax_in_progress = {width}\n\
                 failure_limit = 3\ncooldown = \"0s\"\nclaim_ttl = \"{ttl}\""
            ),
            "",
        );
    }

    /// A dispatcher that may come to its end by itself, at some system call, or one for which each
    /// exec, or each commit, takes long enough to be hit.
    fn live(&mut self, kill: u64) -> Running {
        let call = self.dice.pick(&CALLS);
        let nth = 2 + self.dice.below(if call == "pwrite64" { 200 } else { 20 });
        let rule = match kill % 5 {
            _ if !self.traced => return self.scene.run(&[]),
            0 => return self.scene.run(&[]),
            IN_EXEC => "execve:delay_enter=1000000".to_owned(),
            2 => "fsync,fdatasync:delay_enter=100000".to_owned(),
            _ => format!("{call}:signal=KILL:when={nth}"),
        };
        traced::run(&self.scene, &[&rule])
    }

    /// Kills it, mostly once it has taken over what it found.
    fn die(&mut self, sexton: &mut Running, kill: u64) {
        if self.dice.below(4) > 0 {
            wait_until("the claims of the dead to be taken over", || {
                self.are_taken_over(sexton) || !processes::lives(sexton.pid())
            });
        }
        let in_exec = self.traced && kill % 5 == IN_EXEC;
        if in_exec {
            let ready = "SELECT count(*) FROM tasks WHERE status = 'ready'";
            wait_until("an exec to be under way", || {
                moments::is_any(&self.scene, Moment::CloneToExec) || self.scene.count(ready) == 0
            });
        }
        let millis = if in_exec { 0 } else { self.dice.below(2_000) };
        for _ in 0..millis / 10 {
            if !processes::lives(sexton.pid()) {
                break;
            }
            pass(10);
        }
        scene::kill(sexton);
    }

    fn are_taken_over(&self, sexton: &Running) -> bool {
        Claim::all(&self.scene).iter().all(|claim| claim.owner() == sexton.pid())
    }
}

impl Ends {
    /// A dispatcher has died, or ended. This was its log.
    fn died(&mut self, scene: &Scene, log: &str) {
        let now = Claim::all(scene);
        for (before, _) in self.open.drain(..) {
            let found = format!("its worker was found board=\"default\" task=\"{}\"", before.task);
            if log.contains(&found) && now.iter().all(|claim| claim.run != before.run) {
                self.seen.insert(before.run);
            }
        }
        self.ever_open.extend(now.iter().map(|claim| claim.run));
        let with_worker = now.into_iter().filter_map(|claim| {
            let pid = moments::worker(scene, &claim)?;
            Some((claim, pid)).filter(|_| processes::lives(pid))
        });
        self.open.extend(with_worker);
    }

    /// The next one is about to be started.
    fn begins(&mut self) {
        let gone = self.open.iter().filter(|(_, pid)| stat(*pid).is_none());
        self.unseen.extend(gone.map(|(claim, _)| claim.run));
    }
}

/// Lets time pass: it is what the story is about, not what makes it come true.
fn pass(millis: u64) {
    let _time = poll(&mut [], PollTimeout::try_from(millis).unwrap());
}

fn wait_until_idle(scene: &Scene, last: &mut Running) {
    let over = "SELECT count(*) FROM tasks WHERE status IN ('done', 'blocked')";
    let mut before = scene.count(over);
    while before < TASKS {
        // Each wait is bounded, and there are at most as many as tasks.
        wait_until("one more task to be over", || scene.count(over) > before);
        before = scene.count(over);
    }
    assert_eq!(last.code(), 0, "{}", last.log());
}

fn told(width: usize, kills: u64, unkept: bool) -> Story {
    let mut story = Story::new(width, unkept);
    story.tell(kills);
    let scene = &story.scene;
    println!("killed with {width} tasks in progress: {}", story.moments);
    assert_eq!(truth::faults(scene), [""; 0]);
    wait_until("nothing to be left running", || scene.workers().is_empty());
    // Those that system calls are counted for. The others are a matter of luck, and are printed.
    for moment in [Moment::ClaimToClone, Moment::CloneToExec] {
        assert!(!story.traced || story.moments.hits(moment) > 0, "{}", story.moments);
    }
    story
}

fn nothing_is_lost(width: usize, kills: u64) {
    let story = told(width, kills, false);
    assert_eq!(truth::unknown(&story.scene), [].into());
    assert_eq!(truth::done_again(&story.scene), [""; 0]);
}

#[test]
fn nothing_is_lost_or_done_twice_with_8_tasks_in_progress() {
    nothing_is_lost(8, kills());
}

#[test]
fn nothing_is_lost_or_done_twice_with_64_tasks_in_progress() {
    nothing_is_lost(64, kills());
}

/// A task may run again after a success that nothing saw.
#[test]
fn without_a_keeper_only_ends_that_nothing_saw_are_unknown() {
    let Story { scene, ends, .. } = told(16, kills(), true);
    let unknown = truth::unknown(&scene);
    assert!(!ends.unseen.is_empty() && !ends.seen.is_empty(), "this shows nothing");
    assert!(ends.unseen.is_subset(&unknown), "{:?}", ends.unseen.difference(&unknown));
    assert!(ends.seen.is_disjoint(&unknown), "{:?}", ends.seen.intersection(&unknown));
    assert!(unknown.is_subset(&ends.ever_open), "{:?}", unknown.difference(&ends.ever_open));
}
