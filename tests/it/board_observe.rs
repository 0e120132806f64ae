//! What a dispatcher sees of a real board, and when it looks.
#![cfg(feature = "runtime")]

use crate::support::board::{NOW, World};
use sexton::board::card::{self, Judge, Wait};
use sexton::machine::exchange::{Change, Refusal, Request, Taken};
use sexton::machine::hold::Hold;
use sexton::machine::ids::Pid;
use sexton::machine::verdict::Verdict;

#[test]
fn the_ready_list_has_the_boards_order_and_shows_whether_there_is_more() {
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
fn a_list_that_cannot_have_improved_is_not_returned_again() {
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
fn the_wait_shown_for_a_ready_task_is_what_a_dispatcher_does() {
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
    for (id, hold) in [("t_blank", Some(Hold::NeedsBody)), ("t_text", None), ("t_rested", None)] {
        assert_eq!(said(&world, id), hold.map(Wait::Hold), "{id}");
    }
    assert_eq!(world.ready(), ["t_text", "t_rested"]);
}

#[test]
fn a_task_without_a_priority_comes_after_all_that_have_one() {
    let mut world = World::new();
    for id in ["t_1", "t_2", "t_3"] {
        world.add(id, "ready");
    }
    world.rival("UPDATE tasks SET priority = NULL WHERE id = 't_1'");
    world.rival("UPDATE tasks SET priority = -7 WHERE id = 't_2'");
    assert_eq!(world.ready(), ["t_3", "t_2", "t_1"]);
}

/// Returns what a command shows that a ready task waits for.
fn said(world: &World, id: &str) -> Option<Wait> {
    let board = card::open_to_follow(&world.path).expect("a board to read");
    let judge = Judge { policy: &world.policy, workers: &world.workers, now: world.unix };
    let found = card::find(&board.conn, &board.columns, id).expect("a task");
    card::wait(&board.conn, judge, &found).expect("a wait")
}

#[test]
fn an_end_that_is_not_a_time_hides_no_later_one() {
    let odd =
        ["1795500000000", "1795500301", "1e300", "9e999", "'2026-11-24'", "'1795500000'", "x'ff'"];
    for ended_at in odd {
        let mut world = World::new();
        world.add("t_1", "ready");
        world.rival("UPDATE tasks SET started_at = 1");
        world.rival(&format!(
            "INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at) VALUES \
             ('t_1', 'crashed', 'crashed', 1, {ended_at})"
        ));
        assert_eq!(world.ready(), ["t_1"], "{ended_at} holds it");
        let fence = world.start("t_1", 1, 50);
        world.finish(fence, 50, Verdict::RateLimited);
        let hold = Hold::Cooldown { until: NOW + 300 };
        let look = world.look();
        assert_eq!(look.due, Some(NOW + 300), "{ended_at}");
        assert_eq!(look.ready.expect("a list").tasks, [], "{ended_at}");
        assert_eq!(said(&world, "t_1"), Some(Wait::Hold(hold)), "{ended_at}");
        let refused = world.change(world.claim_of("t_1", 2));
        assert_eq!(refused, Taken::No(Refusal::Held(hold)), "{ended_at}");
        world.unix += 300;
        assert_eq!(world.ready(), ["t_1"], "{ended_at} holds it for longer");
    }
}

#[test]
fn a_start_that_is_not_a_time_lets_no_task_skip_its_rest() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival("UPDATE tasks SET started_at = 'yesterday'");
    let fence = world.start("t_1", 1, 50);
    world.finish(fence, 50, Verdict::RateLimited);
    assert_eq!(world.look().due, Some(NOW + 300));
    let hold = Wait::Hold(Hold::Cooldown { until: NOW + 300 });
    assert_eq!(said(&world, "t_1"), Some(hold));
}

#[test]
fn rows_that_cannot_be_taken_hide_none_that_can() {
    for id in ["printf('a-task-with-a-really-long-id-%04d', i)", "CAST(printf('b%d', i) AS BLOB)"] {
        for count in [60, 73, 74, 75, 300, 2400] {
            let mut world = World::new();
            world.rival(&format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
                 INSERT INTO tasks (id, title, assignee, status, priority, created_at) \
                 SELECT {id}, 'x', 'shell', 'ready', 9, i FROM n"
            ));
            world.add("t_1", "ready");
            world.add("t_2", "ready");
            assert_eq!(world.ready(), ["t_1", "t_2"], "{count} of {id}");
        }
    }
}
