//! Boards that the client has written, older and newer ones, driven by the real program.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use crate::support::sandbox::Sandbox;
use serde_json::Value;

/// A root with a copy of a real board, its claims moved to this host and to pids that no process can
/// have.
fn sandbox(name: &str) -> Sandbox {
    let s = Sandbox::empty();
    fs::create_dir(s.root()).unwrap();
    let fixture = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::copy(fixture, s.db()).unwrap();
    let text = "[worker.shell]\ncommand = [\"sh\", \"-c\", \"{body}\"]\n";
    fs::write(s.root().join("sexton.toml"), text).unwrap();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for table in ["tasks", "task_runs"] {
        s.sql(&format!(
            "UPDATE {table} SET claim_lock = '{host}:4194305' WHERE claim_lock IS NOT NULL; \
             UPDATE {table} SET worker_pid = 4194306 WHERE worker_pid IS NOT NULL"
        ));
    }
    s
}

/// Runs a board to its end; every task can be shown before and after, and only these change.
fn drive(name: &str, expected: &[(&str, &str)]) {
    drive_on(&sandbox(name), expected);
}

fn drive_on(s: &Sandbox, expected: &[(&str, &str)]) {
    let list = s.json(&["list", "--archived"]);
    for task in list.as_array().unwrap() {
        s.json(&["show", task["id"].as_str().unwrap()]);
    }
    let changed: Vec<String> = expected.iter().map(|(id, _)| format!("'{id}'")).collect();
    let others = |s: &Sandbox| {
        let outside = format!("NOT IN ({})", changed.join(", "));
        let dump = |table: &str, id: &str| {
            s.rows(&format!("SELECT * FROM {table} WHERE {id} {outside} ORDER BY rowid"))
        };
        [
            dump("tasks", "id"),
            dump("task_runs", "task_id"),
            dump("task_events", "task_id"),
            dump("task_comments", "task_id"),
            s.rows("SELECT * FROM task_links ORDER BY 1, 2"),
            s.rows("SELECT * FROM kanban_notify_subs"),
            s.rows("SELECT sql FROM sqlite_schema ORDER BY name"),
        ]
    };
    let before = others(s);
    let done = s.run(&["run", "--until-idle", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(others(s), before);
    let end: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(end["unrecorded"], serde_json::json!([]));
    for (id, status) in expected {
        let query = format!("SELECT status FROM tasks WHERE id = '{id}'");
        assert_eq!(s.rows(&query), [*status], "{id}: {}", done.stdout);
    }
    for task in list.as_array().unwrap() {
        s.json(&["show", task["id"].as_str().unwrap()]);
    }
}

#[test]
fn a_board_of_0_19_0() {
    drive(
        "hermes-0.19.0.db",
        &[
            ("t_f5d9506d", "done"),
            ("t_6a9b07b9", "done"),
            ("t_7e65e139", "done"),
            ("t_c4e43209", "blocked"),
            ("t_c91a8fc5", "blocked"),
            ("t_c2d039fe", "ready"),
            ("t_fd97dd73", "done"),
        ],
    );
}

#[test]
fn a_board_of_0_13_0() {
    drive(
        "hermes-0.13.0.db",
        &[
            ("t_210c214a", "done"),
            ("t_cde5d4ca", "done"),
            ("t_69b0b66d", "done"),
            ("t_fdfd84d8", "blocked"),
            ("t_5d3dbe73", "blocked"),
            ("t_b72d45db", "ready"),
            ("t_e0ff8ac5", "done"),
        ],
    );
}

/// The mainline after 0.19: fingerprints, sticky trips, a review lane, outcomes of its own.
#[test]
fn a_board_newer_than_0_19_0() {
    let s = sandbox("hermes-newer.db");
    s.sql(
        "UPDATE tasks SET body = 'exit 0' WHERE id IN ('t_5e000001', 't_5e000003', 't_5e000008')",
    );
    drive_on(
        &s,
        &[
            ("t_5e000001", "done"),
            // Its parent is done, but it has nothing to execute.
            ("t_5e000002", "ready"),
            // Their claims were a dead dispatcher's; the one that was a reviewer's stays in review.
            ("t_5e000003", "done"),
            ("t_5e000004", "ready"),
            ("t_5e000006", "review"),
        ],
    );
    // Exit 78 is for a person, although its counter is below the limit.
    assert_eq!(s.rows("SELECT status FROM tasks WHERE id = 't_5e000008'"), ["blocked"]);
    assert_eq!(s.json(&["show", "t_5e000002"])["task"]["wait"]["kind"], "needs_body");
    assert_eq!(s.json(&["show", "t_5e00000f"])["task"]["wait"]["kind"], "foreign_lane");

    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let of_runs = "SELECT worker_started_at FROM task_runs WHERE outcome = 'completed' \
                   AND task_id IN ('t_5e000001', 't_5e000003') ORDER BY id DESC LIMIT 2";
    for fingerprint in s.rows(of_runs) {
        assert!(fingerprint.starts_with(&format!("{}:", boot.trim())), "{fingerprint}");
        assert_eq!(fingerprint.matches('|').count(), 1, "{fingerprint}");
    }
    let of_tasks = "SELECT count(*) FROM tasks WHERE id IN ('t_5e000001', 't_5e000003') \
                    AND worker_started_at IS NULL AND worker_pid IS NULL";
    assert_eq!(s.rows(of_tasks), ["2"]);
}
