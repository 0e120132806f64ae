//! Tests that cannot run on this host. `.ci/run` counts and shows the lines that begin with `SKIPPED`.

use std::fmt::Display;
use std::io::{self, Write};

/// Says that a test, or a part of it, did not run, and why.
pub fn skipped(why: impl Display) {
    // Not `eprintln!`: the test harness shows what that prints only where a test fails.
    let line = format!("SKIPPED: {why}\n");
    let _no_other_place_to_say_it = io::stderr().write_all(line.as_bytes());
}
