//! One connection for one command.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error as Sql, OpenFlags, ffi};

use super::CardError;
use crate::board::file::{self, Stamps};
use crate::board::rows::columns::Columns;
use crate::board::sql;
use crate::regular;

/// How long a command waits for the transaction of another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// A board, open for one command.
#[derive(Debug)]
pub struct Opened {
    /// The connection to its database.
    pub conn: Connection,
    /// What columns it has.
    pub columns: Columns,
}

/// Opens a board for reading and writing. It must exist.
///
/// A file that is not a board, or a damaged one, is not changed, and neither is its WAL.
pub fn open(path: &Path) -> Result<Opened, CardError> {
    check_magic(path)?;
    check_at_rest(path)?;
    let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    for pragma in ["synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"] {
        sql::run(&opened.conn, &format!("PRAGMA {pragma}"))?;
    }
    Ok(opened)
}

/// Opens a board so that nothing can be written through the connection.
///
/// No file is created beside it either: a board that no process has open is read as an immutable
/// file.
pub fn open_for_reading(path: &Path) -> Result<Opened, CardError> {
    check_magic(path)?;
    match file::open_at_rest(path, &Stamps::of(path))? {
        Some(conn) => opened(path, conn),
        None => open_to_follow(path),
    }
}

/// Like [`open_for_reading`], for a caller that keeps reading while others write.
pub fn open_to_follow(path: &Path) -> Result<Opened, CardError> {
    check_magic(path)?;
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Checks a board that no process has open, without leaving a file beside it. If a WAL was left,
/// every page is checked: on close, SQLite would copy the WAL into the file and remove it.
fn check_at_rest(path: &Path) -> Result<(), CardError> {
    let checked = file::read_at_rest(path, |conn, before| {
        let board = opened(path, conn)?;
        if before.is_one_file() || file::damage(&board.conn)?.is_none() {
            return Ok(());
        }
        let finding = "database disk image is malformed".to_owned();
        Err(Sql::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(finding)).into())
    })?;
    checked.unwrap_or(Ok(()))
}

/// Runs `verb` in a write transaction. All of it happens, or nothing.
pub fn write<T>(
    board: &Opened,
    verb: impl FnOnce(&Connection, &Columns) -> Result<T, CardError>,
) -> Result<T, CardError> {
    sql::run(&board.conn, "BEGIN IMMEDIATE")?;
    let done = verb(&board.conn, &board.columns)
        .and_then(|value| Ok(sql::run(&board.conn, "COMMIT").map(|()| value)?));
    if done.is_err() && !board.conn.is_autocommit() {
        // The error that brought us here is the one to tell.
        let _ = sql::run(&board.conn, "ROLLBACK");
    }
    // The last to close copies the log into the file and removes it: not into one that SQLite could
    // not use. Where it is empty nothing is copied.
    let unusable =
        matches!(done, Err(CardError::Sqlite(_))) && !matches!(file::frames(&board.conn), Ok(0));
    let _a_log_that_stays_does_no_harm = set_keeps_log(&board.conn, unusable);
    done
}

fn set_keeps_log(conn: &Connection, keeps: bool) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps).map(drop)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Opened, CardError> {
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Until something was written.
    set_keeps_log(&conn, true)?;
    opened(path, conn)
}

fn opened(path: &Path, conn: Connection) -> Result<Opened, CardError> {
    conn.busy_timeout(PATIENCE)?;
    sql::run(&conn, "PRAGMA cell_size_check = ON")?;
    let columns = Columns::read(&conn)?;
    if !columns.has("tasks.id") {
        let problem = "holds no table of tasks, so it is not a board; name another --root";
        return Err(CardError::NotABoard { path: path.to_owned(), problem });
    }
    Ok(Opened { conn, columns })
}

/// SQLite adopts a file of zero or one byte as a new database and writes to it, so what is not
/// plainly a database never gets that far. Done before any connection is open: closing the file
/// later would drop this process's locks on it.
fn check_magic(path: &Path) -> Result<(), CardError> {
    let mut head = [0; 16];
    let problem = match regular::open(path).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) if head == *b"SQLite format 3\0" => return check_beside(path),
        Ok(()) => "is not an SQLite database; restore it from a copy, or name another board",
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "is too short to be a board; restore it from a copy, or name another board"
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "does not exist; `sexton init` makes a default board, `sexton boards create` others"
        }
        Err(source) => return Err(CardError::File { path: path.to_owned(), source }),
    };
    Err(CardError::NotABoard { path: path.to_owned(), problem })
}

fn check_beside(path: &Path) -> Result<(), CardError> {
    match file::irregular_beside(path) {
        Some(path) => Err(CardError::File { path, source: regular::irregular() }),
        None => Ok(()),
    }
}
