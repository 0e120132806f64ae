//! Reading a file that nobody has open, without leaving anything beside it.
//!
//! Whoever reads a database in WAL mode makes its `-wal` and `-shm`, or makes those anew that somebody
//! killed has left, and cannot remove them when only reading.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open as open_fd};
use nix::libc;
use nix::sys::stat::Mode;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use super::guard;
use super::lock::beside;
use crate::board::sql;

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

    /// True if nothing lies beside the file that has to be read with it, or that says that others may
    /// have it open.
    pub(crate) fn is_one_file(&self) -> bool {
        self.log.is_none() && self.shared.is_none() && self.journal.is_none()
    }

    /// True if nobody has it open in WAL mode, though a log or an index may be left.
    fn is_unshared(&self, path: &Path) -> bool {
        self.journal.is_none() && (self.shared.is_none() || !is_index_in_use(path))
    }
}

/// What lies where SQLite keeps the board's log, its index or its journal, and is no regular file:
/// SQLite would wait for the other end of a pipe.
pub(crate) fn irregular_beside(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut files = ["-wal", "-shm", "-journal"].into_iter().map(|suffix| beside(&path, suffix));
    files.find(|file| file.metadata().is_ok_and(|meta| !meta.is_file()))
}

/// The byte of an index that everybody who has it open keeps locked; who finds it free makes the index
/// anew.
const IN_USE: libc::off_t = 128;

/// Whether anybody has the index beside this file open, as SQLite itself would find out; true also if
/// that cannot be told.
fn is_index_in_use(path: &Path) -> bool {
    let find = || {
        let index = beside(&path.canonicalize().ok()?, "-shm");
        // As with the file itself: where this process has it open, closing another descriptor would drop
        // its locks.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let pinned = File::from(open_fd(&index, flags, Mode::empty()).ok()?);
        let meta = pinned.metadata().ok()?;
        if !meta.is_file() || guard::is_open(&meta) {
            return None;
        }
        let file = File::open(format!("/proc/self/fd/{}", pinned.as_raw_fd())).ok()?;
        let (l_type, l_whence) = (libc::F_WRLCK as _, libc::SEEK_SET as _);
        let mut lock = libc::flock { l_type, l_whence, l_start: IN_USE, l_len: 1, l_pid: 0 };
        fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
        Some(i32::from(lock.l_type) != libc::F_UNLCK)
    };
    find().unwrap_or(true)
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

/// Reads a board that no process has open, and makes nothing beside it. `None` if a process may have
/// it open, or came in the meantime: nothing is locked, so what was read then means nothing.
pub(crate) fn read<T>(
    path: &Path,
    read: impl FnOnce(Connection, &Stamps) -> T,
) -> Result<Option<T>> {
    let before = Stamps::of(path);
    let Some(conn) = open(path, &before)? else { return Ok(None) };
    let value = read(conn, &before);
    Ok((Stamps::of(path) == before).then_some(value))
}

/// Opens a file that is in this state such that nothing is made beside it; `None` if others may
/// have it open. Nothing is locked: what is read counts only if the state is the same afterwards.
pub(crate) fn open(path: &Path, state: &Stamps) -> Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !state.is_unshared(path) {
        return Ok(None);
    }
    if state.log.is_none() {
        let conn = Connection::open_with_flags(uri(path), flags | OpenFlags::SQLITE_OPEN_URI)?;
        return Ok(Some(conn));
    }
    // A log whose index nobody shares: alone with it, SQLite keeps the index to itself, and does not
    // look at one that was left. The lock that this takes is none here, so that a file which cannot
    // be written can be read.
    let conn = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sql::run(&conn, "PRAGMA locking_mode = EXCLUSIVE")?;
    Ok(Some(conn))
}
