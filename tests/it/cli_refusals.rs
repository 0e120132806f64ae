//! Bad input: which code, one clear line, and nothing changed.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::sandbox::{Sandbox, finish};
use rusqlite::Connection;

/// Every row of the default board, and the names of the others.
fn content(s: &Sandbox) -> Vec<String> {
    let tables = ["tasks", "task_events", "task_links", "task_comments", "task_runs"];
    let mut all: Vec<String> =
        tables.iter().flat_map(|table| s.rows(&format!("SELECT * FROM {table}"))).collect();
    let mut names: Vec<_> = fs::read_dir(s.root().join("kanban/boards"))
        .map(|entries| {
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        })
        .unwrap_or_default();
    names.sort();
    all.extend(names);
    all
}

#[test]
fn what_is_not_found_or_not_allowed_is_refused() {
    let s = Sandbox::new();
    let (a, b, c) = (s.create(&["a"]), s.create(&["b"]), s.create(&["c"]));
    let done = s.create(&["done"]);
    s.ok(&["complete", &done]);
    s.ok(&["link", &a, &b]);
    s.ok(&["link", &b, &c]);
    let before = content(&s);
    let nobody = "t_00000000";
    for (args, says) in [
        (vec!["--board", "nowhere", "list"], "there is no board `nowhere`"),
        (vec!["--board", "nowhere", "create", "x"], "`sexton boards create nowhere` makes it"),
        (vec!["show", nobody], "there is no task `t_00000000`"),
        (vec!["complete", nobody], "there is no task"),
        (vec!["block", nobody], "there is no task"),
        (vec!["unblock", nobody], "there is no task"),
        (vec!["comment", nobody, "x"], "there is no task"),
        (vec!["log", nobody], "there is no task"),
        (vec!["tail", nobody], "there is no task"),
        (vec!["link", &a, nobody], "there is no task"),
        (vec!["link", nobody, &a], "there is no task"),
        (vec!["create", "x", "--parent", nobody], "there is no task"),
        (vec!["create", "x", "--parent", ""], "there is no task"),
        (vec!["link", &a, &a], "cannot wait for itself"),
        (vec!["link", &b, &a], "already waits for"),
        (vec!["link", &c, &a], "already waits for"),
        (vec!["create", "  "], "the title is blank"),
        (vec!["comment", &a, " "], "the comment is blank"),
        (vec!["complete", &done], "is done; only a task that is running, ready or blocked"),
        (vec!["block", &done], "only a task that is running or ready"),
        (vec!["unblock", &a], "only a task that is blocked or scheduled"),
        (vec!["boards", "create", "default"], "already"),
    ] {
        let said = s.refused(&args, 1);
        assert!(said.starts_with("sexton: ") && said.contains(says), "{args:?}: {said}");
    }
    assert_eq!(content(&s), before);
}

#[test]
fn wrong_usage_is_code_2() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    let before = content(&s);
    for args in [
        vec![],
        vec!["frobnicate"],
        vec!["create"],
        vec!["create", "x", "--priority", "high"],
        vec!["create", "x", "--max-runtime", "soon"],
        vec!["create", "x", "--max-retries", "0"],
        vec!["create", "x", "--workspace", "dir:"],
        vec!["create", "x", "--workspace", "cellar"],
        vec!["create", "x", "--branch", "b"],
        vec!["create", "x", "--initial-status", "done"],
        vec!["list", "--status", "sleeping"],
        vec!["complete"],
        vec!["complete", &id, "--metadata", "[]"],
        vec!["complete", &id, "--metadata", "{"],
        vec!["complete", &id, &id, "--summary", "x"],
        vec!["block", &id, "--kind", "whim"],
        vec!["--board", "a/b", "list"],
        vec!["boards", "create", "_x"],
        vec!["run", "--grace", "long"],
        vec!["completions", "teletype"],
    ] {
        let done = s.run(&args);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}: {done:?}");
        assert!(!done.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(content(&s), before);
}

#[test]
fn a_malformed_configuration_is_named_by_line_and_column() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    let file = s.root().join("sexton.toml");
    for (text, says) in [
        (
            "[dispatch]\nmax_workers = -1\n",
            "sexton.toml:2:15: max_workers is -1, but must be at least 1",
        ),
        ("[dispatch]\nmax_in_progress = 0\n", "sexton.toml:2:19: max_in_progress is 0"),
        ("[dispatch\n", "sexton.toml:1:10: "),
        (
            "[worker.x]\ncommand = [\"{nobody}\"]\n",
            "sexton.toml:2:12: `{nobody}` is not a placeholder",
        ),
    ] {
        fs::write(&file, text).unwrap();
        for args in [vec!["list"], vec!["show", id.as_str()]] {
            let said = s.refused(&args, 2);
            assert!(said.contains(says), "{said}");
        }
    }
    // Tasks can be written while the configuration is being edited.
    s.ok(&["complete", &id]);
    let said = s.refused(&["--config", "/nonexistent.toml", "list"], 2);
    assert!(said.contains("/nonexistent.toml: cannot be read"), "{said}");
}

#[test]
fn an_invalid_log_filter_is_refused() {
    let s = Sandbox::new();
    let id = s.create(&["x", "--assignee", "shell", "--body", "exit 0"]);
    for (filter, says) in [
        (b"sexton=loud[".as_slice(), "`sexton=loud[`: error parsing level filter"),
        (b"sexton=loud", "`sexton=loud`: error parsing level filter"),
        (b"debug,=,", "`debug,=,`: invalid filter directive"),
        (b"warn, verbose", "`verbose` is not a level"),
        (b"debug\xff", "not valid UTF-8"),
    ] {
        for args in [&["run", "--until-idle"][..], &["dispatch"], &["demo"]] {
            let filter = OsStr::from_bytes(filter);
            let done = finish(s.command(args).env("SEXTON_LOG", filter));
            assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{filter:?}: {done:?}");
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            let begin = format!("sexton: SEXTON_LOG is invalid: {says}");
            assert!(done.stderr.starts_with(&begin), "{}", done.stderr);
        }
    }
    assert_eq!(s.json(&["show", &id])["task"]["status"], "ready");
}

#[test]
fn an_empty_log_filter_means_the_default() {
    let s = Sandbox::new();
    s.ok(&["boards", "create", "sick"]);
    fs::write(s.root().join("kanban/boards/sick/kanban.db"), b"no database").unwrap();
    for (filter, warns) in
        [(None, true), (Some(""), true), (Some("warn"), true), (Some("off"), false)]
    {
        let mut command = s.command(&["run", "--until-idle", "--grace", "10ms"]);
        let done = finish(command.envs(filter.map(|filter| ("SEXTON_LOG", filter))));
        assert_eq!(done.code, 0, "{filter:?}: {done:?}");
        assert_eq!(done.stderr.contains("WARN"), warns, "{filter:?}: {}", done.stderr);
    }
}

#[test]
fn a_root_that_is_not_a_directory_is_refused() {
    let s = Sandbox::empty();
    fs::write(s.root(), "x").unwrap();
    for args in [vec!["init"], vec!["list"], vec!["boards", "create", "x"]] {
        let said = s.refused(&args, 2);
        assert!(said.contains("is not a directory"), "{said}");
    }
    assert_eq!(fs::read(s.root()).unwrap(), b"x");
    let below = s.path("root/below");
    let done = finish(s.bare().arg("--root").arg(&below).arg("init"));
    assert_eq!(done.code, 2, "{done:?}");
}

#[test]
fn a_root_without_boards_is_refused_with_a_remedy() {
    let s = Sandbox::empty();
    assert!(s.refused(&["list"], 1).contains("`sexton init` makes it"));
    assert!(!s.root().exists());
    fs::create_dir(s.root()).unwrap();
    assert!(s.refused(&["create", "x"], 1).contains("`sexton init`"));
    assert!(fs::read_dir(s.root()).unwrap().next().is_none());
    let done = finish(s.bare().arg("list").env_remove("HOME").env("SEXTON_ROOT", "/nonexistent"));
    assert_eq!(done.code, 1, "{done:?}");
}

#[test]
fn a_full_or_closed_output_is_code_1_without_panic() {
    let s = Sandbox::new();
    let id = s.create(&["x"]);
    for args in [
        vec!["list"],
        vec!["list", "--json"],
        vec!["show", id.as_str()],
        vec!["boards", "list"],
        vec!["completions", "bash"],
        vec!["comment", id.as_str(), "said"],
        vec!["--help"],
        vec!["--version"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let done = finish(s.command(&args).stdout(full).stderr(Stdio::piped()));
        assert_eq!(done.code, 1, "{args:?}: {done:?}");
        assert!(done.stderr.contains("cannot write the output"), "{args:?}: {}", done.stderr);

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = finish(s.command(&args).stdout(writer).stderr(Stdio::piped()));
        assert_eq!((done.code, done.stderr.as_str()), (1, ""), "{args:?}");
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let done = finish(s.command(&["show", "t_00000000"]).stderr(full));
    assert_eq!(done.code, 1);
}

/// The bytes of the default board's file, of its log and of the log's index.
fn files(s: &Sandbox) -> [Option<Vec<u8>>; 3] {
    ["", "-wal", "-shm"].map(|end| fs::read(beside(s, end)).ok())
}

fn beside(s: &Sandbox, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", s.db().display()))
}

#[test]
fn what_cannot_be_used_stays_as_it_was() {
    let damage = |s: &Sandbox| {
        let file = File::options().write(true).open(s.db()).unwrap();
        file.write_all_at(&[0xa5; 40 * 4096], 4096).unwrap();
    };
    for (left, alien, says) in [
        (vec!["-wal"], true, "it is not a board"),
        (vec!["-wal"], false, "malformed"),
        (vec![], false, "malformed"),
        (vec!["-wal", "-shm"], false, "malformed"),
    ] {
        let s = Sandbox::new();
        s.sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) \
               INSERT INTO tasks (id, title, body, assignee, status, created_at) \
               SELECT 't_' || i, 'x', hex(zeroblob(1000)), 'shell', 'triage', 1 FROM n",
        );
        // As after a crash: something is in the log only.
        let conn = Connection::open(s.db()).unwrap();
        let mut statement = "INSERT INTO task_comments VALUES (1, 't_1', 'a', 'b', 1)";
        if alien {
            statement = "ALTER TABLE tasks RENAME TO cards";
        }
        conn.execute(statement, []).unwrap();
        let [file, log, index] = files(&s);
        drop(conn);
        fs::write(s.db(), file.unwrap()).unwrap();
        for (end, bytes) in [("-wal", log), ("-shm", index)] {
            if left.contains(&end) {
                fs::write(beside(&s, end), bytes.unwrap()).unwrap();
            }
        }
        if !alien {
            damage(&s);
        }
        let before = files(&s);
        for args in [vec!["list"], vec!["create", "one more"], vec!["comment", "t_7", "text"]] {
            let said = s.refused(&args, 1);
            assert!(said.contains(says), "{said}");
            assert!(files(&s) == before, "{left:?}: {args:?} changed something");
        }
    }
}

#[test]
fn a_refusal_leaves_nothing_beside_a_sound_board() {
    let s = Sandbox::new();
    s.refused(&["comment", "t_00000000", "text"], 1);
    assert_eq!(files(&s)[1..], [None, None]);
}
