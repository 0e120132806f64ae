//! SQLite calls that report every error.
//!
//! `Connection::query_row`, `pragma_update` and `execute_batch` stop at the first row and drop what
//! the statement says when it is ended, so that a write whose commit failed looks as if it had
//! succeeded. These step to the end. The originals are banned by a lint.

use rusqlite::{Connection, Error, Params, Result, Row};

/// The first row of a query, stepped to its end; `None` if there is no row.
pub fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let first = match rows.next()? {
        Some(row) => Some(map(row)?),
        None => None,
    };
    if first.is_some() {
        while rows.next()?.is_some() {}
    }
    Ok(first)
}

/// Runs one statement to its end, whatever rows it gives.
pub fn run(conn: &Connection, sql: &str) -> Result<()> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Runs a statement that must change a row. A trigger can make SQLite pass over a row without a word;
/// what was not written must not be told as written.
pub fn change(conn: &Connection, sql: &str, params: impl Params) -> Result<()> {
    match conn.prepare_cached(sql)?.execute(params)? {
        0 => Err(Error::StatementChangedRows(0)),
        _ => Ok(()),
    }
}

/// All rows of a query.
pub fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, map)?.collect()
}
