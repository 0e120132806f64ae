//! The log beside an open board and the index of that log, without which the file is not the board.
//!
//! While we are connected, SQLite removes neither of them and never makes the index shorter; the log
//! it cuts, but not below what the index counts. Others do all of that: a copy over the files of a
//! board in use, a tidy hand. Then we would write where nobody reads, play a log with holes into a
//! sound file, or die of touching the index, which is mapped (`bus` takes what is left of that).

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::guard::{self, FileKey, Reserved};
use super::lock::beside;
use super::sigbus;
use crate::board::error::BoardError;
use crate::board::sql;
use crate::board::transaction;
use crate::machine::fault::FaultClass;

/// The log and the index of a board, as they were when it was opened.
pub(crate) struct Siblings {
    board: PathBuf,
    log: Sibling,
    index: Sibling,
    /// The most bytes that the index was seen to have.
    index_size: Cell<u64>,
    page_size: u64,
    /// Closing any other descriptor of the index would drop our locks on it.
    _reserved: Reserved,
    /// Accesses of this thread that met no page, when it was opened.
    faults: u32,
}

struct Sibling {
    path: PathBuf,
    key: FileKey,
}

/// Bytes before the first frame of a log, and before the page in each frame.
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

impl Siblings {
    /// Those of a board that was just read in WAL mode.
    pub(crate) fn of(board: &Path, page_size: u32) -> Result<Siblings, BoardError> {
        // SQLite looks beside the file itself, not beside a link to it.
        let real = board.canonicalize().map_err(|error| replaced(board, error.to_string()))?;
        let find = |end: &str| {
            let path = beside(&real, end);
            let meta = fs::metadata(&path).map_err(|e| replaced(board, format!("{end}: {e}")))?;
            Ok(Sibling { key: FileKey::of(&meta), path })
        };
        let (log, index) = (find("-wal")?, find("-shm")?);
        let siblings = Siblings {
            board: board.to_owned(),
            _reserved: guard::register(&index.path, index.key)?,
            log,
            index,
            index_size: Cell::new(0),
            page_size: u64::from(page_size),
            faults: sigbus::faults(),
        };
        siblings.in_place()?;
        Ok(siblings)
    }

    /// Fails unless both are the files that SQLite has open, and the index can be touched. Gives the
    /// bytes of the log, and costs two `stat`.
    pub(crate) fn in_place(&self) -> Result<u64, BoardError> {
        let fault = |finding| replaced(&self.board, finding);
        let log = self.log.size().map_err(fault)?;
        let (size, before) = (self.index.size().map_err(fault)?, self.index_size.get());
        if size < before {
            return Err(fault(format!("its -shm has {size} bytes, and had {before}")));
        }
        self.index_size.set(size);
        if sigbus::faults() != self.faults {
            return Err(fault("its -shm was cut while it was read".to_owned()));
        }
        Ok(log)
    }

    /// Fails also if frames are missing of the log. Not for use inside a transaction.
    pub(crate) fn are_whole(&self, conn: &Connection) -> Result<(), BoardError> {
        let mut size = self.in_place()?;
        let mut wanted = 0;
        // A rival may have written to the log after the look at its size: then it has grown. Or it began
        // it anew before: then the index has counted fewer frames since.
        for _ in 0..2 {
            wanted = match frames(conn) {
                Ok(0) => 0,
                Ok(frames) => LOG_HEADER + frames * (FRAME_HEADER + self.page_size),
                Err(error) if transaction::is_busy(&error) => return Ok(()),
                Err(error) => {
                    return Err(BoardError::sql(&self.board, "looking at the log", &error));
                }
            };
            if size >= wanted {
                return Ok(());
            }
            size = self.log.size().map_err(|finding| replaced(&self.board, finding))?;
            if size >= wanted {
                return Ok(());
            }
        }
        let finding = format!("its -wal has {size} bytes, and there should be {wanted}");
        Err(replaced(&self.board, finding))
    }
}

impl Sibling {
    /// Its size, if it is still this file.
    fn size(&self) -> Result<u64, String> {
        match fs::metadata(&self.path) {
            Ok(meta) if FileKey::of(&meta) == self.key => Ok(meta.len()),
            Ok(_) => Err(format!("{} is another file now", self.path.display())),
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }
}

/// Frames of the log that are in force, in the file already or not; none where there is no log.
pub(crate) fn frames(conn: &Connection) -> rusqlite::Result<u64> {
    let count = sql::one(conn, "PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1))?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

fn replaced(board: &Path, finding: String) -> BoardError {
    BoardError::new(board, FaultClass::Replaced, "looking for its log", finding)
}
