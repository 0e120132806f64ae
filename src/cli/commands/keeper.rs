//! `sexton keeper DIRECTORY`: the process that holds the pidfds of workers. Dispatchers start it; it
//! is not in the help.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::evidence::keeper::{COMMAND, server};

/// Runs the keeper if the arguments ask for one. Called before anything else, so that the process
/// stays small.
pub fn run_if_asked(args: &[OsString]) -> Option<ExitCode> {
    let (state, idle_ms) = match args {
        [_, command, state] if command == COMMAND => (state, server::IDLE_MS),
        // How long it stays with nothing to hold, in milliseconds: for tests.
        [_, command, state, idle] if command == COMMAND => (state, idle.to_str()?.parse().ok()?),
        _ => return None,
    };
    Some(match server::run(Path::new(state), idle_ms) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one write: its starter reads once.
            let _nowhere_else = io::stderr().write_all(format!("{error}\n").as_bytes());
            ExitCode::FAILURE
        }
    })
}
