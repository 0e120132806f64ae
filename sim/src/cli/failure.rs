//! How a command fails: one line for the person, one code for the caller.

use std::io::{self, Write};
use std::path::Path;

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub enum Failure {
    /// A promise was broken, or something that must be reached was not: code 1, and nothing else is.
    Found(String),
    /// What was asked for makes no sense, or not with the files that are there: code 2.
    Usage(String),
    /// The output could not be written: code 2.
    Output(io::Error),
}

impl Failure {
    /// Something that was to be done to a file and failed, and what to do about it.
    pub(super) fn file(
        tried: &str,
        path: &Path,
        remedy: &str,
    ) -> impl FnOnce(io::Error) -> Failure {
        move |error| {
            Failure::Usage(format!("cannot {tried} '{}': {error}; {remedy}", path.display()))
        }
    }

    /// Prints the message and returns the exit code, which stays the same if printing fails.
    pub fn report(self) -> u8 {
        let (message, code) = match self {
            Failure::Found(message) => (message, 1),
            Failure::Usage(message) => (message, 2),
            // Whoever closed the pipe has read enough.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return 2,
            Failure::Output(error) => (format!("cannot write the output: {error}"), 2),
        };
        let _nobody_listens = writeln!(io::stderr(), "sexton-sim: {message}");
        code
    }
}
