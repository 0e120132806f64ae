//! The files of an open board: its one connection, and whether they are still what they were.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error as Sql, Result as SqlResult};

use super::handle;
use super::reserve::Reserved;
use super::wal_shm::WalShm;
use crate::board::error::{self, BoardError};
use crate::board::sql;
use crate::machine::fault::FaultClass;

/// The files of an open board. The connection stays open for as long as the board is in use: that also
/// keeps other processes from removing the WAL under each other.
pub(crate) struct LiveFile {
    // Dropped in this order. The reservation of the shm goes first: the connection may remove the shm
    // when it closes, and its inode may then become another file's. That of the file goes last.
    /// None on a board that is not in WAL mode.
    pub(super) wal_shm: Option<WalShm>,
    pub(super) conn: Connection,
    pub(super) reserved: Reserved,
    pub(super) path: PathBuf,
    /// Size of the file when it was last found sound.
    pub(super) size: Cell<u64>,
    /// Our commits since the size of the WAL was last looked at.
    pub(super) commits: u32,
    /// False once the board failed for more than a rival's lock.
    pub(super) trusted: Cell<bool>,
}

/// Frames in the WAL from which on it is checkpointed.
const CHECKPOINT_FRAMES: i64 = 1000;

/// Our commits between two looks at the size of the WAL.
const CHECKPOINT_COMMITS: u32 = 16;

impl LiveFile {
    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Its path, absolute, links in it not resolved.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the path no longer leads to this file, or the file or its WAL is not what it was.
    /// Not for use inside a transaction.
    ///
    /// A file that has become shorter may have been truncated or vacuumed, and the pages in SQLite's
    /// cache do not show which. So it is opened again, which checks every page.
    pub(crate) fn is_sound(&self) -> Result<(), BoardError> {
        let replaced = |finding| {
            BoardError::new(&self.path, FaultClass::Replaced, "looking for the file", finding)
        };
        self.reserved.still_at(&self.path)?;
        let (header, size) = handle::check_header(&self.path, &self.conn)?;
        let before = self.size.get();
        if size < before {
            return Err(replaced(format!("it has {size} bytes, and had {before}")));
        }
        self.size.set(size);
        match &self.wal_shm {
            Some(wal_shm) if header.wal => wal_shm.are_whole(&self.conn),
            None if !header.wal => Ok(()),
            Some(_) | None => Err(replaced("its journal mode is another one now".to_owned())),
        }
    }

    /// Fails if the path no longer leads to this file, or its WAL and shm are not where they were.
    pub(crate) fn is_in_place(&self) -> Result<(), BoardError> {
        self.reserved.still_at(&self.path)?;
        self.wal_shm_in_place()
    }

    /// Fails if its WAL or its shm is not where it was, or was cut.
    pub(crate) fn wal_shm_in_place(&self) -> Result<(), BoardError> {
        self.wal_shm.as_ref().map_or(Ok(()), |wal_shm| wal_shm.in_place().map(drop))
    }

    /// Returns the error of a failed statement, or what is behind it: an error of a file that was
    /// taken away or cut is none of the board's content.
    pub(crate) fn failed(&self, tried: &'static str, error: &Sql) -> BoardError {
        let error = handle::or_unreadable(&self.conn, error::exchanging(&self.path, tried, error));
        self.distrust(self.is_in_place().err().unwrap_or(error))
    }

    /// Returns the error, after which the WAL is not checkpointed on close unless it was a rival's lock.
    pub(crate) fn distrust(&self, error: BoardError) -> BoardError {
        if error.class != FaultClass::Busy {
            self.trusted.set(false);
        }
        error
    }

    /// Counts a commit, and checkpoints a WAL that has grown, unless the file is damaged: a header
    /// that went bad meanwhile must not be overwritten. A failed checkpoint does not fail the
    /// exchange; the next one reports it if the cause lasts.
    pub(crate) fn committed(&mut self) {
        self.commits += 1;
        if self.commits < CHECKPOINT_COMMITS {
            return;
        }
        self.commits = 0;
        let grown = backlog(&self.conn, "PRAGMA wal_checkpoint(NOOP)")
            .is_ok_and(|frames| frames >= CHECKPOINT_FRAMES);
        if grown && self.is_sound().is_ok() {
            let _shown_by_the_next_exchange = backlog(&self.conn, "PRAGMA wal_checkpoint(PASSIVE)");
        }
    }
}

impl Drop for LiveFile {
    fn drop(&mut self) {
        // The last connection to close checkpoints the WAL and removes it. Nothing is copied into a file
        // in which damage was met, even if its header is sound; and the WAL of a file that was replaced
        // is not ours. A WAL that stays does no harm.
        if self.trusted.get() && self.is_sound().is_ok() {
            let _a_wal_that_stays_does_no_harm =
                self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }
}

/// Frames of the WAL that are not yet in the file, after this checkpoint.
fn backlog(conn: &Connection, pragma: &str) -> SqlResult<i64> {
    let frames =
        sql::one(conn, pragma, [], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))?;
    Ok(frames.unwrap_or(0))
}
