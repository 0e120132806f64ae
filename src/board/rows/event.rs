//! Rows of `task_events`. The order of the keys and the spelling of the JSON are part of the
//! format.

use std::io;

use rusqlite::{Connection, Result, params};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Value, json};

use super::value;
use crate::board::sql;
use crate::machine::ids::RunId;

/// Appends one event. A payload that is null or empty is stored as NULL.
pub(crate) fn append(
    conn: &Connection,
    now: i64,
    task: &str,
    run: Option<i64>,
    kind: &str,
    payload: &Value,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO task_events (task_id, run_id, kind, payload, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![task, run, kind, text_of(payload), now])?;
    Ok(())
}

/// JSON as the client spells it, of any value.
#[must_use]
pub fn json_text(value: &Value) -> String {
    text_of(value).unwrap_or_else(|| value.to_string())
}

/// A value as the client spells it: `", "` and `": "` as separators, characters beyond ASCII not
/// escaped; `None` for null and for `{}`.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) {
        return None;
    }
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, Spaced)).ok()?;
    String::from_utf8(text).ok()
}

/// The payload of the newest event of a run with this kind; null if there is none or it is not JSON.
pub(crate) fn of_run(conn: &Connection, run: RunId, kind: &str) -> Result<Value> {
    let query = "SELECT payload FROM task_events WHERE run_id = ?1 AND kind = ?2 \
                 ORDER BY +id DESC LIMIT 1";
    let payload = sql::one(conn, query, params![run.0, kind], |row| value::text(row, "payload"))?;
    Ok(parse(payload.flatten()))
}

/// Whether a run has an event of this kind.
pub(crate) fn exists(conn: &Connection, run: RunId, kind: &str) -> Result<bool> {
    let query = "SELECT 1 FROM task_events WHERE run_id = ?1 AND kind = ?2 LIMIT 1";
    Ok(sql::one(conn, query, params![run.0, kind], |_| Ok(()))?.is_some())
}

/// The payload of the `promoted` event for a task that goes to this status.
pub(crate) fn promoted(status: &str) -> Value {
    if status == "review" { json!({"status": status}) } else { Value::Null }
}

/// Parses a payload; what is not JSON counts as none.
pub(crate) fn parse(payload: Option<String>) -> Value {
    payload.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}

/// JSON with a space after each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_spelled_as_the_client_spells_them() {
        let payload = json!({"b": [1, null], "a": "größe \"x\"\n", "c": {}});
        assert_eq!(
            text_of(&payload).as_deref(),
            Some(r#"{"b": [1, null], "a": "größe \"x\"\n", "c": {}}"#)
        );
        assert_eq!(text_of(&json!({})), None);
        assert_eq!(text_of(&Value::Null), None);
    }

    #[test]
    fn a_value_is_spelled_as_the_client_spells_it() {
        let value = json!({"b": [1, "kůň 🐎 \"\n", null], "a": {}, "c": [], "d": {"x": true}});
        assert_eq!(
            json_text(&value),
            "{\"b\": [1, \"kůň 🐎 \\\"\\n\", null], \"a\": {}, \"c\": [], \"d\": {\"x\": true}}"
        );
    }
}
