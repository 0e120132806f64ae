//! The damage that an input does to a real board's file.

use std::fs;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params};
use sexton::board::sql;
use sexton::machine::ids::SpawnId;

use super::{EPOCH, beside, owner};

const BOARDS: [&[u8]; 3] = [
    include_bytes!("../../../tests/fixtures/hermes-0.19.0.db"),
    include_bytes!("../../../tests/fixtures/hermes-newer.db"),
    include_bytes!("../../../tests/fixtures/hermes-0.13.0.db"),
];

/// Most changes to one file.
const MOST_MUTATIONS: usize = 12;

/// What may be expected of a board after what was done to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Made {
    /// Rows were changed, to any values: everything must still work.
    Rows,
    /// Its schema was changed, too.
    Schema,
    /// Bytes of the file were changed.
    Bytes,
}

pub(super) fn make(u: &mut Unstructured<'_>, path: &Path) -> Result<Made> {
    let board = u.choose_index(BOARDS.len())?;
    fs::write(path, BOARDS[board]).expect("a board in memory");
    let mut made = Made::Rows;
    for _ in 0..u.int_in_range(0..=MOST_MUTATIONS)? {
        made = made.max(match u.int_in_range(0..=15)? {
            0..=5 => one_value(u, path)?,
            6..=8 => one_statement(u, path)?,
            9 => schema_text(u, path)?,
            _ => bytes(u, path)?,
        });
    }
    Ok(made)
}

const COLUMNS: &[(&str, &[&str])] = &[
    (
        "tasks",
        &[
            "id",
            "title",
            "body",
            "assignee",
            "status",
            "priority",
            "created_at",
            "started_at",
            "completed_at",
            "workspace_kind",
            "workspace_path",
            "claim_lock",
            "claim_expires",
            "worker_pid",
            "current_run_id",
            "consecutive_failures",
            "last_failure_error",
            "worker_started_at",
            "max_runtime_seconds",
            "max_retries",
            "last_heartbeat_at",
            "skills",
            "goal_mode",
        ],
    ),
    (
        "task_runs",
        &[
            "id",
            "task_id",
            "profile",
            "status",
            "claim_lock",
            "claim_expires",
            "worker_pid",
            "started_at",
            "ended_at",
            "outcome",
            "summary",
            "metadata",
            "error",
            "worker_started_at",
            "max_runtime_seconds",
        ],
    ),
    ("task_events", &["id", "task_id", "run_id", "kind", "payload", "created_at"]),
    ("task_links", &["parent_id", "child_id"]),
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "ready",
    "running",
    "todo",
    "blocked",
    "done",
    "archived",
    "review",
    "triage",
    "scheduled",
    "shell",
    "Shell ",
    "critic",
    "nobody",
    "rate_limited",
    "completed",
    "crashed",
    "gave_up",
    "promoted",
    "protocol_violation",
    "vm:4242",
    "elsewhere:1",
    "vm:77:zz-1",
    "vm:77",
    ":",
    "{}",
    "[]",
    "{\"failures\": -1}",
    "{\"limit\": 1e400}",
    "\u{0}",
    "é\u{202e}",
    "75",
    "unverified",
    "boot:1|1",
    "9223372036854775807",
    "-1",
    "1e300",
    "NaN",
];

const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    77,
    4242,
    4_194_305,
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
    1 << 31,
    (1 << 32) + 1,
    -(1 << 31),
    1 << 53,
    EPOCH,
    EPOCH - 1,
    EPOCH + 1,
    EPOCH + 100,
    EPOCH - 100_000,
    EPOCH * 1000,
];

const REALS: &[f64] =
    &[0.5, -0.0, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 9e15, 1_795_500_000.25];

fn any_value(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=11)? {
        0 => Value::Null,
        1..=3 => Value::Text((*u.choose(TEXTS)?).to_owned()),
        4 | 5 => Value::Integer(*u.choose(NUMBERS)?),
        6 => Value::Integer(u.arbitrary()?),
        7 => Value::Real(*u.choose(REALS)?),
        8 => Value::Text("x".repeat(*u.choose(&[31, 32, 200, 5_000, 140_000])?)),
        9 => {
            let count = usize::from(u.int_in_range(0..=9_u8)?).min(u.len());
            Value::Blob(u.bytes(count)?.to_vec())
        }
        10 => Value::Text(owner().lock(SpawnId(u.int_in_range(0..=20)?))),
        _ => Value::Real(f64::from_bits(u.arbitrary()?)),
    })
}

/// Another value in one row, or the same in all.
fn one_value(u: &mut Unstructured<'_>, path: &Path) -> Result<Made> {
    let (table, columns) = *u.choose(COLUMNS)?;
    let column = *u.choose(columns)?;
    let row = u.int_in_range(0..=24_u8)?;
    let value = any_value(u)?;
    // A text that is not UTF-8: SQLite does not check its bytes.
    let new = if u.ratio(1, 8)? { "CAST(?1 AS TEXT)" } else { "?1" };
    let which = if row == 24 {
        "?2 = ?2".to_owned()
    } else {
        format!("rowid = (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?2)")
    };
    let update = format!("UPDATE OR IGNORE {table} SET {column} = {new} WHERE {which}");
    alter(path, |conn| conn.execute(&update, params![value, row]).map(drop));
    Ok(Made::Rows)
}

/// What another tool may have done to a board with SQL.
const STATEMENTS: &[(Made, &str)] = &[
    (Made::Rows, "UPDATE tasks SET status = 'ready', assignee = 'shell', claim_lock = NULL"),
    (Made::Rows, "UPDATE tasks SET status = 'todo'"),
    (Made::Rows, "UPDATE tasks SET status = 'running', claim_lock = 'vm:4242', claim_expires = 1"),
    (Made::Rows, "UPDATE tasks SET consecutive_failures = rowid, status = 'blocked'"),
    (Made::Rows, "UPDATE tasks SET id = NULL WHERE rowid % 2"),
    (Made::Rows, "UPDATE tasks SET body = NULL, title = x'ff00ff'"),
    (Made::Rows, "INSERT OR IGNORE INTO task_links SELECT id, id FROM tasks"),
    (Made::Rows, "INSERT OR IGNORE INTO task_links SELECT a.id, b.id FROM tasks a, tasks b"),
    (Made::Rows, "INSERT OR IGNORE INTO task_links SELECT id, 'nothing' FROM tasks"),
    (Made::Rows, "DELETE FROM task_runs"),
    (Made::Rows, "DELETE FROM task_events"),
    (Made::Rows, "DELETE FROM task_links"),
    (Made::Rows, "DELETE FROM sqlite_sequence"),
    (Made::Rows, "UPDATE sqlite_sequence SET seq = 'x'"),
    (Made::Rows, "UPDATE task_runs SET ended_at = NULL"),
    (Made::Rows, "PRAGMA journal_mode = DELETE"),
    (Made::Rows, "PRAGMA journal_mode = WAL"),
    (Made::Rows, "PRAGMA page_size = 512"),
    (Made::Rows, "PRAGMA auto_vacuum = FULL"),
    (Made::Rows, "VACUUM"),
    (Made::Rows, "PRAGMA user_version = -1"),
    (Made::Rows, "DROP INDEX idx_tasks_status"),
    (Made::Rows, "DROP INDEX idx_tasks_assignee_status"),
    (Made::Schema, "ALTER TABLE tasks ADD COLUMN more TEXT NOT NULL DEFAULT 'x'"),
    (Made::Schema, "ALTER TABLE tasks DROP COLUMN body"),
    (Made::Schema, "ALTER TABLE tasks DROP COLUMN skills"),
    (Made::Schema, "ALTER TABLE tasks RENAME COLUMN claim_lock TO lock"),
    (Made::Schema, "ALTER TABLE task_runs RENAME COLUMN outcome TO result"),
    (Made::Schema, "ALTER TABLE tasks RENAME TO old_tasks"),
    (Made::Schema, "CREATE VIEW tasks AS SELECT rowid, * FROM old_tasks"),
    (Made::Schema, "CREATE TABLE tasks (id)"),
    (Made::Schema, "CREATE TABLE \"a'b]\"\"c\" (\"d'e.\" , f)"),
    (Made::Schema, "DROP TABLE task_links"),
    (Made::Schema, "DROP TABLE task_comments"),
    (Made::Schema, "DROP TABLE task_events"),
    (Made::Schema, "CREATE UNIQUE INDEX one_run ON task_runs(status)"),
    (Made::Schema, "CREATE UNIQUE INDEX one_event ON task_events(kind)"),
    (Made::Schema, "CREATE TRIGGER a BEFORE UPDATE ON tasks BEGIN SELECT RAISE(ABORT, 'no'); END"),
    (
        Made::Schema,
        "CREATE TRIGGER b AFTER INSERT ON task_runs BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    ),
    (
        Made::Schema,
        "CREATE TRIGGER c AFTER INSERT ON task_events BEGIN SELECT RAISE(FAIL, 'no'); END",
    ),
    (Made::Schema, "CREATE TRIGGER d BEFORE UPDATE ON tasks BEGIN SELECT RAISE(IGNORE); END"),
    (
        Made::Schema,
        "CREATE TRIGGER e AFTER UPDATE ON tasks BEGIN DELETE FROM tasks WHERE id = new.id; END",
    ),
    (
        Made::Schema,
        "CREATE TRIGGER f AFTER INSERT ON task_events BEGIN UPDATE tasks SET status = 'ready', \
         claim_lock = NULL WHERE id = new.task_id; END",
    ),
    (
        Made::Schema,
        "CREATE TRIGGER g AFTER INSERT ON task_runs BEGIN INSERT INTO tasks (id, title, status, \
         created_at) VALUES (new.id, 'again', 'ready', 0); END",
    ),
    (
        Made::Schema,
        "CREATE TRIGGER h AFTER UPDATE ON task_runs BEGIN UPDATE task_runs SET ended_at = NULL; END",
    ),
];

fn one_statement(u: &mut Unstructured<'_>, path: &Path) -> Result<Made> {
    let (made, statement) = *u.choose(STATEMENTS)?;
    alter(path, |conn| sql::run(conn, statement));
    Ok(made)
}

/// The text of the schema, which SQLite believes.
fn schema_text(u: &mut Unstructured<'_>, path: &Path) -> Result<Made> {
    const WORDS: &[&str] = &[
        "TEXT",
        "INTEGER",
        "PRIMARY KEY",
        "AUTOINCREMENT",
        "NOT NULL",
        "UNIQUE",
        "tasks",
        "task_",
        "id",
        "status",
        "body",
        "(",
        ")",
        ",",
        "CREATE TABLE",
        "CREATE INDEX",
        "CREATE VIEW x AS",
        "CREATE VIRTUAL TABLE",
        "USING nosuch",
        "STRICT",
        "WITHOUT ROWID",
        "DEFAULT (random())",
        "GENERATED ALWAYS AS (1)",
        "CHECK (0)",
        "COLLATE nosuch",
        "ON CONFLICT REPLACE",
        "REFERENCES tasks(id)",
        "\u{0}",
        "",
    ];
    let (find, other) = (*u.choose(WORDS)?, *u.choose(WORDS)?);
    let row = u.int_in_range(0..=24_u8)?;
    let column = *u.choose(&["sql", "sql", "sql", "name", "tbl_name", "type"])?;
    let root = if u.ratio(1, 6)? { Some(u.int_in_range(-1..=40_i64)?) } else { None };
    alter(path, |conn| {
        sql::run(conn, "PRAGMA writable_schema = ON")?;
        match root {
            Some(page) => conn.execute(
                "UPDATE sqlite_schema SET rootpage = ?1 WHERE rowid = ?2",
                params![page, row],
            )?,
            None => conn.execute(
                &format!(
                    "UPDATE sqlite_schema SET {column} = replace({column}, ?1, ?2) WHERE rowid = ?3"
                ),
                params![find, other, row],
            )?,
        };
        sql::run(conn, "PRAGMA schema_version = 4711")
    });
    Ok(Made::Schema)
}

/// Works on the board past the dispatcher, as far as the damage done before lets it.
pub(super) fn alter(path: &Path, f: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(conn) = Connection::open_with_flags(path, flags) else { return };
    for pragma in ["PRAGMA ignore_check_constraints = ON", "PRAGMA synchronous = OFF"] {
        let _as_far_as_it_goes = sql::run(&conn, pragma);
    }
    let _as_far_as_it_goes = f(&conn);
}

/// The bytes of the file itself, or of those beside it.
fn bytes(u: &mut Unstructured<'_>, path: &Path) -> Result<Made> {
    const PAGE: usize = 4096;
    let mut file = fs::read(path).expect("the board");
    let pages = file.len().div_ceil(PAGE).max(1);
    let page = u.int_in_range(0..=31_usize)? % pages * PAGE;
    // Page 1 has the file's header in front of its own.
    let head = page + if page == 0 { 100 } else { 0 };
    let mut put = |at: usize, bytes: &[u8]| {
        let end = file.len().min(at + bytes.len());
        if at < end {
            file[at..end].copy_from_slice(&bytes[..end - at]);
        }
    };
    match u.int_in_range(0..=9)? {
        // The file's header, byte by byte and field by field.
        0 => put(u.int_in_range(0..=99)?, &[u.arbitrary()?]),
        1 => {
            let field = u.int_in_range(6..=24_usize)? * 4;
            let numbers = [0, 1, u32::MAX, 1 << 31, 4, 5, u.int_in_range(0..=64)?];
            put(field, &u.choose(&numbers)?.to_be_bytes());
        }
        // A page's header: kind, first free block, cells, where they begin, fragments, last child.
        2 => {
            let at = head + u.int_in_range(0..=11_usize)?;
            let values = [0, 1, 2, 5, 10, 13, 255, u.arbitrary()?];
            put(at, &[*u.choose(&values)?]);
        }
        // A pointer to a cell.
        3 => {
            let at = head + 8 + 2 * u.int_in_range(0..=40_usize)?;
            put(at, &u16::to_be_bytes(u.arbitrary()?));
        }
        // Anything in it, a byte or a stretch.
        4 | 5 => put(page + u.int_in_range(0..=PAGE - 1)?, &[u.arbitrary()?]),
        6 => {
            let count = u.int_in_range(1..=PAGE)?;
            put(page + u.int_in_range(0..=PAGE - 1)?, &vec![u.arbitrary()?; count]);
        }
        // A page in the place of another.
        7 => {
            let from = u.int_in_range(0..=31_usize)? % pages * PAGE;
            let other = file[from..file.len().min(from + PAGE)].to_vec();
            let end = file.len().min(page + other.len());
            file[page..end].copy_from_slice(&other[..end - page]);
        }
        // Too short, or too long.
        8 => {
            let odd = u.int_in_range(0..=PAGE)?;
            file.resize((page + odd).min(64 * PAGE), 0);
        }
        // A log or a journal of something else.
        _ => {
            let suffix = *u.choose(&["-wal", "-journal"])?;
            let magic: &[u8] = match u.int_in_range(0..=2)? {
                0 => b"\x37\x7f\x06\x82\x00\x2d\xe2\x18\x00\x00\x10\x00",
                1 => b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",
                _ => b"",
            };
            let count = usize::from(u.int_in_range(0..=40_u8)?).min(u.len());
            let rest = u.bytes(count)?;
            fs::write(beside(path, suffix), [magic, rest].concat()).expect("a file in memory");
        }
    }
    fs::write(path, file).expect("a board in memory");
    Ok(Made::Bytes)
}

// ---- working with it ----------------------------------------------------------------------------
