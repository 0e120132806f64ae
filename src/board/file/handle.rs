//! Reads an open database through SQLite's own file handle: its header, and the errno behind a
//! failure.

use std::ffi::c_void;
use std::path::Path;

use nix::errno::Errno;
use rusqlite::{Connection, ffi};

use crate::board::error::BoardError;
use crate::machine::fault::FaultClass;
use crate::machine::header::{self, Header};

/// Checks the header of an open board. Returns it, and the size of the file.
pub(crate) fn check_header(path: &Path, conn: &Connection) -> Result<(Header, u64), BoardError> {
    let (bytes, size) = read_header(conn).map_err(|code| {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        BoardError::sql(path, "reading the file header", &error)
    })?;
    let header = header::check(&bytes, size).map_err(|error| BoardError::header(path, error))?;
    Ok((header, size))
}

/// Returns the first bytes of the main file, and its size; else SQLite's result code.
fn read_header(conn: &Connection) -> Result<([u8; header::LEN], u64), i32> {
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
        // Whether a file is too short, the check decides: the missing bytes are zeroes.
        if code != ffi::SQLITE_OK && code != ffi::SQLITE_IOERR_SHORT_READ {
            return Err(code);
        }
    }
    Ok((bytes, u64::try_from(size).unwrap_or(0)))
}

/// Returns the error, or a failed read in its place: SQLite calls a page malformed that the disk did
/// not return, although its content is unknown.
pub(crate) fn or_unreadable(conn: &Connection, error: BoardError) -> BoardError {
    // The errnos that SQLite takes for a damaged file system.
    let unread = |errno: &Errno| matches!(errno, Errno::EIO | Errno::ENXIO | Errno::ERANGE);
    let files = [ffi::SQLITE_FCNTL_FILE_POINTER, ffi::SQLITE_FCNTL_JOURNAL_POINTER];
    match files.into_iter().filter_map(|which| last_errno(conn, which)).find(unread) {
        Some(errno) if error.class == FaultClass::Content => {
            BoardError::io(&error.path, error.tried, &errno.into())
        }
        Some(_) | None => error,
    }
}

/// The errno of the latest call that failed on one of the connection's files.
fn last_errno(conn: &Connection, which: i32) -> Option<Errno> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    let mut errno = 0_i32;
    // SAFETY: as in `read_header`; SQLITE_FCNTL_JOURNAL_POINTER stores the journal or the WAL in the same
    // way, and SQLITE_FCNTL_LAST_ERRNO stores an int.
    let code = unsafe {
        let out: *mut *mut ffi::sqlite3_file = &raw mut file;
        ffi::sqlite3_file_control(conn.handle(), c"main".as_ptr(), which, out.cast::<c_void>());
        let control = file.as_ref()?.pMethods.as_ref()?.xFileControl?;
        control(file, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut errno).cast::<c_void>())
    };
    (code == ffi::SQLITE_OK).then(|| Errno::from_raw(errno))
}
