//! Ids of new tasks. The only place that takes randomness from the operating system.

use std::io;

use rusqlite::Connection;

use super::CardError;
use crate::board::sql;

/// An id that no task of the board has: `t_` and 8 hex digits.
pub(super) fn unused(conn: &Connection) -> Result<String, CardError> {
    loop {
        let id = format!("t_{:08x}", random().map_err(CardError::Random)?);
        if sql::one(conn, "SELECT 1 FROM tasks WHERE id = ?", [&id], |_| Ok(()))?.is_none() {
            return Ok(id);
        }
    }
}

fn random() -> io::Result<u32> {
    let mut bytes = [0_u8; 4];
    // SAFETY: the pointer and the length are those of `bytes`, which outlives the call. Requests of
    // up to 256 bytes are filled whole or fail.
    let got = unsafe { nix::libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(got) {
        Ok(count) if count == bytes.len() => Ok(u32::from_ne_bytes(bytes)),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
