//! Checks every page of a board, as far as SQLite can.

use rusqlite::{Connection, Result};

use crate::board::sql;

/// What is wrong with the pages of the file, in one line; `None` if they are sound.
pub(crate) fn damage(conn: &Connection) -> Result<Option<String>> {
    let findings = sql::all(conn, "PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
    if findings == ["ok"] {
        return Ok(None);
    }
    // Without the headline, which names no more than "main".
    let lines = findings.iter().flat_map(|text| text.lines());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("*** ")).collect();
    Ok(Some(lines.join("; ")))
}
