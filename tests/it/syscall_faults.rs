//! Boards on disks that are full, read-only or failing: real file systems, and system calls that fail
//! in the running program.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::daemon::{
    create, outcomes, run, sandbox, second_board, state, stop, wait_for_state, was_reaped, worker,
};
use crate::support::gate::Gate;
use crate::support::root::rows;
use crate::support::running::Running;
use crate::support::sandbox::Sandbox;
use crate::support::skip::skipped;
use crate::support::wait::wait_until;
use crate::support::zombie::zombies_of;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A small file system of its own, which only this thread and what it starts can see.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one over `directory`; returns `None`, with a message, where mounting is not allowed.
    fn over(directory: PathBuf) -> Option<Disk> {
        fs::create_dir_all(&directory).unwrap();
        let none: Option<&Path> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, private, none))
            .and_then(|()| {
                mount(none, &directory, Some("tmpfs"), MsFlags::empty(), Some("size=2m,mode=755"))
            });
        match mounted {
            Ok(()) => Some(Disk(directory)),
            Err(errno) => {
                skipped(format!("this needs to mount a file system: {errno}"));
                None
            }
        }
    }

    fn remount(&self, flags: MsFlags) {
        let none: Option<&Path> = None;
        mount(none, &self.0, none, MsFlags::MS_REMOUNT | flags, none).unwrap();
    }

    /// Fills the disk. Returns the file that takes the room.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Goes with the thread at the latest.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// System calls of a running program that fail, as long as this lives.
struct Faults {
    strace: Child,
    log: PathBuf,
}

impl Faults {
    /// Lets calls on one of the files fail with EIO. Each rule names the calls, and from which call
    /// of each thread on they fail. Returns `None`, with a message, where tracing is not allowed.
    fn inject(
        s: &Sandbox,
        sexton: &Running,
        files: &[&Path],
        rules: &[(&str, u32)],
    ) -> Option<Faults> {
        let (log, told) = (s.path("faults"), s.path("strace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &sexton.pid().to_string(), "-o"]).arg(&log);
        let traced: Vec<&str> = rules.iter().map(|(calls, _)| *calls).collect();
        command.arg("-e").arg(format!("trace={}", traced.join(",")));
        for (calls, from) in rules {
            command.arg("-e").arg(format!("inject={calls}:error=EIO:when={from}+"));
        }
        files.iter().for_each(|file| _ = command.arg("-P").arg(file));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&told).unwrap());
        let started = command.spawn().and_then(|mut strace| {
            let said = || fs::read_to_string(&told).unwrap();
            wait_until("strace to take hold", || {
                said().contains(" attached") || strace.try_wait().unwrap().is_some()
            });
            let holds = strace.try_wait().unwrap().is_none();
            if holds { Ok(strace) } else { Err(io::Error::other(said())) }
        });
        match started {
            Ok(strace) => Some(Faults { strace, log }),
            Err(error) => {
                skipped(format!("this needs strace, and leave to trace: {error}"));
                None
            }
        }
    }

    fn were_met(&self) -> bool {
        fs::read_to_string(&self.log).unwrap().contains("(INJECTED)")
    }

    fn end(mut self) {
        // It lets go of the program then, which runs on.
        kill(Pid::from_raw(i32::try_from(self.strace.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.strace.wait().unwrap();
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // A tracer that is killed takes nothing with it.
        let _ended = self.strace.kill();
        let _reaped = self.strace.wait();
    }
}

/// Returns kind and class of each hold that the daemon reports for the board `second`.
fn holds_of_second(s: &Sandbox) -> Vec<(Value, Value)> {
    let boards = s.json(&["boards", "list"]);
    let second = boards.as_array().unwrap().iter().find(|board| board["slug"] == "second").unwrap();
    let holds = second["board_holds"].as_array().unwrap();
    holds.iter().map(|hold| (hold["kind"].clone(), hold["class"].clone())).collect()
}

fn wait_for_quarantine(s: &Sandbox, sexton: &Running) {
    sexton.wait_for_log("out of use");
    let access = [(json!("quarantined"), json!("access"))];
    wait_until("the quarantine to be told", || holds_of_second(s) == access);
}

fn times_told(sexton: &Running, text: &str) -> usize {
    sexton.log().lines().filter(|line| line.contains(text)).count()
}

/// A task on the board `second`.
fn create_there(s: &Sandbox, body: &str) -> String {
    s.create(&["task", "--board", "second", "--body", body])
}

#[test]
fn a_full_disk_loses_nothing_and_affects_its_own_board_alone() {
    let s = sandbox("failure_limit = 1", "");
    let Some(disk) = Disk::over(s.root().join("kanban/boards")) else { return };
    let db = second_board(&s);
    let gate = Gate::new(s.path("gate"));
    let held = create_there(&s, &gate.wait());
    let child = s.create(&["task", "--board", "second", "--parent", &held, "--body", "exit 0"]);
    let sexton = run(&s, &[]);
    let pid = worker(&db, &held);
    let filler = disk.fill();
    gate.let_pass(1);
    wait_until("it to be reaped", || was_reaped(&sexton, pid));
    wait_for_quarantine(&s, &sexton);
    assert!(sexton.log().contains("database or disk is full"), "{}", sexton.log());
    let other = create(&s, "exit 0");
    wait_for_state(&s.db(), &other, "done|0|NULL");
    assert!(zombies_of(sexton.pid()).is_empty());
    assert_eq!(state(&db, &held), "running|0|NULL");
    fs::remove_file(filler).unwrap();
    for id in [&held, &child] {
        wait_for_state(&db, id, "done|0|NULL");
        assert_eq!(outcomes(&db, id), ["completed"]);
    }
    sexton.wait_for_log("in use again");
    assert_eq!(times_told(&sexton, "out of use"), 1);
    assert_eq!(rows(&db, "PRAGMA integrity_check"), ["ok"]);
    stop(sexton);
}

#[test]
fn a_read_only_disk_is_left_alone_until_it_can_be_written() {
    let s = sandbox("failure_limit = 1", "");
    let Some(disk) = Disk::over(s.root().join("kanban/boards")) else { return };
    let db = second_board(&s);
    let id = create_there(&s, "exit 0");
    disk.remount(MsFlags::MS_RDONLY);
    let sexton = run(&s, &[]);
    wait_for_quarantine(&s, &sexton);
    let other = create(&s, "exit 0");
    wait_for_state(&s.db(), &other, "done|0|NULL");
    disk.remount(MsFlags::empty());
    wait_for_state(&db, &id, "done|0|NULL");
    assert_eq!(outcomes(&db, &id), ["completed"]);
    sexton.wait_for_log("in use again");
    assert_eq!(times_told(&sexton, "out of use"), 1);
    stop(sexton);
}

#[test]
fn directories_that_go_on_failing_are_not_waited_for_forever() {
    let s = sandbox("failure_limit = 1", "");
    let Some(disk) = Disk::over(s.path("workspaces")) else { return };
    disk.remount(MsFlags::MS_RDONLY);
    let id = create(&s, "exit 0");
    let mut command = s.command(&["run", "--until-idle", "--grace", "100ms"]);
    command.env("HERMES_KANBAN_WORKSPACES_ROOT", &disk.0).process_group(0);
    let mut sexton = Running::start(&mut command, &s.path(""), "run");
    assert_eq!(sexton.code(), 0);
    assert!(sexton.log().contains("the board's directories are to blame"), "{}", sexton.log());
    assert_eq!(state(&s.db(), &id), "ready|0|NULL");
}

/// The bytes of a board and of its log.
fn bytes_of(db: &Path) -> [Option<Vec<u8>>; 2] {
    [db.to_owned(), db.with_file_name("kanban.db-wal")].map(|path| fs::read(path).ok())
}

fn names_beside(db: &Path) -> Vec<String> {
    let entries = fs::read_dir(db.parent().unwrap()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // A journal comes and goes with each transaction.
    names.retain(|name| name != "kanban.db-journal");
    names.sort();
    names
}

/// While `calls` fail on one board's files, an exit and a ready task wait there, the rest goes on,
/// and nothing is lost or done twice when they work again, with a write-ahead log or without.
/// `untouched`: not a byte of the board changes meanwhile.
fn lives_through(calls: &str, untouched: bool) {
    for journal_mode in ["wal", "delete"] {
        lives_through_as(journal_mode, calls, untouched);
    }
}

fn lives_through_as(journal_mode: &str, calls: &str, untouched: bool) {
    let s = sandbox("failure_limit = 1", "");
    let db = second_board(&s);
    assert_eq!(rows(&db, &format!("PRAGMA journal_mode = {journal_mode}")), [journal_mode]);
    let gate = Gate::new(s.path("gate"));
    let held = create_there(&s, &gate.wait());
    let elsewhere = create(&s, &gate.wait());
    let sexton = run(&s, &[]);
    let pids = [worker(&db, &held), worker(&s.db(), &elsewhere)];
    let [wal, journal] = ["kanban.db-wal", "kanban.db-journal"].map(|n| db.with_file_name(n));
    let files = [&*db, &wal, &journal];
    let Some(faults) = Faults::inject(&s, &sexton, &files, &[(calls, 1)]) else { return };
    let waiting = create_there(&s, "exit 0");
    let (bytes, names) = (bytes_of(&db), names_beside(&db));

    gate.let_pass(2);
    for pid in pids {
        wait_until("them to be reaped", || was_reaped(&sexton, pid));
    }
    wait_for_quarantine(&s, &sexton);
    assert!(faults.were_met());
    wait_for_state(&s.db(), &elsewhere, "done|0|NULL");
    let other = create(&s, "exit 0");
    wait_for_state(&s.db(), &other, "done|0|NULL");
    assert!(zombies_of(sexton.pid()).is_empty());
    assert_eq!(state(&db, &held), "running|0|NULL");
    assert_eq!(state(&db, &waiting), "ready|0|NULL");
    assert!(outcomes(&db, &waiting).is_empty());
    assert_eq!(names_beside(&db), names);
    if untouched {
        assert!(bytes_of(&db) == bytes, "something was written");
    }

    faults.end();
    for id in [&held, &waiting] {
        wait_for_state(&db, id, "done|0|NULL");
        assert_eq!(outcomes(&db, id), ["completed"]);
        let told = format!(
            "SELECT count(*) FROM task_events WHERE task_id = '{id}' AND kind = 'completed'"
        );
        assert_eq!(rows(&db, &told), ["1"]);
    }
    sexton.wait_for_log("in use again");
    assert_eq!(times_told(&sexton, "out of use"), 1);
    for (board, mode) in [(&db, journal_mode), (&s.db(), "wal")] {
        assert_eq!(rows(board, "PRAGMA journal_mode"), [mode]);
        assert_eq!(rows(board, "PRAGMA integrity_check"), ["ok"]);
    }
    stop(sexton);
}

#[test]
fn a_board_whose_reads_fail_is_left_alone_until_they_work() {
    lives_through("read,pread64,readv,preadv", true);
}

#[test]
fn a_board_whose_writes_fail_is_left_alone_until_they_work() {
    lives_through("write,pwrite64,writev,pwritev", true);
}

#[test]
fn a_board_whose_bytes_do_not_reach_the_disk_is_left_alone_until_they_do() {
    lives_through("fsync,fdatasync,sync_file_range,msync", false);
}

#[test]
fn a_board_with_pages_that_cannot_be_read_is_not_taken_for_a_damaged_one() {
    // The schema's own page, and one of a table.
    for first_bad_page in [3, 6] {
        let s = sandbox("failure_limit = 1", "");
        let sexton = run(&s, &[]);
        let first = create(&s, "exit 0");
        wait_for_state(&s.db(), &first, "done|0|NULL");
        let db = s.root().join("kanban/boards/second/kanban.db");
        let rules = [("pread64", first_bad_page)];
        let Some(faults) = Faults::inject(&s, &sexton, &[&db], &rules) else { return };
        assert_eq!(second_board(&s), db);
        wait_for_quarantine(&s, &sexton);
        assert!(faults.were_met());
        faults.end();
        let id = create_there(&s, "exit 0");
        wait_for_state(&db, &id, "done|0|NULL");
        assert_eq!(times_told(&sexton, "out of use"), 1);
        stop(sexton);
    }
}

#[test]
fn a_read_that_fails_in_the_middle_of_an_exchange_is_not_damage() {
    let s = sandbox("failure_limit = 1", "");
    let db = second_board(&s);
    let gate = Gate::new(s.path("gate"));
    let held = create_there(&s, &gate.wait());
    let sexton = run(&s, &[]);
    let pid = worker(&db, &held);
    // The header can be read, then nothing.
    let Some(faults) = Faults::inject(&s, &sexton, &[&db], &[("pread64", 2)]) else { return };
    let waiting = create_there(&s, "exit 0");
    gate.let_pass(1);
    wait_until("it to be reaped", || was_reaped(&sexton, pid));
    wait_for_quarantine(&s, &sexton);
    assert!(faults.were_met());
    faults.end();
    for id in [&held, &waiting] {
        wait_for_state(&db, id, "done|0|NULL");
        assert_eq!(outcomes(&db, id), ["completed"]);
    }
    assert_eq!(times_told(&sexton, "out of use"), 1);
    stop(sexton);
}
