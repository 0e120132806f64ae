//! The file of a board: which one it is, that no one else in this process has it open, and whether
//! its first bytes are sound.
//!
//! Closing *any* descriptor of a file drops all POSIX locks that this process has on it. So the
//! file is read directly only while no connection of this process is open on it, and afterwards
//! through SQLite's own descriptor.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use rusqlite::{Connection, ffi};

use crate::board::error::BoardError;
use crate::machine::fault::FaultClass;
use crate::machine::header::{self, Header};

/// Which file it is, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileKey {
    dev: u64,
    ino: u64,
}

impl FileKey {
    pub(crate) fn of(meta: &Metadata) -> FileKey {
        FileKey { dev: meta.dev(), ino: meta.ino() }
    }
}

/// The files that this process has open as boards or as their indexes, with the paths by which it did.
static OPEN: Mutex<BTreeMap<FileKey, PathBuf>> = Mutex::new(BTreeMap::new());

fn open_files() -> MutexGuard<'static, BTreeMap<FileKey, PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right of this process to have a file open, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    key: FileKey,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        open_files().remove(&self.key);
    }
}

/// A reserved file that is not open yet.
pub(crate) struct Pinned {
    reserved: Reserved,
    file: File,
}

/// Reserves the file at `path`. Nothing hangs here whatever the path leads to, and no lock of
/// another board is lost.
pub(crate) fn reserve(path: &Path) -> Result<Pinned, BoardError> {
    const TRIED: &str = "opening the file";
    // A descriptor that gives no access opens nothing: no FIFO waits for its other end, no device
    // is touched, and closing it drops no locks.
    let pinned = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| BoardError::io(path, TRIED, &errno.into()))?;
    let pinned = File::from(pinned);
    let meta = pinned.metadata().map_err(|e| BoardError::io(path, TRIED, &e))?;
    if !meta.is_file() {
        let finding = "it is no regular file".to_owned();
        return Err(BoardError::new(path, FaultClass::Access, TRIED, finding)
            .with_remedy("give the path of a board's database file"));
    }
    let reserved = register(path, FileKey::of(&meta))?;
    Ok(Pinned { reserved, file: pinned })
}

/// True if this process has this file open as a board, or as the index of one.
pub(crate) fn is_open(meta: &Metadata) -> bool {
    open_files().contains_key(&FileKey::of(meta))
}

pub(crate) fn register(path: &Path, key: FileKey) -> Result<Reserved, BoardError> {
    let mut files = open_files();
    if let Some(other) = files.get(&key) {
        let finding = format!("this process has the same file open as {}", other.display());
        return Err(BoardError::new(path, FaultClass::Access, "opening the file", finding)
            .with_remedy("use one path for each board"));
    }
    files.insert(key, path.to_owned());
    Ok(Reserved { key })
}

impl Pinned {
    /// Reads and checks the header, while nobody in this process has the file open.
    pub(crate) fn check_header(self, path: &Path) -> Result<Reserved, BoardError> {
        const TRIED: &str = "reading the file header";
        // By way of the pinned descriptor it is certainly the same file, even if the path changed.
        let mut file = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
            .map_err(|e| BoardError::io(path, TRIED, &e))?;
        let size = file.metadata().map_err(|e| BoardError::io(path, TRIED, &e))?.len();
        let mut bytes = Vec::with_capacity(header::LEN);
        file.by_ref()
            .take(header::LEN as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| BoardError::io(path, TRIED, &e))?;
        header::check(&bytes, size).map_err(|error| BoardError::header(path, error))?;
        Ok(self.reserved)
    }
}

impl Reserved {
    /// Fails if the path no longer leads to this file.
    pub(crate) fn still_at(&self, path: &Path) -> Result<(), BoardError> {
        let finding = match fs::metadata(path) {
            Ok(meta) if FileKey::of(&meta) == self.key => return Ok(()),
            Ok(_) => "the path leads to another file now".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(BoardError::new(path, FaultClass::Replaced, "looking for the file", finding))
    }
}

/// Checks the header of an open board through SQLite's own descriptor. Gives it, and the size of the
/// file.
pub(crate) fn check_open(path: &Path, conn: &Connection) -> Result<(Header, u64), BoardError> {
    let (bytes, size) = read_open(conn).map_err(|code| {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        BoardError::sql(path, "reading the file header", &error)
    })?;
    let header = header::check(&bytes, size).map_err(|error| BoardError::header(path, error))?;
    Ok((header, size))
}

/// The first bytes of the main file, and its size; else SQLite's result code.
fn read_open(conn: &Connection) -> Result<([u8; header::LEN], u64), i32> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    let mut bytes = [0_u8; header::LEN];
    let mut size: ffi::sqlite3_int64 = 0;
    // SAFETY: the connection is open and used by this thread only, for as long as it is borrowed.
    // SQLITE_FCNTL_FILE_POINTER stores a pointer to the open main file, which lives as long as the
    // connection; a null pointer or null methods (file not open) are not followed. `xFileSize` and
    // `xRead` get a file of their own kind, and the buffer has room for the bytes asked for.
    unsafe {
        let out: *mut *mut ffi::sqlite3_file = &raw mut file;
        let op = ffi::SQLITE_FCNTL_FILE_POINTER;
        let code =
            ffi::sqlite3_file_control(conn.handle(), c"main".as_ptr(), op, out.cast::<c_void>());
        if code != ffi::SQLITE_OK {
            return Err(code);
        }
        let methods = file.as_ref().and_then(|file| file.pMethods.as_ref());
        let methods = methods.ok_or(ffi::SQLITE_CANTOPEN)?;
        let (Some(file_size), Some(read)) = (methods.xFileSize, methods.xRead) else {
            return Err(ffi::SQLITE_CANTOPEN);
        };
        let code = file_size(file, &raw mut size);
        if code != ffi::SQLITE_OK {
            return Err(code);
        }
        let wanted = i32::try_from(header::LEN).unwrap_or(0);
        let code = read(file, bytes.as_mut_ptr().cast::<c_void>(), wanted, 0);
        // A short file is for the check to judge: the missing bytes are zeroes.
        if code != ffi::SQLITE_OK && code != ffi::SQLITE_IOERR_SHORT_READ {
            return Err(code);
        }
    }
    Ok((bytes, u64::try_from(size).unwrap_or(0)))
}

/// The fault, unless its cause is that the disk did not give a page: SQLite calls such a page
/// malformed, although nobody knows what is in it.
pub(crate) fn or_unreadable(conn: &Connection, fault: BoardError) -> BoardError {
    // Of those error numbers it believes that the file system itself is damaged.
    let unread = |errno: &Errno| matches!(errno, Errno::EIO | Errno::ENXIO | Errno::ERANGE);
    let files = [ffi::SQLITE_FCNTL_FILE_POINTER, ffi::SQLITE_FCNTL_JOURNAL_POINTER];
    match files.into_iter().filter_map(|which| last_errno(conn, which)).find(unread) {
        Some(errno) if fault.class == FaultClass::Content => {
            BoardError::io(&fault.path, fault.tried, &errno.into())
        }
        Some(_) | None => fault,
    }
}

/// Why the newest call on one of the connection's files that failed did so.
fn last_errno(conn: &Connection, which: i32) -> Option<Errno> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    let mut errno = 0_i32;
    // SAFETY: as in `read_open`; SQLITE_FCNTL_JOURNAL_POINTER gives the journal or the log in the same
    // way, and SQLITE_FCNTL_LAST_ERRNO stores an int.
    let code = unsafe {
        let out: *mut *mut ffi::sqlite3_file = &raw mut file;
        ffi::sqlite3_file_control(conn.handle(), c"main".as_ptr(), which, out.cast::<c_void>());
        let control = file.as_ref()?.pMethods.as_ref()?.xFileControl?;
        control(file, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut errno).cast::<c_void>())
    };
    (code == ffi::SQLITE_OK).then(|| Errno::from_raw(errno))
}
