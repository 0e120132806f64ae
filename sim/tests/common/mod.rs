//! Seeds on which tests can rely, even after changes of the machine and its worlds.

use std::process::Command;

/// The planted bug of these tests.
pub const BUG: &str = "reap inside the pass";

/// The seeds that break this promise when that bug is planted.
pub fn seeds_that_break(promise: &str) -> Vec<String> {
    let sweep = Command::new(env!("CARGO_BIN_EXE_sexton-sim"))
        .args(["sweep", "--seeds", "40", "--json", "--bug", BUG])
        .output()
        .unwrap();
    let found: serde_json::Value = serde_json::from_slice(&sweep.stdout).unwrap();
    let broken = found["broken"].as_array().unwrap();
    let of = broken.iter().filter(|broken| broken["promise"] == promise);
    of.map(|broken| broken["seed"].to_string()).collect()
}
