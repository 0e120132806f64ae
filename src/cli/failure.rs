//! How a command fails.

use std::io;

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

impl From<RootError> for Failure {
    fn from(error: RootError) -> Failure {
        match error {
            RootError::NotADirectory(_) | RootError::NoHome | RootError::BadSlug(_) => {
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
