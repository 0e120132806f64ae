//! The key under which a pidfd is kept.

use thiserror::Error;

use super::fields::{Fields, push_text};
use super::protocol;

/// Maximum length of a board's slug in bytes.
pub const LONGEST_BOARD: usize = 64;
/// Maximum length of a claim's lock text in bytes: what the length byte of a packet can express.
pub const LONGEST_LOCK: usize = 255;

/// The run that a pidfd belongs to. The lock is the key: no two claims share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    board: String,
    run: i64,
    lock: String,
}

/// Why a tag cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagError {
    /// The board's slug is too long.
    #[error("cannot keep a pidfd for the board {0:?}: a slug has at most {LONGEST_BOARD} bytes")]
    Board(String),
    /// The lock is empty or too long.
    #[error("cannot keep a pidfd under the lock {0:?}: a lock has 1 to {LONGEST_LOCK} bytes")]
    Lock(String),
}

impl Tag {
    /// Returns a tag for run `run` of board `board`, claimed with `lock`.
    ///
    /// # Errors
    /// See [`TagError`].
    pub fn new(board: &str, run: i64, lock: &str) -> Result<Tag, TagError> {
        if board.len() > LONGEST_BOARD {
            return Err(TagError::Board(board.to_owned()));
        }
        check_lock(lock)?;
        Ok(Tag { board: board.to_owned(), run, lock: lock.to_owned() })
    }

    /// Returns the board's slug.
    #[must_use]
    pub fn board(&self) -> &str {
        &self.board
    }

    /// Returns the run's id.
    #[must_use]
    pub fn run(&self) -> i64 {
        self.run
    }

    /// Returns the claim's lock text.
    #[must_use]
    pub fn lock(&self) -> &str {
        &self.lock
    }

    /// Returns the packet with which a new worker sends its own pidfd before it executes its program:
    /// one `sendmsg` on [`Keeper::socket`](super::client::Keeper::socket) with the pidfd as the only
    /// `SCM_RIGHTS` descriptor, and with `MSG_DONTWAIT` and `MSG_NOSIGNAL`. It is not answered.
    #[must_use]
    pub fn keep_message(&self) -> Vec<u8> {
        protocol::keep(self)
    }

    /// Returns how many bytes [`push`](Tag::push) appends.
    pub(super) fn size(&self) -> usize {
        1 + self.board.len() + size_of::<i64>() + 1 + self.lock.len()
    }

    pub(super) fn push(&self, packet: &mut Vec<u8>) {
        push_text(packet, &self.board);
        packet.extend(self.run.to_le_bytes());
        push_text(packet, &self.lock);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Tag> {
        let (board, run, lock) = (fields.text()?, fields.i64()?, fields.text()?);
        Tag::new(&board, run, &lock).ok()
    }
}

pub(super) fn check_lock(lock: &str) -> Result<(), TagError> {
    let fits = (1..=LONGEST_LOCK).contains(&lock.len());
    if fits { Ok(()) } else { Err(TagError::Lock(lock.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_does_not_fit_a_packet_is_no_tag() {
        let long = |length| "x".repeat(length);
        assert!(Tag::new(&long(64), 1, &long(255)).is_ok());
        assert_eq!(Tag::new(&long(65), 1, "lock"), Err(TagError::Board(long(65))));
        assert_eq!(Tag::new("board", 1, &long(256)), Err(TagError::Lock(long(256))));
        assert_eq!(Tag::new("board", 1, ""), Err(TagError::Lock(String::new())));
    }
}
