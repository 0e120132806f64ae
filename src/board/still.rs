//! Reading a file that nobody has open, without leaving anything beside it.
//!
//! Whoever reads a database in WAL mode makes its `-wal` and `-shm`, and cannot remove them when only
//! reading.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use super::lock::beside;
use super::sql;

/// What changes when a file is written or replaced. Not the time of the last change of any kind:
/// SQLite gives a log that it opens to the owner of its database, even if it is his.
type Stamp = (u64, u64, u64, i64, i64);

/// A database and what lies beside it, as they were at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps {
    file: Option<Stamp>,
    log: Option<Stamp>,
    shared: Option<Stamp>,
    journal: Option<Stamp>,
}

impl Stamps {
    /// As they are now.
    #[must_use]
    pub fn of(path: &Path) -> Stamps {
        // SQLite looks beside the file itself, not beside a link to it.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let of = |path: &Path| {
            let meta = path.symlink_metadata().ok()?;
            Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        };
        Stamps {
            file: of(path),
            log: of(&beside(path, "-wal")),
            shared: of(&beside(path, "-shm")),
            journal: of(&beside(path, "-journal")),
        }
    }

    /// True if there is a file, and it and its log are those of then: whoever reads it finds the same.
    #[must_use]
    pub fn read_alike(&self, then: &Stamps) -> bool {
        self.file.is_some() && (self.file, self.log) == (then.file, then.log)
    }

    /// True if nothing beside the file has to be read with it, and nobody has it open.
    pub(super) fn is_one_file(&self) -> bool {
        self.log.is_none() && self.is_unshared()
    }

    /// True if nobody has it open in WAL mode, though a log may be left.
    fn is_unshared(&self) -> bool {
        self.shared.is_none() && self.journal.is_none()
    }
}

/// What lies where SQLite keeps the board's log, its index or its journal, and is no regular file:
/// SQLite would wait for the other end of a pipe.
pub(super) fn irregular_beside(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut files = ["-wal", "-shm", "-journal"].into_iter().map(|suffix| beside(&path, suffix));
    files.find(|file| file.metadata().is_ok_and(|meta| !meta.is_file()))
}

/// The URI that tells SQLite not to look for changes, nor to leave traces.
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _to_a_string = write!(uri, "%{byte:02x}");
        }
    }
    uri + "?immutable=1"
}

/// Opens a file that is in this state such that nothing is made beside it; `None` if others may
/// have it open. Nothing is locked: what is read counts only if the state is the same afterwards.
pub(super) fn open(path: &Path, state: &Stamps) -> Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if state.is_one_file() {
        let conn = Connection::open_with_flags(uri(path), flags | OpenFlags::SQLITE_OPEN_URI)?;
        return Ok(Some(conn));
    }
    if !state.is_unshared() {
        return Ok(None);
    }
    // A log whose index nobody shares: alone with it, SQLite keeps the index to itself. The lock
    // that this takes is none here, so that a file which cannot be written can be read.
    let conn = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sql::run(&conn, "PRAGMA locking_mode = EXCLUSIVE")?;
    Ok(Some(conn))
}
