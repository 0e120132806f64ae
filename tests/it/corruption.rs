//! Broken files in the place of boards, on a real disk, under the real program: each is reported
//! and left as it is, no other board is affected, and a good file in its place is used without a
//! restart.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

mod sick_files;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::daemon::wait_for;
use crate::support::gate::Gate;
use crate::support::root::rows;
use crate::support::running::{Running, reaped_lines};
use crate::support::sandbox::Sandbox;
use crate::support::shell::shell;
use crate::support::skip::skipped;
use crate::support::sql::sql;
use crate::support::user::spare_uid;
use crate::support::wait::wait_until;
use crate::support::zombie::zombies_of;
use nix::sys::signal::Signal;
use rusqlite::Connection;
use sick_files::{CHECK, Pile, RESTORE, TASK, checkpoint, look, overwrite, truncate};

/// A root with a healthy board, and the settings of all these tests.
fn sandbox() -> Sandbox {
    let s = Sandbox::new();
    let text = "[dispatch]\ndefault_assignee = \"shell\"\nmax_workers = 32\n\
                [worker.shell]\ncommand = [\"sh\", \"-c\", \"{body}\"]\n";
    fs::write(s.root().join("sexton.toml"), text).unwrap();
    s
}

/// Another board and its file.
fn board(s: &Sandbox, slug: &str) -> PathBuf {
    s.ok(&["boards", "create", slug]);
    s.root().join("kanban/boards").join(slug).join("kanban.db")
}

/// Adds ready tasks to a board that may be opened from this process.
fn add(db: &Path, ids: &[&str], body: &str) {
    for id in ids {
        let body = body.replace('\'', "''");
        sql(
            db,
            &format!(
                "INSERT INTO tasks (id, title, body, assignee, status, created_at) \
                 VALUES ('{id}', 'a task', '{body}', 'shell', 'ready', 1)"
            ),
        );
    }
}

fn run(s: &Sandbox) -> Running {
    Running::start(s.command(&["run"]).process_group(0), &s.path(""), "run")
}

fn status(db: &Path, id: &str) -> String {
    rows(db, &format!("SELECT status FROM tasks WHERE id = '{id}'")).remove(0)
}

fn wait_for_done(db: &Path, id: &str) {
    wait_until(&format!("{id} of {} to be done", db.display()), || status(db, id) == "done");
}

fn worker(db: &Path, id: &str) -> i32 {
    let query = format!(
        "SELECT worker_pid FROM tasks WHERE id = '{id}' AND status = 'running' \
         AND worker_pid NOT NULL"
    );
    wait_for("the worker's pid", || rows(db, &query).first()?.parse().ok())
}

fn reaped(sexton: &Running) -> Vec<i32> {
    reaped_lines(&sexton.log()).concat()
}

/// The lines in which a board is said to be sick.
fn told(sexton: &Running, db: &Path) -> Vec<String> {
    let wanted = format!("out of use: {}: ", db.display());
    sexton.log().lines().filter(|line| line.contains(&wanted)).map(str::to_owned).collect()
}

/// Waits until a board is said to be sick, and compares what is said.
fn wait_for_sick(sexton: &Running, db: &Path, finding: &str, remedy: &str) {
    wait_until(&format!("{} to be out of use", db.display()), || !told(sexton, db).is_empty());
    let lines = told(sexton, db);
    assert!(lines[0].contains(finding) && lines[0].contains(remedy), "{finding}: {lines:?}");
}

/// One more task of the healthy board is done, and nothing lies about unreaped.
fn is_well(s: &Sandbox, sexton: &Running) {
    let id = s.create(&["task", "--body", "exit 0"]);
    wait_for_done(&s.db(), &id);
    wait_until("all to be reaped", || zombies_of(sexton.pid()).is_empty());
}

fn stop(mut sexton: Running) {
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    assert!(!sexton.log().contains("panicked"), "{}", sexton.log());
}

/// `run` on this sandbox, executed by a wrapper that gets the command line as its arguments.
fn run_by(mut wrapper: Command, s: &Sandbox) -> Running {
    let real = s.command(&["run"]);
    wrapper.arg(real.get_program()).args(real.get_args()).env_clear();
    wrapper.envs(real.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapper.current_dir(s.path("")).process_group(0);
    Running::start(&mut wrapper, &s.path(""), "run")
}

/// All boards of the pile are open together in the end, some five descriptors each.
fn run_with_many_descriptors(s: &Sandbox) -> Running {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -n \"$(ulimit -H -n)\" && exec \"$@\"", "sh"]);
    run_by(shell, s)
}

#[test]
fn sick_boards_are_reported_and_left_alone_while_the_others_go_on_and_repaired_ones_need_no_restart()
 {
    const WAITING: [&str; 3] = ["t_a1", "t_a2", "t_a3"];
    const QUICK: [&str; 4] = ["t_b1", "t_b2", "t_b3", "t_b4"];
    let s = sandbox();
    let healthy = [s.db(), board(&s, "healthy")];
    let gate = Gate::new(s.path("gate"));
    for db in &healthy {
        add(db, &WAITING, &gate.wait());
        add(db, &QUICK, "exit 0");
    }
    let pile = Pile::new(&s);
    let before: Vec<_> = pile.sick.iter().map(|case| look(&case.db)).collect();
    let sexton = run_with_many_descriptors(&s);

    // Each is reported, with finding and remedy.
    for case in &pile.sick {
        wait_for_sick(&sexton, &case.db, &case.finding, case.remedy);
    }
    // Meanwhile all others finish everything: some while it falls sick, some only now.
    gate.let_pass(WAITING.len() * healthy.len());
    for db in &healthy {
        for id in WAITING.iter().chain(&QUICK) {
            wait_for_done(db, id);
        }
    }
    for db in &pile.odd {
        wait_for_done(db, TASK);
    }
    let well = (WAITING.len() + QUICK.len()) * healthy.len() + pile.odd.len();
    wait_until("all to be reaped", || reaped(&sexton).len() == well);
    assert!(zombies_of(sexton.pid()).is_empty());
    is_well(&s, &sexton);

    // Whatever was there is as it was, and nothing was added.
    for (case, before) in pile.sick.iter().zip(&before) {
        assert_eq!(&look(&case.db), before, "{}", case.slug);
        assert_eq!(told(&sexton, &case.db).len(), 1, "{}: told again and again", case.slug);
    }

    // A sound board in its place is used immediately.
    for case in &pile.sick {
        pile.repair(&case.db);
    }
    for case in &pile.sick {
        wait_for_done(&case.db, TASK);
        assert_eq!(rows(&case.db, "PRAGMA integrity_check"), ["ok"], "{}", case.slug);
    }
    let again = sexton.log().matches("in use again").count();
    assert_eq!(again, pile.sick.len());
    wait_until("all to be reaped", || reaped(&sexton).len() == well + 1 + pile.sick.len());
    assert!(zombies_of(sexton.pid()).is_empty());
    stop(sexton);
}

#[test]
fn a_run_until_idle_leaves_sick_boards_alone_too() {
    let s = sandbox();
    add(&s.db(), &["t_1"], "exit 0");
    let pile = Pile::new(&s);
    let before: Vec<_> = pile.sick.iter().map(|case| look(&case.db)).collect();
    let mut command = s.command(&["run", "--until-idle", "--grace", "1ms"]);
    let mut sexton = Running::start(&mut command, &s.path(""), "run");
    assert_eq!(sexton.code(), 0);
    assert_eq!(status(&s.db(), "t_1"), "done");
    let out = sexton.stdout();
    for (case, before) in pile.sick.iter().zip(&before) {
        assert_eq!(&look(&case.db), before, "{}", case.slug);
        assert!(out.contains(&format!("\n{}: ", case.slug)), "{}: {out}", case.slug);
    }
    for db in &pile.odd {
        assert_eq!(status(db, TASK), "done", "{}", db.display());
    }
}

#[test]
fn a_board_replaced_while_open_is_closed_and_the_new_one_is_driven() {
    let s = sandbox();
    let db = board(&s, "second");
    let gate = Gate::new(s.path("gate"));
    add(&db, &["t_old"], &gate.wait());
    let sexton = run(&s);
    let pid = worker(&db, "t_old");

    // What was there stays there under another name; the new file comes without any log.
    let directory = s.path("old");
    fs::create_dir(&directory).unwrap();
    let old = directory.join("kanban.db");
    fs::hard_link(&db, &old).unwrap();
    for end in ["-wal", "-shm"] {
        fs::rename(format!("{}{end}", db.display()), format!("{}{end}", old.display())).unwrap();
    }
    // Created where no dispatcher opens it.
    let elsewhere = sandbox();
    let new = board(&elsewhere, "new");
    add(&new, &["t_new"], "exit 0");
    fs::rename(&new, &db).unwrap();
    let before = look(&old);

    wait_for_done(&db, "t_new");
    gate.let_pass(1);
    wait_until("the old worker to be reaped", || reaped(&sexton).contains(&pid));
    is_well(&s, &sexton);
    assert_eq!(look(&old), before);
    assert_eq!(status(&old, "t_old"), "running");
    assert_eq!(rows(&db, "SELECT id FROM tasks"), ["t_new"]);
    stop(sexton);
}

#[test]
fn a_board_damaged_while_open_is_not_written_and_gets_its_verdicts_when_it_is_restored() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 7] = [
        ("to-0", |db| truncate(db, 0), "it has 0 bytes, too few for a database"),
        // SQLite itself calls this an empty file.
        ("to-1", |db| truncate(db, 1), "bytes, too few for a database"),
        ("to-100", |db| truncate(db, 100), "it has 100 bytes, too few for a database"),
        ("to-4095", |db| truncate(db, 4095), "it has 4095 bytes, less than one page of 4096"),
        ("to-4096", |db| truncate(db, 4096), "malformed"),
        ("to-40960", |db| truncate(db, 40_960), "malformed"),
        (
            "tls",
            |db| overwrite(db, 0, b"\x16\x03\x03\x00\x50\x02"),
            "it does not begin like an SQLite database",
        ),
    ];
    let s = sandbox();
    let gate = Gate::new(s.path("gate"));
    let dbs = cases.map(|(slug, _, _)| board(&s, slug));
    for db in &dbs {
        add(db, &["t_1"], &gate.wait());
        sql(
            db,
            "INSERT INTO tasks (id, title, body, assignee, status, created_at) \
             VALUES ('t_2', 'then', 'exit 0', 'shell', 'todo', 1); \
             INSERT INTO task_links VALUES ('t_1', 't_2')",
        );
    }
    let sexton = run(&s);
    let pids = dbs.each_ref().map(|db| worker(db, "t_1"));
    let mut before = Vec::new();
    for (db, (slug, damage, finding)) in dbs.iter().zip(&cases) {
        wait_until("the log to be in the file", || checkpoint(db));
        fs::copy(db, db.with_extension("copy")).unwrap();
        damage(db);
        let damaged = fs::read(db).unwrap();
        wait_until(&format!("{slug} to be out of use"), || !told(&sexton, db).is_empty());
        let line = told(&sexton, db).remove(0);
        // Or it was in the middle of a look.
        assert!(line.contains(finding) || line.contains("malformed"), "{finding}: {line}");
        assert!(line.contains(RESTORE), "{line}");
        assert_eq!(fs::read(db).unwrap(), damaged);
        before.push(look(db));
    }
    gate.let_pass(cases.len());
    wait_until("them to be reaped", || pids.iter().all(|pid| reaped(&sexton).contains(pid)));
    is_well(&s, &sexton);
    for (db, before) in dbs.iter().zip(&before) {
        assert_eq!(&look(db), before);
        for end in ["-wal", "-shm"] {
            let _may_not_be_there = fs::remove_file(format!("{}{end}", db.display()));
        }
        fs::rename(db.with_extension("copy"), db).unwrap();
    }
    for db in &dbs {
        wait_for_done(db, "t_1");
        wait_for_done(db, "t_2");
        assert_eq!(rows(db, "SELECT count(*) FROM task_runs"), ["2"]);
        assert_eq!(rows(db, "PRAGMA integrity_check"), ["ok"]);
    }
    assert!(zombies_of(sexton.pid()).is_empty());
    stop(sexton);
}

#[test]
fn a_board_damaged_beside_its_wal_keeps_both_as_they_are() {
    let s = sandbox();
    let db = board(&s, "second");
    let gate = Gate::new(s.path("gate"));
    let ids: Vec<_> = (0..200).map(|n| format!("t_x{n}")).collect();
    add(&db, &ids.iter().map(String::as_str).collect::<Vec<_>>(), "exit 0");
    sql(&db, "UPDATE tasks SET status = 'triage'");
    add(&db, &["t_1"], &gate.wait());
    let sexton = run(&s);
    let pid = worker(&db, "t_1");
    wait_until("the log to be in the file", || checkpoint(&db));
    sql(&db, "INSERT INTO task_comments VALUES (1, 't_1', 'somebody', 'a comment', 1)");
    // The header stays good, and so does what little is in the log.
    let size = usize::try_from(db.metadata().unwrap().len()).unwrap();
    overwrite(&db, 4096, &vec![0xa5; size - 4096]);
    let before = look(&db);
    gate.let_pass(1);
    wait_until("it to be reaped", || reaped(&sexton).contains(&pid));
    wait_for_sick(&sexton, &db, "malformed", RESTORE);
    is_well(&s, &sexton);
    assert_eq!(look(&db), before);
    let mut sexton = sexton;
    sexton.signal(Signal::SIGTERM);
    // Its exit was not recorded, and that is said.
    assert_eq!(sexton.code(), 1);
    assert_eq!(look(&db), before);
}

#[test]
fn damage_to_the_wal_of_one_board_crashes_nothing_and_costs_no_other_row() {
    let s = sandbox();
    let gate = Gate::new(s.path("gate"));
    let cases = [
        ("cut-index", "truncate -s 0 $db-shm", true),
        ("cut-log", "truncate -s 0 $db-wal", false),
        ("no-log", "rm $db-wal $db-shm", false),
    ];
    let dbs = cases.map(|(slug, ..)| board(&s, slug));
    for db in &dbs {
        add(db, &["t_1"], &gate.wait());
    }
    let sexton = run(&s);
    let pids = dbs.each_ref().map(|db| worker(db, "t_1"));
    for (db, (_, script, kept)) in dbs.iter().zip(cases) {
        wait_until("the log to be in the file", || checkpoint(db));
        // This is in the log only.
        sql(db, "INSERT INTO task_comments VALUES (1, 't_1', 'somebody', 'before', 1)");
        shell(&format!("db='{}'; {script}", db.display()));
        // Where frames are missing no process can write before that is noticed.
        let insert = "INSERT INTO task_comments VALUES (2, 't_1', 'somebody', 'after', 1)";
        wait_until("another to write", || {
            Connection::open(db).and_then(|conn| conn.execute(insert, [])).is_ok()
        });
        let before = rows(db, "SELECT body FROM task_comments");
        assert!(before.contains(&"after".to_owned()), "{script}");
        assert!(!kept || before.contains(&"before".to_owned()), "{script}");
    }
    gate.let_pass(cases.len());
    wait_until("them to be reaped", || pids.iter().all(|pid| reaped(&sexton).contains(pid)));
    is_well(&s, &sexton);
    for db in &dbs {
        wait_for_done(db, "t_1");
        let after = rows(db, "SELECT count(*) FROM task_comments WHERE body = 'after'");
        assert_eq!(after, ["1"], "{}", db.display());
    }
    stop(sexton);
    for db in &dbs {
        assert_eq!(rows(db, "PRAGMA integrity_check"), ["ok"]);
        assert_eq!(status(db, "t_1"), "done");
        let after = rows(db, "SELECT count(*) FROM task_comments WHERE body = 'after'");
        assert_eq!(after, ["1"], "{}", db.display());
    }
}

#[test]
fn a_board_whose_directory_is_renamed_and_comes_back_loses_nothing() {
    let s = sandbox();
    let db = board(&s, "second");
    let gate = Gate::new(s.path("gate"));
    add(&db, &["t_1"], &gate.wait());
    add(&db, &["t_2"], &gate.wait());
    let sexton = run(&s);
    let pids = [worker(&db, "t_1"), worker(&db, "t_2")];
    let (here, away) = (db.parent().unwrap(), s.path("away"));
    fs::rename(here, &away).unwrap();
    gate.let_pass(2);
    wait_until("them to be reaped", || pids.iter().all(|pid| reaped(&sexton).contains(pid)));
    is_well(&s, &sexton);
    assert!(!here.exists(), "something was made in its place");
    for id in ["t_1", "t_2"] {
        assert_eq!(status(&away.join("kanban.db"), id), "running");
    }
    fs::rename(&away, here).unwrap();
    for id in ["t_1", "t_2"] {
        wait_for_done(&db, id);
    }
    assert_eq!(rows(&db, "SELECT count(*) FROM task_runs"), ["2"]);
    add(&db, &["t_3"], "exit 0");
    wait_for_done(&db, "t_3");
    stop(sexton);
}

#[test]
fn a_board_whose_directory_takes_the_name_of_another_board_starts_nothing_twice() {
    let s = sandbox();
    let db = board(&s, "second");
    let gate = Gate::new(s.path("gate"));
    add(&db, &["t_1"], &gate.wait());
    let sexton = run(&s);
    let pid = worker(&db, "t_1");
    let here = db.parent().unwrap();
    let there = here.with_file_name("third");
    fs::rename(here, &there).unwrap();
    let moved = there.join("kanban.db");
    // It is driven under its new name, and the worker that lives is let alone.
    add(&moved, &["t_2"], "exit 0");
    wait_for_done(&moved, "t_2");
    add(&moved, &["t_3"], "exit 0");
    wait_for_done(&moved, "t_3");
    assert_eq!(worker(&moved, "t_1"), pid);
    gate.let_pass(1);
    wait_until("it to be reaped", || reaped(&sexton).contains(&pid));
    is_well(&s, &sexton);
    fs::rename(&there, here).unwrap();
    wait_for_done(&db, "t_1");
    assert_eq!(rows(&db, "SELECT count(*) FROM task_runs WHERE task_id = 't_1'"), ["1"]);
    stop(sexton);
}

#[test]
fn a_board_without_permission_is_reported_and_used_when_a_permitted_one_takes_its_place() {
    let s = sandbox();
    let cases = [
        ("none", 0o000, 0o755, "reading the file header: Permission denied"),
        ("write-only", 0o200, 0o755, "reading the file header: Permission denied"),
        ("read-only", 0o400, 0o755, "the file cannot be written"),
        ("in-a-folder-without", 0o600, 0o500, "its directory cannot be written"),
        ("beside-a-log-of-root", 0o600, 0o755, "attempt to write a readonly database"),
    ];
    let dbs = cases.map(|(slug, ..)| board(&s, slug));
    for db in &dbs {
        add(db, &["t_1"], "exit 0");
        fs::copy(db, db.with_extension("copy")).unwrap();
    }
    add(&s.db(), &["t_2"], "exit 0");
    let Some(uid) = spare_uid(&s) else { return };
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (db, (_, file, directory, _)) in dbs.iter().zip(cases) {
        set(db, file);
        set(db.parent().unwrap(), directory);
    }
    for end in ["-wal", "-shm"] {
        fs::write(format!("{}{end}", dbs[4].display()), "").unwrap();
    }
    let before = dbs.each_ref().map(|db| look(db));
    let mut command = s.command(&["run"]);
    let sexton = Running::start(command.uid(uid).gid(uid).process_group(0), &s.path(""), "run");
    for (db, (.., finding)) in dbs.iter().zip(cases) {
        wait_for_sick(&sexton, db, finding, CHECK);
    }
    wait_for_done(&s.db(), "t_2");
    assert_eq!(dbs.each_ref().map(|db| look(db)), before);
    assert_eq!(sexton.log().matches("out of use").count(), cases.len());
    for db in &dbs {
        for end in ["-wal", "-shm"] {
            let _may_not_be_there = fs::remove_file(format!("{}{end}", db.display()));
        }
        let copy = db.with_extension("copy");
        set(db.parent().unwrap(), 0o755);
        shell(&format!("chown {uid}:{uid} '{}'", copy.display()));
        fs::rename(copy, db).unwrap();
    }
    for db in &dbs {
        wait_for_done(db, "t_1");
    }
    assert!(zombies_of(sexton.pid()).is_empty());
    stop(sexton);
}

#[test]
fn a_board_on_a_read_only_mount_is_reported_and_used_when_it_can_be_written() {
    let s = sandbox();
    let db = board(&s, "second");
    add(&db, &["t_1"], "exit 0");
    add(&s.db(), &["t_2"], "exit 0");
    let directory = db.parent().unwrap().display().to_string();
    let mount = format!(
        "mount --bind '{directory}' '{directory}' && mount -o remount,bind,ro '{directory}' && exec \"$@\""
    );
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command
    };
    let tried = in_namespace(&mount).arg("true").output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        skipped(format!("no mount namespace of our own: {tried:?}"));
        return;
    }
    let before = look(&db);
    let sexton = run_by(in_namespace(&mount), &s);
    wait_for_sick(&sexton, &db, "", CHECK);
    wait_for_done(&s.db(), "t_2");
    assert_eq!(look(&db), before);
    // The same file in the same place, once it can be written.
    let pid = sexton.pid();
    shell(&format!("nsenter --mount --target {pid} mount -o remount,bind,rw '{directory}'"));
    wait_for_done(&db, "t_1");
    assert!(zombies_of(sexton.pid()).is_empty());
    stop(sexton);
}

#[test]
fn a_board_beside_a_foreign_wal_is_used_when_that_is_removed() {
    let s = sandbox();
    let db = board(&s, "misled");
    add(&db, &["t_1"], "exit 0");
    assert!(!sick_files::wal(&db).exists(), "no process has it open");
    let other = s.path("notes.db");
    let notes = Connection::open(&other).unwrap();
    for statement in
        ["PRAGMA journal_mode = WAL", "CREATE TABLE notes (x)", "INSERT INTO notes VALUES (1)"]
    {
        sexton::board::sql::run(&notes, statement).unwrap();
    }
    fs::copy(sick_files::wal(&other), sick_files::wal(&db)).unwrap();
    let sexton = run(&s);
    wait_for_sick(&sexton, &db, "there is no tasks.id", "give the path of a board");
    // The file itself stays as it was.
    fs::remove_file(sick_files::wal(&db)).unwrap();
    wait_for_done(&db, "t_1");
    stop(sexton);
}
