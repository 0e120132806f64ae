//! SQLite calls that report every error.
//!
//! `Connection::query_row`, `pragma_update` and `execute_batch` stop at the first row and drop the
//! error of the final step, so that a write whose commit failed looks as if it had succeeded. These
//! step to the end. The originals are banned by a lint.

use rusqlite::{Connection, Error, Params, Result, Row, ToSql};

/// Returns the first row of a query, which is stepped to its end; `None` without a row.
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

/// Runs one statement to its end, and ignores its rows.
pub fn run(conn: &Connection, sql: &str) -> Result<()> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Runs a statement that must change a row. A trigger can make SQLite skip a row without an error, and
/// what was not written must not be reported as written.
pub fn change(conn: &Connection, sql: &str, params: impl Params) -> Result<()> {
    match conn.prepare_cached(sql)?.execute(params)? {
        0 => Err(Error::StatementChangedRows(0)),
        _ => Ok(()),
    }
}

/// Runs a statement with its key and those of the named values that occur in it.
pub(crate) fn update_named(
    conn: &Connection,
    sql: &str,
    key: (&str, &dyn ToSql),
    values: &[(&str, &dyn ToSql)],
) -> Result<()> {
    let mut statement = conn.prepare_cached(sql)?;
    for (name, value) in values.iter().chain([&key]) {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    statement.raw_execute().map(drop)
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
