//! What the verbs write, compared cell by cell with the board format.
#![cfg(feature = "runtime")]

use crate::support::sandbox::{Sandbox, finish};

/// Makes a running task under a claim, as a dispatcher leaves it.
fn claim(s: &Sandbox, id: &str) {
    s.sql(&format!(
        "INSERT INTO task_runs (task_id, profile, status, claim_lock, claim_expires, worker_pid, \
         last_heartbeat_at, started_at) VALUES ('{id}', 'shell', 'running', 'h:1:x', 99, 7, 55, 50);
         UPDATE tasks SET status = 'running', claim_lock = 'h:1:x', claim_expires = 99, \
         worker_pid = 7, started_at = 50, last_heartbeat_at = 55, consecutive_failures = 1, \
         last_failure_error = 'e', current_run_id = (SELECT max(id) FROM task_runs) \
         WHERE id = '{id}'"
    ));
}

const STATE: &str = "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, \
                     consecutive_failures, last_failure_error, block_kind, block_recurrences";

fn state(s: &Sandbox, id: &str) -> String {
    s.rows(&format!("{STATE} FROM tasks WHERE id = '{id}'")).remove(0)
}

fn runs(s: &Sandbox, id: &str) -> Vec<String> {
    s.rows(&format!(
        "SELECT profile, status, claim_lock, claim_expires, worker_pid, last_heartbeat_at, \
         ended_at IS NOT NULL, outcome, summary, metadata, error FROM task_runs \
         WHERE task_id = '{id}' ORDER BY id"
    ))
}

#[test]
fn create_writes_the_task_and_its_event() {
    let s = Sandbox::new();
    let parent = s.create(&["first"]);
    let id = s.create(&[
        "  zweite Größe 🐎  ",
        "--body",
        "b\n",
        "--assignee",
        " Shell ",
        "--parent",
        &parent,
        "--parent",
        &parent,
        "--priority",
        "-3",
        "--workspace",
        "dir:/w",
        "--max-runtime",
        "30m",
        "--max-retries",
        "4",
        "--tenant",
        "t",
        "--idempotency-key",
        "k",
        "--created-by",
        "ana",
        "--skill",
        "x",
        "--skill",
        "y",
        "--goal",
    ]);
    assert!(id.len() == 10 && id.starts_with("t_"), "{id}");
    let columns = "title, body, assignee, status, priority, created_by, workspace_kind, \
                   workspace_path, tenant, idempotency_key, max_runtime_seconds, max_retries, \
                   skills, goal_mode, goal_max_turns, branch_name, consecutive_failures, \
                   block_recurrences, started_at, result, current_run_id";
    assert_eq!(
        s.rows(&format!("SELECT {columns} FROM tasks WHERE id = '{id}'")),
        [
            "zweite Größe 🐎|b\n|shell|todo|-3|ana|dir|/w|t|k|1800|4|[\"x\", \"y\"]|1|NULL|NULL|0|0|NULL|NULL|NULL"
        ]
    );
    assert_eq!(s.rows("SELECT * FROM task_links"), [format!("{parent}|{id}")]);
    assert_eq!(
        s.events(&id),
        [format!(
            "created|NULL|{{\"assignee\": \"shell\", \"status\": \"todo\", \"parents\": \
             [\"{parent}\"], \"tenant\": \"t\", \"branch_name\": null, \"skills\": \
             [\"x\", \"y\"], \"goal_mode\": true}}"
        )]
    );
    assert_eq!(
        s.events(&parent),
        ["created|NULL|{\"assignee\": null, \"status\": \"ready\", \"parents\": [], \
          \"tenant\": null, \"branch_name\": null, \"skills\": null, \"goal_mode\": null}"]
    );
    assert_eq!(s.create(&["again", "--idempotency-key", "k"]), id);
    assert_eq!(s.rows("SELECT count(*) FROM tasks"), ["2"]);
    s.sql("UPDATE tasks SET status = 'archived'");
    assert_ne!(s.create(&["again", "--idempotency-key", "k"]), id);
}

#[test]
fn a_new_task_waits_as_its_parents_and_flags_demand() {
    let s = Sandbox::new();
    let parent = s.create(&["parent"]);
    let status = |args: &[&str]| {
        let id = s.create(args);
        s.rows(&format!("SELECT status FROM tasks WHERE id = '{id}'")).remove(0)
    };
    assert_eq!(status(&["x"]), "ready");
    assert_eq!(status(&["x", "--triage"]), "triage");
    assert_eq!(status(&["x", "--parent", &parent]), "todo");
    for over in ["done", "archived"] {
        s.sql(&format!("UPDATE tasks SET status = '{over}' WHERE id = '{parent}'"));
        assert_eq!(status(&["x", "--parent", &parent]), "ready");
    }
    let blocked = s.create(&["x", "--initial-status", "blocked"]);
    assert_eq!(
        s.events(&blocked)[1],
        "blocked|NULL|{\"reason\": \"initial_status\", \"status\": \"blocked\", \"actor\": \"user\"}"
    );
}

#[test]
fn complete_ends_the_run_and_promotes_the_children() {
    let s = Sandbox::new();
    let (id, other) = (s.create(&["x", "--assignee", "shell"]), s.create(&["other"]));
    let child = s.create(&["child", "--parent", &id]);
    let both = s.create(&["both", "--parent", &id, "--parent", &other]);
    claim(&s, &id);
    s.ok(&[
        "complete",
        &id,
        "--result",
        "äö",
        "--summary",
        " was\nquick",
        "--metadata",
        "{\"b\":[1,2],\"a\":\"ü\"}",
    ]);
    assert_eq!(state(&s, &id), "done|NULL|NULL|NULL|NULL|0|NULL|NULL|0");
    assert_eq!(
        s.rows(&format!("SELECT result, started_at, last_heartbeat_at, completed_at - created_at < 60 FROM tasks WHERE id = '{id}'")),
        ["äö|50|55|1"]
    );
    assert_eq!(
        runs(&s, &id),
        ["shell|done|NULL|NULL|NULL|55|1|completed| was\nquick|{\"b\": [1, 2], \"a\": \"ü\"}|NULL"]
    );
    assert_eq!(s.events(&id)[1], "completed|1|{\"result_len\": 2, \"summary\": \"was\"}");
    assert_eq!(s.events(&child)[1], "promoted|NULL|NULL");
    assert!(state(&s, &child).starts_with("ready|"));
    assert_eq!(s.events(&both).len(), 1);
    assert!(state(&s, &both).starts_with("todo|"));
}

#[test]
fn complete_without_a_run_makes_one_up_only_if_there_is_something_to_keep() {
    let s = Sandbox::new();
    let (bare, blank, told) =
        (s.create(&["a"]), s.create(&["b"]), s.create(&["c", "--assignee", "x"]));
    s.ok(&["complete", &bare]);
    s.ok(&["complete", &blank, "--summary", "   "]);
    s.ok(&["complete", &told, "--result", "42"]);
    assert_eq!(runs(&s, &bare), [""; 0]);
    assert_eq!(runs(&s, &blank), [""; 0]);
    for id in [&bare, &blank] {
        assert_eq!(s.events(id)[1], "completed|NULL|{\"result_len\": 0, \"summary\": null}");
    }
    assert_eq!(runs(&s, &told), ["x|completed|NULL|NULL|NULL|NULL|1|completed|42|NULL|NULL"]);
    assert_eq!(s.events(&told)[1], "completed|1|{\"result_len\": 2, \"summary\": \"42\"}");
}

#[test]
fn a_blocked_child_is_promoted_only_if_nothing_holds_it() {
    let s = Sandbox::new();
    let parent = s.create(&["p"]);
    let ids: Vec<String> = (0..4)
        .map(|_| {
            let id = s.create(&["c", "--parent", &parent]);
            s.sql(&format!("UPDATE tasks SET status = 'blocked' WHERE id = '{id}'"));
            id
        })
        .collect();
    let event = |id: &str, kind: &str, payload: &str| {
        s.sql(&format!("INSERT INTO task_events (task_id, kind, payload, created_at) VALUES ('{id}', '{kind}', {payload}, 1)"));
    };
    event(&ids[1], "blocked", "NULL");
    event(&ids[2], "gave_up", "'{\"sticky\": true}'");
    event(&ids[3], "gave_up", "NULL");
    s.sql(&format!("UPDATE tasks SET consecutive_failures = 2 WHERE id = '{}'", ids[3]));
    s.ok(&["complete", &parent]);
    let status: Vec<String> =
        ids.iter().map(|id| state(&s, id).split('|').next().unwrap().to_owned()).collect();
    assert_eq!(status, ["ready", "blocked", "blocked", "blocked"]);
}

#[test]
fn block_ends_the_run_and_counts_repetitions_of_one_kind() {
    let s = Sandbox::new();
    let id = s.create(&["x", "--assignee", "shell"]);
    claim(&s, &id);
    s.ok(&["block", &id, "which", "colour?", "--kind", "needs_input"]);
    assert_eq!(state(&s, &id), "blocked|NULL|NULL|NULL|NULL|1|e|needs_input|1");
    assert_eq!(
        runs(&s, &id),
        ["shell|blocked|NULL|NULL|NULL|55|1|blocked|which colour?|NULL|NULL"]
    );
    assert_eq!(
        s.events(&id)[1..],
        [
            "commented|NULL|{\"author\": \"user\", \"len\": 22}",
            "blocked|1|{\"reason\": \"which colour?\", \"kind\": \"needs_input\", \"recurrences\": 1}",
        ]
    );
    assert_eq!(s.rows("SELECT author, body FROM task_comments"), ["user|BLOCKED: which colour?"]);
    s.ok(&["unblock", &id, "--reason", "blue"]);
    assert_eq!(state(&s, &id), "ready|NULL|NULL|NULL|NULL|0|NULL|needs_input|1");
    s.ok(&["block", &id, "--kind", "needs_input"]);
    assert_eq!(state(&s, &id), "triage|NULL|NULL|NULL|NULL|0|NULL|needs_input|2");
    assert_eq!(
        s.events(&id)[3..],
        [
            "commented|NULL|{\"author\": \"user\", \"len\": 13}",
            "unblocked|NULL|NULL",
            "block_loop_detected|NULL|{\"reason\": null, \"kind\": \"needs_input\", \"recurrences\": 2, \"limit\": 2}",
        ]
    );
}

#[test]
fn blocks_without_a_kind_are_not_a_loop() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    for _ in 0..3 {
        s.ok(&["block", &id]);
        assert_eq!(state(&s, &id), "blocked|NULL|NULL|NULL|NULL|0|NULL|NULL|1");
        assert_eq!(
            s.events(&id).pop().unwrap(),
            "blocked|NULL|{\"reason\": null, \"kind\": null, \"recurrences\": 1}"
        );
        s.ok(&["unblock", &id]);
    }
    assert_eq!(runs(&s, &id), [""; 0]);
}

#[test]
fn a_dependency_waits_for_open_parents_and_else_for_a_person() {
    let s = Sandbox::new();
    let (parent, id) = (s.create(&["p"]), s.create(&["x"]));
    s.sql(&format!("INSERT INTO task_links VALUES ('{parent}', '{id}')"));
    s.ok(&["block", &id, "later", "--kind", "dependency"]);
    assert_eq!(state(&s, &id), "todo|NULL|NULL|NULL|NULL|0|NULL|dependency|0");
    assert_eq!(
        s.events(&id).pop().unwrap(),
        "dependency_wait|1|{\"reason\": \"later\", \"kind\": \"dependency\"}"
    );
    s.ok(&["complete", &parent]);
    s.ok(&["block", &id, "--kind", "dependency"]);
    assert_eq!(state(&s, &id), "blocked|NULL|NULL|NULL|NULL|0|NULL|needs_input|1");
}

#[test]
fn unblock_closes_what_leaked_and_waits_for_parents() {
    let s = Sandbox::new();
    let (parent, id) = (s.create(&["p"]), s.create(&["x"]));
    claim(&s, &id);
    s.sql(&format!(
        "UPDATE tasks SET status = 'scheduled' WHERE id = '{id}'; \
         INSERT INTO task_links VALUES ('{parent}', '{id}')"
    ));
    s.ok(&["unblock", &id]);
    assert!(state(&s, &id).starts_with("todo|"));
    assert_eq!(s.events(&id)[1], "unblocked|NULL|{\"status\": \"todo\"}");
    assert_eq!(
        runs(&s, &id),
        ["shell|reclaimed|NULL|NULL|NULL|55|1|reclaimed|invariant recovery on unblock|NULL|NULL"]
    );
    s.sql(&format!("UPDATE tasks SET status = 'blocked' WHERE id = '{id}'; UPDATE tasks SET status = 'archived' WHERE id = '{parent}'"));
    s.ok(&["unblock", &id]);
    assert!(state(&s, &id).starts_with("ready|"));
}

#[test]
fn comment_and_link_write_their_events() {
    let s = Sandbox::new();
    let (a, b) = (s.create(&["a"]), s.create(&["b"]));
    s.ok(&["comment", &a, "Größe", "🐎 ", "--author", "ana"]);
    assert_eq!(
        s.rows("SELECT task_id, author, body FROM task_comments"),
        [format!("{a}|ana|Größe 🐎")]
    );
    assert_eq!(s.events(&a)[1], "commented|NULL|{\"author\": \"ana\", \"len\": 7}");
    s.ok(&["link", &a, &b]);
    assert_eq!(s.events(&b)[1], format!("linked|NULL|{{\"parent\": \"{a}\", \"child\": \"{b}\"}}"));
    assert!(state(&s, &b).starts_with("todo|"));
    let done = s.create(&["done"]);
    s.ok(&["complete", &done]);
    s.ok(&["link", &done, &a]);
    assert!(state(&s, &a).starts_with("ready|"));
}

#[test]
fn a_worker_speaks_only_for_its_own_run() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    claim(&s, &id);
    for (task, run) in
        [("SEXTON_TASK_ID", "SEXTON_RUN_ID"), ("HERMES_KANBAN_TASK", "HERMES_KANBAN_RUN_ID")]
    {
        for verb in ["complete", "block"] {
            let done = finish(s.command(&[verb, &id]).env(task, &id).env(run, "99"));
            assert_eq!(done.code, 1);
            assert!(done.stderr.contains("run 99 of"), "{}", done.stderr);
        }
    }
    assert!(state(&s, &id).starts_with("running|"));
    let done =
        finish(s.command(&["complete", &id]).env("SEXTON_TASK_ID", &id).env("SEXTON_RUN_ID", "1"));
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn several_tasks_change_together_or_not_at_all() {
    let s = Sandbox::new();
    let (a, b) = (s.create(&["a"]), s.create(&["b"]));
    let before = s.rows("SELECT count(*) FROM task_events");
    for args in [
        vec!["complete", a.as_str(), b.as_str(), "t_00000000"],
        vec!["block", a.as_str(), "why", "--ids", b.as_str(), "t_00000000"],
        vec!["unblock", a.as_str()],
    ] {
        s.refused(&args, 1);
    }
    assert_eq!(s.rows("SELECT status, count(*) FROM tasks GROUP BY 1"), ["ready|2"]);
    assert_eq!(s.rows("SELECT count(*) FROM task_events"), before);
    assert_eq!(s.rows("SELECT count(*) FROM task_comments"), ["0"]);
}

#[test]
fn an_older_board_gets_only_the_columns_it_has() {
    let s = Sandbox::new();
    for column in [
        "branch_name",
        "project_id",
        "model_override",
        "goal_mode",
        "goal_max_turns",
        "session_id",
        "block_kind",
        "block_recurrences",
    ] {
        s.sql(&format!(
            "DROP INDEX IF EXISTS idx_tasks_session_id; ALTER TABLE tasks DROP COLUMN {column}"
        ));
    }
    let schema = s.rows("SELECT sql FROM sqlite_schema");
    let id = s.create(&["x", "--goal"]);
    assert_eq!(
        s.events(&id),
        [
            "created|NULL|{\"assignee\": null, \"status\": \"ready\", \"parents\": [], \"tenant\": null, \"skills\": null}"
        ]
    );
    s.ok(&["block", &id, "why", "--kind", "transient"]);
    assert_eq!(s.events(&id)[2], "blocked|1|{\"reason\": \"why\"}");
    s.ok(&["unblock", &id]);
    s.ok(&["complete", &id]);
    assert_eq!(s.json(&["show", &id])["task"]["status"], "done");
    assert_eq!(s.rows("SELECT sql FROM sqlite_schema"), schema);
}

#[test]
fn a_newer_board_loses_fingerprints_with_the_pid_and_keeps_them_in_the_run() {
    let s = Sandbox::new();
    s.sql(
        "ALTER TABLE tasks ADD COLUMN worker_started_at INTEGER; \
         ALTER TABLE task_runs ADD COLUMN worker_started_at INTEGER; \
         ALTER TABLE tasks ADD COLUMN provider_override TEXT",
    );
    let id = s.create(&["x"]);
    assert_eq!(
        s.events(&id),
        [
            "created|NULL|{\"assignee\": null, \"status\": \"ready\", \"parents\": [], \"creator_task_id\": null, \
          \"tenant\": null, \"workspace_kind\": \"scratch\", \"workspace_path\": null, \"branch_name\": null, \
          \"project_id\": null, \"skills\": null, \"goal_mode\": null, \"model_override\": null, \
          \"provider_override\": null}"
        ]
    );
    claim(&s, &id);
    s.sql("UPDATE tasks SET worker_started_at = 'f'; UPDATE task_runs SET worker_started_at = 'f'");
    s.ok(&["complete", &id]);
    assert_eq!(s.rows("SELECT worker_pid, worker_started_at FROM tasks"), ["NULL|NULL"]);
    assert_eq!(
        s.rows("SELECT worker_pid, worker_started_at, claim_lock, claim_expires FROM task_runs"),
        ["7|f|h:1:x|NULL"]
    );
}
