//! Which files are opened as boards, which are not, and that those which are not stay as they were.
#![cfg(feature = "runtime")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use crate::support::board::{NOW, World, fixture, new_board, rows, task};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rusqlite::{Connection, OpenFlags};
use sexton::board::card::{self, Filter};
use sexton::board::{self, Board, BoardError, Context, sql};
use sexton::machine::exchange::{Change, LeaseEnd, Refusal, Request, Taken};
use sexton::machine::fault::{Commit, FaultClass};
use sexton::machine::header;
use sexton::machine::ids::Pid;
use sexton::machine::verdict::{ExitStatus, Verdict};

fn refused(path: &Path) -> BoardError {
    let error = Board::open(path).expect_err("a refusal");
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    error
}

#[test]
fn a_file_that_sqlite_would_take_for_a_new_database_is_not_a_board() {
    let dir = tempfile::tempdir().expect("a directory");
    for size in [0, 1, 50, 99, 100, 511] {
        let path = dir.path().join(format!("{size}.db"));
        fs::write(&path, vec![0; size]).expect("a file");
        assert_eq!(refused(&path).class, FaultClass::Content);
        assert_eq!(fs::read(&path).expect("the file"), vec![0; size]);
        assert!(!dir.path().join(format!("{size}.db-wal")).exists());
    }
}

#[test]
fn a_board_that_is_not_a_regular_file_is_refused_without_hanging() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a fifo");
    let looped = dir.path().join("loop");
    symlink(&looped, &looped).expect("a link");
    let dangling = dir.path().join("dangling");
    symlink(dir.path().join("nothing"), &dangling).expect("a link");
    let missing = dir.path().join("missing.db");
    for path in [
        &fifo,
        &looped,
        &dangling,
        &missing,
        dir.path(),
        Path::new("/dev/null"),
        Path::new("/dev/tty"),
    ] {
        assert_eq!(refused(path).class, FaultClass::Access, "{}", path.display());
    }
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["dangling", "fifo", "loop"], "something was created");
}

#[test]
fn a_database_that_is_not_a_board_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("other.db");
    let conn = Connection::open(&path).expect("a database");
    conn.execute("CREATE TABLE tasks (id TEXT PRIMARY KEY)", []).expect("a table");
    drop(conn);
    let error = refused(&path);
    assert_eq!(error.class, FaultClass::Content);
    assert!(error.to_string().contains("tasks.title"), "{error}");
}

#[test]
fn a_board_whose_runs_or_events_have_no_numbers_is_refused() {
    for table in ["task_runs", "task_events"] {
        for key in ["TEXT PRIMARY KEY", "INTEGER", "INT PRIMARY KEY", "INTEGER PRIMARY KEY DESC"] {
            let (_dir, path) = new_board();
            let conn = Connection::open(&path).expect("a database");
            let query = format!("SELECT sql FROM sqlite_schema WHERE name = '{table}'");
            let made = rows(&conn, &query)[0].replace("INTEGER PRIMARY KEY AUTOINCREMENT", key);
            conn.execute(&format!("DROP TABLE {table}"), []).expect("no table");
            conn.execute(&made, []).expect("another table");
            drop(conn);
            let error = refused(&path);
            assert_eq!(error.class, FaultClass::Content);
            let said = error.to_string();
            assert!(said.contains(&format!("{table}.id")), "{key}: {said}");
            assert!(said.contains("a client that brings it up to date"), "{key}: {said}");
        }
    }
}

#[test]
fn what_others_keep_in_a_board_need_not_be_understood() {
    let odd_name = "CAST(x'78ff' AS TEXT)";
    for deeds in [
        [
            "INSERT INTO sqlite_schema VALUES ('table', 'vec', 'vec', 0, \
          'CREATE VIRTUAL TABLE vec USING vec0(x)')"
                .to_owned(),
            String::new(),
        ],
        [
            "CREATE TABLE other (a_column)".to_owned(),
            format!(
                "UPDATE sqlite_schema SET name = {odd_name}, tbl_name = {odd_name}, \
                 sql = CAST(replace(sql, 'other', {odd_name}) AS TEXT) WHERE name = 'other'"
            ),
        ],
        [
            "ALTER TABLE tasks ADD COLUMN other".to_owned(),
            format!(
                "UPDATE sqlite_schema SET sql = CAST(replace(sql, 'other', {odd_name}) AS TEXT) \
                 WHERE name = 'tasks'"
            ),
        ],
    ] {
        let (dir, path) = new_board();
        let conn = Connection::open(&path).expect("a database");
        conn.execute("PRAGMA writable_schema = ON", []).expect("a setting");
        for deed in deeds.iter().filter(|deed| !deed.is_empty()) {
            conn.execute(deed, []).expect(deed);
        }
        drop(conn);
        let mut world = World::with((dir, path));
        world.add("t_1", "ready");
        let fence = world.start("t_1", 1, 50);
        assert_eq!(world.finish(fence, 50, Verdict::Completed), Taken::Yes, "{deeds:?}");
        let reader = card::open_for_reading(&world.path).expect("a board to read");
        let listed = card::list(&reader.conn, &reader.columns, &Filter::default());
        assert_eq!(listed.expect("a list").len(), 1, "{deeds:?}");
    }
}

#[test]
fn a_damaged_page_is_found_and_the_files_stay_as_they_were() {
    let (dir, path) = fixture("hermes-0.19.0.db");
    let file = File::options().write(true).open(&path).expect("the file");
    file.write_all_at(&[0xff; 4096], 4096).expect("the damage");
    drop(file);
    let before = fs::read(&path).expect("the file");
    let error = Board::open(&path).expect_err("a refusal");
    assert_eq!(error.class, FaultClass::Content, "{error}");
    assert_eq!(fs::read(&path).expect("the file"), before);
    drop(dir);
}

#[test]
fn a_name_is_never_taken_for_a_uri() {
    let (dir, path) = new_board();
    let odd = dir.path().join("file:x?mode=memory");
    fs::rename(&path, &odd).expect("another name");
    let board = Board::open(&odd).expect("an open board");
    assert_eq!(rows(board.connection(), "SELECT count(*) FROM tasks"), ["0"]);
}

#[test]
fn a_file_is_open_once_in_a_process_under_any_name() {
    let (dir, path) = new_board();
    let link = dir.path().join("link.db");
    symlink(&path, &link).expect("a link");
    let first = Board::open(&path).expect("an open board");
    let error = Board::open(&link).expect_err("a refusal");
    assert_eq!(error.class, FaultClass::Access);
    assert!(error.to_string().contains("kanban.db"), "{error}");
    drop(first);
    drop(Board::open(&link).expect("an open board"));
    Board::open(&path).expect("an open board");
}

#[test]
fn through_a_link_a_board_is_locked_under_both_names() {
    let (dir, path) = new_board();
    let link = dir.path().join("link.db");
    symlink(&path, &link).expect("a link");
    let mut world = World::with((dir, link));
    world.add("t_1", "ready");
    world.claim("t_1", 1);
    for name in ["kanban.db.dispatch.lock", "link.db.dispatch.lock"] {
        assert!(world.dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_lock_file_that_both_names_share_is_not_a_rival() {
    let (dir, path) = new_board();
    let [link, lock, link_lock] = ["link.db", "kanban.db.dispatch.lock", "link.db.dispatch.lock"]
        .map(|name| dir.path().join(name));
    symlink(&path, &link).expect("a link");
    symlink(&lock, &link_lock).expect("a link");
    let mut world = World::with((dir, link));
    world.add("t_1", "ready");
    world.claim("t_1", 1);
    world.add("t_2", "ready");
    let other = File::open(&lock).expect("the lock file");
    other.try_lock().expect("free between exchanges");
    let claim = world.claim_of("t_2", 2);
    assert_eq!(world.change(claim), Taken::No(Refusal::Locked));
}

/// Whether another process would find SQLite's shared lock on the file. The list of locks is read in
/// pieces and may lack one that is held while others come and go; so only a list that shows it proves
/// anything, and many that do not are needed for the contrary.
fn is_locked(path: &Path) -> bool {
    let inode =
        format!(":{} ", std::os::unix::fs::MetadataExt::ino(&path.metadata().expect("a file")));
    let is_it =
        |line: &str| line.contains("POSIX") && line.contains(&inode) && line.contains("READ");
    (0..50).any(|_| fs::read_to_string("/proc/locks").expect("the locks").lines().any(is_it))
}

#[test]
fn an_open_board_is_protected_from_the_ends_of_others() {
    let mut world = World::new();
    assert!(is_locked(&world.path));
    world.add("t_1", "ready");
    world.claim("t_1", 1);
    assert!(Board::open(&world.path).is_err());
    assert!(is_locked(&world.path), "a refused open dropped the lock");
}

#[test]
fn a_replaced_file_is_closed() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let request = Request {
        changes: vec![world.claim_of("t_1", 1)],
        fresh: true,
        relist: false,
        want: 1,
        unix: NOW,
    };
    let aside = world.dir.path().join("aside.db");
    fs::rename(&world.path, &aside).expect("another name");
    let failed = world.try_send(&request).expect_err("gone");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Replaced, Commit::No));
    fs::copy(&aside, &world.path).expect("another file");
    let failed = world.try_send(&request).expect_err("replaced");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Replaced, Commit::No));
    // The log beside the new file is not that of the old one, and stays.
    let log = world.dir.path().join("kanban.db-wal");
    let before = fs::read(&log).expect("the log");
    drop(world.board);
    assert_eq!(fs::read(&log).expect("the log"), before);
}

#[test]
fn a_header_damaged_under_an_open_board_is_neither_used_nor_painted_over() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.claim("t_1", 1);
    // Another process writes: a descriptor of this one would take our locks with it when closed.
    let script = format!("printf 'garbage!' | dd of='{}' conv=notrunc 2>&1", world.path.display());
    let status =
        std::process::Command::new("sh").args(["-c", &script]).output().expect("dd").status;
    assert!(status.success());
    let request = Request { changes: Vec::new(), fresh: true, relist: false, want: 1, unix: NOW };
    let failed = world.try_send(&request).expect_err("damaged");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Content, Commit::No));
    let path = world.path.clone();
    let log = world.dir.path().join("kanban.db-wal");
    drop(world.board);
    assert!(log.metadata().is_ok_and(|meta| meta.len() > 0), "the log was removed");
    assert!(fs::read(&path).expect("the file").starts_with(b"garbage!"));
}

#[test]
fn a_damaged_file_gets_nothing_of_its_wal() {
    let mut world = World::new();
    for n in 0..100 {
        world.add(&format!("t_{n}"), "ready");
    }
    sql::run(world.board.connection(), "PRAGMA wal_checkpoint").expect("a checkpoint");
    // A little is in the WAL only.
    world.rival("INSERT INTO task_comments VALUES (1, 't_1', 'somebody', 'a comment', 1)");
    let size = world.path.metadata().expect("the file").len();
    let script = format!(
        "dd if=/dev/zero of='{}' bs=4096 seek=1 count={} conv=notrunc 2>&1",
        world.path.display(),
        size / 4096 - 1
    );
    let dd = std::process::Command::new("sh").args(["-c", &script]).output().expect("dd");
    assert!(dd.status.success());
    let before = file_and_log(&world.path);
    assert!(before.iter().all(Option::is_some), "a file and its WAL");
    let request = Request {
        changes: vec![world.claim_of("t_1", 1)],
        fresh: true,
        relist: false,
        want: 10,
        unix: NOW,
    };
    let failed = world.try_send(&request).expect_err("damaged");
    assert_eq!(failed.error.class, FaultClass::Content);
    assert!(failed.error.finding.contains("malformed"), "{failed}");
    drop(world.board);
    let after = file_and_log(&world.path);
    assert!(before == after, "the WAL of a damaged file was copied or removed");
}

/// What another process does to the files `$db`, `$db-wal` and `$db-shm`.
fn outside(db: &Path, script: &str) {
    let mut sh = std::process::Command::new("sh");
    let output = sh.args(["-ec", script]).env("db", db).output().expect("a shell");
    assert!(output.status.success(), "{script}: {output:?}");
}

/// The bytes of the file and of its log.
fn file_and_log(db: &Path) -> [Option<Vec<u8>>; 2] {
    [db.to_owned(), db.with_extension("db-wal")].map(|path| fs::read(path).ok())
}

fn look() -> Request {
    Request { changes: Vec::new(), fresh: true, relist: false, want: 1, unix: NOW }
}

#[test]
fn what_is_taken_away_beside_an_open_board_is_missed_before_it_is_used() {
    for script in [
        "truncate -s 0 $db-shm",
        "truncate -s 4096 $db-shm",
        "truncate -s 0 $db-wal",
        "truncate -s 4000 $db-wal",
        "rm $db-wal $db-shm",
        "rm $db-wal",
        "rm $db-shm",
        "cp $db-wal $db.tmp; mv $db.tmp $db-wal",
        "cp $db-shm $db.tmp; mv $db.tmp $db-shm",
    ] {
        let mut world = World::new();
        for n in 0..20 {
            world.add(&format!("t_{n}"), "ready");
        }
        sql::run(world.board.connection(), "PRAGMA wal_checkpoint").expect("a checkpoint");
        // Goes into the log once more, from its beginning on.
        let fence = world.claim("t_1", 1);
        world.change(Change::Renew { fence, ttl_s: 900, heartbeat: true });
        outside(&world.path, script);
        let before = file_and_log(&world.path);
        let claim = Request { changes: vec![world.claim_of("t_2", 2)], ..look() };
        for request in [look(), claim] {
            let failed = world.try_send(&request).expect_err(script);
            let seen = (failed.error.class, failed.commit);
            assert_eq!(seen, (FaultClass::Replaced, Commit::No), "{script}: {failed}");
        }
        drop(world.board);
        assert!(file_and_log(&world.path) == before, "{script}: something was written");
        world.board = Board::open(&world.path).expect(script);
        assert_eq!(world.row("PRAGMA integrity_check"), "ok", "{script}");
        assert_eq!(world.row("SELECT count(*) FROM tasks"), "20", "{script}");
    }
}

#[test]
fn a_wal_that_rivals_restart_is_still_the_same() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.claim("t_1", 1);
    let path = world.path.clone();
    let rival = std::thread::spawn(move || {
        let conn = Connection::open(&path).expect("a rival");
        conn.busy_timeout(std::time::Duration::from_secs(10)).expect("patience");
        sql::run(&conn, "PRAGMA journal_size_limit = 0").expect("a limit");
        for n in 0..300 {
            let insert = format!("INSERT INTO task_comments VALUES ({n}, 't_1', 'x', 'y', 1)");
            conn.execute(&insert, []).expect("a comment");
            let mode = if n % 2 == 0 { "TRUNCATE" } else { "RESTART" };
            let _or_somebody_reads = sql::run(&conn, &format!("PRAGMA wal_checkpoint({mode})"));
        }
    });
    let renew = Change::Renew { fence, ttl_s: 900, heartbeat: true };
    while !rival.is_finished() {
        for request in [look(), Request { changes: vec![renew], ..look() }] {
            if let Err(failed) = world.try_send(&request) {
                assert_eq!(failed.error.class, FaultClass::Busy, "{failed}");
            }
        }
    }
    rival.join().expect("no panic");
    assert_eq!(world.row("SELECT count(*) FROM task_comments"), "300");
}

#[test]
fn a_shm_that_is_truncated_in_use_crashes_nothing_and_nothing_is_written() {
    let mut world = World::new();
    for n in 0..20 {
        world.add(&format!("t_{n}"), "ready");
    }
    let cut = "truncate -s 0 $db-shm";
    for cut in ["truncate -s 0 $db-shm; rm $db-shm", cut] {
        // As if right after the look at its size.
        outside(&world.path, cut);
        assert_eq!(world.row("SELECT count(*) FROM tasks"), "20");
        assert_eq!(world.try_send(&look()).expect_err("cut").error.class, FaultClass::Replaced);
        drop(world.board);
        world.board = Board::open(&world.path).expect("the board");
    }
    let fences = [world.claim("t_1", 1), world.claim("t_2", 2)];
    // Or the transaction would find all pages in SQLite's cache.
    world.rival("INSERT INTO task_comments VALUES (1, 't_1', 'somebody', 'a comment', 1)");
    let before = [world.task("t_1"), world.task("t_2")];
    let context = Context {
        policy: &world.policy,
        workers: &world.workers,
        owner: &world.owner,
        spawn_error: &|_| None,
        // Asked for in the middle of the transaction. Its size alone would not tell.
        fingerprint: &|spawn| {
            let first = spawn == fences[0].spawn;
            outside(&world.path, if first { cut } else { "truncate -s 32768 $db-shm" });
            None
        },
        liveness: &world.host,
    };
    let changes = fences.map(|fence| Change::Started { fence, pid: Pid(50) }).to_vec();
    let failed = world.board.exchange(&Request { changes, ..look() }, &context).expect_err("cut");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Replaced, Commit::No));
    assert!(failed.error.finding.contains("was cut"), "{failed}");
    drop(world.board);
    world.board = Board::open(&world.path).expect("the board");
    assert_eq!([world.task("t_1"), world.task("t_2")], before);
    assert_eq!(world.row("SELECT count(*) FROM task_events WHERE kind = 'spawned'"), "0");
    assert_eq!(world.row("PRAGMA integrity_check"), "ok");
}

#[test]
fn a_board_that_changes_its_journal_mode_is_opened_again() {
    let (dir, path) = new_board();
    let other = Connection::open(&path).expect("a connection");
    sql::run(&other, "PRAGMA journal_mode = DELETE").expect("another mode");
    let mut world = World::with((dir, path));
    world.add("t_1", "ready");
    let fence = world.claim("t_1", 1);
    sql::run(&other, "PRAGMA journal_mode = WAL").expect("another mode");
    let renew = Change::Renew { fence, ttl_s: 900, heartbeat: true };
    let request = Request { changes: vec![renew], ..look() };
    assert_eq!(world.try_send(&request).expect_err("changed").error.class, FaultClass::Replaced);
    drop(world.board);
    world.board = Board::open(&world.path).expect("the board");
    assert_eq!(world.change(renew), Taken::Yes);
}

#[test]
fn a_new_board_has_the_clients_tables() {
    let (_dir, path) = new_board();
    let (_other, client) = fixture("hermes-0.19.0.db");
    let ours = Connection::open(&path).expect("the new board");
    let theirs = Connection::open(&client).expect("the client's board");
    let columns = "SELECT s.name, c.* FROM sqlite_schema s, pragma_table_info(s.name) c \
                   WHERE s.type = 'table' ORDER BY s.name, c.cid";
    assert_eq!(rows(&ours, columns), rows(&theirs, columns));
    let indexes = "SELECT tbl_name, name, replace(sql, ' ', '') FROM sqlite_schema \
                   WHERE type = 'index' AND name NOT LIKE 'sexton\\_%' ESCAPE '\\' ORDER BY name";
    assert_eq!(rows(&ours, indexes), rows(&theirs, indexes));
    assert_eq!(rows(&ours, "PRAGMA journal_mode"), ["wal"]);
    assert_eq!(rows(&ours, "PRAGMA user_version"), ["0"]);
}

#[test]
fn a_board_is_never_made_over_something() {
    let (dir, path) = new_board();
    let before = fs::read(&path).expect("the file");
    assert!(board::create(&path).is_err());
    assert_eq!(fs::read(&path).expect("the file"), before);
    let other = dir.path().join("other.db");
    fs::write(dir.path().join("other.db-wal"), b"left").expect("a log");
    let error = board::create(&other).expect_err("a refusal");
    assert!(error.to_string().contains("other.db-wal"), "{error}");
    assert!(!other.exists());
    let drafts = fs::read_dir(dir.path())
        .expect("the directory")
        .filter(|entry| {
            entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with('.'))
        })
        .count();
    assert_eq!(drafts, 0);
}

#[test]
fn the_head_of_the_ready_list_needs_no_sorting() {
    let (_dir, path) = new_board();
    let conn = Connection::open(&path).expect("the board");
    let plan = rows(
        &conn,
        "EXPLAIN QUERY PLAN SELECT rowid, priority, created_at FROM tasks INDEXED BY sexton_ready \
         WHERE assignee IS 'x' AND status = 'ready' AND claim_lock IS NULL \
         ORDER BY priority DESC, created_at, rowid",
    );
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
}

/// The client's boards, each with another schema: look, claim, finish, promote.
#[test]
fn boards_of_every_generation_are_driven_as_they_are() {
    for (name, head, count) in [
        ("hermes-0.13.0.db", "t_210c214a", 4),
        ("hermes-0.19.0.db", "t_f5d9506d", 4),
        ("hermes-newer.db", "t_5e000001", 5),
    ] {
        let mut world = World::with(fixture(name));
        world.unix = NOW + 10;
        let schema = "SELECT sql FROM sqlite_schema ORDER BY name";
        let before = world.rows(schema);
        let ready = world.ready();
        assert_eq!((ready[0].as_str(), ready.len()), (head, count), "{name}: {ready:?}");
        let fence = world.start(head, 1, 50);
        assert_eq!(world.finish(fence, 50, Verdict::Completed), Taken::Yes);
        let promotable = world.look().promotable;
        assert_eq!(promotable.len(), 1, "{name}: {promotable:?}");
        let promote = Change::Promote { task: promotable[0], failure_limit: 2 };
        assert_eq!(world.change(promote), Taken::Yes);
        let next = world.ready()[1].clone();
        let fence = world.start(&next, 2, 51);
        assert_eq!(world.finish(fence, 51, Verdict::Crashed(ExitStatus::Code(1))), Taken::Yes);
        assert_eq!(world.rows(schema), before, "{name}");
        assert_eq!(world.rows("PRAGMA integrity_check"), ["ok"]);
    }
}

#[test]
fn a_claim_of_a_dispatcher_that_is_gone_ends_with_its_lease() {
    let mut world = World::with(fixture("hermes-0.19.0.db"));
    let expires = 1_795_496_044;
    world.unix = expires - 100;
    let look = world.look();
    assert_eq!((look.running, look.expired.len(), look.due), (1, 0, Some(expires + 1)));
    world.unix = expires + 1;
    let seen = world.send(&[], false).answer.observation.expect("a look");
    assert_eq!(seen.expired[0].task, task("t_fd97dd73"));
    assert_eq!(seen.expired[0].by, LeaseEnd::Expired);
}

#[test]
fn on_newer_boards_every_pid_comes_with_its_fingerprint() {
    let mut world = World::with(fixture("hermes-newer.db"));
    // A stale fingerprint without a pid, which the client leaves behind.
    world.rival("UPDATE tasks SET worker_started_at = 'stale' WHERE id = 't_5e000001'");
    let fence = world.claim("t_5e000001", 1);
    let pids = "SELECT worker_pid, worker_started_at FROM tasks WHERE id = 't_5e000001'";
    assert_eq!(world.row(pids), "-|-");
    let pid = sexton::machine::ids::Pid(50);
    world.change(Change::Started { fence, pid });
    assert_eq!(world.row(pids), "50|boot:1|1");
    let run = "SELECT claim_lock IS NULL, claim_expires, worker_pid, worker_started_at \
               FROM task_runs ORDER BY id DESC LIMIT 1";
    assert!(world.row(run).ends_with("|50|boot:1|1"));
    let spawned = "1|spawned|{\"pid\": 50, \"started_at\": \"boot:1|1\"}";
    let events = world.events("t_5e000001", 0);
    assert!(events.iter().any(|e| e.ends_with(spawned.trim_start_matches('1'))), "{events:?}");
    world.finish(fence, 50, Verdict::Completed);
    assert_eq!(world.row(pids), "-|-");
    assert_eq!(world.row(run), "0|-|50|boot:1|1", "the evidence of a closed run is kept");
}

#[test]
fn columns_added_under_an_open_board_are_seen() {
    let mut world = World::with(fixture("hermes-0.19.0.db"));
    world.look();
    world.rival("ALTER TABLE tasks ADD COLUMN worker_started_at INTEGER");
    world.rival("ALTER TABLE task_runs ADD COLUMN worker_started_at INTEGER");
    world.start("t_f5d9506d", 1, 50);
    let row = "SELECT worker_started_at FROM tasks WHERE id = 't_f5d9506d'";
    assert_eq!(world.row(row), "boot:1|1");
}

/// Whether SQLite itself can read the schema of the file and write to it.
fn sqlite_takes(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let Ok(conn) = Connection::open_with_flags(path, flags) else { return false };
    sql::all(&conn, "SELECT * FROM t", [], |_| Ok(())).is_ok()
        && conn.execute("INSERT INTO t VALUES (1)", []).is_ok()
}

/// Values that SQLite reads over although it never writes them.
fn is_damage_that_sqlite_tolerates(bytes: &[u8]) -> bool {
    bytes[18] == 0
        || bytes[19] == 0
        || bytes[44..47] != [0; 3]
        || bytes[47] == 0
        || bytes[56..59] != [0; 3]
        || bytes[59] == 0
        || bytes[59] > 3
}

#[test]
fn every_header_that_sqlite_writes_is_sound() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut count = 0;
    for page in [512, 1024, 4096, 65536] {
        for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
            for journal in ["DELETE", "WAL"] {
                for also in ["auto_vacuum = FULL", "user_version = 7", "secure_delete = ON"] {
                    let path = dir.path().join(format!("{count}.db"));
                    count += 1;
                    let conn = Connection::open(&path).expect("a database");
                    for pragma in [
                        &format!("page_size = {page}"),
                        &format!("encoding = '{encoding}'"),
                        also,
                        &format!("journal_mode = {journal}"),
                    ] {
                        sql::run(&conn, &format!("PRAGMA {pragma}")).expect("a pragma");
                    }
                    let check = |empty| {
                        let bytes = fs::read(&path).expect("the file");
                        if bytes.is_empty() {
                            return;
                        }
                        let header = header::check(&bytes, bytes.len() as u64).expect("sound");
                        assert_eq!((header.page_size, header.wal), (page, journal == "WAL"));
                        assert!(!header.empty || empty);
                    };
                    check(true);
                    sql::run(&conn, "CREATE TABLE t (x)").expect("a table");
                    check(journal == "WAL");
                    sql::run(&conn, "DROP TABLE t").expect("no table");
                    sql::run(&conn, "VACUUM").expect("a small file");
                    conn.close().expect("its end");
                    check(true);
                }
            }
        }
    }
}

#[test]
fn no_header_is_refused_that_sqlite_can_use() {
    let dir = tempfile::tempdir().expect("a directory");
    for (pragma, page) in [
        ("PRAGMA encoding = 'UTF-8'", 4096),
        ("PRAGMA encoding = 'UTF-16le'", 65536),
        ("PRAGMA encoding = 'UTF-16be'", 512),
    ] {
        let sound = dir.path().join(format!("{page}.db"));
        let conn = Connection::open(&sound).expect("a database");
        for statement in [
            pragma,
            &format!("PRAGMA page_size = {page}"),
            "CREATE TABLE t (x)",
            "INSERT INTO t VALUES (randomblob(3000))",
        ] {
            sql::run(&conn, statement).expect(statement);
        }
        drop(conn);
        let whole = fs::read(&sound).expect("the file");
        let copy = dir.path().join("copy.db");
        let mut refused = 0;
        // Every byte that is checked at all, with values around those that are allowed.
        for at in (0..24).chain(44..48).chain(56..60) {
            for value in [0, 1, 2, 3, 4, 5, 16, 32, 64, 128, 255] {
                let mut file = File::create(&copy).expect("a copy");
                file.write_all(&whole).expect("a copy");
                file.seek(SeekFrom::Start(at)).expect("its header");
                file.write_all(&[value]).expect("its header");
                drop(file);
                let bytes = fs::read(&copy).expect("the copy");
                if let Err(error) = header::check(&bytes[..100], bytes.len() as u64)
                    && !is_damage_that_sqlite_tolerates(&bytes)
                {
                    refused += 1;
                    let _ = fs::remove_file(copy.with_extension("db-wal"));
                    assert!(!sqlite_takes(&copy), "byte {at} = {value}: {error}");
                }
                for suffix in ["db-wal", "db-shm", "db-journal"] {
                    let _ = fs::remove_file(copy.with_extension(suffix));
                }
            }
        }
        assert!(refused > 200, "{refused}");
    }
}

#[test]
fn a_bad_header_is_refused_with_its_reason() {
    assert!(header::check(&[], 0).expect_err("empty").to_string().contains("0 bytes"));
    assert!(header::check(&[0; 99], 99).is_err());
    let text = header::check(&[b'x'; 100], 5000).expect_err("text").to_string();
    assert!(text.contains("does not begin"), "{text}");
}

#[test]
fn what_a_killed_dispatcher_left_beside_a_damaged_board_stays_as_it_was() {
    let (dir, path) = new_board();
    let conn = Connection::open(&path).expect("a connection");
    conn.execute("INSERT INTO task_comments VALUES (1, 't_1', 'x', 'y', 1)", []).expect("a row");
    let left = dir.path().join("left.db");
    for end in ["", "-wal", "-shm"] {
        let (from, to) = (dir.path().join("kanban.db"), left.clone());
        fs::copy(format!("{}{end}", from.display()), format!("{}{end}", to.display()))
            .expect("a copy");
    }
    drop(conn);
    outside(&left, "dd if=/dev/zero of=$db bs=4096 seek=2 count=4 conv=notrunc");
    let look = || {
        ["", "-wal", "-shm"].map(|end| {
            let file = format!("{}{end}", left.display());
            let written = fs::metadata(&file).expect("a file").modified().expect("a time");
            (fs::read(&file).expect("a file"), written)
        })
    };
    let before = look();
    assert_eq!(Board::open(&left).expect_err("damaged").class, FaultClass::Content);
    assert!(look() == before, "something was written");
}

#[test]
fn a_file_that_is_not_a_board_keeps_its_wal() {
    let (dir, path) = new_board();
    let conn = Connection::open(&path).expect("a connection");
    sql::run(&conn, "PRAGMA journal_mode = WAL").expect("WAL mode");
    conn.execute("ALTER TABLE tasks RENAME COLUMN claim_lock TO other", []).expect("a change");
    // As after a crash: the change is in the log only.
    let crashed = dir.path().join("crashed.db");
    let log = dir.path().join("crashed.db-wal");
    fs::copy(&path, &crashed).expect("a copy");
    fs::copy(dir.path().join("kanban.db-wal"), &log).expect("a copy");
    let before = [fs::read(&crashed).expect("the file"), fs::read(&log).expect("the log")];
    assert!(refused(&crashed).to_string().contains("tasks.claim_lock"));
    let after = [fs::read(&crashed).expect("the file"), fs::read(&log).expect("the log")];
    assert!(before == after, "the log of a file that is no board was copied or removed");
}
