//! What makes tasks of a real board ready again: promotions, and the ends of the claims of others.
#![cfg(feature = "runtime")]

use crate::support::board::{NOW, World, task};
use sexton::board::Owner;
use sexton::board::card::{self, Complete, Judge, Wait};
use sexton::machine::exchange::{Change, Refusal, Taken};
use sexton::machine::ids::Pid;
use sexton::machine::verdict::Verdict;

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

/// What a dispatcher that knows nothing would find, on a copy of the board.
fn fresh_eyes(world: &mut World) -> Vec<sexton::machine::ids::TaskId> {
    let dir = tempfile::tempdir().expect("a directory");
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
fn more_promotions_than_fit_one_answer_come_one_after_the_other() {
    let mut world = World::new();
    world.rival(MANY);
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

/// Tasks `t_0001` and so on that wait for nothing.
const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) \
                    INSERT INTO tasks (id, title, status, created_at) \
                    SELECT printf('t_%04d', i), 'x', 'todo', 1 FROM n";

#[test]
fn more_promotions_by_events_than_fit_one_answer_come_one_after_the_other() {
    let mut world = World::new();
    world.look();
    world.rival(MANY);
    world.rival(
        "INSERT INTO task_events (task_id, kind, created_at) SELECT id, 'created', 1 FROM tasks",
    );
    let mut told = Vec::new();
    for count in [256, 256, 88, 0] {
        let changes: Vec<_> =
            told.iter().map(|task| Change::Promote { task: *task, failure_limit: 2 }).collect();
        told = world.send(&changes, false).answer.observation.expect("a look").promotable;
        assert_eq!(told.len(), count);
    }
    assert_eq!(world.row("SELECT count(*) FROM tasks WHERE status = 'ready'"), "600");
}

#[test]
fn behind_a_flood_of_events_nothing_is_overlooked() {
    let mut world = World::new();
    world.look();
    world.add("t_1", "todo");
    world.rival(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
         INSERT INTO task_events (task_id, kind, created_at) SELECT 't_0', 'edited', 1 FROM n",
    );
    world.event("t_1", "created", "");
    let seen = world.send(&[], false).answer.observation.expect("a look");
    assert_eq!(seen.promotable, [task("t_1")]);
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

/// The tasks of which is said that the next pass of a dispatcher makes them ready.
fn said_to_be_promotable(world: &World) -> Vec<String> {
    let board = card::open_to_follow(&world.path).expect("a board to read");
    let judge = Judge { policy: &world.policy, workers: &world.workers, now: NOW };
    let said = |id: &String| {
        let task = card::find(&board.conn, &board.columns, id).expect("a task");
        card::wait(&board.conn, judge, &task).expect("a wait") == Some(Wait::Promotion)
    };
    world.rows("SELECT id FROM tasks ORDER BY rowid").into_iter().filter(said).collect()
}

#[test]
fn the_wait_shown_for_a_blocked_task_is_what_a_dispatcher_does() {
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

/// Adds a running task under the claim of another dispatcher.
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
    let who = |pid, instance: &str| (pid, instance.to_owned());
    world.host.dispatchers.borrow_mut().insert(who(9, "b.1.2.4"));
    world.host.elsewhere.borrow_mut().insert(who(7, "b.9.9.4"));
    world.host.recorded.borrow_mut().insert(who(6, "b.1.2.5"));
    let (past, later, old) = (NOW - 1, NOW + 500, NOW - 1000);
    foreign(&world, "expired", "'other:9'", past, "40", old);
    foreign(&world, "alive", "'vm:9'", past, "40", old);
    foreign(&world, "held", "'other:9'", later, "99", old);
    foreign(&world, "gone", "'vm:9'", later, "99", old);
    foreign(&world, "young", "'vm:9'", later, "99", NOW - 10);
    foreign(&world, "attended", "'vm:9:b.1.2.4-4'", later, "99", old);
    foreign(&world, "overdue", "'vm:9:b.1.2.4-5'", past, "99", old);
    foreign(&world, "elsewhere", "'vm:7:b.9.9.4-4'", later, "99", old);
    foreign(&world, "elsewhere_over", "'vm:7:b.9.9.4-5'", past, "40", old);
    foreign(&world, "dead", "'vm:8:b.1.2.4-4'", later, "99", old);
    foreign(&world, "dead_no_pid", "'vm:8:b.1.2.4-5'", later, "NULL", old);
    foreign(&world, "dead_recorded", "'vm:6:b.1.2.5-5'", later, "NULL", old);
    foreign(&world, "orphan", "NULL", 0, "NULL", old);
    foreign(&world, "new_orphan", "NULL", 0, "NULL", NOW - 800);
    let look = world.look();
    let mut ended: Vec<String> =
        look.expired.iter().map(|e| format!("{} {:?}", e.task, e.by)).collect();
    ended.sort();
    assert_eq!(
        ended,
        ["elsewhere_over Expired", "expired Expired", "gone WorkerGone", "orphan Expired"]
    );
    let mut orphans: Vec<_> = look.orphans.iter().map(|o| o.task.to_string()).collect();
    orphans.sort();
    assert_eq!(orphans, ["dead", "dead_recorded"]);
    assert_eq!(look.running, 14);
    assert_eq!(look.due, Some(NOW + 20));

    let changes: Vec<_> = look
        .expired
        .iter()
        .map(|expired| Change::Reclaim { expired: *expired, failure_limit: 2 })
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

/// Returns whether a dispatcher frees the task of a dead client, if the pid of its worker now belongs
/// to a process with fingerprint `found`.
fn is_freed(recorded: &str, found: &str) -> bool {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.start("t_1", 1, 50);
    world.rival(&format!("UPDATE task_events SET payload = {recorded} WHERE kind = 'spawned'"));
    // A sexton's claim would be adopted.
    world.rival("UPDATE tasks SET claim_lock = 'vm:77'");
    world.owner = Owner::new("vm", Pid(78), "boot.1.1.2");
    world.host.workers.borrow_mut().insert(50);
    world.host.fingerprints.borrow_mut().insert(50, found.to_owned());
    world.unix += 1_000;
    let expired = world.look().expired;
    let free = |expired: &_| Change::Reclaim { expired: *expired, failure_limit: 2 };
    !expired.is_empty() && world.change(free(&expired[0])) == Taken::Yes
}

#[test]
fn a_pid_that_came_to_mean_another_process_holds_no_claim() {
    assert!(is_freed("payload", "boot:1|2"));
    assert!(!is_freed("payload", "boot:1|1"), "the worker itself");
    let said_nothing =
        ["NULL", "'{\"pid\": 50}'", "'{\"pid\": 50, \"started_at\": \"unverified\"}'"];
    for recorded in said_nothing {
        assert!(!is_freed(recorded, "boot:1|2"), "{recorded}");
    }
    let of_another_process = "'{\"pid\": 49, \"started_at\": \"boot:1|1\"}'";
    assert!(!is_freed(of_another_process, "boot:1|2"));
}

#[test]
fn more_ended_claims_than_fit_one_answer_come_one_after_the_other() {
    let mut world = World::new();
    world.rival(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) \
         INSERT INTO tasks (id, title, status, created_at, claim_lock, claim_expires) \
         SELECT printf('t_%04d', i), 'x', 'running', 1, 'other:9', 1 FROM n",
    );
    world.add("ours", "ready");
    let Change::Claim { spawn, task, worker, ttl_s, .. } = world.claim_of("ours", 1) else {
        panic!("a claim");
    };
    world.change(Change::Claim { spawn, task, worker, ttl_s, cap: 999 });
    let mut seen = world.look();
    for count in [256, 256, 88] {
        assert_eq!((seen.expired.len(), seen.ours.len()), (count, 1));
        // Where there are more, another look is due immediately, and is not skipped.
        let more = count == 256;
        assert_eq!(seen.due, more.then_some(NOW));
        let again = world.send(&[], false).answer.observation;
        assert_eq!(again.map(|again| again.expired), more.then(|| seen.expired.clone()));
        let free = |expired: &_| Change::Reclaim { expired: *expired, failure_limit: 2 };
        let changes: Vec<_> = seen.expired.iter().map(free).collect();
        seen = world.send(&changes, false).answer.observation.expect("a look");
    }
    assert_eq!((seen.expired.len(), seen.ours.len()), (0, 1));
    assert_eq!(world.row("SELECT count(*) FROM tasks WHERE status = 'running'"), "1");
}

#[test]
fn a_claim_renewed_meanwhile_is_not_ended() {
    let mut world = World::new();
    foreign(&world, "t_1", "'other:9'", NOW - 1, "NULL", NOW - 1000);
    let expired = world.look().expired[0];
    world.rival(&format!("UPDATE tasks SET claim_expires = {}", NOW + 900));
    let free = Change::Reclaim { expired, failure_limit: 2 };
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
    world.change(Change::Reclaim { expired, failure_limit: 5 });
    assert_eq!(world.row("SELECT status FROM tasks"), "review");
    assert!(world.events("t_1", 1)[0].ends_with("\"retry_status\": \"review\"}"));
}
