//! Each change on a real board: what was there before, what was asked, and exactly which rows and
//! events there are afterwards.
#![cfg(feature = "runtime")]

mod board_support;

use board_support::{NOW, World, task};
use rusqlite::Connection;
use sexton::board::card::{self, Complete, Judge, Wait};
use sexton::machine::event::{Commit, FaultClass};
use sexton::machine::exchange::{Change, Fence, Refusal, Request, Taken};
use sexton::machine::hold::Hold;
use sexton::machine::ids::{Pid, SpawnId, WorkerId};
use sexton::machine::verdict::{ExitStatus, Release, Verdict};

const LOCK: &str = "vm:77";

/// The lock text of an attempt of the world's owner.
fn lock(world: &World, spawn: u64) -> String {
    world.owner.lock(SpawnId(spawn))
}

#[test]
fn a_claim_opens_a_run() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival(
        "UPDATE tasks SET current_step_key = 'step', max_runtime_seconds = 60, \
         last_heartbeat_at = 5, worker_pid = 6",
    );
    let exchanged = world.send(&[world.claim_of("t_1", 3)], false);
    let lock = lock(&world, 3);
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
fn nobodys_task_goes_to_the_default_worker() {
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
    assert_eq!(world.events("t_1", 1), ["1|spawned|{\"pid\": 50}"]);
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
fn a_completed_task_is_done() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival(
        "UPDATE tasks SET consecutive_failures = 1, last_failure_error = 'x', block_kind = 'k', \
         block_recurrences = 1",
    );
    let fence = world.start("t_1", 1, 50);
    assert_eq!(world.finish(fence, 50, Verdict::Completed), Taken::Yes);
    assert_eq!(world.task("t_1"), "done|-|-|-|-|0|-");
    let more = "SELECT completed_at, result, block_kind, block_recurrences FROM tasks";
    assert_eq!(world.row(more), format!("{NOW}|-|-|0"));
    assert_eq!(world.run("t_1"), format!("done|completed|-|-|-|{NOW}|exit 0|-|-"));
    let completed = "1|completed|{\"result_len\": 0, \"summary\": \"exit 0\"}";
    assert_eq!(world.events("t_1", 2), [completed]);
    let again = world.finish(fence, 50, Verdict::Completed);
    assert_eq!(again, Taken::No(Refusal::Superseded));
}

#[test]
fn a_crash_is_counted_and_the_second_one_blocks() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let first = world.start("t_1", 1, 50);
    let lock_1 = lock(&world, 1);
    world.finish(first, 50, Verdict::Crashed(ExitStatus::Code(3)));
    assert_eq!(world.task("t_1"), "ready|-|-|-|-|1|pid 50 exited with code 3");
    let payload = format!(
        "{{\"pid\": 50, \"claimer\": \"{lock_1}\", \"exit_kind\": \"nonzero_exit\", \
         \"exit_code\": 3, \"retry_status\": \"ready\"}}"
    );
    let run = format!("crashed|crashed|-|-|-|{NOW}|-|pid 50 exited with code 3|{payload}");
    assert_eq!(world.run("t_1"), run);
    assert_eq!(world.events("t_1", 2), [format!("1|crashed|{payload}")]);

    let second = world.start("t_1", 2, 51);
    let lock_2 = lock(&world, 2);
    world.finish(second, 51, Verdict::Crashed(ExitStatus::Signal(9)));
    assert_eq!(world.task("t_1"), "blocked|-|-|-|-|2|pid 51 killed by signal 9");
    let crashed = format!(
        "2|crashed|{{\"pid\": 51, \"claimer\": \"{lock_2}\", \"exit_kind\": \"signaled\", \
         \"exit_code\": 9, \"retry_status\": \"ready\"}}"
    );
    let gave_up = format!(
        "-|gave_up|{{\"failures\": 2, \"effective_limit\": 2, \"limit_source\": \"dispatcher\", \
         \"error\": \"pid 51 killed by signal 9\", \"trigger_outcome\": \"crashed\", \
         \"retry_status\": \"ready\", \"pid\": 51, \"claimer\": \"{lock_2}\"}}"
    );
    assert_eq!(world.events("t_1", 5), [crashed, gave_up]);
    assert!(world.look().promotable.is_empty(), "the breaker undid itself");
}

#[test]
fn an_unseen_end_names_no_exit_code() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.start("t_1", 1, 50);
    let lock = lock(&world, 1);
    world.finish(fence, 50, Verdict::Crashed(ExitStatus::Unknown));
    let payload = format!("{{\"pid\": 50, \"claimer\": \"{lock}\", \"retry_status\": \"ready\"}}");
    assert_eq!(world.events("t_1", 2), [format!("1|crashed|{payload}")]);
    assert_eq!(world.task("t_1"), "ready|-|-|-|-|1|pid 50 not alive");
}

#[test]
fn three_protocol_violations_block_for_good() {
    let mut world = World::new();
    world.add("t_1", "ready");
    for attempt in 1..=3_u64 {
        let fence = world.start("t_1", attempt, 50);
        world.finish(fence, 50, Verdict::ProtocolViolation);
        let failures = world.row("SELECT status, consecutive_failures FROM tasks");
        assert_eq!(failures, if attempt < 3 { "ready|0" } else { "blocked|2" });
        if attempt == 1 {
            // A rate limit neither counts nor ends the row.
            let fence = world.start("t_1", 9, 50);
            world.finish(fence, 50, Verdict::RateLimited);
            world.unix += 300;
        }
    }
    let lock = lock(&world, 3);
    let events = world.events("t_1", 0);
    let payload = format!(
        "{{\"pid\": 50, \"claimer\": \"{lock}\", \"exit_code\": 0, \
         \"protocol_violation\": true, \"retry_status\": \"ready\"}}"
    );
    assert_eq!(events[events.len() - 2], format!("4|protocol_violation|{payload}"));
    let gave_up = events.last().expect("an event");
    assert!(
        gave_up.starts_with("-|gave_up|{\"failures\": 2, \"effective_limit\": 3, "),
        "{gave_up}"
    );
    let tail = format!(
        "\"trigger_outcome\": \"crashed\", \"retry_status\": \"ready\", \"sticky\": true, \
         \"pid\": 50, \"claimer\": \"{lock}\", \"protocol_violations\": 3, \
         \"protocol_violation_limit\": 3}}"
    );
    assert!(gave_up.ends_with(&tail), "{gave_up}");
    // A later limit does not release it, a person does.
    world.policy.failure_limit = 9;
    assert!(world.look().promotable.is_empty());
    world.event("t_1", "unblocked", "");
    assert_eq!(world.look().promotable, [task("t_1")]);
}

#[test]
fn a_rate_limit_counts_nothing() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.start("t_1", 1, 50);
    let lock = lock(&world, 1);
    world.finish(fence, 50, Verdict::RateLimited);
    let error = "pid 50 exited rate-limited (quota wall) — requeued without counting a failure";
    assert_eq!(world.task("t_1"), format!("ready|-|-|-|-|0|{error}"));
    let payload = format!(
        "{{\"pid\": 50, \"claimer\": \"{lock}\", \"exit_code\": 75, \"retry_status\": \"ready\"}}"
    );
    let run = format!("rate_limited|rate_limited|-|-|-|{NOW}|-|{error}|{payload}");
    assert_eq!(world.run("t_1"), run);
    assert_eq!(world.events("t_1", 2), [format!("1|rate_limited|{payload}")]);
    let look = world.look();
    assert_eq!(look.due, Some(NOW + 300));
    assert!(look.ready.expect("a list").tasks.is_empty());
}

#[test]
fn refused_credentials_block_at_once() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.start("t_1", 1, 50);
    let lock = lock(&world, 1);
    world.finish(fence, 50, Verdict::CredentialsRefused);
    let error =
        "pid 50 exited on a terminal provider error (exit 78): credential or model rejected";
    assert_eq!(world.task("t_1"), format!("blocked|-|-|-|-|2|{error}"));
    let gave_up = format!(
        "-|gave_up|{{\"failures\": 2, \"effective_limit\": 2, \"limit_source\": \"dispatcher\", \
         \"error\": \"{error}\", \"trigger_outcome\": \"crashed\", \"retry_status\": \"ready\", \
         \"sticky\": true, \"pid\": 50, \"claimer\": \"{lock}\", \"terminal_provider\": true}}"
    );
    assert_eq!(world.events("t_1", 3), [gave_up]);
}

#[test]
fn a_timeout_is_counted() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival("UPDATE tasks SET max_retries = 1");
    let fence = world.start("t_1", 1, 50);
    world.change(Change::Renew { fence, ttl_s: 900, heartbeat: true });
    world.finish(fence, 50, Verdict::TimedOut { elapsed_s: 61, limit_s: 60, killed: true });
    assert_eq!(world.task("t_1"), "blocked|-|-|-|-|1|elapsed 61s > limit 60s");
    assert_eq!(world.row("SELECT last_heartbeat_at FROM tasks"), "-");
    let payload = "{\"pid\": 50, \"elapsed_seconds\": 61, \"limit_seconds\": 60, \
                   \"sigkill\": true, \"retry_status\": \"ready\"}";
    let gave_up = "-|gave_up|{\"failures\": 1, \"effective_limit\": 1, \"limit_source\": \"task\", \
                   \"error\": \"elapsed 61s > limit 60s\", \"trigger_outcome\": \"timed_out\", \
                   \"retry_status\": \"ready\", \"pid\": 50, \"sigkill\": true}";
    assert_eq!(world.events("t_1", 2), [format!("1|timed_out|{payload}"), gave_up.to_owned()]);
}

#[test]
fn a_failed_spawn_is_counted() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.claim("t_1", 1);
    let finish = |fence| Change::Finish {
        fence,
        pid: None,
        verdict: Verdict::SpawnFailed,
        failure_limit: 2,
    };
    world.change(finish(fence));
    assert_eq!(world.task("t_1"), "ready|-|-|-|-|1|workspace: no space");
    let metadata = "{\"failures\": 1, \"retry_status\": \"ready\"}";
    let run = format!("spawn_failed|spawn_failed|-|-|-|{NOW}|-|workspace: no space|{metadata}");
    assert_eq!(world.run("t_1"), run);
    let payload = "{\"error\": \"workspace: no space\", \"failures\": 1, \
                   \"retry_status\": \"ready\"}";
    assert_eq!(world.events("t_1", 1), [format!("1|spawn_failed|{payload}")]);

    let fence = world.claim("t_1", 2);
    world.change(finish(fence));
    assert_eq!(world.task("t_1"), "blocked|-|-|-|-|2|workspace: no space");
    let metadata = "{\"failures\": 2, \"trigger_outcome\": \"spawn_failed\", \
                    \"effective_limit\": 2, \"limit_source\": \"dispatcher\", \
                    \"retry_status\": \"ready\"}";
    let run = format!("gave_up|gave_up|-|-|-|{NOW}|-|workspace: no space|{metadata}");
    assert_eq!(world.run("t_1"), run);
    let gave_up = "2|gave_up|{\"failures\": 2, \"effective_limit\": 2, \
                   \"limit_source\": \"dispatcher\", \"error\": \"workspace: no space\", \
                   \"trigger_outcome\": \"spawn_failed\", \"retry_status\": \"ready\"}";
    assert_eq!(world.events("t_1", 3), [gave_up]);
}

#[test]
fn a_released_run_is_nobodys_fault() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival("UPDATE tasks SET consecutive_failures = 1, last_failure_error = 'before'");
    let fence = world.start("t_1", 1, 50);
    let lock = lock(&world, 1);
    world.finish(fence, 50, Verdict::Released(Release::Shutdown));
    assert_eq!(world.task("t_1"), "ready|-|-|-|-|1|before");
    let metadata = "{\"prev_pid\": 50, \"host_local\": true, \"termination_attempted\": true, \
                    \"terminated\": true, \"sigkill\": false}";
    let run = format!("reclaimed|reclaimed|-|-|-|{NOW}|-|sexton: shutdown|{metadata}");
    assert_eq!(world.run("t_1"), run);
    let payload = format!(
        "{{\"stale_lock\": \"{lock}\", \"worker_pid\": 50, \"claim_expires\": {}, \
         \"last_heartbeat_at\": null, \"now\": {NOW}, \"host_local\": true, \
         \"heartbeat_stale\": false, \"retry_status\": \"ready\", \"prev_pid\": 50, \
         \"termination_attempted\": true, \"terminated\": true, \"sigkill\": false}}",
        NOW + 900
    );
    assert_eq!(world.events("t_1", 2), [format!("1|reclaimed|{payload}")]);
}

#[test]
fn what_waited_becomes_ready_when_all_it_waits_for_is_done() {
    let mut world = World::new();
    for id in ["t_1", "t_2"] {
        world.add(id, "ready");
    }
    world.add("t_3", "todo");
    world.link("t_1", "t_3");
    world.link("t_2", "t_3");
    world.link("t_unknown", "t_3");
    assert!(world.look().promotable.is_empty());
    let first = world.start("t_1", 1, 50);
    world.finish(first, 50, Verdict::Completed);
    let second = world.start("t_2", 2, 51);
    let finish = Change::Finish {
        fence: second,
        pid: Some(Pid(51)),
        verdict: Verdict::Completed,
        failure_limit: 2,
    };
    let seen = world.send(&[finish], false).answer.observation.expect("a look");
    assert_eq!(seen.promotable, [task("t_3")]);
    let promote = Change::Promote { task: task("t_3"), failure_limit: 2 };
    let answer = world.send(&[promote], false).answer;
    assert_eq!(answer.taken, [Taken::Yes]);
    let seen = answer.observation.expect("a look");
    assert!(seen.promotable.is_empty());
    assert_eq!(seen.ready.expect("a list").tasks[0].task, task("t_3"));
    assert_eq!(world.task("t_3"), "ready|-|-|-|-|0|-");
    assert_eq!(world.events("t_3", 0), ["-|promoted|-"]);
    assert_eq!(world.change(promote), Taken::No(Refusal::Superseded));
}

#[test]
fn a_blocked_task_is_promoted_only_when_no_person_holds_it() {
    let mut world = World::new();
    for id in ["t_free", "t_blocked", "t_unblocked", "t_tripped", "t_born", "t_review"] {
        world.add(id, "blocked");
    }
    world.event("t_blocked", "blocked", "{\"reason\": \"why\"}");
    world.event("t_unblocked", "blocked", "{}");
    world.event("t_unblocked", "unblocked", "");
    world.rival("UPDATE tasks SET consecutive_failures = 2 WHERE id = 't_tripped'");
    world.event("t_born", "created", "{\"status\": \"blocked\"}");
    world.event("t_review", "gave_up", "{\"retry_status\": \"review\"}");
    let promotable = world.look().promotable;
    assert_eq!(promotable, [task("t_free"), task("t_unblocked"), task("t_review")]);
    for id in ["t_blocked", "t_tripped", "t_born"] {
        let promote = Change::Promote { task: task(id), failure_limit: 2 };
        assert_eq!(world.change(promote), Taken::No(Refusal::Superseded), "{id}");
    }
    let promote = Change::Promote { task: task("t_review"), failure_limit: 2 };
    assert_eq!(world.change(promote), Taken::Yes);
    assert_eq!(world.events("t_review", 1), ["-|promoted|{\"status\": \"review\"}"]);
    assert_eq!(world.row("SELECT status FROM tasks WHERE id = 't_review'"), "review");
}

/// A running task under somebody else's claim.
fn foreign(world: &World, id: &str, lock: &str, expires: i64, pid: &str, start: i64) {
    world.add(id, "running");
    world.rival(&format!(
        "INSERT INTO task_runs (task_id, status, claim_lock, claim_expires, worker_pid, started_at)
         VALUES ('{id}', 'running', {lock}, {expires}, {pid}, {start})"
    ));
    world.rival(&format!(
        "UPDATE tasks SET claim_lock = {lock}, claim_expires = nullif({expires}, 0), \
         worker_pid = {pid}, started_at = {start}, \
         current_run_id = (SELECT max(id) FROM task_runs) WHERE id = '{id}'"
    ));
}

#[test]
fn claims_of_others_end_by_the_rules() {
    let mut world = World::new();
    world.host.workers.borrow_mut().extend([40, 41]);
    world.host.dispatchers.borrow_mut().insert((9, "0123abcd".to_owned()));
    let (past, later, old) = (NOW - 1, NOW + 500, NOW - 1000);
    foreign(&world, "expired", "'other:9'", past, "40", old);
    foreign(&world, "alive", "'vm:9'", past, "40", old);
    foreign(&world, "held", "'other:9'", later, "99", old);
    foreign(&world, "gone", "'vm:9'", later, "99", old);
    foreign(&world, "young", "'vm:9'", later, "99", NOW - 10);
    foreign(&world, "attended", "'vm:9:0123abcd-4'", later, "99", old);
    foreign(&world, "unattended", "'vm:8:0123abcd-4'", later, "99", old);
    foreign(&world, "orphan", "NULL", 0, "NULL", old);
    foreign(&world, "new_orphan", "NULL", 0, "NULL", NOW - 800);
    let look = world.look();
    let mut ended: Vec<String> =
        look.expired.iter().map(|e| format!("{} {:?}", e.task, e.by)).collect();
    ended.sort();
    assert_eq!(
        ended,
        ["expired Expired", "gone WorkerGone", "orphan Expired", "unattended WorkerGone"]
    );
    assert_eq!(look.running, 9);
    assert_eq!(look.due, Some(NOW + 20));

    let changes: Vec<_> = look
        .expired
        .iter()
        .map(|expired| Change::Free { expired: *expired, failure_limit: 2 })
        .collect();
    let answer = world.send(&changes, false).answer;
    assert_eq!(answer.taken, vec![Taken::Yes; 4]);
    assert!(answer.observation.expect("a look").expired.is_empty());
    assert_eq!(world.task("expired"), "ready|-|-|-|-|0|-");
    assert_eq!(world.task("gone"), "ready|-|-|-|-|1|pid 99 not alive");
    let payload = format!(
        "{{\"stale_lock\": \"other:9\", \"worker_pid\": 40, \"claim_expires\": {past}, \
         \"last_heartbeat_at\": null, \"now\": {NOW}, \"host_local\": false, \
         \"heartbeat_stale\": false, \"retry_status\": \"ready\", \"prev_pid\": 40, \
         \"termination_attempted\": false, \"terminated\": false, \"sigkill\": false}}"
    );
    assert_eq!(world.events("expired", 0), [format!("1|reclaimed|{payload}")]);
    assert!(world.run("expired").contains("|stale_lock=other:9|"));
    let crashed = "{\"pid\": 99, \"claimer\": \"vm:9\", \"retry_status\": \"ready\"}";
    assert_eq!(world.events("gone", 0), [format!("4|crashed|{crashed}")]);
    assert_eq!(world.send(&changes, false).answer.taken, vec![Taken::No(Refusal::Superseded); 4]);
}

#[test]
fn a_claim_renewed_meanwhile_is_not_ended() {
    let mut world = World::new();
    foreign(&world, "t_1", "'other:9'", NOW - 1, "NULL", NOW - 1000);
    let expired = world.look().expired[0];
    world.rival(&format!("UPDATE tasks SET claim_expires = {}", NOW + 900));
    let free = Change::Free { expired, failure_limit: 2 };
    assert_eq!(world.change(free), Taken::No(Refusal::Superseded));
    assert_eq!(world.row("SELECT status FROM tasks"), "running");
}

#[test]
fn a_failed_review_returns_to_review() {
    let mut world = World::new();
    foreign(&world, "t_1", "'vm:9'", NOW + 900, "99", NOW - 1000);
    world.event("t_1", "claimed", "{\"source_status\": \"review\"}");
    world.rival("UPDATE task_events SET run_id = 1");
    let expired = world.look().expired[0];
    world.change(Change::Free { expired, failure_limit: 5 });
    assert_eq!(world.row("SELECT status FROM tasks"), "review");
    assert!(world.events("t_1", 1)[0].ends_with("\"retry_status\": \"review\"}"));
}

#[test]
fn the_ready_list_has_the_boards_order_and_says_if_there_is_more() {
    let mut world = World::new();
    for n in 0..14 {
        world.add(&format!("t_{n:02}"), "ready");
    }
    world.rival("UPDATE tasks SET assignee = 'critic' WHERE id IN ('t_03', 't_05')");
    world.rival("UPDATE tasks SET assignee = 'Shell ' WHERE id = 't_04'");
    world.rival("UPDATE tasks SET priority = 5 WHERE id = 't_09'");
    world.rival("UPDATE tasks SET created_at = 1 WHERE id = 't_08'");
    world.rival("UPDATE tasks SET assignee = 'nobody' WHERE id = 't_00'");
    world.rival("UPDATE tasks SET claim_lock = 'x:1' WHERE id = 't_01'");
    let request = Request { changes: Vec::new(), fresh: true, relist: false, want: 6, unix: NOW };
    let answer = world.try_send(&request).expect("an exchange").answer;
    let ready = answer.observation.expect("a look").ready.expect("a list");
    let ids: Vec<_> = ready.tasks.iter().map(|c| c.task.to_string()).collect();
    assert_eq!(ids, ["t_09", "t_08", "t_02", "t_03", "t_04", "t_05"]);
    assert!(ready.more);
    assert_eq!(world.ready().len(), 10);
}

#[test]
fn an_unchanged_board_is_not_looked_at() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.look();
    assert_eq!(world.send(&[], false).answer.observation, None);
    world.add("t_2", "ready");
    let seen = world.send(&[], false).answer.observation.expect("a look");
    assert_eq!(seen.ready.expect("a list").tasks.len(), 2);
    assert_eq!(world.send(&[], false).answer.observation, None);
    world.policy.max_in_progress += 1;
    assert!(world.send(&[], false).answer.observation.is_some());
    let fence = world.start("t_1", 1, 50);
    world.finish(fence, 50, Verdict::RateLimited);
    assert_eq!(world.send(&[], false).answer.observation, None);
    world.unix += 300;
    let seen = world.send(&[], false).answer.observation.expect("a look");
    assert_eq!(seen.ready.expect("a list").tasks.len(), 2);
}

#[test]
fn a_list_that_cannot_have_improved_is_not_given_again() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.look();
    let claim = world.claim_of("t_1", 1);
    let seen = world.send(&[claim], false).answer.observation.expect("a look");
    assert_eq!(seen.ready, None);
    let fence = seen.ours[0];
    let seen = world.send(&[Change::Started { fence, pid: Pid(5) }], false).answer;
    assert_eq!(seen.observation.expect("a look").ready, None);
}

#[test]
fn a_change_that_the_board_refuses_costs_only_itself() {
    for action in ["ABORT", "FAIL", "ROLLBACK"] {
        let mut world = World::new();
        for id in ["t_1", "t_2", "t_3"] {
            world.add(id, "ready");
        }
        world.rival(&format!(
            "CREATE TRIGGER no BEFORE INSERT ON task_runs WHEN NEW.task_id = 't_2' \
             BEGIN SELECT RAISE({action}, 'no'); END"
        ));
        let claims = [world.claim_of("t_1", 1), world.claim_of("t_2", 2), world.claim_of("t_3", 3)];
        let taken = world.send(&claims, false).answer.taken;
        assert!(matches!(taken[0], Taken::Claimed { .. }), "{action}: {taken:?}");
        assert_eq!(taken[1], Taken::No(Refusal::Rejected), "{action}");
        assert!(matches!(taken[2], Taken::Claimed { .. }), "{action}: {taken:?}");
        assert_eq!(world.task("t_2"), "ready|-|-|-|-|0|-");
        assert!(world.events("t_2", 0).is_empty());
        assert_eq!(world.row("SELECT count(*) FROM task_runs"), "2");
    }
}

#[test]
fn a_rival_that_holds_the_board_makes_it_busy() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let rival = Connection::open(&world.path).expect("a rival");
    rival.execute("BEGIN IMMEDIATE", []).expect("its transaction");
    let request = Request {
        changes: vec![world.claim_of("t_1", 1)],
        fresh: false,
        relist: false,
        want: 1,
        unix: NOW,
    };
    let failed = world.try_send(&request).expect_err("busy");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Busy, Commit::No));
    assert!(failed.to_string().contains("kanban.db"), "{failed}");
    rival.execute("ROLLBACK", []).expect("its end");
    assert!(world.try_send(&request).is_ok());
}

#[test]
fn a_commit_that_fails_may_have_happened() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let path = world.path.clone();
    drop(world.board);
    let other = Connection::open(&path).expect("a connection");
    sexton::board::sql::run(&other, "PRAGMA journal_mode = DELETE").expect("another mode");
    world.board = sexton::board::Board::open(&path).expect("an open board");
    // Without a write-ahead log a reader does not keep a writer from beginning, but from ending.
    other.execute("BEGIN", []).expect("a transaction");
    board_support::rows(&other, "SELECT * FROM tasks");
    let request = Request {
        changes: vec![world.claim_of("t_1", 1)],
        fresh: false,
        relist: false,
        want: 1,
        unix: NOW,
    };
    let failed = world.try_send(&request).expect_err("busy");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Busy, Commit::Maybe));
    other.execute("COMMIT", []).expect("its end");
    assert_eq!(world.look().ours, []);
    assert!(world.try_send(&request).is_ok());
    assert_eq!(world.row("PRAGMA journal_mode"), "delete");
}

#[test]
fn while_another_dispatcher_works_only_our_own_ends_are_recorded() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.add("t_2", "ready");
    let fence = world.start("t_1", 1, 50);
    let lock_path = world.dir.path().join("kanban.db.dispatch.lock");
    let other = std::fs::File::open(&lock_path).expect("the lock file");
    other.try_lock().expect("free between exchanges");
    let finish =
        Change::Finish { fence, pid: Some(Pid(50)), verdict: Verdict::Completed, failure_limit: 2 };
    let claim = world.claim_of("t_2", 2);
    let taken = world.send(&[claim, finish], false).answer.taken;
    assert_eq!(taken, [Taken::No(Refusal::Locked), Taken::Yes]);
    other.unlock().expect("its end");
    assert!(matches!(world.change(claim), Taken::Claimed { .. }));
}

/// What a dispatcher that knows nothing would find, on a copy of the board.
fn fresh_eyes(world: &mut World) -> Vec<sexton::machine::ids::TaskId> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("kanban.db");
    let copy = format!("VACUUM INTO '{}'", path.display());
    world.board.connection().execute(&copy, []).expect("a copy");
    World::with((dir, path)).look().promotable
}

#[test]
fn promotions_found_by_events_are_those_found_by_looking_at_everything() {
    let mut world = World::new();
    let mut seed = 12_345_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for n in 0..40 {
        world.add(&format!("t_{n:02}"), ["todo", "blocked"][usize::from(n % 3 == 0)]);
        for _ in 0..random(3) {
            if n > 0 {
                let parent = random(n);
                world.rival(&format!(
                    "INSERT OR IGNORE INTO task_links VALUES ('t_{parent:02}', 't_{n:02}')"
                ));
            }
        }
    }
    world.look();
    for _ in 0..60 {
        let id = format!("t_{:02}", random(40));
        let (kind, status) = [
            ("completed", "done"),
            ("archived", "archived"),
            ("unblocked", "todo"),
            ("blocked", "blocked"),
            ("status", "todo"),
        ][usize::try_from(random(5)).expect("small")];
        world.rival(&format!("UPDATE tasks SET status = '{status}' WHERE id = '{id}'"));
        world.event(&id, kind, "");
        let mut by_events = world.send(&[], false).answer.observation.expect("a look").promotable;
        let mut by_looking = fresh_eyes(&mut world);
        by_events.sort();
        by_looking.sort();
        assert_eq!(by_events, by_looking);
        if let Some(task) = by_events.first() {
            let promote = Change::Promote { task: *task, failure_limit: 2 };
            assert_eq!(world.change(promote), Taken::Yes);
        }
    }
}

#[test]
fn more_promotions_than_are_told_at_once_come_one_after_the_other() {
    let mut world = World::new();
    world.rival(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) \
         INSERT INTO tasks (id, title, status, created_at) \
         SELECT printf('t_%04d', i), 'x', 'todo', 1 FROM n",
    );
    let mut promotable = world.look().promotable;
    let mut rounds = 0;
    while !promotable.is_empty() {
        assert!(promotable.len() <= 256);
        let changes: Vec<_> = promotable
            .iter()
            .map(|task| Change::Promote { task: *task, failure_limit: 2 })
            .collect();
        promotable = world.send(&changes, false).answer.observation.expect("a look").promotable;
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    assert_eq!(world.row("SELECT count(*) FROM tasks WHERE status = 'ready'"), "600");
}

#[test]
fn rows_that_cannot_be_understood_are_left_alone() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival(
        "INSERT INTO tasks (id, title, assignee, status, priority, created_at, body, \
         claim_expires, worker_pid, consecutive_failures, max_retries) VALUES \
         ('a_far_too_long_id_for_any_task_whatsoever', 'x', 'shell', 'ready', 0, 1, '', 1, 1, 0, 1), \
         (NULL, 'x', 'shell', 'ready', 0, 1, '', 1, 1, 0, 1), \
         (x'ff00', 'x', 'shell', 'todo', 0, 1, '', 1, 1, 0, 1), \
         ('t_2', x'ff', 'shell', 'ready', 'high', 'then', x'ff', 'soon', 'pid', 'many', 'few'), \
         ('t_3', x'ff', CAST(x'ff' AS TEXT), 'ready', 1.5, 2.5, 7, 1.5, -5, -7, 0), \
         ('t_4', 'x', 'shell', 'running', 1.5, 2.5, 7, 'x', 1e300, -7, 0), \
         ('t_5', 'x', 'shell', CAST(x'ff' AS TEXT), NULL, 1, 7, NULL, NULL, 0, 0)",
    );
    world.rival("INSERT INTO task_events VALUES (9, x'ff', 'x', x'ff', x'ff', 'x')");
    let look = world.look();
    assert_eq!(look.running, 1);
    assert_eq!(look.expired.len(), 1);
    assert_eq!(world.ready(), ["t_2", "t_1"]);
    let exchanged = world.send(&[world.claim_of("t_2", 1)], false);
    assert_eq!(exchanged.facts[0].1.title, "\u{fffd}");
}

#[test]
fn a_board_written_to_past_the_exchange_is_looked_at() {
    let mut world = World::new();
    world.add("t_1", "todo");
    world.look();
    world
        .board
        .write(|conn| -> Result<(), Box<dyn std::error::Error>> {
            conn.execute("UPDATE tasks SET status = 'ready'", [])?;
            Ok(())
        })
        .expect("a write");
    let seen = world.send(&[], false).answer.observation.expect("a look");
    assert_eq!(seen.ready.expect("a list").tasks.len(), 1);
}

#[test]
fn the_log_is_copied_into_the_file_now_and_then() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.claim("t_1", 1);
    let renew = Change::Renew { fence, ttl_s: 900, heartbeat: true };
    for _ in 0..1200 {
        world.unix += 1;
        assert_eq!(world.change(renew), Taken::Yes);
    }
    let log = world.dir.path().join("kanban.db-wal").metadata().expect("a log").len();
    assert!(log < 1200 * 4096, "the log has {log} bytes");
}

#[test]
fn a_task_behind_many_that_are_held_is_found() {
    let mut world = World::new();
    world.rival(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
         INSERT INTO tasks (id, title, assignee, status, priority, created_at, started_at) \
         SELECT printf('h_%04d', i), 'x', 'shell', 'ready', 9, i, 1 FROM n",
    );
    world.rival(&format!(
        "INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at) \
         SELECT id, 'rate_limited', 'rate_limited', 1, {NOW} - (rowid % 7) FROM tasks"
    ));
    world.add("t_1", "ready");
    world.add("t_2", "ready");
    world.rival("UPDATE tasks SET assignee = 'critic', priority = 3 WHERE id = 't_2'");
    let look = world.look();
    assert_eq!(look.due, Some(NOW + 294));
    assert_eq!(world.ready(), ["t_2", "t_1"]);
}

#[test]
fn a_higher_limit_frees_what_the_lower_one_had_blocked() {
    let mut world = World::new();
    world.add("t_1", "blocked");
    world.rival("UPDATE tasks SET consecutive_failures = 2");
    assert!(world.look().promotable.is_empty());
    world.policy.failure_limit = 5;
    let seen = world.send(&[], false).answer.observation.expect("a look");
    assert_eq!(seen.promotable, [task("t_1")]);
}

/// Whose scratch workspaces are not needed any more after a change.
fn unneeded(world: &mut World, change: Change) -> Vec<String> {
    let unneeded = world.send(&[change], false).unneeded;
    unneeded.iter().map(|scratch| scratch.task.to_string()).collect()
}

fn end(fence: Fence, verdict: Verdict) -> Change {
    Change::Finish { fence, pid: Some(Pid(5)), verdict, failure_limit: 2 }
}

#[test]
fn a_scratch_workspace_is_needed_until_all_children_are_finished() {
    let mut world = World::new();
    world.add("t_p", "ready");
    for child in ["t_1", "t_2"] {
        world.add(child, "todo");
        world.link("t_p", child);
    }
    world.link("t_p", "t_gone");
    let fence = world.start("t_p", 1, 5);
    assert_eq!(unneeded(&mut world, end(fence, Verdict::Completed)), [""; 0]);
    world.rival("UPDATE tasks SET status = 'ready' WHERE id <> 't_p'");
    let (first, second) = (world.start("t_1", 2, 6), world.start("t_2", 3, 7));
    assert_eq!(unneeded(&mut world, end(first, Verdict::Completed)), ["t_1"]);
    let crash = Verdict::Crashed(ExitStatus::Code(1));
    assert_eq!(unneeded(&mut world, end(second, crash)), [""; 0]);
    let again = world.start("t_2", 4, 8);
    assert_eq!(unneeded(&mut world, end(again, Verdict::Completed)), ["t_2", "t_p"]);
}

#[test]
fn only_the_scratch_workspaces_of_completed_tasks_are_unneeded() {
    let mut world = World::new();
    for (n, (set, expected)) in [
        ("workspace_kind = 'dir', workspace_path = '/x'", None),
        ("workspace_kind = 'worktree'", None),
        ("workspace_path = '/w/t'", Some(Some("/w/t".to_owned()))),
        ("title = 'x'", Some(None)),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, spawn) = (format!("t_{n}"), n as u64);
        world.add(&id, "ready");
        world.rival(&format!("UPDATE tasks SET {set} WHERE id = '{id}'"));
        let fence = world.start(&id, spawn, 5);
        let unneeded = world.send(&[end(fence, Verdict::Completed)], false).unneeded;
        let paths: Vec<_> = unneeded.into_iter().map(|scratch| scratch.path).collect();
        assert_eq!(paths, expected.into_iter().collect::<Vec<_>>(), "{set}");
    }
}

#[test]
fn a_task_that_its_worker_completed_itself_leaves_its_workspace_too() {
    let mut world = World::new();
    for (id, status, expected) in [
        ("t_1", "'done', completed_at = 5", true),
        ("t_2", "'archived', completed_at = 5", true),
        ("t_3", "'archived'", false),
        ("t_4", "'blocked'", false),
    ] {
        world.add(id, "ready");
        let fence = world.start(id, 1, 5);
        world.rival(&format!(
            "UPDATE tasks SET claim_lock = NULL, current_run_id = NULL, status = {status} \
             WHERE id = '{id}'"
        ));
        let found = unneeded(&mut world, end(fence, Verdict::ProtocolViolation));
        assert_eq!(found == [id], expected, "{id}: {found:?}");
    }
}

/// The tasks of which is said that the next pass of a dispatcher makes them ready.
fn said_to_be_promotable(world: &World) -> Vec<String> {
    let board = card::open_to_follow(&world.path).expect("a board to read");
    let lane = |name: Option<&str>| world.workers.lane(name);
    let judge = Judge { policy: &world.policy, lane: &lane, now: NOW };
    let said = |id: &String| {
        let task = card::find(&board.conn, &board.columns, id).expect("a task");
        card::wait(&board.conn, judge, &task).expect("a wait") == Some(Wait::Promotion)
    };
    world.rows("SELECT id FROM tasks ORDER BY rowid").into_iter().filter(said).collect()
}

#[test]
fn what_is_said_of_a_blocked_task_is_what_a_dispatcher_does() {
    let mut world = World::new();
    let trip = "{\"sticky\": true}";
    for (id, events) in [
        ("t_free", vec![]),
        ("t_born", vec![("created", "{\"status\": \"blocked\"}")]),
        ("t_blocked", vec![("blocked", ""), ("gave_up", "")]),
        ("t_tripped", vec![("gave_up", trip)]),
        ("t_forgiven", vec![("gave_up", trip), ("unblocked", "")]),
        ("t_tripped_again", vec![("gave_up", trip), ("gave_up", "")]),
        ("t_no_retries", vec![]),
    ] {
        world.add(id, "blocked");
        for (kind, payload) in events {
            world.event(id, kind, payload);
        }
    }
    world.rival("UPDATE tasks SET max_retries = 0 WHERE id = 't_no_retries'");
    let told: Vec<_> = world.look().promotable.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["t_free", "t_forgiven", "t_tripped_again", "t_no_retries"]);
    assert_eq!(said_to_be_promotable(&world), told);
}

#[test]
fn who_completes_a_task_promotes_as_a_dispatcher_does() {
    let mut world = World::new();
    world.add("t_0", "ready");
    for id in ["t_born", "t_reviewed", "t_plain"] {
        world.add(id, "blocked");
        world.link("t_0", id);
    }
    world.event("t_born", "created", "{\"status\": \"blocked\"}");
    world.event("t_reviewed", "gave_up", "{\"retry_status\": \"review\"}");
    let board = card::open(&world.path).expect("a board");
    let with = Complete { failure_limit: 2, ..Complete::default() };
    card::write(&board, |conn, columns| card::complete(conn, columns, NOW, "t_0", &with))
        .expect("a completion");
    let statuses = world.rows("SELECT status FROM tasks ORDER BY rowid");
    assert_eq!(statuses, ["done", "blocked", "review", "ready"]);
    assert_eq!(world.events("t_reviewed", 1), ["-|promoted|{\"status\": \"review\"}"]);
    assert!(world.look().promotable.is_empty());
}

#[test]
fn what_is_said_of_a_ready_task_is_what_a_dispatcher_does() {
    let mut world = World::new();
    world.policy.workers[0].needs_body = true;
    for (id, body) in [("t_blank", "'  '"), ("t_text", "'x'"), ("t_rested", "'x'")] {
        world.add(id, "ready");
        world.rival(&format!("UPDATE tasks SET body = {body} WHERE id = '{id}'"));
    }
    // The run with the larger id ended first.
    world.rival("UPDATE tasks SET started_at = 1 WHERE id = 't_rested'");
    world.rival(&format!(
        "INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at) VALUES \
         ('t_rested', 'crashed', 'crashed', 1, {NOW}), \
         ('t_rested', 'rate_limited', 'rate_limited', 1, {NOW} - 1)"
    ));
    let board = card::open_to_follow(&world.path).expect("a board to read");
    for (id, hold) in [("t_blank", Some(Hold::NeedsBody)), ("t_text", None), ("t_rested", None)] {
        let lane = |name: Option<&str>| world.workers.lane(name);
        let judge = Judge { policy: &world.policy, lane: &lane, now: NOW };
        let found = card::find(&board.conn, &board.columns, id).expect("a task");
        let said = card::wait(&board.conn, judge, &found).expect("a wait");
        assert_eq!(said, hold.map(Wait::Hold), "{id}");
    }
    assert_eq!(world.ready(), ["t_text", "t_rested"]);
}
