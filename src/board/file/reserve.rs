//! Reserves a file for one user in this process, and checks its header before a connection exists.
//!
//! Closing *any* descriptor of a file drops all POSIX locks that this process has on it. So a file is
//! read directly only while no connection of this process is open on it, and afterwards through
//! SQLite's own handle (`handle`).

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::board::error::BoardError;
use crate::machine::fault::FaultClass;
use crate::machine::header;

/// Identifies a file independently of its path.
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

/// The files that this process has open as a board or as the shm of one, and the paths it used.
static OPEN: Mutex<BTreeMap<FileKey, PathBuf>> = Mutex::new(BTreeMap::new());

fn open_files() -> MutexGuard<'static, BTreeMap<FileKey, PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reservation of a file, which ends when it is dropped.
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

/// Reserves the file at `path`. Does not block on a FIFO or a device, and drops no lock of another
/// board.
pub(crate) fn reserve(path: &Path) -> Result<Pinned, BoardError> {
    const TRIED: &str = "opening the file";
    // O_PATH grants no access: it does not wait for the other end of a FIFO, does not touch a
    // device, and closing it drops no locks.
    let pinned = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| BoardError::io(path, TRIED, &errno.into()))?;
    let pinned = File::from(pinned);
    let meta = pinned.metadata().map_err(|e| BoardError::io(path, TRIED, &e))?;
    if !meta.is_file() {
        let finding = "it is not a regular file".to_owned();
        return Err(BoardError::new(path, FaultClass::Access, TRIED, finding)
            .with_remedy("give the path of a board's database file"));
    }
    let reserved = register(path, FileKey::of(&meta))?;
    Ok(Pinned { reserved, file: pinned })
}

/// True if this process has this file open as a board, or as the shm of one.
pub(crate) fn is_open(meta: &Metadata) -> bool {
    open_files().contains_key(&FileKey::of(meta))
}

/// Reserves a file whose identity is known.
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
    /// Reads and checks the header, while no connection of this process has the file open.
    pub(crate) fn check_header(self, path: &Path) -> Result<Reserved, BoardError> {
        const TRIED: &str = "reading the file header";
        // Through the pinned descriptor it is the same file, even if the path has changed.
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
