//! Transactions that wait a little for rivals, and say at which point they failed.

use rusqlite::{Connection, Error as Sql, ErrorCode};

use super::file::lock::pause;
use super::sql;
use crate::machine::fault::Commit;

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only reads.
    Read,
    /// It takes the write lock at once.
    Write,
}

/// At which point a transaction failed.
#[derive(Debug)]
pub(super) struct Failed<E> {
    pub(super) error: E,
    pub(super) commit: Commit,
}

/// Attempts at BEGIN and at COMMIT. With SQLite's own wait of 20 ms in each and some 20 ms between
/// two of them this gives up after about 250 ms.
const ATTEMPTS: u32 = 6;

/// Runs `f` in a transaction. It is rolled back unless all of it went well.
pub(super) fn run<T, E: From<Sql>>(
    conn: &Connection,
    kind: Kind,
    f: impl FnOnce() -> Result<T, E>,
) -> Result<T, Failed<E>> {
    let begin = match kind {
        Kind::Read => "BEGIN DEFERRED",
        Kind::Write => "BEGIN IMMEDIATE",
    };
    patiently(conn, begin).map_err(|error| Failed { error: error.into(), commit: Commit::No })?;
    let rollback = Rollback(conn);
    if kind == Kind::Read {
        // Only the first read takes a lock.
        patiently(conn, FIRST_READ).map_err(|e| Failed { error: e.into(), commit: Commit::No })?;
    }
    let value = f().map_err(|error| Failed { error, commit: Commit::No })?;
    let commit = match kind {
        Kind::Read => Commit::No,
        Kind::Write => Commit::Maybe,
    };
    patiently(conn, "COMMIT").map_err(|error| Failed { error: error.into(), commit })?;
    drop(rollback);
    Ok(value)
}

/// Ends whatever transaction is left, also when something panics.
struct Rollback<'a>(&'a Connection);

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        // SQLite ends a transaction itself after some errors, and then there is nothing to do.
        if !self.0.is_autocommit() {
            let _ = sql::run(self.0, "ROLLBACK");
        }
    }
}

/// Runs one statement, again and again for a while if somebody else is in the way.
pub(super) fn patiently(conn: &Connection, statement: &str) -> Result<(), Sql> {
    let mut attempt = 1;
    loop {
        match sql::run(conn, statement) {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => pause(jitter(attempt)),
            result => return result,
        }
        attempt += 1;
    }
}

/// Reads next to nothing, for the lock that comes with it.
pub(super) const FIRST_READ: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

pub(super) fn is_busy(error: &Sql) -> bool {
    error
        .sqlite_error_code()
        .is_some_and(|code| matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// 10 to 29 ms, other ones in each process, so that rivals do not meet again and again.
fn jitter(attempt: u32) -> u16 {
    let mixed = (std::process::id() ^ attempt.rotate_left(16)).wrapping_mul(0x9e37_79b1) >> 16;
    10 + u16::try_from(mixed % 20).unwrap_or(0)
}
