//! Reports tests that cannot run on this host. `.ci/run` counts and shows the lines that begin with
//! `SKIPPED`.

use std::fmt::Display;
use std::io::{self, Write};

/// Reports that a test, or a part of it, did not run, and why.
pub fn skipped(why: impl Display) {
    // Not `eprintln!`: the test harness shows its output only if a test fails.
    let line = format!("SKIPPED: {why}\n");
    let _no_other_place_to_say_it = io::stderr().write_all(line.as_bytes());
}
