//! Our own table about runs: the owner of each adopted run, and ends for which the client has no name.
//! It is created when it is first needed, and the client's tables are never altered.

use rusqlite::{Connection, Result, params};

use crate::board::sql;
use crate::machine::ids::RunId;

/// Creates the table if it does not exist.
pub(crate) fn create(conn: &Connection) -> Result<()> {
    sql::run(
        conn,
        "CREATE TABLE IF NOT EXISTS sexton_runs (
    run_id  INTEGER PRIMARY KEY,
    lock    TEXT,
    owner   TEXT,
    outcome TEXT
)",
    )
}

/// Makes a dispatcher the owner of a run while the claim keeps this lock. `owner` is the text of one
/// of the dispatcher's own locks.
pub(crate) fn set_owner(conn: &Connection, run: RunId, lock: &str, owner: &str) -> Result<()> {
    let set = "INSERT INTO sexton_runs (run_id, lock, owner) VALUES (?1, ?2, ?3) \
               ON CONFLICT (run_id) DO UPDATE SET lock = excluded.lock, owner = excluded.owner";
    sql::change(conn, set, params![run.0, lock, owner])
}

/// Notes that how a run ended is unknown.
pub(crate) fn set_unknown(conn: &Connection, run: RunId) -> Result<()> {
    let set = "INSERT INTO sexton_runs (run_id, outcome) VALUES (?1, 'unknown') \
               ON CONFLICT (run_id) DO UPDATE SET owner = NULL, outcome = excluded.outcome";
    sql::change(conn, set, [run.0])
}

/// Deletes what is not needed about a run that has ended.
pub(crate) fn forget(conn: &Connection, run: RunId) -> Result<()> {
    conn.prepare_cached("DELETE FROM sexton_runs WHERE run_id = ?1")?.execute([run.0]).map(drop)
}
