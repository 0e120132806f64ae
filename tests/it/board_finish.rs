//! How runs end on a real board: what was there before, how it ended, and exactly which rows and
//! events there are afterwards; and which scratch workspaces are no longer needed.
#![cfg(feature = "runtime")]

use crate::support::board::{NOW, World, task};
use sexton::machine::exchange::{Change, Fence, Refusal, Taken};
use sexton::machine::ids::Pid;
use sexton::machine::verdict::{ExitStatus, Release, Verdict};

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
    let lock_1 = world.lock(1);
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
    let lock_2 = world.lock(2);
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
    let lock = world.lock(1);
    world.finish(fence, 50, Verdict::Crashed(ExitStatus::Unknown));
    let payload = format!("{{\"pid\": 50, \"claimer\": \"{lock}\", \"retry_status\": \"ready\"}}");
    assert_eq!(world.events("t_1", 2), [format!("1|crashed|{payload}")]);
    assert_eq!(world.task("t_1"), "ready|-|-|-|-|1|pid 50 not alive");
}

#[test]
fn three_unknown_ends_in_a_row_block_for_good_and_count_no_failure_before() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let status = |world: &World| world.task("t_1").split('|').next().unwrap_or_default().to_owned();
    for (attempt, after) in [(1, "ready"), (2, "ready"), (3, "blocked")] {
        let fence = world.start("t_1", attempt, 50);
        world.finish(fence, 50, Verdict::Unknown);
        assert_eq!(status(&world), after, "after {attempt}");
        assert!(world.run("t_1").contains("reclaimed"), "{}", world.run("t_1"));
    }
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
    let lock = world.lock(3);
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
    let lock = world.lock(1);
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
fn refused_credentials_block_immediately() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.start("t_1", 1, 50);
    let lock = world.lock(1);
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
fn a_released_run_counts_as_no_failure() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.rival("UPDATE tasks SET consecutive_failures = 1, last_failure_error = 'before'");
    let fence = world.start("t_1", 1, 50);
    let lock = world.lock(1);
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
fn a_run_that_never_had_a_process_is_given_back_for_its_own_reason() {
    for (release, why) in [
        (Release::HostRefused, "sexton: the host refused to start a process"),
        (Release::NotStarted, "sexton: not started"),
        (Release::Shutdown, "sexton: shutdown"),
    ] {
        let mut world = World::new();
        world.add("t_1", "ready");
        let fence = world.claim("t_1", 1);
        let verdict = Verdict::Released(release);
        let finish = Change::Finish { fence, pid: None, verdict, failure_limit: 2 };
        assert_eq!(world.change(finish), Taken::Yes);
        assert_eq!(world.task("t_1"), "ready|-|-|-|-|0|-");
        let metadata = "{\"prev_pid\": null, \"host_local\": false, \
                        \"termination_attempted\": false, \"terminated\": false, \
                        \"sigkill\": false}";
        let run = format!("reclaimed|reclaimed|-|-|-|{NOW}|-|{why}|{metadata}");
        assert_eq!(world.run("t_1"), run);
    }
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
