//! Transactions that wait a little for rivals, and return at which point they failed.

use rusqlite::{Connection, Error as Sql};

use super::error::is_busy;
use super::pause::pause;
use super::sql;
use crate::machine::fault::Commit;

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A transaction that only reads.
    Read,
    /// A transaction that takes the write lock immediately.
    Write,
}

/// At which point a transaction failed.
#[derive(Debug)]
pub(super) struct Failed<E> {
    pub(super) error: E,
    pub(super) commit: Commit,
}

/// Attempts at BEGIN and at COMMIT. SQLite waits 20 ms in each, and some 20 ms pass between two of
/// them, so the transaction fails after about 250 ms.
const ATTEMPTS: u32 = 6;

/// Runs `f` in a transaction, which is rolled back if anything fails.
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

/// Ends a transaction that was not committed, also on a panic.
struct Rollback<'a>(&'a Connection);

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        // After some errors SQLite has ended the transaction itself.
        if !self.0.is_autocommit() {
            let _ = sql::run(self.0, "ROLLBACK");
        }
    }
}

/// Runs one statement, and retries while a rival holds the database, up to [`ATTEMPTS`] times.
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

/// A read for the sake of the lock that it takes.
pub(super) const FIRST_READ: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

/// 10 to 29 ms, different in each process, so that rivals do not collide again.
fn jitter(attempt: u32) -> u16 {
    let mixed = (std::process::id() ^ attempt.rotate_left(16)).wrapping_mul(0x9e37_79b1) >> 16;
    10 + u16::try_from(mixed % 20).unwrap_or(0)
}
