//! The head of a file of records: whose it is, and how many slots follow.
//!
//! Written whole before the first slot. The number of slots is a word of its own, written again
//! whenever the file has grown: a file that was truncated is told from one that never had more.

use super::check::{check, twofold};
use super::slot::SLOT;

/// Length of the header in bytes: a slot never crosses a page.
pub(super) const LEN: usize = SLOT;
/// Where the word with the number of slots lies, in bytes.
pub(super) const SLOTS: u64 = 24;
/// Longest name of a dispatcher, in bytes.
pub(super) const MAX_NAME: usize = 128;

const MAGIC: [u8; 8] = *b"sextonir";
const VERSION: u32 = 1;

const CHECK: usize = 16;
const NAME: usize = 32;

/// The header of a file without slots.
pub(super) fn encode(name: &str) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
    bytes[12..CHECK].copy_from_slice(&(SLOT as u32).to_ne_bytes());
    bytes[24..NAME].copy_from_slice(&slots(0));
    bytes[NAME] = name.len() as u8;
    bytes[NAME + 1..=NAME + name.len()].copy_from_slice(name.as_bytes());
    let sum = check(&[&bytes[..CHECK], &bytes[NAME..]]);
    bytes[CHECK..24].copy_from_slice(&sum.to_ne_bytes());
    bytes
}

/// The word with the number of slots.
pub(super) fn slots(slots: u32) -> [u8; 8] {
    twofold(slots).to_ne_bytes()
}
