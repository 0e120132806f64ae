//! Claims, and what keeps them: the rows and events before and after, on a real board.
#![cfg(feature = "runtime")]

use crate::support::board::{NOW, World, task};
use sexton::machine::exchange::{Change, Refusal, Taken};
use sexton::machine::hold::Hold;
use sexton::machine::ids::{Pid, SpawnId, WorkerId};
use sexton::machine::verdict::Verdict;

const LOCK: &str = "vm:77";

#[test]
fn a_claim_opens_a_run() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival(
        "UPDATE tasks SET current_step_key = 'step', max_runtime_seconds = 60, \
         last_heartbeat_at = 5, worker_pid = 6",
    );
    let exchanged = world.send(&[world.claim_of("t_1", 3)], false);
    let lock = world.lock(3);
    assert!(lock.starts_with(LOCK));
    let Taken::Claimed { run, max_runtime_s: Some(60) } = exchanged.answer.taken[0] else {
        panic!("{:?}", exchanged.answer);
    };
    assert_eq!(world.task("t_1"), format!("running|{lock}|{}|-|1|0|-", NOW + 900));
    let extra = "SELECT started_at, last_heartbeat_at FROM tasks";
    assert_eq!(world.row(extra), format!("{NOW}|-"));
    let run_row = "SELECT id, task_id, profile, step_key, status, claim_lock, claim_expires, \
                   worker_pid, max_runtime_seconds, started_at, ended_at, outcome FROM task_runs";
    assert_eq!(
        world.row(run_row),
        format!("1|t_1|shell|step|running|{lock}|{}|-|60|{NOW}|-|-", NOW + 900)
    );
    let claimed =
        format!("1|claimed|{{\"lock\": \"{lock}\", \"expires\": {}, \"run_id\": 1}}", NOW + 900);
    assert_eq!(world.events("t_1", 0), [claimed]);
    let (spawn, facts) = &exchanged.facts[0];
    assert_eq!((*spawn, facts.run, facts.task), (SpawnId(3), run, task("t_1")));
    assert_eq!((facts.title.as_str(), facts.claim_lock.as_str()), ("a title", lock.as_str()));
    assert_eq!(exchanged.answer.observation.expect("a look").ours[0].spawn, SpawnId(3));
}

#[test]
fn the_same_claim_again_takes_once() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let first = world.send(&[world.claim_of("t_1", 3)], false);
    let again = world.send(&[world.claim_of("t_1", 3)], false);
    assert_eq!(first.answer.taken, again.answer.taken);
    assert_eq!(first.facts, again.facts);
    assert_eq!(world.rows("SELECT 1 FROM task_runs").len(), 1);
    assert_eq!(world.events("t_1", 0).len(), 1);
    let other = world.change(world.claim_of("t_1", 4));
    assert_eq!(other, Taken::No(Refusal::Superseded));
}

#[test]
fn a_claim_closes_a_run_that_was_left_open() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival(
        "INSERT INTO task_runs (task_id, status, claim_lock, worker_pid, started_at) \
         VALUES ('t_1', 'running', 'vm:1', 5, 1)",
    );
    world.claim("t_1", 3);
    assert_eq!(
        world.row(
            "SELECT status, outcome, summary, ended_at, claim_lock, worker_pid \
             FROM task_runs WHERE id = 1"
        ),
        format!("reclaimed|reclaimed|invariant recovery on re-claim|{NOW}|-|-")
    );
    assert_eq!(world.events("t_1", 0).len(), 1);
}

#[test]
fn a_claim_without_its_parents_sends_the_task_back() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.add("t_0", "running");
    world.link("t_0", "t_1");
    assert_eq!(world.change(world.claim_of("t_1", 3)), Taken::No(Refusal::Superseded));
    assert_eq!(world.task("t_1"), "todo|-|-|-|-|0|-");
    assert_eq!(
        world.events("t_1", 0),
        ["-|claim_rejected|{\"reason\": \"parents_not_done\"}".to_owned()]
    );
    world.rival("UPDATE tasks SET status = 'archived' WHERE id = 't_0'");
    world.rival("UPDATE tasks SET status = 'ready' WHERE id = 't_1'");
    world.claim("t_1", 3);
}

#[test]
fn a_claim_beyond_the_cap_leaves_no_trace() {
    let mut world = World::new();
    for id in ["t_1", "t_2", "t_3"] {
        world.add(id, "ready");
    }
    let claim = |id, spawn| Change::Claim {
        spawn: SpawnId(spawn),
        task: task(id),
        worker: WorkerId(0),
        ttl_s: 900,
        cap: 2,
    };
    let taken =
        world.send(&[claim("t_1", 1), claim("t_2", 2), claim("t_3", 3)], false).answer.taken;
    assert!(matches!(taken[1], Taken::Claimed { .. }));
    assert_eq!(taken[2], Taken::No(Refusal::Full));
    assert_eq!(world.task("t_3"), "ready|-|-|-|-|0|-");
    assert!(world.events("t_3", 0).is_empty());
}

#[test]
fn a_held_task_is_not_claimed() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.start("t_1", 1, 50);
    world.finish(fence, 50, Verdict::RateLimited);
    let held = world.change(world.claim_of("t_1", 2));
    assert_eq!(held, Taken::No(Refusal::Held(Hold::Cooldown { until: NOW + 300 })));
    world.rival("UPDATE tasks SET assignee = 'somebody'");
    let held = world.change(world.claim_of("t_1", 2));
    assert_eq!(held, Taken::No(Refusal::Held(Hold::ForeignLane)));
    world.rival("UPDATE tasks SET assignee = ' CRITIC '");
    world.unix += 300;
    assert_eq!(world.change(world.claim_of("t_1", 2)), Taken::No(Refusal::Superseded));
}

#[test]
fn an_unassigned_task_goes_to_the_default_worker() {
    let mut world = World::new();
    world.policy.default_worker = Some(WorkerId(0));
    for (id, assignee) in [("t_1", "NULL"), ("t_2", "'  '")] {
        world.add(id, "ready");
        world.rival(&format!("UPDATE tasks SET assignee = {assignee} WHERE id = '{id}'"));
    }
    assert_eq!(world.ready(), ["t_1", "t_2"]);
    world.claim("t_1", 1);
    world.claim("t_2", 2);
    let assigned = "-|assigned|{\"assignee\": \"shell\", \"source\": \"kanban.default_assignee\"}";
    assert_eq!(world.events("t_1", 0)[0], assigned);
    assert_eq!(world.events("t_2", 0)[0], assigned);
    assert_eq!(world.rows("SELECT assignee FROM tasks"), ["shell", "shell"]);
    assert_eq!(world.rows("SELECT profile FROM task_runs"), ["shell", "shell"]);
}

#[test]
fn a_pid_is_stored_once() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.start("t_1", 1, 50);
    assert_eq!(world.row("SELECT worker_pid FROM tasks"), "50");
    assert_eq!(world.row("SELECT worker_pid FROM task_runs"), "50");
    assert_eq!(world.change(Change::Started { fence, pid: Pid(50) }), Taken::Yes);
    assert_eq!(world.events("t_1", 1), ["1|spawned|{\"pid\": 50, \"started_at\": \"boot:1|1\"}"]);
    let other = world.change(Change::Started { fence, pid: Pid(51) });
    assert_eq!(other, Taken::No(Refusal::Superseded));
    world.rival("UPDATE tasks SET status = 'done', worker_pid = NULL");
    let late = world.change(Change::Started { fence, pid: Pid(50) });
    assert_eq!(late, Taken::No(Refusal::Superseded));
    assert_eq!(world.row("SELECT worker_pid FROM tasks"), "-");
}

#[test]
fn a_renewed_lease_writes_no_event() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.claim("t_1", 1);
    world.unix += 300;
    let renew = |heartbeat| Change::Renew { fence, ttl_s: 900, heartbeat };
    assert_eq!(world.change(renew(false)), Taken::Yes);
    let row = "SELECT claim_expires, last_heartbeat_at FROM";
    assert_eq!(world.row(&format!("{row} tasks")), format!("{}|-", NOW + 1200));
    assert_eq!(world.change(renew(true)), Taken::Yes);
    assert_eq!(world.row(&format!("{row} tasks")), format!("{}|{}", NOW + 1200, NOW + 300));
    assert_eq!(world.row(&format!("{row} task_runs")), format!("{}|{}", NOW + 1200, NOW + 300));
    assert_eq!(world.events("t_1", 1).len(), 0);
    world.rival("UPDATE tasks SET claim_lock = 'vm:77:other'");
    assert_eq!(world.change(renew(true)), Taken::No(Refusal::Superseded));
}

#[test]
fn a_task_that_another_process_claimed_meanwhile_is_not_claimed() {
    for (assignee, refusal) in
        [("critic", Refusal::Superseded), ("a stranger", Refusal::Held(Hold::ForeignLane))]
    {
        let mut world = World::new();
        world.add("t_1", "ready");
        world.rival(&format!("UPDATE tasks SET assignee = '{assignee}'"));
        let claim = world.claim_of("t_1", 1);
        assert_eq!(world.change(claim), Taken::No(refusal), "{assignee}");
        assert_eq!(world.task("t_1"), "ready|-|-|-|-|0|-");
        assert!(world.events("t_1", 0).is_empty());
    }
}
