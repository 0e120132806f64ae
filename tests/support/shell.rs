//! Shell commands, run in a process of their own.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::process::Command;

/// Runs a shell command in a process of its own: the only way in which a test touches the bytes of
/// a board that this process has open.
pub fn shell(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}
