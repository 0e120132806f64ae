//! Opening a board: look at the file, check it without touching it, and only then connect.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::columns::Columns;
use super::fault::BoardError;
use super::guard::{self, Reserved};
use super::lock::{DispatchLock, InitLock};
use super::observe::Memory;
use super::shape::Shape;
use super::sql;
use super::transaction::{self, Kind};
use crate::machine::event::FaultClass;

/// One open board. Its connection stays open for as long as it is in use: that also keeps other
/// processes from removing the write-ahead log under each other.
pub struct Board {
    // Dropped in this order: the file is given back only when the connection is closed.
    pub(super) conn: Connection,
    pub(super) reserved: Reserved,
    pub(super) path: PathBuf,
    pub(super) shape: Shape,
    pub(super) memory: Memory,
    pub(super) dispatch: DispatchLock,
    /// Commits of ours since somebody looked at the size of the write-ahead log.
    pub(super) commits: u32,
    /// True if something was written here past `exchange`.
    pub(super) written: Cell<bool>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("path", &self.path).finish_non_exhaustive()
    }
}

/// How thoroughly a board is looked at before it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Header,
    Whole,
}

impl Board {
    /// Opens a board for a dispatcher, which will keep it: every page is checked first.
    pub fn open(path: &Path) -> Result<Board, BoardError> {
        let board = open(path, Check::Whole)?;
        if board.conn.is_readonly("main").unwrap_or(true) {
            let finding = "the file cannot be written".to_owned();
            return Err(BoardError::new(path, FaultClass::Access, "opening the board", finding));
        }
        Ok(board)
    }

    /// Opens a board for one command: the same rules, without the check of every page.
    pub fn open_for_command(path: &Path) -> Result<Board, BoardError> {
        open(path, Check::Header)
    }

    /// The one connection. Read with it as you like; write through [`Board::write`].
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Which columns its tables have.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.shape.columns
    }

    /// Its path, absolute, links in it not resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` in one IMMEDIATE transaction, waiting up to a quarter of a second for rivals.
    pub fn write<T, E: From<BoardError>>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        const TRIED: &str = "writing to the board";
        self.reserved.still_at(&self.path)?;
        guard::check_open(&self.path, &self.conn)?;
        self.written.set(true);
        let inner = || f(&self.conn).map_err(Writing::Caller);
        let value =
            transaction::run(&self.conn, Kind::Write, inner).map_err(|failed| {
                match failed.error {
                    Writing::Caller(error) => error,
                    Writing::Sql(error) => BoardError::sql(&self.path, TRIED, &error).into(),
                }
            })?;
        self.reserved.still_at(&self.path)?;
        Ok(value)
    }
}

/// Whose error it is.
enum Writing<E> {
    Caller(E),
    Sql(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Writing<E> {
    fn from(error: rusqlite::Error) -> Writing<E> {
        Writing::Sql(error)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // The last connection to close copies the log into the file and removes it. Into a damaged
        // file nothing is copied, and the log of a file that is no longer ours is not ours either.
        let sound = self.reserved.still_at(&self.path).is_ok()
            && guard::check_open(&self.path, &self.conn).is_ok();
        if !sound {
            let _ = no_checkpoint_on_close(&self.conn, true);
        }
    }
}

fn open(given: &Path, check: Check) -> Result<Board, BoardError> {
    // Absolute paths cannot be taken for URIs or for names that mean something to SQLite.
    let path = std::path::absolute(given)
        .map_err(|error| BoardError::io(given, "resolving the path", &error))?;
    let pinned = guard::reserve(&path)?;
    // Whoever makes a board or brings it up to date holds this lock meanwhile.
    let init = InitLock::take(&path);
    let reserved = pinned.check_header(&path)?;
    if check == Check::Whole {
        check_pages(&path)?;
    }
    let conn = connect(&path)?;
    drop(init);
    reserved.still_at(&path)?;
    let shape =
        Shape::read(&conn).map_err(|error| BoardError::sql(&path, "reading the schema", &error))?;
    let board = Board {
        conn,
        reserved,
        path,
        shape,
        memory: Memory::default(),
        dispatch: DispatchLock::default(),
        commits: 0,
        written: Cell::new(false),
    };
    board.has_what_it_takes()?;
    no_checkpoint_on_close(&board.conn, false)
        .map_err(|error| BoardError::sql(&board.path, "connecting", &error))?;
    Ok(board)
}

/// Whether closing leaves the log as it is; else the last connection to close copies it into the
/// file and removes it.
fn no_checkpoint_on_close(conn: &Connection, on: bool) -> rusqlite::Result<bool> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on)
}

/// Reads every page through a connection of its own, which changes nothing: SQLite's closing
/// checkpoint would write into a damaged file and remove its log.
fn check_pages(path: &Path) -> Result<(), BoardError> {
    const TRIED: &str = "checking all pages";
    let fault = |error: rusqlite::Error| BoardError::sql(path, TRIED, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    no_checkpoint_on_close(&conn, true).map_err(fault)?;
    conn.busy_timeout(Duration::from_millis(250)).map_err(fault)?;
    let findings = sql::all(&conn, "PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .map_err(fault)?;
    match findings.as_slice() {
        [ok] if ok == "ok" => Ok(()),
        findings => {
            let finding = findings.join("; ");
            Err(BoardError::new(path, FaultClass::Content, TRIED, finding))
        }
    }
}

/// The connection that stays. It never creates a file and never changes the journal mode.
fn connect(path: &Path) -> Result<Connection, BoardError> {
    let fault = |error: rusqlite::Error| BoardError::sql(path, "connecting", &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    // Until it is known to be a board, its log is nothing that we may copy or remove.
    no_checkpoint_on_close(&conn, true).map_err(fault)?;
    prepare(&conn).map_err(fault)?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(20))?;
    conn.set_prepared_statement_cache_capacity(64);
    for pragma in [
        "PRAGMA synchronous = FULL",
        "PRAGMA wal_autocheckpoint = 0",
        "PRAGMA foreign_keys = ON",
        "PRAGMA secure_delete = ON",
        "PRAGMA cell_size_check = ON",
        "PRAGMA cache_size = -256",
    ] {
        sql::run(conn, pragma)?;
    }
    // The first read takes the lock that other processes see for as long as we are connected.
    transaction::patiently(conn, transaction::FIRST_READ)
}

impl Board {
    /// Fails if the tables are not those of a board.
    fn has_what_it_takes(&self) -> Result<(), BoardError> {
        const TRIED: &str = "reading the schema";
        const REMEDY: &str = "give the path of a board, or open it once with a client that brings \
                              it up to date";
        if let Some(column) = self.shape.missing() {
            let finding = format!("there is no {column}");
            return Err(BoardError::new(&self.path, FaultClass::Content, TRIED, finding)
                .with_remedy(REMEDY));
        }
        let row = format!("SELECT {} FROM tasks", self.shape.row);
        self.conn
            .prepare(&row)
            .map_err(|error| BoardError::sql(&self.path, TRIED, &error).with_remedy(REMEDY))?;
        Ok(())
    }
}
