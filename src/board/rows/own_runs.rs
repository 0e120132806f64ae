//! Our own table about runs: who owns one that was adopted, and ends that the client has no word for.
//! It is made when it is first needed, and the client's tables are never altered.

use rusqlite::{Connection, Result, params};

use crate::board::sql;
use crate::machine::ids::RunId;

/// Makes the table, unless it is there.
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

/// Makes a dispatcher the owner of a run for as long as its claim keeps this lock. `owner` is the text of
/// a lock of the dispatcher's own.
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

/// Drops what is no longer needed of a run that has ended.
pub(crate) fn forget(conn: &Connection, run: RunId) -> Result<()> {
    conn.prepare_cached("DELETE FROM sexton_runs WHERE run_id = ?1")?.execute([run.0]).map(drop)
}
