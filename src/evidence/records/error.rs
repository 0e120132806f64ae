//! Errors of a file of records, and what to do about them.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use crate::machine::ids::SpawnId;

/// Why records could not be written or read.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The text cannot be the name of a dispatcher's records.
    #[error(
        "{0:?} is not the name of a dispatcher, so no records are looked for under it; \
         expected at most 128 characters of 0-9, a-z, '.' and '-', the first one a digit or letter"
    )]
    Name(String),
    /// The attempt has a record already.
    #[error("attempt {} has a record in {} already; clear that one first", spawn.0, path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The attempt.
        spawn: SpawnId,
    },
    /// The attempt has no record.
    #[error("attempt {} has no record in {}; nothing was written", spawn.0, path.display())]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// The attempt.
        spawn: SpawnId,
    },
    /// The file cannot be used as evidence.
    #[error("cannot use the records in {}: {problem}; nothing is concluded from them", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A system call failed.
    #[error("cannot {what} {}: {source}; {}", path.display(), remedy(source))]
    System {
        /// The action that failed, as a verb phrase.
        what: &'static str,
        /// The path that it concerned.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => "make room on its file system",
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
            "make it writable, or set XDG_STATE_HOME to a directory that is"
        }
        Some(Errno::EEXIST) => "this process keeps records there already; use those",
        Some(_) | None => "check the disk that it lies on",
    }
}
