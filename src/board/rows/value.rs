//! Reads the values of a row as they are. Any column may hold any type, or bytes that are not UTF-8.

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row, RowIndex};

use crate::machine::ids::TaskId;

/// As text; numbers in decimal, bytes that are not UTF-8 replaced.
pub(crate) fn text(row: &Row<'_>, column: impl RowIndex) -> Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    })
}

/// As an integer, without a fraction; `None` if it is not a number.
pub(crate) fn int(row: &Row<'_>, column: impl RowIndex) -> Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(n) => Some(n),
        ValueRef::Real(n) => whole(n),
        ValueRef::Text(_) | ValueRef::Blob(_) | ValueRef::Null => None,
    })
}

/// The integer part; `None` if it is out of range.
fn whole(n: f64) -> Option<i64> {
    // Within these bounds the conversion loses the fraction and nothing else.
    #[allow(clippy::cast_possible_truncation)]
    (n.abs() < 9e15).then_some(n as i64)
}

/// As a number to sort by, so that rows compare as they do in SQLite as far as possible: NULL below
/// all numbers, texts above them.
pub(crate) fn order(row: &Row<'_>, column: impl RowIndex) -> Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => i64::MIN,
        ValueRef::Integer(n) => n,
        ValueRef::Real(n) => whole(n).unwrap_or(if n > 0.0 { i64::MAX } else { i64::MIN }),
        ValueRef::Text(_) | ValueRef::Blob(_) => i64::MAX,
    })
}

/// As the id of a task; `None` if it is not text, or too long.
pub(crate) fn task(row: &Row<'_>, column: impl RowIndex) -> Result<Option<TaskId>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().and_then(TaskId::new),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    })
}

/// As a count: never negative, never too large.
pub(crate) fn count(n: i64) -> u32 {
    u32::try_from(n.max(0)).unwrap_or(u32::MAX)
}

/// The columns of a row one after another, in the order of its SELECT. In rows that are read often, a
/// lookup of each by its name costs more than reading it.
pub(crate) struct Fields<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Fields<'r, 's> {
    /// Begins at the first column.
    pub(crate) fn of(row: &'r Row<'s>) -> Fields<'r, 's> {
        Fields { row, next: 0 }
    }

    fn next(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// Reads the next cell with [`text`].
    pub(crate) fn text(&mut self) -> Result<Option<String>> {
        text(self.row, self.next())
    }

    /// Reads the next cell with [`int`].
    pub(crate) fn int(&mut self) -> Result<Option<i64>> {
        int(self.row, self.next())
    }

    /// Reads the next cell with [`order`].
    pub(crate) fn order(&mut self) -> Result<i64> {
        order(self.row, self.next())
    }

    /// Reads the next cell with [`task`].
    pub(crate) fn task(&mut self) -> Result<Option<TaskId>> {
        task(self.row, self.next())
    }
}
