//! The answer of a command that changes several tasks.

use serde_json::json;

use super::failure::Failure;
use super::globals::Globals;
use super::out::Out;

/// Prints what was done to which tasks.
pub fn acknowledge(
    ids: &[String],
    done: &str,
    key: &str,
    globals: &Globals,
) -> Result<(), Failure> {
    let mut out = Out::new();
    if globals.json {
        out.json(&json!({ key: ids }))?;
    } else {
        for id in ids {
            out.line(format_args!("{done} {id}"))?;
        }
    }
    out.flush()
}
