//! Files in the place of boards that are not boards, or are broken, and the message that each must
//! cause.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rusqlite::{Connection, ffi};
use sha2::{Digest, Sha256};

use crate::support::root::rows;
use crate::support::sandbox::Sandbox;
use crate::support::shell::shell;
use crate::support::sql::sql;

pub const RESTORE: &str = "restore the file from a backup or repair it";
pub const CHECK: &str = "check that the file is there, its permissions and its disk";
const NO_BOARD: &str = "give the path of a board, or open it once with a client that brings it up \
                        to date";
const NO_FILE: &str = "give the path of a board's database file";
const UNDO: &str = "open the board once with a client that may write to it";

/// The one task of every board that is, or becomes, sound.
pub const TASK: &str = "t_00000001";
const ADD_TASK: &str = "INSERT INTO tasks (id, title, body, assignee, status, created_at) \
                        VALUES ('t_00000001', 'a task', 'exit 0', 'shell', 'ready', 1)";

const PAGE: usize = 4096;

/// A board that cannot be used, and what the log is to say of it.
pub struct Case {
    pub slug: String,
    pub db: PathBuf,
    pub finding: String,
    pub remedy: &'static str,
}

/// Many sick boards in one root, and a few odd ones which work.
pub struct Pile {
    boards: PathBuf,
    scratch: PathBuf,
    /// The bytes of a good board with one task.
    sound: Vec<u8>,
    pub sick: Vec<Case>,
    /// Boards that look unusual, and whose one task must still be done.
    pub odd: Vec<PathBuf>,
}

impl Pile {
    /// Creates all of them.
    pub fn new(s: &Sandbox) -> Pile {
        let (boards, scratch) = (s.root().join("kanban/boards"), s.path("scratch"));
        fs::create_dir_all(&boards).unwrap();
        fs::create_dir(&scratch).unwrap();
        let sound = sound(&scratch.join("sound.db"), "");
        let mut pile = Pile { boards, scratch, sound, sick: Vec::new(), odd: Vec::new() };
        pile.add_bytes();
        pile.add_cut();
        pile.add_headers();
        pile.add_no_files();
        pile.add_siblings();
        pile.add_schemas();
        pile.add_odd();
        pile
    }

    /// Puts a sound board in the place of a sick one, as src/cli/README.md describes.
    pub fn repair(&self, db: &Path) {
        for end in ["-wal", "-shm", "-journal"] {
            let _may_not_be_there = fs::remove_file(format!("{}{end}", db.display()));
        }
        if db.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir(db).unwrap();
        }
        let beside = db.with_extension("new");
        fs::write(&beside, &self.sound).unwrap();
        fs::rename(beside, db).unwrap();
    }

    fn directory(&self, slug: &str) -> PathBuf {
        let directory = self.boards.join(slug);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("board.json"), "{}").unwrap();
        directory.join("kanban.db")
    }

    fn sick(&mut self, slug: &str, finding: &str, remedy: &'static str, make: impl FnOnce(&Path)) {
        let db = self.directory(slug);
        make(&db);
        self.sick.push(Case { slug: slug.to_owned(), db, finding: finding.to_owned(), remedy });
    }

    fn bytes(&mut self, slug: &str, finding: &str, bytes: &[u8]) {
        self.sick(slug, finding, RESTORE, |db| fs::write(db, bytes).unwrap());
    }

    /// The sound board with other bytes at one place.
    fn patched(&mut self, slug: &str, finding: &str, at: usize, patch: &[u8]) {
        let mut bytes = self.sound.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        self.bytes(slug, finding, &bytes);
    }

    /// Files that are not databases.
    fn add_bytes(&mut self) {
        const NO_DATABASE: &str = "it does not begin like an SQLite database";
        self.bytes("random", NO_DATABASE, &noise(65_536));
        self.bytes("text", NO_DATABASE, "not a board\n".repeat(1000).as_bytes());
        self.bytes("zeros", NO_DATABASE, &[0; 8192]);
        self.sick("sparse", NO_DATABASE, RESTORE, |db| {
            File::create(db).unwrap().set_len(100 << 20).unwrap();
        });
        let record = b"\x16\x03\x03\x00\x50\x02\x00\x00\x4c\x03\x03";
        self.patched("tls-at-0", NO_DATABASE, 0, record);
        self.patched("tls-at-5", NO_DATABASE, 5, record);
    }

    /// Sound as far as they go.
    fn add_cut(&mut self) {
        let sound = self.sound.clone();
        for size in 0..=100 {
            let finding = format!("it has {size} bytes, too few for a database");
            self.bytes(&format!("cut-{size}"), &finding, &sound[..size]);
        }
        for size in [512, PAGE - 1] {
            let finding = format!("it has {size} bytes, less than one page of 4096");
            self.bytes(&format!("cut-{size}"), &finding, &sound[..size]);
        }
        let pages = sound.len() / PAGE;
        assert!(pages > 20, "{pages}");
        for page in 1..pages {
            let finding = "checking all pages: database disk image is malformed";
            self.bytes(&format!("cut-page-{page}"), finding, &sound[..page * PAGE]);
            if [2, 10, pages - 1].contains(&page) {
                let slug = format!("cut-page-{page}-less-1");
                self.bytes(&slug, finding, &sound[..page * PAGE - 1]);
            }
        }
    }

    /// Headers and pages with wrong values.
    fn add_headers(&mut self) {
        const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
        self.patched("page-size-3000", "its header has a page size of 3000", 16, &[11, 184]);
        self.patched("page-size-0", "its header has a page size of 0", 16, &[0, 0]);
        for (size, raw) in [("512", [2, 0]), ("8192", [32, 0]), ("65536", [0, 1])] {
            self.patched(&format!("page-size-{size}"), "checking all pages: ", 16, &raw);
        }
        for version in [0, 3, 9] {
            let finding = format!("format versions {version} (write) and 2 (read)");
            self.patched(&format!("write-version-{version}"), &finding, 18, &[version]);
            let finding = format!("format versions 2 (write) and {version} (read)");
            self.patched(&format!("read-version-{version}"), &finding, 19, &[version]);
        }
        self.patched(
            "page-512-reserved-40",
            "reserves 40 bytes of each page",
            16,
            &[2, 0, 2, 2, 40],
        );
        // Legal as such, but not what these pages were written with: refused as SQLite does.
        for reserved in [1, 32, 255] {
            let slug = format!("reserved-{reserved}");
            self.patched(&slug, "checking all pages: ", 20, &[reserved]);
            let db = self.boards.join(&slug).join("kanban.db");
            let checked = Connection::open(self.copy_of(&db))
                .and_then(|conn| sexton::board::sql::all(&conn, QUICK_CHECK, [], |row| row.get(0)));
            assert_ne!(checked, Ok(vec!["ok".to_owned()]), "{slug}");
        }
        self.patched("bad-page", "checking all pages: ", 5 * PAGE, &[0xff; PAGE]);
    }

    fn copy_of(&self, db: &Path) -> PathBuf {
        let copy = self.scratch.join("copy.db");
        fs::copy(db, &copy).unwrap();
        copy
    }

    /// What is not a regular file, or no file.
    fn add_no_files(&mut self) {
        const OTHER: &str = "it is not a regular file";
        const MISSING: &str = "No such file or directory";
        self.sick("folder", OTHER, NO_FILE, |db| fs::create_dir(db).unwrap());
        self.sick("fifo", OTHER, NO_FILE, |db| mkfifo(db, Mode::S_IRWXU).unwrap());
        self.sick("socket", OTHER, NO_FILE, |db| {
            // A socket's own path must be short.
            let socket = tempfile::tempdir().unwrap();
            drop(UnixListener::bind(socket.path().join("s")).unwrap());
            fs::rename(socket.path().join("s"), db).unwrap();
        });
        for device in ["null", "zero", "full", "tty"] {
            let target = Path::new("/dev").join(device);
            self.sick(&format!("dev-{device}"), OTHER, NO_FILE, |db| symlink(target, db).unwrap());
        }
        let nowhere = self.scratch.join("nowhere");
        self.sick("dangling", MISSING, CHECK, |db| symlink(&nowhere, db).unwrap());
        let parentless = nowhere.join("nor/here.db");
        self.sick("no-parent", MISSING, CHECK, |db| symlink(parentless, db).unwrap());
        let through = self.scratch.join("sound.db/kanban.db");
        self.sick("through-a-file", "Not a directory", CHECK, |db| symlink(through, db).unwrap());
        self.sick("loop", "Too many levels of symbolic links", CHECK, |db| {
            symlink(db, db).unwrap()
        });
        self.sick("missing", MISSING, CHECK, |_| {});
        self.sick("only-a-log", MISSING, CHECK, |db| fs::write(wal(db), noise(8192)).unwrap());
    }

    /// What lies beside a sound file makes it a sick board.
    fn add_siblings(&mut self) {
        let sound = self.sound.clone();
        let other = self.scratch.join("other.db");
        let conn = Connection::open(&other).unwrap();
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0";
        sql_on(&conn, &format!("{pragmas}; CREATE TABLE notes (x); INSERT INTO notes VALUES (1)"));
        self.sick("log-of-no-board", "there is no tasks.id", NO_BOARD, |db| {
            fs::write(db, &sound).unwrap();
            shell(&format!("cp '{}' '{}'", wal(&other).display(), wal(db).display()));
        });
        drop(conn);

        // Another board, whose pages are elsewhere.
        let other = self.scratch.join("another.db");
        sound_file(&other, "DROP TABLE task_comments; DROP TABLE task_attachments; VACUUM");
        let conn = Connection::open(&other).unwrap();
        sql_on(&conn, "PRAGMA wal_autocheckpoint = 0");
        for id in 2..40 {
            let insert = ADD_TASK.replace(TASK, &format!("t_{id:08}"));
            sql_on(&conn, &insert.replace("'a task'", "hex(zeroblob(500))"));
        }
        self.sick("log-of-another", "checking all pages: ", RESTORE, |db| {
            fs::write(db, &sound).unwrap();
            shell(&format!("cp '{}' '{}'", wal(&other).display(), wal(db).display()));
        });
        drop(conn);

        // A writer that died in the middle, in the other journal mode.
        let cut = self.scratch.join("cut.db");
        sound_file(&cut, "PRAGMA journal_mode = DELETE");
        let conn = Connection::open(&cut).unwrap();
        sql_on(&conn, "PRAGMA cache_size = 5; BEGIN IMMEDIATE");
        for id in 2..200 {
            let insert = ADD_TASK.replace(TASK, &format!("t_{id:08}"));
            sql_on(&conn, &insert.replace("'a task'", "hex(zeroblob(1000))"));
        }
        self.sick("hot-journal", "attempt to write a readonly database", UNDO, |db| {
            for end in ["", "-journal"] {
                shell(&format!("cp '{}{end}' '{}{end}'", cut.display(), db.display()));
            }
            let journal = fs::read(format!("{}-journal", db.display())).unwrap();
            assert!(journal.starts_with(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"), "it is not hot");
        });
    }

    /// Sound databases with other tables.
    fn add_schemas(&mut self) {
        let scratch = self.scratch.join("schema.db");
        let mut add = |slug: &str, finding: &str, statements: &str| {
            let bytes = sound(&scratch, statements);
            self.sick(slug, finding, NO_BOARD, |db| fs::write(db, bytes).unwrap());
        };
        let all = "DROP TABLE tasks; DROP TABLE task_links; DROP TABLE task_comments; \
                   DROP TABLE task_events; DROP TABLE task_runs";
        add("no-board", "there is no tasks.id", &format!("{all}; CREATE TABLE notes (x)"));
        add("empty-tables", "there is no tasks.id", &format!("{all}; DROP TABLE task_attachments"));
        add("no-runs", "there is no task_runs.id", "DROP TABLE task_runs");
        let renamed = "ALTER TABLE tasks RENAME COLUMN last_failure_error TO last_spawn_error";
        add("no-column", "there is no tasks.last_failure_error", renamed);
        let view = "ALTER TABLE tasks RENAME TO cards; CREATE VIEW tasks AS SELECT * FROM cards";
        add("a-view", "there is no tasks.id", view);
    }

    /// Unusual boards that can be used nevertheless.
    fn add_odd(&mut self) {
        let scratch = self.scratch.join("odd.db");
        let as_it_is = self.sound.clone();
        let mut add = |slug: &str, bytes: &[u8]| -> PathBuf {
            let db = self.directory(slug);
            fs::write(&db, bytes).unwrap();
            self.odd.push(db.clone());
            db
        };
        let db = add("log-of-noise", &as_it_is);
        fs::write(wal(&db), noise(20_000)).unwrap();
        let db = add("log-of-nothing", &as_it_is);
        fs::write(wal(&db), "").unwrap();

        let legacy = "ALTER TABLE tasks DROP COLUMN max_runtime_seconds; \
                      ALTER TABLE tasks DROP COLUMN max_retries; \
                      ALTER TABLE tasks DROP COLUMN last_heartbeat_at; \
                      ALTER TABLE tasks DROP COLUMN goal_mode; \
                      ALTER TABLE tasks DROP COLUMN skills; \
                      ALTER TABLE tasks DROP COLUMN branch_name; \
                      ALTER TABLE task_runs DROP COLUMN last_heartbeat_at; \
                      DROP TABLE task_attachments; DROP INDEX sexton_ready";
        add("legacy", &sound(&scratch, legacy));
        add("delete-mode", &sound(&scratch, "PRAGMA journal_mode = DELETE"));
        add(
            "small-pages",
            &sound(
                &scratch,
                "PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; \
                                               VACUUM; PRAGMA journal_mode = WAL",
            ),
        );
        let types = format!(
            "UPDATE tasks SET title = x'ff00', body = x'{}', priority = 'high', \
               created_at = x'00ff', started_at = 'never', max_runtime_seconds = 'soon', \
               max_retries = x'01', consecutive_failures = 'none', current_run_id = 'x', \
               worker_pid = 'nobody', claim_expires = 'later', goal_mode = 1.5, skills = 7; \
             INSERT INTO tasks (id, title, body, assignee, status, created_at) VALUES \
               (x'7f', 'no text', 'exit 1', 'shell', 'ready', 1), \
               (NULL, 'no id', 'exit 1', 'shell', 'ready', 1), \
               ('t_00000002', 'no name', 'exit 1', x'ff', 'ready', 1), \
               ('t_00000003', 'no status', 'exit 1', 'shell', 3.5, 1); \
             INSERT INTO task_links VALUES (x'00', 1), ('t_00000001', x'7f'); \
             INSERT INTO task_events (task_id, run_id, kind, created_at) VALUES \
               (x'00', 'x', x'01', 'now')",
            "657869742030"
        );
        add("wrong-types", &sound(&scratch, &types));
        add("reserved-by-the-rules", &reserved(&scratch, &as_it_is));

        let target = self.scratch.join("target.db");
        fs::write(&target, &self.sound).unwrap();
        let link = self.directory("link");
        symlink(target, &link).unwrap();
        self.odd.push(link);
    }
}

pub fn wal(db: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", db.display()))
}

/// Bytes without any sense, always the same.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

fn sql_on(conn: &Connection, statements: &str) {
    for statement in statements.split(';').filter(|text| !text.trim().is_empty()) {
        sexton::board::sql::run(conn, statement).expect(statement);
    }
}

/// Makes a board with one task and what else the statements make of it, in one file.
fn sound_file(path: &Path, statements: &str) {
    let _from_last_time = fs::remove_file(path);
    sexton::board::create(path).unwrap();
    sql(path, &format!("{ADD_TASK}; {statements}"));
    assert!(!wal(path).exists());
}

fn sound(path: &Path, statements: &str) -> Vec<u8> {
    sound_file(path, statements);
    fs::read(path).unwrap()
}

/// The same board, rewritten with 32 bytes reserved on each page.
fn reserved(path: &Path, board: &[u8]) -> Vec<u8> {
    fs::write(path, board).unwrap();
    let conn = Connection::open(path).unwrap();
    sql_on(&conn, "PRAGMA journal_mode = DELETE");
    let mut bytes = 32_i32;
    let main: &CStr = c"main";
    // SAFETY: the connection is open, and SQLITE_FCNTL_RESERVE_BYTES reads and writes one int.
    let code = unsafe {
        let op = ffi::SQLITE_FCNTL_RESERVE_BYTES;
        let bytes = (&raw mut bytes).cast::<c_void>();
        ffi::sqlite3_file_control(conn.handle(), main.as_ptr(), op, bytes)
    };
    assert_eq!(code, ffi::SQLITE_OK);
    sql_on(&conn, "VACUUM; PRAGMA journal_mode = WAL");
    conn.close().unwrap();
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[20], 32);
    bytes
}

/// All that can be observed of a board's file, and of the files that SQLite may put beside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, String>);

/// Looks at the files of a board. The directory's other files are not the board's.
pub fn look(db: &Path) -> Seen {
    let entries = fs::read_dir(db.parent().unwrap()).unwrap();
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("kanban.db") && !name.ends_with(".lock")
    });
    Seen(files.map(|path| (path.clone(), describe(&path))).collect())
}

fn describe(path: &Path) -> String {
    let meta = path.symlink_metadata().unwrap();
    if path.to_string_lossy().ends_with("-shm") {
        // A reader may change its content.
        return format!("{} {}", meta.ino(), meta.len());
    }
    // No write leaves the time as it was, so large files need not be read.
    let digest = if meta.is_file() && meta.len() < 1 << 20 {
        let digest = Sha256::digest(fs::read(path).unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    } else {
        String::new()
    };
    let written = (meta.mtime(), meta.mtime_nsec());
    format!("{:o} {} {} {written:?} {digest}", meta.mode(), meta.ino(), meta.len())
}

/// Cuts a file that another process has open.
pub fn truncate(db: &Path, size: u64) {
    OpenOptions::new().write(true).open(db).unwrap().set_len(size).unwrap();
}

/// Overwrites a part of a file that another process has open.
pub fn overwrite(db: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(db).unwrap().write_all_at(bytes, at).unwrap();
}

/// Checkpoints the WAL. Returns false while another connection prevents it.
pub fn checkpoint(db: &Path) -> bool {
    rows(db, "PRAGMA wal_checkpoint(TRUNCATE)") == ["0|0|0"]
}
