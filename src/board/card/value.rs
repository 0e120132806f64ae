//! Cells as they are. Any column may hold another type than its name suggests, or bytes that are not
//! UTF-8: such a cell is shown as well as can be, and never makes a whole row unreadable.

use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde_json::Value;

pub(super) use crate::board::rows::value::text;

/// Returns a text cell that the format requires.
pub(super) fn required(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(text(row, index)?.unwrap_or_default())
}

/// A cell as an integer; `None` if it is none.
pub(super) fn integer(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(index)? {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().and_then(|t| t.parse().ok()),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    })
}

/// A cell that holds JSON; a text that is none stays a text.
pub(super) fn json(row: &Row<'_>, index: usize) -> rusqlite::Result<Value> {
    Ok(match text(row, index)? {
        None => Value::Null,
        Some(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}
