//! Watches the `-wal` and `-shm` of an open database: without them the main file is incomplete.
//!
//! While we are connected, SQLite removes neither of them and never makes the shm shorter; it
//! truncates the WAL, but not below what the shm counts. Other programs do all of that: a copy over
//! the files of a board in use, a cleanup. We would then write where no one reads, checkpoint a WAL
//! with holes into a sound file, or die of touching the mapped shm (`sigbus` covers the rest of that).

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::beside::beside;
use super::reserve::{self, FileKey, Reserved};
use super::sigbus;
use crate::board::error::{self, BoardError};
use crate::board::sql;
use crate::machine::fault::FaultClass;

/// The WAL and the shm of a board, as they were when it was opened.
pub(crate) struct WalShm {
    board: PathBuf,
    wal: Companion,
    shm: Companion,
    /// The largest size of the shm seen so far.
    shm_size: Cell<u64>,
    page_size: u64,
    /// Closing any other descriptor of the shm would drop our locks on it.
    _reserved: Reserved,
    /// [`sigbus::faults`] when it was opened.
    faults: u32,
}

/// One of the two files.
struct Companion {
    path: PathBuf,
    key: FileKey,
}

/// Bytes before the first frame of a WAL, and before the page in each frame.
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

impl WalShm {
    /// Finds those of a board that was just read in WAL mode.
    pub(crate) fn of(board: &Path, page_size: u32) -> Result<WalShm, BoardError> {
        // SQLite looks beside the file itself, not beside a link to it.
        let real = board.canonicalize().map_err(|error| replaced(board, error.to_string()))?;
        let find = |end: &str| {
            let path = beside(&real, end);
            let meta = fs::metadata(&path).map_err(|e| replaced(board, format!("{end}: {e}")))?;
            Ok(Companion { key: FileKey::of(&meta), path })
        };
        let (wal, shm) = (find("-wal")?, find("-shm")?);
        let files = WalShm {
            board: board.to_owned(),
            _reserved: reserve::register(&shm.path, shm.key)?,
            wal,
            shm,
            shm_size: Cell::new(0),
            page_size: u64::from(page_size),
            faults: sigbus::faults(),
        };
        files.in_place()?;
        Ok(files)
    }

    /// Fails unless both are the files that SQLite has open, and the shm is not cut. Returns the size
    /// of the WAL, and costs two `stat`.
    pub(crate) fn in_place(&self) -> Result<u64, BoardError> {
        let fault = |finding| replaced(&self.board, finding);
        let wal = self.wal.size().map_err(fault)?;
        let (size, before) = (self.shm.size().map_err(fault)?, self.shm_size.get());
        if size < before {
            return Err(fault(format!("its -shm has {size} bytes, and had {before}")));
        }
        self.shm_size.set(size);
        if sigbus::faults() != self.faults {
            return Err(fault("its -shm was cut while it was read".to_owned()));
        }
        Ok(wal)
    }

    /// Fails also if frames of the WAL are missing. Not for use inside a transaction.
    pub(crate) fn are_whole(&self, conn: &Connection) -> Result<(), BoardError> {
        let mut size = self.in_place()?;
        let mut wanted = 0;
        // A rival may have written to the WAL after we took its size: then it has grown. Or it had
        // restarted the WAL: then the shm counts fewer frames by now.
        for _ in 0..2 {
            wanted = match frames(conn) {
                Ok(0) => 0,
                Ok(frames) => WAL_HEADER + frames * (FRAME_HEADER + self.page_size),
                Err(error) if error::is_busy(&error) => return Ok(()),
                Err(error) => {
                    return Err(BoardError::sql(&self.board, "looking at the WAL", &error));
                }
            };
            if size >= wanted {
                return Ok(());
            }
            size = self.wal.size().map_err(|finding| replaced(&self.board, finding))?;
            if size >= wanted {
                return Ok(());
            }
        }
        let finding = format!("its -wal has {size} bytes, and there should be {wanted}");
        Err(replaced(&self.board, finding))
    }
}

impl Companion {
    /// Returns its size, if its path still leads to this file.
    fn size(&self) -> Result<u64, String> {
        match fs::metadata(&self.path) {
            Ok(meta) if FileKey::of(&meta) == self.key => Ok(meta.len()),
            Ok(_) => Err(format!("{} is another file now", self.path.display())),
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }
}

/// Counts the valid frames of the WAL, checkpointed or not; 0 without a WAL.
pub(crate) fn frames(conn: &Connection) -> rusqlite::Result<u64> {
    let count = sql::one(conn, "PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1))?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

fn replaced(board: &Path, finding: String) -> BoardError {
    BoardError::new(board, FaultClass::Replaced, "looking for its WAL", finding)
}
