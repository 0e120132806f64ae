//! Pipes that are nearly full.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::io::{PipeReader, PipeWriter, Write};

use nix::fcntl::{FcntlArg, fcntl};

/// Returns a pipe with room for `room` more bytes; it is filled with empty lines.
pub fn pipe_with_room(room: usize) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // The kernel makes it no smaller than a page.
    let size = usize::try_from(fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap()).unwrap();
    writer.write_all(&vec![b'\n'; size - room]).unwrap();
    (reader, writer)
}
