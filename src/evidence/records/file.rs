//! The file itself: its path, how it is created, and the system calls on it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};
use nix::libc::off_t;

use super::{MAX_SLOTS, RecordsError, header, offset};

/// An open file of records.
pub(super) struct RecordsFile {
    path: PathBuf,
    file: File,
    /// What was done to the file, in order.
    #[cfg(test)]
    pub(super) steps: std::sync::Mutex<Vec<super::tests::Step>>,
}

impl RecordsFile {
    /// Creates a file without slots and locks it.
    pub(super) fn create(directory: &Path, name: &str) -> Result<RecordsFile, RecordsError> {
        let path = path(directory, name)?;
        let records = directory.join(RECORDS);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&records);
        made.map_err(|source| system("create the directory", &records, source))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(|source| system("create", &path, source))?;
        let file = RecordsFile::new(path, file);
        let begun = file.lock().and_then(|()| file.write(0, &header::encode(name)));
        if begun.is_err() {
            let _the_first_error_counts = file.remove();
        }
        begun.map(|()| file)
    }

    /// Opens an existing file; `None` if there is none. Does not follow a link, and does not wait for
    /// a FIFO.
    pub(super) fn open(directory: &Path, name: &str) -> Result<Option<RecordsFile>, RecordsError> {
        let path = path(directory, name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let file = match options.open(&path) {
            Ok(file) => RecordsFile::new(path, file),
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(system("open", &path, source)),
        };
        if file.meta()?.is_file() {
            Ok(Some(file))
        } else {
            Err(RecordsError::Damaged { path: file.path, problem: "it is not a regular file" })
        }
    }

    pub(super) fn new(path: PathBuf, file: File) -> RecordsFile {
        RecordsFile {
            path,
            file,
            #[cfg(test)]
            steps: std::sync::Mutex::default(),
        }
    }

    /// Never unlocked explicitly: closing the last descriptor does that, and a child that has not yet
    /// executed has one.
    fn lock(&self) -> Result<(), RecordsError> {
        self.file.try_lock().map_err(|error| match error {
            TryLockError::Error(source) => self.error("lock", source),
            TryLockError::WouldBlock => self.error("lock", Errno::EWOULDBLOCK.into()),
        })
    }

    /// Returns true if it is locked through another descriptor. Tests without waiting, with a shared
    /// lock, so that any number of dispatchers can test at the same time.
    pub(super) fn is_locked(&self) -> Result<bool, RecordsError> {
        match self.file.try_lock_shared() {
            Ok(()) => {
                // Unlocked explicitly and at once: a child of this process may share the descriptor.
                let released = self.file.unlock();
                released.map(|()| false).map_err(|source| self.error("unlock", source))
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(self.error("lock", source)),
        }
    }

    /// Allocates blocks that read as zeros, so that later writes into them need no space on the disk.
    pub(super) fn allocate(&self, from: u64, len: u64) -> Result<(), RecordsError> {
        #[cfg(test)]
        self.note(super::tests::Step::Allocate { until: from + len });
        let (from, len) = (from.cast_signed(), len.cast_signed());
        let allocated = posix_fallocate(&self.file, from as off_t, len as off_t);
        allocated.map_err(|errno| self.error("allocate blocks for", errno.into()))
    }

    /// Writes all bytes at this offset, normally in one call.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), RecordsError> {
        #[cfg(test)]
        self.note(super::tests::Step::Write { at, bytes: bytes.to_vec() });
        self.file.write_all_at(bytes, at).map_err(|source| self.error("write to", source))
    }

    /// Reads the whole file, up to the maximum length of a file of records.
    pub(super) fn load(&self) -> Result<Vec<u8>, RecordsError> {
        let len = self.meta()?.len().min(offset(MAX_SLOTS));
        let mut bytes = vec![0; len as usize];
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], read as u64) {
                // The file was truncated meanwhile.
                Ok(0) => bytes.truncate(read),
                Ok(more) => read += more,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.error("read", source)),
            }
        }
        Ok(bytes)
    }

    fn meta(&self) -> Result<Metadata, RecordsError> {
        self.file.metadata().map_err(|source| self.error("look at", source))
    }

    pub(super) fn sync(&self) -> Result<(), RecordsError> {
        self.file.sync_data().map_err(|source| self.error("sync", source))
    }

    /// Removes it from its directory. Succeeds also if another process has removed it.
    pub(super) fn remove(&self) -> Result<(), RecordsError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", source))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn error(&self, what: &'static str, source: io::Error) -> RecordsError {
        system(what, &self.path, source)
    }

    #[cfg(test)]
    fn note(&self, step: super::tests::Step) {
        self.steps.lock().unwrap().push(step);
    }
}

/// The name of the directory in the state directory.
const RECORDS: &str = "records";

/// Returns the path of the records of dispatcher `name`. A name may come from a board, so it must not
/// lead out of the directory.
fn path(directory: &Path, name: &str) -> Result<PathBuf, RecordsError> {
    if !is_name(name) {
        return Err(RecordsError::Name(name.to_owned()));
    }
    Ok(directory.join(RECORDS).join(name))
}

/// Returns when the records of dispatcher `name` were last written; `None` if that cannot be told.
#[must_use]
pub fn written_at(directory: &Path, name: &str) -> Option<SystemTime> {
    path(directory, name).ok()?.metadata().ok()?.modified().ok()
}

/// Returns the names of the dispatchers that have a file, sorted.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, RecordsError> {
    let records = directory.join(RECORDS);
    let cannot = |source| system("list", &records, source);
    let entries = match fs::read_dir(&records) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(cannot(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(cannot)?.file_name();
        names.extend(name.into_string().ok().filter(|name| is_name(name)));
    }
    names.sort_unstable();
    Ok(names)
}

fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    name.len() <= header::MAX_NAME
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|b| is_plain(b) || b == b'.' || b == b'-')
}

fn system(what: &'static str, path: &Path, source: io::Error) -> RecordsError {
    RecordsError::System { what, path: path.to_owned(), source }
}
