//! Opens the files of a board: look at them, check them without a change, and only then connect.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{AccessFlags, eaccess};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::live::LiveFile;
use super::lock::InitLock;
use super::stamps::Stamps;
use super::wal_shm::WalShm;
use super::{at_rest, handle, pages, reserve, sigbus};
use crate::board::error::{self, BoardError};
use crate::board::{sql, transaction};
use crate::machine::fault::FaultClass;

const OPENING: &str = "opening the board";

impl LiveFile {
    /// Opens a board for writing, after a check of every page. `accept` looks at its content,
    /// before the connection that stays is made and again through that connection.
    pub(crate) fn open<T>(
        given: &Path,
        accept: impl Fn(&Path, &Connection) -> Result<T, BoardError>,
    ) -> Result<(LiveFile, T), BoardError> {
        sigbus::install();
        // An absolute path cannot be taken for a URI or for a name that is special to SQLite.
        let path = std::path::absolute(given)
            .map_err(|error| BoardError::io(given, "resolving the path", &error))?;
        let pinned = reserve::reserve(&path)?;
        refuse_irregular_beside(&path)?;
        // Every tool that makes a board or brings it up to date holds this lock meanwhile.
        let init = InitLock::take(&path);
        let reserved = pinned.check_header(&path)?;
        check_pages(&path, &accept)?;
        check_permissions(&path)?;
        let conn = connect(&path)?;
        drop(init);
        reserved.still_at(&path)?;
        let accepted = accept(&path, &conn).map_err(|error| handle::or_unreadable(&conn, error))?;
        let (header, size) = handle::check_header(&path, &conn)?;
        let wal_shm = header.wal.then(|| WalShm::of(&path, header.page_size)).transpose()?;
        let (size, trusted) = (Cell::new(size), Cell::new(true));
        let file = LiveFile { wal_shm, conn, reserved, path, size, commits: 0, trusted };
        file.check_writable(given)?;
        Ok((file, accepted))
    }

    /// Fails if the file, its WAL or its shm cannot be written. A rival's transaction does not make
    /// it fail.
    fn check_writable(&self, path: &Path) -> Result<(), BoardError> {
        if self.conn.is_readonly("main").unwrap_or(true) {
            return Err(unwritable(path, "the file cannot be written"));
        }
        match sql::run(&self.conn, "BEGIN IMMEDIATE") {
            Ok(()) => sql::run(&self.conn, "ROLLBACK"),
            Err(error) if error::is_busy(&error) => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| BoardError::sql(path, OPENING, &error))
    }
}

/// What SQLite reads with the board must be regular files, or it could block there.
fn refuse_irregular_beside(path: &Path) -> Result<(), BoardError> {
    let Some(file) = at_rest::irregular_beside(path) else { return Ok(()) };
    let finding = format!("{} is not a regular file", file.display());
    Err(BoardError::new(path, FaultClass::Access, OPENING, finding).with_remedy("move it away"))
}

/// Reads the schema and every page through a connection of its own, which changes nothing: SQLite's
/// checkpoint on close would write into a damaged file and remove its WAL. Nor is anything made beside
/// a file that no process has open.
fn check_pages<T>(
    path: &Path,
    accept: impl Fn(&Path, &Connection) -> Result<T, BoardError>,
) -> Result<(), BoardError> {
    const TRIED: &str = "checking all pages";
    let failed = |error: rusqlite::Error| BoardError::sql(path, TRIED, &error);
    let check = |conn: &Connection| {
        let checked = match pages::damage(conn).map_err(failed) {
            Ok(None) => accept(path, conn).map(drop),
            Ok(Some(finding)) => Err(BoardError::new(path, FaultClass::Content, TRIED, finding)),
            Err(error) => Err(error),
        };
        checked.map_err(|error| handle::or_unreadable(conn, error))
    };
    if let Some(checked) = at_rest::read(path, |conn, _| check(&conn)).map_err(failed)? {
        return checked;
    }
    // A process has it open, so it is read under locks.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    conn.busy_timeout(Duration::from_millis(250)).map_err(failed)?;
    check(&conn)
}

/// Fails where SQLite would connect for reading only, and leave a WAL that it cannot remove.
fn check_permissions(path: &Path) -> Result<(), BoardError> {
    let may_write = |path: &Path| eaccess(path, AccessFlags::W_OK).is_ok();
    if !may_write(path) {
        return Err(unwritable(path, "the file cannot be written"));
    }
    let real = path.canonicalize().map_err(|e| BoardError::io(path, OPENING, &e))?;
    // If a process has made the WAL already, nothing has to be made in the directory.
    if Stamps::of(path).is_one_file() && !real.parent().is_none_or(may_write) {
        return Err(unwritable(path, "its directory cannot be written"));
    }
    Ok(())
}

fn unwritable(path: &Path, finding: &str) -> BoardError {
    BoardError::new(path, FaultClass::Access, OPENING, finding.to_owned())
}

/// Makes the connection that stays. It never creates a file and never changes the journal mode, and
/// does not checkpoint on close unless [`LiveFile`] finds at the end that the file is sound.
fn connect(path: &Path) -> Result<Connection, BoardError> {
    let failed = |error: rusqlite::Error| BoardError::sql(path, "connecting", &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    prepare(&conn).map_err(|error| handle::or_unreadable(&conn, failed(error)))?;
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
