//! Each command once, as a person uses it.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::root::rows;
use crate::support::running::Running;
use crate::support::sandbox::{Sandbox, finish};
use crate::support::sql::sql;
use crate::support::wait::wait_until;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sexton::machine::ids::Pid;
use sexton::process::identity::Instance;
use sexton::root::{Environment, state_directory};

#[test]
fn init_makes_a_root_once_and_then_leaves_it() {
    let s = Sandbox::empty();
    let said = s.ok(&["init"]);
    assert!(said.contains("made the board `default`"), "{said}");
    let config = s.root().join("sexton.toml");
    assert!(fs::read_to_string(&config).unwrap().contains("[worker.shell]"));
    assert_eq!(rows(&s.db(), "PRAGMA journal_mode"), ["wal"]);
    assert_eq!(rows(&s.db(), "PRAGMA integrity_check"), ["ok"]);
    let before = fs::read(s.db()).unwrap();
    fs::remove_file(&config).unwrap();
    let again = s.json(&["init"]);
    assert_eq!(again["created"], json!(false));
    assert!(!config.exists());
    assert_eq!(fs::read(s.db()).unwrap(), before);
}

#[test]
fn init_writes_no_configuration_where_others_live() {
    let s = Sandbox::empty();
    fs::create_dir(s.root()).unwrap();
    fs::write(s.root().join("config.yaml"), "").unwrap();
    let said = s.json(&["init"]);
    assert_eq!((&said["created"], &said["config"]), (&json!(true), &json!(null)));
    assert!(!s.root().join("sexton.toml").exists());

    let hermes = s.path("hermes");
    let done = finish(s.bare().arg("init").env("HERMES_HOME", &hermes));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(hermes.join("kanban.db").exists() && !hermes.join("sexton.toml").exists());
}

#[test]
fn a_root_whose_name_is_not_utf_8_has_json_too() {
    use std::os::unix::ffi::OsStrExt;
    let s = Sandbox::empty();
    let root = s.path("").join(std::ffi::OsStr::from_bytes(b"r\xffot"));
    let json = |args: &[&str]| {
        let done = finish(s.bare().arg("--root").arg(&root).args(args).arg("--json"));
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        serde_json::from_str::<Value>(&done.stdout).unwrap()
    };
    assert!(json(&["init"])["config"].as_str().unwrap().ends_with("r\u{fffd}ot/sexton.toml"));
    json(&["init"]);
    let id = json(&["create", "task", "--body", "echo said"])["id"].as_str().unwrap().to_owned();
    assert_eq!(json(&["run", "--until-idle"])["recorded"], 1);
    assert_eq!(json(&["log", &id])["content"], "said\n");
    for args in [&["boards", "create", "b"][..], &["boards", "list"], &["list"], &["show", &id]] {
        json(args);
    }
    json(&["dispatch"]);
    json(&["dispatch", "--dry-run"]);
}

#[test]
fn the_root_is_found_without_an_option() {
    let s = Sandbox::empty();
    let made = finish(s.bare().arg("init"));
    assert_eq!(made.code, 0, "{made:?}");
    assert!(s.path("home/.local/share/sexton/kanban.db").exists());
    let hermes = s.path("home/.hermes");
    fs::create_dir(&hermes).unwrap();
    fs::copy(s.path("home/.local/share/sexton/kanban.db"), hermes.join("kanban.db")).unwrap();
    let made = finish(s.bare().args(["create", "x"]));
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(rows(&hermes.join("kanban.db"), "SELECT count(*) FROM tasks"), ["1"]);
}

#[test]
fn boards_are_made_and_listed() {
    let s = Sandbox::new();
    let made =
        s.json(&["boards", "create", "Night-Shift", "--description", "größer", "--icon", "🌙"]);
    assert_eq!(made["slug"], "night-shift");
    let file = s.root().join("kanban/boards/night-shift/board.json");
    let text = fs::read_to_string(&file).unwrap();
    let created_at = made["created_at"].to_string();
    assert_eq!(
        text,
        format!(
            "{{\n  \"slug\": \"night-shift\",\n  \"name\": \"Night Shift\",\n  \"description\": \"größer\",\n  \
             \"icon\": \"🌙\",\n  \"color\": \"\",\n  \"default_workdir\": null,\n  \
             \"created_at\": {created_at},\n  \"archived\": false\n}}\n"
        )
    );
    s.ok(&["--board", "night-shift", "create", "x"]);
    s.ok(&["create", "y"]);
    let list = s.json(&["boards", "list"]);
    let slugs: Vec<_> = list.as_array().unwrap().iter().map(|board| &board["slug"]).collect();
    assert_eq!(slugs, ["default", "night-shift"]);
    assert_eq!(list[1]["counts"], json!({"ready": 1}));
    assert_eq!((&list[0]["is_current"], &list[1]["is_current"]), (&json!(true), &json!(false)));
    assert!(s.ok(&["boards", "list"]).contains("Night Shift"));
    s.ok(&["boards", "create", "third", "--switch"]);
    assert_eq!(s.json(&["list"]), json!([]));
    let refused = s.refused(&["boards", "create", "third"], 1);
    assert!(refused.contains("already"), "{refused}");
}

#[test]
fn a_sick_board_does_not_hide_the_others() {
    let s = Sandbox::new();
    s.ok(&["boards", "create", "sick"]);
    let db = s.root().join("kanban/boards/sick/kanban.db");
    fs::write(&db, b"0123456789abcdef").unwrap();
    let list = s.json(&["boards", "list"]);
    assert_eq!(list[1]["counts"], json!(null));
    assert!(list[1]["error"].as_str().unwrap().contains("not an SQLite database"));
    for bytes in [&b""[..], b"x", b"0123456789abcdef"] {
        fs::write(&db, bytes).unwrap();
        s.refused(&["--board", "sick", "list"], 1);
        s.refused(&["--board", "sick", "create", "x"], 1);
        assert_eq!(fs::read(&db).unwrap(), bytes);
    }
}

#[test]
fn an_option_beats_the_environment() {
    let s = Sandbox::new();
    s.ok(&["boards", "create", "beta"]);
    let other = s.path("other.db");
    fs::copy(s.db(), &other).unwrap();
    let board = |args: &[&str]| {
        let done = finish(
            s.bare()
                .args(args)
                .env("SEXTON_ROOT", s.root())
                .env("HERMES_KANBAN_BOARD", "beta")
                .env("HERMES_KANBAN_DB", &other),
        );
        assert_eq!(done.code, 0, "{done:?}");
    };
    let count = |db| rows(db, "SELECT count(*) FROM tasks").remove(0);
    board(&["create", "x"]);
    assert_eq!(count(&other), "1");
    board(&["--board", "default", "create", "x"]);
    assert_eq!((count(&other), count(&s.db())), ("1".into(), "1".into()));
}

#[test]
fn list_filters_and_orders() {
    let s = Sandbox::new();
    let low = s.create(&["low", "--assignee", "shell", "--body", "x"]);
    let high = s.create(&["high", "--priority", "5", "--tenant", "acme", "--assignee", "orion"]);
    let gone = s.create(&["gone"]);
    s.sql(&format!("UPDATE tasks SET status = 'archived' WHERE id = '{gone}'"));
    let ids = |args: &[&str]| {
        let list = s.json(args);
        let ids =
            list.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&["list"]), [high.as_str(), &low]);
    assert_eq!(ids(&["ls", "--archived"]), [high.as_str(), &low, &gone]);
    assert_eq!(ids(&["list", "--status", "archived"]), [gone.as_str()]);
    assert_eq!(ids(&["list", "--assignee", "Shell"]), [low.as_str()]);
    assert_eq!(ids(&["list", "--tenant", "acme"]), [high.as_str()]);
    assert_eq!(s.ok(&["list", "--tenant", "nobody"]), "(no matching tasks)\n");
    let table = s.ok(&["list"]);
    assert!(table.contains(&low) && table.contains("foreign lane"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
}

#[test]
fn every_wait_is_reported_with_its_end() {
    let s = Sandbox::new();
    let body = ["--assignee", "shell", "--body", "x"];
    let make = |title: &str, more: &[&str]| {
        let mut args = vec![title];
        args.extend_from_slice(more);
        s.create(&args)
    };
    let wait = |id: &str| s.json(&["show", id])["task"]["wait"].clone();

    let free = make("free", &body);
    assert_eq!(wait(&free), json!(null));
    let foreign = make("foreign", &["--assignee", "orion-cc"]);
    assert_eq!(
        (&wait(&foreign)["kind"], &wait(&foreign)["ends_by"]),
        (&json!("foreign_lane"), &json!("operator"))
    );
    let bodiless = make("bodiless", &["--assignee", "shell"]);
    assert_eq!(
        (&wait(&bodiless)["kind"], &wait(&bodiless)["ends_by"]),
        (&json!("needs_body"), &json!("author"))
    );
    let child = make("child", &["--parent", &free]);
    assert_eq!(wait(&child)["parents"], json!([{"id": free, "status": "ready"}]));
    let blocked = make("blocked", &body);
    s.ok(&["block", &blocked, "which colour?"]);
    let shown = s.ok(&["show", &blocked]);
    assert!(
        shown.contains(&format!("needs a person: which colour?; `sexton unblock {blocked}`")),
        "{shown}"
    );

    let cooling = make("cooling", &body);
    s.sql(&format!(
        "INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at) VALUES \
         ('{cooling}', 'rate_limited', 'rate_limited', 1, unixepoch())"
    ));
    let told = wait(&cooling);
    assert_eq!((&told["kind"], &told["ends_by"]), (&json!("cooldown"), &json!("itself")));
    let ended: i64 = rows(&s.db(), "SELECT max(ended_at) FROM task_runs")[0].parse().unwrap();
    assert_eq!(told["until"], json!(ended + 300));
    assert!(s.ok(&["list"]).contains("cooldown until "));

    let failed = make("failed", &body);
    s.sql(&format!(
        "UPDATE tasks SET consecutive_failures = 30 WHERE id = '{failed}'; \
         INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at) VALUES \
         ('{failed}', 'crashed', 'crashed', 1, unixepoch())"
    ));
    assert_eq!(wait(&failed)["kind"], "backoff");
    s.sql(&format!(
        "UPDATE tasks SET status = 'blocked', last_failure_error = 'boom' WHERE id = '{failed}'; \
         INSERT INTO task_events (task_id, kind, created_at) VALUES ('{failed}', 'gave_up', 1)"
    ));
    assert!(wait(&failed)["text"].as_str().unwrap().starts_with("gave up: boom (30 in a row)"));
    for (status, kind, ends_by) in [
        ("review", "review", "reviewer"),
        ("triage", "triage", "somebody"),
        ("scheduled", "scheduled", "somebody"),
        ("todo", "promotion", "next_pass"),
        ("frozen", "unknown_status", "somebody"),
    ] {
        s.sql(&format!("UPDATE tasks SET status = '{status}' WHERE id = '{free}'"));
        assert_eq!(
            (&wait(&free)["kind"], &wait(&free)["ends_by"]),
            (&json!(kind), &json!(ends_by))
        );
    }
    let unassigned = make("unassigned", &["--body", "x"]);
    assert_eq!(wait(&unassigned), json!(null));
    fs::remove_file(s.root().join("sexton.toml")).unwrap();
    assert_eq!(wait(&unassigned)["kind"], "unassigned");
}

#[test]
fn reading_changes_nothing() {
    let s = Sandbox::new();
    let done = s.create(&["done"]);
    let child = s.create(&["child", "--parent", &done]);
    s.sql(&format!("UPDATE tasks SET status = 'done' WHERE id = '{done}'"));
    let before = fs::read(s.db()).unwrap();
    for args in [vec!["list"], vec!["show", child.as_str()], vec!["boards", "list"]] {
        s.ok(&args);
    }
    assert_eq!(fs::read(s.db()).unwrap(), before);
    assert_eq!(s.rows(&format!("SELECT status FROM tasks WHERE id = '{child}'")), ["todo"]);
}

#[test]
fn show_prints_everything() {
    let s = Sandbox::new();
    let parent = s.create(&["parent"]);
    let id = s.create(&["with \u{1b}[31m colour", "--parent", &parent, "--body", "line\n\u{7}two"]);
    s.ok(&["comment", &id, "a remark"]);
    s.ok(&["complete", &parent, "--result", "42"]);
    s.sql(&format!(
        "UPDATE tasks SET body = CAST(x'ff41' AS TEXT), priority = 'high' WHERE id = '{parent}'"
    ));
    let shown = s.json(&["show", &parent]);
    assert_eq!(shown["task"]["body"], "\u{fffd}A");
    assert_eq!(shown["children"], json!([id]));
    assert_eq!(shown["latest_summary"], "42");
    assert_eq!(shown["runs"][0]["outcome"], "completed");
    let shown = s.json(&["show", &id]);
    assert_eq!(shown["parents"], json!([parent]));
    assert_eq!(shown["comments"][0]["body"], "a remark");
    assert_eq!(shown["events"][0]["payload"]["parents"], json!([parent]));
    let text = s.ok(&["show", &id]);
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    assert!(text.contains("Comments (1):") && text.contains("Events (3):"), "{text}");
}

#[test]
fn log_prints_the_file_or_its_end() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    assert!(s.refused(&["log", &id], 1).contains("has no log"));
    let logs = s.root().join("kanban/logs");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join(format!("{id}.log")), b"one\ntwo\n").unwrap();
    assert_eq!(s.ok(&["log", &id]), "one\ntwo\n");
    assert_eq!(s.ok(&["log", &id, "--tail", "4"]), "two\n");
    assert_eq!(s.json(&["log", &id])["content"], "one\ntwo\n");
}

#[test]
fn tail_follows_until_the_task_is_done() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    let mut tail = s.command(&["tail", &id, "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next =
        || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["event"]["kind"], "created");
    s.ok(&["comment", &id, "hello"]);
    assert_eq!(next()["event"]["kind"], "commented");
    let logs = s.root().join("kanban/logs");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join(format!("{id}.log")), b"first\nunfinished").unwrap();
    assert_eq!(next()["log"], "first");
    s.ok(&["complete", &id]);
    assert_eq!(next()["event"]["kind"], "completed");
    assert_eq!(next()["log"], "unfinished");
    assert!(tail.wait().unwrap().success());
}

#[test]
fn completions_and_help_are_there_forevery_command() {
    let s = Sandbox::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(s.ok(&["completions", shell]).contains("sexton"));
    }
    let commands = [
        "init",
        "boards",
        "create",
        "list",
        "show",
        "complete",
        "block",
        "unblock",
        "comment",
        "link",
        "log",
        "tail",
        "dispatch",
        "run",
        "demo",
        "completions",
    ];
    for command in commands {
        let help = s.ok(&[command, "--help"]);
        assert!(help.contains("Example"), "{command}: {help}");
    }
    assert!(s.ok(&["run", "-h"]).contains("How log lines look; default: human"));
    assert!(s.ok(&["--version"]).starts_with("sexton "));
}

#[test]
fn a_busy_board_is_named() {
    let s = Sandbox::new();
    let conn = rusqlite::Connection::open(s.db()).unwrap();
    let mut begin = conn.prepare("BEGIN EXCLUSIVE").unwrap();
    assert!(begin.query([]).unwrap().next().unwrap().is_none());
    let said = s.refused(&["create", "x"], 1);
    assert!(said.contains("busy"), "{said}");
    drop(begin);
    drop(conn);
    sql(&s.db(), "PRAGMA user_version");
    assert_eq!(s.rows("SELECT count(*) FROM tasks"), ["0"]);
}

/// The directory in which dispatchers of this root tell what they know.
fn told_in(s: &Sandbox) -> PathBuf {
    let env = Environment::of(&[("HOME", s.path("home").to_str().unwrap())]);
    state_directory(&s.root(), &env).unwrap()
}

#[test]
fn other_processes_are_reported_which_board_is_out_of_use_and_until_when() {
    let s = Sandbox::new();
    s.ok(&["boards", "create", "sick"]);
    fs::write(s.root().join("kanban/boards/sick/kanban.db"), b"no database").unwrap();
    let id = s.create(&["well", "--assignee", "orion"]);
    let start = |name: &str| Running::start(&mut s.command(&["run"]), &s.path(""), name);
    let holds = || s.json(&["boards", "list"])[1]["board_holds"].clone();
    let mut sexton = start("first");
    wait_until("the quarantine to be told", || holds() != json!([]));
    let told = holds()[0].clone();
    assert_eq!((&told["board"], &told["kind"]), (&json!("sick"), &json!("quarantined")));
    assert_eq!((&told["class"], &told["ends_by"]), (&json!("content"), &json!("itself")));
    assert!(told["reason"].as_str().unwrap().contains("too few for a database"), "{told}");
    assert!(told["until"].as_i64().unwrap() > sexton::runtime::clock::unix());
    let listed = s.ok(&["boards", "list"]);
    assert!(listed.contains("sick held: board quarantined until "), "{listed}");
    let refused = s.refused(&["--board", "sick", "list"], 1);
    assert!(refused.contains("; held: board quarantined until "), "{refused}");
    assert!(!s.ok(&["list"]).contains("held:"), "the other board is well");
    assert_eq!(s.json(&["show", &id])["board_holds"], json!([]));

    let second = start("second");
    let files = || {
        let names = fs::read_dir(told_in(&s)).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("status.")).count()
    };
    wait_until("both to tell", || files() == 2);
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    assert_eq!(files(), 1, "a clean end takes its file away");
    assert_eq!(holds().as_array().unwrap().len(), 1, "the other one still tells");
    drop(second);
    assert_eq!(files(), 1, "one that is killed leaves its file");
    assert_eq!(holds(), json!([]), "and is not believed any more");
}

#[test]
fn what_holds_a_whole_board_is_reported_for_each_of_its_tasks() {
    let s = Sandbox::new();
    let id = s.create(&["held", "--assignee", "shell", "--body", "x"]);
    let until = sexton::runtime::clock::unix() + 30;
    let hold = |kind: &str, board: Value, reason: &str, until: Option<i64>| {
        let ends_by = if until.is_some() { "itself" } else { "operator" };
        json!({"board": board, "kind": kind, "class": null, "reason": reason, "until": until,
               "ends_by": ends_by})
    };
    let me = Pid(std::process::id().cast_signed());
    let instance = Instance::own().unwrap();
    let status = json!({
        "writer": {
            "pid": me.0,
            "start": instance.start,
            "boot": instance.domain.boot_id,
            "pid_namespace": instance.domain.pid_namespace,
            "time_namespace": instance.domain.time_namespace,
        },
        "written_at": 0,
        "holds": [
            hold("spawn_lanes_stuck", json!("default"), "8 spawns hang", None),
            hold("hung", json!("another"), "", None),
            hold("host_refuses", json!(null), "out of \u{1b}pids", Some(until)),
        ],
    });
    fs::create_dir_all(told_in(&s)).unwrap();
    fs::write(told_in(&s).join("status.1.json"), status.to_string()).unwrap();
    let kinds = |holds: &Value| {
        let holds = holds.as_array().unwrap().iter();
        holds.map(|hold| hold["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = ["host_refuses", "spawn_lanes_stuck"];
    assert_eq!(kinds(&s.json(&["show", &id])["board_holds"]), expected);
    assert_eq!(kinds(&s.json(&["list"])[0]["board_holds"]), expected);
    assert_eq!(s.json(&["list"])[0]["board_holds"][0]["until"], json!(until));
    let shown = s.ok(&["show", &id]);
    let words = "spawns hang (8 spawns hang); it ends when the disk answers, or by the operator";
    assert!(shown.contains("held:") && shown.contains(words), "{shown}");
    let listed = s.ok(&["list"]);
    let words = "held: the host starts no processes; tried again at ";
    assert!(listed.starts_with(words) && listed.contains("(out of \u{fffd}pids)"), "{listed}");
    assert_eq!(listed.matches("tried again at").count(), 2, "in its column, too: {listed}");
    s.ok(&["complete", &id]);
    assert!(!s.ok(&["show", &id]).contains("held:"));
}
