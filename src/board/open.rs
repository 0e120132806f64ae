//! Opening a board: look at the file, check it without touching it, and only then connect.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, eaccess};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::BoardError;
use super::exchange::observe::Memory;
use super::file::at_rest::{self, Stamps};
use super::file::guard::{self, Reserved};
use super::file::lock::{DispatchLock, InitLock};
use super::file::pages;
use super::file::sigbus;
use super::file::wal_shm::Siblings;
use super::rows::statements::Shape;
use super::sql;
use super::transaction;
use crate::machine::fault::FaultClass;

/// One open board. Its connection stays open for as long as it is in use: that also keeps other
/// processes from removing the write-ahead log under each other.
pub struct Board {
    // Dropped in this order. What is known of the index goes first: the connection may remove it when
    // it closes, and its inode is anybody's then. The file is given back only after that.
    /// None on a board that is not in WAL mode.
    pub(super) siblings: Option<Siblings>,
    pub(super) conn: Connection,
    pub(super) reserved: Reserved,
    pub(super) path: PathBuf,
    pub(super) shape: Shape,
    pub(super) memory: Memory,
    pub(super) dispatch: DispatchLock,
    /// Bytes of the file when it was last seen to be sound.
    pub(super) size: Cell<u64>,
    /// Commits of ours since somebody looked at the size of the write-ahead log.
    pub(super) commits: u32,
    /// False once the board failed for more than others being in the way.
    pub(super) trusted: Cell<bool>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Board {
    /// Opens a board for a dispatcher, which will keep it: every page is checked first.
    pub fn open(path: &Path) -> Result<Board, BoardError> {
        let board = open(path)?;
        if board.conn.is_readonly("main").unwrap_or(true) {
            return Err(unwritable(path, "the file cannot be written"));
        }
        // Nor may a log or its index be somebody else's.
        match sql::run(&board.conn, "BEGIN IMMEDIATE") {
            Ok(()) => sql::run(&board.conn, "ROLLBACK"),
            // Whoever writes now does not keep us from writing later.
            Err(error) if transaction::is_busy(&error) => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| BoardError::sql(path, OPENING, &error))?;
        Ok(board)
    }

    /// The one connection, for reading. Only [`Board::exchange`] writes.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Its path, absolute, links in it not resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the path no longer leads to this file, or the file or its log is not what it was.
    /// Not for use inside a transaction.
    ///
    /// A file that has become shorter may have been cut off or only be smaller, and the pages that
    /// SQLite remembers do not tell. So it is opened again, which looks at every page.
    pub(super) fn is_sound(&self) -> Result<(), BoardError> {
        let replaced = |finding| {
            BoardError::new(&self.path, FaultClass::Replaced, "looking for the file", finding)
        };
        self.reserved.still_at(&self.path)?;
        let (header, size) = guard::check_open(&self.path, &self.conn)?;
        let before = self.size.get();
        if size < before {
            return Err(replaced(format!("it has {size} bytes, and had {before}")));
        }
        self.size.set(size);
        match &self.siblings {
            Some(siblings) if header.wal => siblings.are_whole(&self.conn),
            None if !header.wal => Ok(()),
            Some(_) | None => Err(replaced("its journal mode is another one now".to_owned())),
        }
    }

    /// Fails if the path no longer leads to this file, or its log to that log.
    pub(super) fn is_in_place(&self) -> Result<(), BoardError> {
        self.reserved.still_at(&self.path)?;
        self.siblings.as_ref().map_or(Ok(()), |siblings| siblings.in_place().map(drop))
    }

    /// The fault, which also decides on what becomes of the log at the end.
    pub(super) fn distrust(&self, fault: BoardError) -> BoardError {
        if fault.class != FaultClass::Busy {
            self.trusted.set(false);
        }
        fault
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // The last connection to close copies the log into the file and removes it. Into a file in
        // which damage was met nothing is copied, be its header as good as ever; and the log of a file
        // that is no longer ours is not ours either. A log that stays does no harm.
        if self.trusted.get() && self.is_sound().is_ok() {
            let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }
}

const OPENING: &str = "opening the board";

/// Fails where SQLite would connect for reading only, and leave a log that it cannot remove.
fn check_writable(path: &Path) -> Result<(), BoardError> {
    let may_write = |path: &Path| eaccess(path, AccessFlags::W_OK).is_ok();
    if !may_write(path) {
        return Err(unwritable(path, "the file cannot be written"));
    }
    let real = path.canonicalize().map_err(|e| BoardError::io(path, OPENING, &e))?;
    // Where somebody else has made the log already, nothing has to be made.
    if Stamps::of(path).is_one_file() && !real.parent().is_none_or(may_write) {
        return Err(unwritable(path, "its folder cannot be written"));
    }
    Ok(())
}

fn unwritable(path: &Path, finding: &str) -> BoardError {
    BoardError::new(path, FaultClass::Access, OPENING, finding.to_owned())
}

fn open(given: &Path) -> Result<Board, BoardError> {
    sigbus::survive();
    // Absolute paths cannot be taken for URIs or for names that mean something to SQLite.
    let path = std::path::absolute(given)
        .map_err(|error| BoardError::io(given, "resolving the path", &error))?;
    let pinned = guard::reserve(&path)?;
    refuse_irregular_beside(&path)?;
    // Whoever makes a board or brings it up to date holds this lock meanwhile.
    let init = InitLock::take(&path);
    let reserved = pinned.check_header(&path)?;
    check_pages(&path)?;
    check_writable(&path)?;
    let conn = connect(&path)?;
    drop(init);
    reserved.still_at(&path)?;
    let shape = shape_of_board(&path, &conn).map_err(|fault| guard::or_unreadable(&conn, fault))?;
    let (header, size) = guard::check_open(&path, &conn)?;
    let siblings = header.wal.then(|| Siblings::of(&path, header.page_size)).transpose()?;
    Ok(Board {
        conn,
        reserved,
        siblings,
        path,
        shape,
        memory: Memory::default(),
        dispatch: DispatchLock::default(),
        size: Cell::new(size),
        commits: 0,
        trusted: Cell::new(true),
    })
}

/// What SQLite would read with the board must be files, or it could hang there.
fn refuse_irregular_beside(path: &Path) -> Result<(), BoardError> {
    let Some(file) = at_rest::irregular_beside(path) else { return Ok(()) };
    let finding = format!("{} is no regular file", file.display());
    Err(BoardError::new(path, FaultClass::Access, OPENING, finding).with_remedy("move it away"))
}

/// Reads the schema and every page through a connection of its own, which changes nothing: SQLite's
/// closing checkpoint would write into a damaged file and remove its log. Nor is anything made beside
/// a file that nobody has open.
fn check_pages(path: &Path) -> Result<(), BoardError> {
    const TRIED: &str = "checking all pages";
    let fault = |error: rusqlite::Error| BoardError::sql(path, TRIED, &error);
    let at_rest =
        at_rest::read(path, |conn, _| check_through(path, &conn, TRIED)).map_err(fault)?;
    if let Some(checked) = at_rest {
        return checked;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault)?;
    conn.busy_timeout(Duration::from_millis(250)).map_err(fault)?;
    check_through(path, &conn, TRIED)
}

fn check_through(path: &Path, conn: &Connection, tried: &'static str) -> Result<(), BoardError> {
    check_all(path, conn, tried).map_err(|fault| guard::or_unreadable(conn, fault))
}

fn check_all(path: &Path, conn: &Connection, tried: &'static str) -> Result<(), BoardError> {
    match pages::damage(conn).map_err(|error| BoardError::sql(path, tried, &error))? {
        None => shape_of_board(path, conn).map(drop),
        Some(finding) => Err(BoardError::new(path, FaultClass::Content, tried, finding)),
    }
}

const CONNECTING: &str = "connecting";

/// The connection that stays. It never creates a file and never changes the journal mode, and leaves
/// the log as it is unless it is told at the end that all is well.
fn connect(path: &Path) -> Result<Connection, BoardError> {
    let fault = |error: rusqlite::Error| BoardError::sql(path, CONNECTING, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault)?;
    prepare(&conn).map_err(|error| guard::or_unreadable(&conn, fault(error)))?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(20))?;
    conn.set_prepared_statement_cache_capacity(64);
    // Or statements are prepared again whenever another value is bound to them.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
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

/// Its shape. Fails if the tables are not those of a board.
fn shape_of_board(path: &Path, conn: &Connection) -> Result<Shape, BoardError> {
    const TRIED: &str = "reading the schema";
    const REMEDY: &str = "give the path of a board, or open it once with a client that brings \
                          it up to date";
    let shape = Shape::read(conn).map_err(|error| BoardError::sql(path, TRIED, &error))?;
    if let Some(column) = shape.missing() {
        let finding = format!("there is no {column}");
        return Err(BoardError::new(path, FaultClass::Content, TRIED, finding).with_remedy(REMEDY));
    }
    conn.prepare(&format!("SELECT {} FROM tasks", shape.row))
        .map_err(|error| BoardError::sql(path, TRIED, &error).with_remedy(REMEDY))?;
    Ok(shape)
}
