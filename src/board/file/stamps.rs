//! Whether a database and the files beside it have changed, as far as `stat` shows it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::beside::beside;

/// Device, inode, size and mtime: they change when a file is written or replaced. Not ctime: SQLite
/// calls `fchown` on each WAL that it opens.
type Stamp = (u64, u64, u64, i64, i64);

/// The stamps of a database and of the files beside it, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps {
    file: Option<Stamp>,
    wal: Option<Stamp>,
    shm: Option<Stamp>,
    journal: Option<Stamp>,
}

impl Stamps {
    /// Reads them from the file system.
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
            wal: of(&beside(path, "-wal")),
            shm: of(&beside(path, "-shm")),
            journal: of(&beside(path, "-journal")),
        }
    }

    /// True if the file exists, and neither it nor its WAL has changed since `then`.
    #[must_use]
    pub fn read_alike(&self, then: &Stamps) -> bool {
        self.file.is_some() && (self.file, self.wal) == (then.file, then.wal)
    }

    /// True if no WAL, shm or journal lies beside the file.
    pub(crate) fn is_one_file(&self) -> bool {
        self.wal.is_none() && self.shm.is_none() && self.journal.is_none()
    }

    pub(crate) fn has_wal(&self) -> bool {
        self.wal.is_some()
    }

    pub(crate) fn has_shm(&self) -> bool {
        self.shm.is_some()
    }

    pub(crate) fn has_journal(&self) -> bool {
        self.journal.is_some()
    }
}
