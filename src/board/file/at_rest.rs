//! Reads a board that no process has open, and leaves nothing beside it.
//!
//! A reader of a database in WAL mode makes its `-wal` and `-shm`, or rebuilds those that a killed
//! process left, and cannot remove them if it only reads.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open as open_fd};
use nix::libc;
use nix::sys::stat::Mode;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use super::beside::beside;
use super::reserve;
use super::stamps::Stamps;
use crate::board::sql;

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

/// Opens a file with these stamps so that nothing is made beside it; `None` if a process may have it
/// open. Nothing is locked: what is read counts only if the stamps are the same afterwards.
pub(crate) fn open(path: &Path, stamps: &Stamps) -> Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !is_at_rest(path, stamps) {
        return Ok(None);
    }
    if !stamps.has_wal() {
        let conn = Connection::open_with_flags(uri(path), flags | OpenFlags::SQLITE_OPEN_URI)?;
        return Ok(Some(conn));
    }
    // A WAL that no process shares: in exclusive mode SQLite keeps its shm in memory, and ignores one
    // that was left. The VFS without locks is for files that cannot be written, and so not locked.
    let conn = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sql::run(&conn, "PRAGMA locking_mode = EXCLUSIVE")?;
    Ok(Some(conn))
}

/// True if no process has it open, though a WAL or a shm may be left.
fn is_at_rest(path: &Path, stamps: &Stamps) -> bool {
    !stamps.has_journal() && (!stamps.has_shm() || !is_shm_in_use(path))
}

/// The byte of a shm that every process which has it open keeps locked. The first that finds it
/// unlocked rebuilds the shm.
const IN_USE: libc::off_t = 128;

/// Whether a process has the shm beside this file open, found out as SQLite does it; true also if that
/// cannot be found out.
fn is_shm_in_use(path: &Path) -> bool {
    let find = || {
        let shm = beside(&path.canonicalize().ok()?, "-shm");
        // As with the file itself: if this process has it open, closing another descriptor would drop
        // its locks.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let pinned = File::from(open_fd(&shm, flags, Mode::empty()).ok()?);
        let meta = pinned.metadata().ok()?;
        if !meta.is_file() || reserve::is_open(&meta) {
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

/// The URI with which SQLite takes the file for one that never changes, and makes nothing beside it.
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

/// Returns a WAL, shm or journal of this board that is not a regular file: SQLite would block on a
/// FIFO.
pub(crate) fn irregular_beside(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut files = ["-wal", "-shm", "-journal"].into_iter().map(|suffix| beside(&path, suffix));
    files.find(|file| file.metadata().is_ok_and(|meta| !meta.is_file()))
}
