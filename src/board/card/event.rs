//! The events of a task, in the format that the other tools read.

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::board::rows::event::text_of;

/// Appends an event. An empty payload is NULL, never `{}`.
pub fn append(
    conn: &Connection,
    now: i64,
    task: &str,
    run: Option<i64>,
    kind: &str,
    payload: &Value,
) -> rusqlite::Result<()> {
    let nothing = payload.is_null() || payload.as_object().is_some_and(serde_json::Map::is_empty);
    let payload = (!nothing).then(|| json_text(payload));
    conn.prepare_cached(
        "INSERT INTO task_events (task_id, run_id, kind, payload, created_at) \
         VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![task, run, kind, payload, now])?;
    Ok(())
}

/// JSON as the client writes it: a blank after each comma and colon, nothing escaped that need not
/// be.
#[must_use]
pub fn json_text(value: &Value) -> String {
    text_of(value).unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_as_the_client_does() {
        let value = json!({"b": [1, "kůň 🐎 \"\n", null], "a": {}, "c": [], "d": {"x": true}});
        assert_eq!(
            json_text(&value),
            "{\"b\": [1, \"kůň 🐎 \\\"\\n\", null], \"a\": {}, \"c\": [], \"d\": {\"x\": true}}"
        );
    }
}
