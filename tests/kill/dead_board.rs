//! Workers that end while their board cannot be used and their dispatcher is killed.

use std::path::Path;

use crate::claims::Claim;
use crate::processes;
use crate::scene::{self, Scene};
use crate::support::gate::Gate;
use crate::support::running::{Running, reaped_lines};
use crate::support::shell::shell;
use crate::support::wait::wait_until;

/// Overwrites the first bytes of a board's file until `repair`. Another process does it: if this one
/// had the board open, closing the file would drop its locks.
struct Damage {
    db: String,
    header: String,
}

impl Damage {
    fn to(db: &Path, header: &Path) -> Damage {
        let damage = Damage { db: db.display().to_string(), header: header.display().to_string() };
        let Damage { db, header } = &damage;
        shell(&format!("head -c 100 '{db}' > '{header}'"));
        shell(&format!(
            "head -c 100 /dev/zero | tr '\\0' x | dd of='{db}' conv=notrunc 2> /dev/null"
        ));
        damage
    }

    fn repair(self) {
        let Damage { db, header } = self;
        shell(&format!("dd if='{header}' of='{db}' conv=notrunc 2> /dev/null"));
    }
}

/// Starts a dispatcher that logs each tick.
fn run(scene: &Scene) -> Running {
    scene.start(scene.command(&["run"]).env("SEXTON_LOG", "trace"))
}

/// Waits for ten ticks after a dispatcher has found the board damaged.
fn ten_ticks_go_by(sexton: &Running) {
    let after = |log: &str| log.split_once("out of use").map(|(_, after)| ticks(after));
    wait_until("ten ticks on a damaged board", || after(&sexton.log()).is_some_and(|n| n >= 10));
}

fn ticks(log: &str) -> usize {
    log.lines().filter(|line| line.contains("TRACE") && line.ends_with(" tick")).count()
}

#[test]
fn each_end_on_a_dead_board_is_recorded_once_and_as_it_was_across_a_restart() {
    let scene = Scene::new("interval = \"100ms\"\nfailure_limit = 1", "");
    let gates: Vec<Gate> =
        (0..4).map(|n| Gate::new(scene.sandbox.path(&format!("gate{n}")))).collect();
    let ends = ["exit 0", "exit 1", "exit 75", "kill -9 $$"];
    scene.add(gates.iter().zip(ends).map(|(gate, end)| format!("{}; {end}", gate.wait())));
    let mut first = run(&scene);
    let workers = || Claim::all(&scene).into_iter().filter_map(|claim| claim.worker);
    wait_until("the workers to run", || workers().count() == 4);
    let pids: Vec<i32> = workers().collect();

    let damage = Damage::to(&scene.db(), &scene.sandbox.path("header"));
    gates[..2].iter().for_each(|gate| gate.let_pass(1));
    wait_until("two to be reaped", || {
        let reaped = reaped_lines(&first.log()).concat();
        pids[..2].iter().all(|pid| reaped.contains(pid))
    });
    ten_ticks_go_by(&first);
    scene::kill(&mut first);
    gates[2..].iter().for_each(|gate| gate.let_pass(1));
    wait_until("the others to end", || pids.iter().all(|pid| !processes::lives(*pid)));
    let mut second = run(&scene);
    ten_ticks_go_by(&second);

    damage.repair();
    let open = "SELECT count(*) FROM task_runs WHERE ended_at IS NULL";
    wait_until("all to be recorded", || scene.count(open) == 0);
    let runs = "SELECT task_id, outcome, error FROM task_runs ORDER BY task_id";
    assert_eq!(
        scene.rows(runs),
        [
            "t_1|completed|NULL".to_owned(),
            format!("t_2|crashed|pid {} exited with code 1", pids[1]),
            format!(
                "t_3|rate_limited|pid {} exited rate-limited (quota wall) — requeued without \
                 counting a failure",
                pids[2]
            ),
            format!("t_4|crashed|pid {} killed by signal 9", pids[3]),
        ]
    );
    let told = "SELECT task_id, kind FROM task_events \
                WHERE kind IN ('completed', 'crashed', 'rate_limited', 'reclaimed') ORDER BY task_id";
    let told_once = ["t_1|completed", "t_2|crashed", "t_3|rate_limited", "t_4|crashed"];
    assert_eq!(scene.rows(told), told_once);
    assert_eq!(scene.rows("PRAGMA integrity_check"), ["ok"]);
    scene::kill(&mut second);
}

#[test]
fn what_a_living_dispatcher_holds_is_recorded_before_a_rival_reclaims_it() {
    const TASKS: usize = 16;
    let scene = Scene::new(
        "interval = \"100ms\"\nclaim_ttl = \"1s\"\nmax_in_progress = 64\nmax_workers = 64",
        "",
    );
    let gate = Gate::new(scene.sandbox.path("gate"));
    scene.add((0..TASKS).map(|_| format!("{}; exit 0", gate.wait())));
    let mut holder = run(&scene);
    let workers = || Claim::all(&scene).into_iter().filter_map(|claim| claim.worker);
    wait_until("the workers to run", || workers().count() == TASKS);
    let pids: Vec<i32> = workers().collect();
    let mut rival = run(&scene);
    wait_until("the rival to look", || ticks(&rival.log()) >= 10);

    let leases = "SELECT max(claim_expires) FROM tasks";
    let last: i64 = scene.rows(leases)[0].parse().unwrap();
    let damage = Damage::to(&scene.db(), &scene.sandbox.path("header"));
    gate.let_pass(TASKS);
    wait_until("all to be reaped", || {
        let reaped = reaped_lines(&holder.log()).concat();
        pids.iter().all(|pid| reaped.contains(pid))
    });
    wait_until("all leases to be over twice", || sexton::runtime::clock::unix() > last + 3);
    damage.repair();
    let open = "SELECT count(*) FROM task_runs WHERE ended_at IS NULL";
    wait_until("all to be recorded", || scene.count(open) == 0);
    let outcomes = "SELECT outcome, count(*) FROM task_runs GROUP BY outcome";
    assert_eq!(scene.rows(outcomes), [format!("completed|{TASKS}")]);
    assert_eq!(scene.rows("SELECT count(*) FROM tasks WHERE status = 'done'"), ["16"]);
    scene::kill(&mut holder);
    scene::kill(&mut rival);
}
