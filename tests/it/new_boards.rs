//! Boards that are created while a dispatcher runs are found immediately, long before its next
//! tick; those that are removed leave nothing behind in it.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

use std::fs;
use std::path::PathBuf;

use crate::support::daemon::{create, run, sandbox, stop, wait_for_state};
use crate::support::running::Running;
use crate::support::sandbox::Sandbox;
use crate::support::wait::wait_until;

/// One with a task done, so that it has begun.
fn running(s: &Sandbox) -> Running {
    let sexton = run(s, &[]);
    let id = create(s, "exit 0");
    wait_for_state(&s.db(), &id, "done|0|NULL");
    sexton
}

fn makes_and_uses(s: &Sandbox, name: &str) {
    s.ok(&["boards", "create", name]);
    let id = s.create(&["task", "--board", name, "--body", "exit 0"]);
    let db = s.root().join("kanban/boards").join(name).join("kanban.db");
    wait_for_state(&db, &id, "done|0|NULL");
}

#[test]
fn the_first_board_beside_the_default_one_and_the_next_are_found() {
    let s = sandbox("", "");
    let sexton = running(&s);
    for name in ["second", "third", "fourth"] {
        makes_and_uses(&s, name);
    }
    stop(sexton);
}

#[test]
fn a_board_whose_directory_was_there_before_it_is_found() {
    let s = sandbox("", "");
    fs::create_dir_all(s.root().join("kanban/boards/before")).unwrap();
    let sexton = running(&s);
    fs::create_dir(s.root().join("kanban/boards/meanwhile")).unwrap();
    for name in ["before", "meanwhile"] {
        makes_and_uses(&s, name);
    }
    stop(sexton);
}

#[test]
fn a_file_that_is_renamed_into_place_is_found() {
    let s = sandbox("", "");
    s.ok(&["boards", "create", "template"]);
    let sexton = running(&s);
    let boards = s.root().join("kanban/boards");
    for name in ["second", "third"] {
        let directory = boards.join(name);
        fs::create_dir(&directory).unwrap();
        fs::copy(boards.join("template/kanban.db"), s.path("draft")).unwrap();
        fs::rename(s.path("draft"), directory.join("kanban.db")).unwrap();
        let id = s.create(&["task", "--board", name, "--body", "exit 0"]);
        wait_for_state(&directory.join("kanban.db"), &id, "done|0|NULL");
    }
    stop(sexton);
}

#[test]
fn a_default_board_that_comes_late_is_found() {
    let s = sandbox("", "");
    let away = s.path("away.db");
    fs::rename(s.db(), &away).unwrap();
    let sexton = run(&s, &[]);
    makes_and_uses(&s, "second");
    fs::rename(&away, s.db()).unwrap();
    let id = create(&s, "exit 0");
    wait_for_state(&s.db(), &id, "done|0|NULL");
    stop(sexton);
}

/// What is in this directory of a process's own in `/proc`.
fn its(sexton: &Running, directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{}/{directory}", sexton.pid())).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Its threads that talk to boards.
fn board_threads(sexton: &Running) -> usize {
    let names =
        its(sexton, "task").into_iter().flat_map(|task| fs::read_to_string(task.join("comm")));
    names.filter(|name| name.starts_with("board-")).count()
}

#[test]
fn a_board_that_is_removed_leaves_no_thread_and_no_open_file_behind_and_may_come_again() {
    let s = sandbox("", "");
    let sexton = running(&s);
    let directory = s.root().join("kanban/boards/second");
    assert_eq!(board_threads(&sexton), 1);
    for _ in 0..2 {
        makes_and_uses(&s, "second");
        assert_eq!(board_threads(&sexton), 2);
        // A worker's directory may just be removed by the dispatcher, too.
        wait_until("its directory to be gone", || {
            let _looked_at_next = fs::remove_dir_all(&directory);
            !directory.exists()
        });
        wait_until("its thread to end", || board_threads(&sexton) == 1);
        let open = its(&sexton, "fd").into_iter().flat_map(fs::read_link);
        let left: Vec<_> = open.filter(|file| file.starts_with(&directory)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    stop(sexton);
}
