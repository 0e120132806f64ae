//! Standard output, the only way to it. Every failure to write comes back as an error: a full disk
//! or a closed pipe must end in an exit code, not in a panic and not in silence.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use nix::errno::Errno;
use serde_json::Value;

use super::failure::Failure;
use crate::process::descriptors;

/// Standard output, locked and buffered. Every error is returned.
#[derive(Debug)]
pub struct Out(BufWriter<StdoutLock<'static>>);

impl Default for Out {
    fn default() -> Out {
        Out::new()
    }
}

impl Out {
    /// Locks standard output.
    #[must_use]
    pub fn new() -> Out {
        Out(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line to the buffer.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        is_open()?;
        writeln!(self.0, "{text}").map_err(Failure::Output)
    }

    /// Writes a JSON document for reading, with two-space indent.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(format_args!("{value:#}"))
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        is_open()?;
        self.0.write_all(bytes).map_err(Failure::Output)
    }

    /// Hands on what was written. What was not flushed was not written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::Output)
    }
}

/// Fails if standard output was closed at the start: `/dev/null` stands in for it, and output would
/// be lost.
pub fn is_open() -> Result<(), Failure> {
    if descriptors::output_was_closed() {
        return Err(Failure::Output(Errno::EBADF.into()));
    }
    Ok(())
}
