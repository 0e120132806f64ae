//! Paths of all sorts: entries of a root that are not regular files, and roots that are named by
//! relative paths.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::daemon::{create, run, sandbox, state, stop, wait_for_state};
use crate::support::hung::Hung;
use crate::support::running::Running;
use crate::support::sandbox::{Sandbox, finish};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Creates a pipe whose other end is never opened, in a directory that is created for it.
fn pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _was_there = fs::remove_file(path);
    mkfifo(path, Mode::S_IRWXU).unwrap();
}

/// Returns exit code, output and errors of a command that must end.
fn ended(s: &Sandbox, args: &[&str]) -> (i32, String, String) {
    let mut running = Running::start(&mut s.command(args), &s.path(""), "command");
    let code = running.code();
    (code, running.stdout(), running.log())
}

#[test]
fn a_pipe_in_the_place_of_metadata_holds_no_other_board_up() {
    let s = sandbox("", "");
    s.ok(&["boards", "create", "other"]);
    let on_other = s.create(&["task", "--board", "other", "--body", "exit 0"]);
    let boards = s.root().join("kanban/boards");
    for name in ["other", "empty"] {
        pipe(&boards.join(name).join("board.json"));
    }
    let id = create(&s, "exit 0");
    let (code, said, _) = ended(&s, &["run", "--until-idle"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
    assert_eq!(state(&boards.join("other/kanban.db"), &on_other), "done|0|NULL");
    let (code, said, _) = ended(&s, &["boards", "list"]);
    assert_eq!(code, 0);
    for name in ["default", "other", "empty"] {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_pipe_holds_no_command_up() {
    let s = sandbox("", "");
    let id = create(&s, "exit 0");
    let log = s.root().join("kanban/logs").join(format!("{id}.log"));
    pipe(&s.root().join("kanban/current"));
    pipe(&log);
    pipe(&s.root().join("kanban.db.init.lock"));
    pipe(&s.root().join("kanban.db.dispatch.lock"));
    assert_eq!(ended(&s, &["show", &id]).0, 0);
    let (code, _, said) = ended(&s, &["log", &id]);
    assert!(code == 1 && said.contains("regular file"), "{said}");
    // It cannot take a worker's output either, and the error names it.
    assert_eq!(ended(&s, &["run", "--until-idle"]).0, 0);
    let after = state(&s.db(), &id);
    assert!(after.starts_with("blocked|2|") && after.contains("regular file"), "{after}");
    assert_eq!(ended(&s, &["tail", &id]).0, 0);

    let new = Sandbox::empty();
    pipe(&new.root().join("kanban.db.init.lock"));
    assert_eq!(ended(&new, &["init"]).0, 0);
}

#[test]
fn a_pipe_beside_a_database_holds_no_other_board_up() {
    for suffix in ["-journal", "-wal", "-shm"] {
        let s = sandbox("", "");
        s.ok(&["boards", "create", "other"]);
        let on_other = s.create(&["task", "--board", "other", "--body", "exit 0"]);
        let id = create(&s, "exit 0");
        let other = s.root().join("kanban/boards/other/kanban.db");
        pipe(&other.with_file_name(format!("kanban.db{suffix}")));
        let (code, _, said) = ended(&s, &["run", "--until-idle", "--grace", "1s"]);
        assert_eq!(code, 0, "{suffix}: {said}");
        assert_eq!(state(&s.db(), &id), "done|0|NULL", "{suffix}");
        let (code, _, said) = ended(&s, &["--board", "other", "show", &on_other]);
        assert_eq!(code, 1, "{suffix}");
        assert!(said.contains("regular file"), "{suffix}: {said}");
        let (code, _, said) = ended(&s, &["--board", "other", "comment", &on_other, "x"]);
        assert_eq!(code, 1, "{suffix}");
        assert!(said.contains("regular file"), "{suffix}: {said}");
    }
}

#[test]
fn a_pipe_in_the_place_of_a_configuration_is_refused() {
    let s = sandbox("", "");
    pipe(&s.root().join("sexton.toml"));
    let (code, _, said) = ended(&s, &["run", "--until-idle"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("sexton.toml") && said.contains("regular file"), "{said}");
}

#[test]
fn a_board_on_a_file_system_that_hangs_holds_no_other_board_up() {
    let s = sandbox("", "");
    s.ok(&["boards", "create", "other"]);
    let boards = s.root().join("kanban/boards");
    let Some(_hung) = Hung::over(&s.path("mount")) else { return };
    symlink(s.path("mount"), boards.join("hangs")).unwrap();
    let sexton = run(&s, &[]);
    let on_default = create(&s, "exit 0");
    wait_for_state(&s.db(), &on_default, "done|0|NULL");
    let on_other = s.create(&["task", "--board", "other", "--body", "exit 0"]);
    wait_for_state(&boards.join("other/kanban.db"), &on_other, "done|0|NULL");
    sexton.wait_for_log("its directory does not answer");
    stop(sexton);

    let id = create(&s, "exit 0");
    let (code, said, _) = ended(&s, &["dispatch", "--dry-run"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&id) && said.contains("out of use: hangs"), "{said}");
    let (code, said, _) = ended(&s, &["run", "--until-idle"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
    // Even if it is the one that commands mean when none is named.
    fs::write(s.root().join("kanban/current"), "hangs").unwrap();
    let (code, said, _) = ended(&s, &["boards", "list"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 done") && said.contains("does not answer"), "{said}");
    assert!(said.contains("hangs *"), "{said}");
}

/// Prints the variables that hold paths, one a line.
const PATHS: &str = "printf '%s\\n' \"$SEXTON_WORKSPACE\" \"$HERMES_KANBAN_WORKSPACE\" \
                     \"$TERMINAL_CWD\" \"$HERMES_KANBAN_WORKSPACES_ROOT\" \"$HERMES_KANBAN_DB\"; \
                     echo \"$SEXTON_ROOT\"; pwd";

/// Returns the output of a worker that runs [`PATHS`] under a dispatcher that is started by this
/// command.
fn told(s: &Sandbox, command: &mut Command) -> Vec<String> {
    let id = create(s, PATHS);
    let done = finish(command.args(["run", "--until-idle"]));
    assert_eq!(done.code, 0, "{done:?}");
    let log = s.root().join("kanban/logs").join(format!("{id}.log"));
    fs::read_to_string(log).unwrap().lines().map(|line| line.replace(&id, "ID")).collect()
}

#[test]
fn a_worker_gets_full_paths_wherever_its_dispatcher_was_started() {
    let s = sandbox("", "");
    let home = s.path("").canonicalize().unwrap();
    let at = |path: &str| home.join(path).to_str().unwrap().to_owned();
    let (workspaces, db) = (at("root/kanban/workspaces"), at("root/kanban.db"));
    let workspace = format!("{workspaces}/ID");
    let here = [&workspace, &workspace, &workspace, &workspaces, &db].map(String::clone);

    let by_flag = told(&s, s.bare().args(["--root", "./root"]));
    assert_eq!(by_flag, [&here[..], &[String::new(), workspace.clone()]].concat());
    // It is passed on as a full path, which is the same from every directory.
    let by_variable = told(&s, s.bare().env("SEXTON_ROOT", "root"));
    assert_eq!(by_variable, [&here[..], &[at("root"), workspace.clone()]].concat());
    let elsewhere = told(
        &s,
        s.bare()
            .env("HERMES_HOME", "root")
            .env("HERMES_KANBAN_WORKSPACES_ROOT", "./w")
            .args(["--config", "root/sexton.toml"]),
    );
    let own = at("w/ID");
    let expected = [&own, &own, &own, &at("w"), &db, &String::new(), &own].map(String::clone);
    assert_eq!(elsewhere, expected);
}
