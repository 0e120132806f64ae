//! What is wrong with a configuration, where it stands, and what to do about it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a configuration was refused. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read ({source}); name another file with --config, or leave it out", path = path.display())]
    Read {
        /// Path of the configuration file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{path}:{line}:{column}: {problem}", path = path.display())]
    Invalid {
        /// Path of the configuration file.
        path: PathBuf,
        /// Line of the mistake, counted from one.
        line: usize,
        /// Counted from one, in characters.
        column: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// A mistake at `span` of `text`.
    pub(super) fn at(
        path: &Path,
        text: &str,
        span: Option<Range<usize>>,
        problem: impl Into<String>,
    ) -> ConfigError {
        let (line, column) = position(text, span.map_or(0, |span| span.start));
        let problem = printable(&problem.into());
        ConfigError::Invalid { path: path.to_owned(), line, column, problem }
    }

    /// True if the file is not there.
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            ConfigError::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            ConfigError::Invalid { .. } => false,
        }
    }
}

/// Returns the text on one line and without control characters, since it repeats parts of the file.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut printable, c| {
        if c.is_control() {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
        printable
    })
}

/// Line and column of a byte offset, both counted from one.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
