//! What can be wrong with a board: its class, and the remedy.

use std::path::{Path, PathBuf};

use rusqlite::{Error as Sql, ErrorCode};

use crate::machine::fault::{Commit, FaultClass};
use crate::machine::header::HeaderError;

/// A board could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {tried}: {finding}; {remedy}", path.display())]
pub struct BoardError {
    /// Which sort of trouble.
    pub class: FaultClass,
    /// Path of the board's database.
    pub path: PathBuf,
    /// What was being done.
    pub tried: &'static str,
    /// What was found.
    pub finding: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// An exchange failed as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ExchangeError {
    /// The underlying error.
    #[source]
    pub error: BoardError,
    /// Whether its changes may be in the board nevertheless.
    pub commit: Commit,
}

impl BoardError {
    /// An error for a failed statement.
    pub(super) fn sql(path: &Path, tried: &'static str, error: &Sql) -> BoardError {
        let class = class(error);
        BoardError {
            class,
            path: path.to_owned(),
            tried,
            finding: error.to_string(),
            remedy: if is_hot_journal(error) { UNDO } else { remedy(class) },
        }
    }

    /// A failed call on the file itself.
    pub(super) fn io(path: &Path, tried: &'static str, error: &std::io::Error) -> BoardError {
        BoardError::new(path, FaultClass::Access, tried, error.to_string())
    }

    /// A file whose first bytes are wrong.
    pub(super) fn header(path: &Path, error: HeaderError) -> BoardError {
        BoardError::new(path, FaultClass::Content, "checking the file header", error.to_string())
    }

    pub(super) fn new(
        path: &Path,
        class: FaultClass,
        tried: &'static str,
        finding: String,
    ) -> BoardError {
        BoardError { class, path: path.to_owned(), tried, finding, remedy: remedy(class) }
    }

    pub(super) fn with_remedy(mut self, remedy: &'static str) -> BoardError {
        self.remedy = remedy;
        self
    }

    /// An exchange was asked of a board that is not open.
    #[must_use]
    pub fn not_open(path: &Path) -> BoardError {
        let finding = "it is not open".to_owned();
        BoardError::new(path, FaultClass::Replaced, "exchanging", finding)
    }

    /// The whole exchange failed with this.
    pub(super) fn commit(self, commit: Commit) -> ExchangeError {
        ExchangeError { error: self, commit }
    }
}

const UNDO: &str = "a writer was cut off and its journal has to be played back; open the board once \
                    with a client that may write to it";

/// True if the file cannot be read before a journal beside it was played back.
fn is_hot_journal(error: &Sql) -> bool {
    let Sql::SqliteFailure(failure, _) = error else { return false };
    failure.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK
}

fn remedy(class: FaultClass) -> &'static str {
    match class {
        FaultClass::Content => {
            "nothing was written; restore the file from a backup or repair it; where another takes \
             its place, the -wal and -shm of the old one must go"
        }
        FaultClass::Access => "check that the file is there, its permissions and its disk",
        FaultClass::Busy => "another process holds it locked; try again, or find that process",
        FaultClass::Replaced => "open the board again",
    }
}

/// A statement of an exchange failed.
pub(super) fn exchanging(path: &Path, tried: &'static str, error: &Sql) -> BoardError {
    let mut fault = BoardError::sql(path, tried, error);
    // A board that cannot be written is never opened, so this one could be when it was. The
    // connection stays as it has become: only another one can find out whether that has passed.
    if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) {
        fault.class = FaultClass::Replaced;
    }
    fault
}

/// Returns the class of trouble that an SQLite error stands for.
fn class(error: &Sql) -> FaultClass {
    let Sql::SqliteFailure(failure, _) = error else { return FaultClass::Content };
    if failure.extended_code == rusqlite::ffi::SQLITE_READONLY_DBMOVED {
        return FaultClass::Replaced;
    }
    if is_busy(error) {
        return FaultClass::Busy;
    }
    let refused = matches!(
        failure.code,
        ErrorCode::PermissionDenied
            | ErrorCode::OperationAborted
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::OperationInterrupted
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport
    );
    // What is left: the file is damaged or not a database, or a statement that every sound board takes
    // does not fit this one. Both lie in its bytes and pass only with other bytes.
    if refused { FaultClass::Access } else { FaultClass::Content }
}

/// True if a rival holds the database.
pub(super) fn is_busy(error: &Sql) -> bool {
    error
        .sqlite_error_code()
        .is_some_and(|code| matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// True if the error concerns one statement only and not the board, so that the transaction can go on
/// without it.
pub(super) fn is_rejection(error: &Sql) -> bool {
    let Sql::SqliteFailure(failure, _) = error else { return true };
    matches!(
        failure.code,
        ErrorCode::Unknown
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ParameterOutOfRange
            | ErrorCode::AuthorizationForStatementDenied
    )
}
