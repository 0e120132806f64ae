//! How a command fails: one line for the person, one code for the caller.

use std::io;

use super::logging;
use crate::board::BoardError;
use crate::board::card::CardError;
use crate::config::ConfigError;
use crate::root::RootError;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage or configuration: code 2.
    Usage(String),
    /// Refused, or not found: code 1.
    Refused(String),
    /// The output could not be written: code 1.
    Output(io::Error),
}

impl Failure {
    /// Tells the person and gives the exit code. That the message itself cannot be written changes
    /// nothing.
    pub(super) fn report(self) -> u8 {
        let (message, code) = match self {
            Failure::Usage(message) => (message, 2),
            Failure::Refused(message) => (message, 1),
            // Whoever closed the pipe has read enough.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return 1,
            Failure::Output(error) => (format!("cannot write the output: {error}"), 1),
        };
        logging::say(format_args!("sexton: {message}"));
        code
    }
}

impl From<RootError> for Failure {
    fn from(error: RootError) -> Failure {
        match error {
            RootError::NotAFolder(_) | RootError::NoHome | RootError::BadSlug(_) => {
                Failure::Usage(error.to_string())
            }
            RootError::NoBoard { .. } | RootError::Io { .. } => Failure::Refused(error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<CardError> for Failure {
    fn from(error: CardError) -> Failure {
        Failure::Refused(error.to_string())
    }
}

impl From<BoardError> for Failure {
    fn from(error: BoardError) -> Failure {
        Failure::Refused(error.to_string())
    }
}
