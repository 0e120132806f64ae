//! The header of a file of records: its dispatcher, and its number of slots.
//!
//! Written completely before the first slot. The number of slots is a word of its own, written again
//! whenever the file has grown, so that a truncated file can be distinguished from one that was never
//! longer.

use super::MAX_SLOTS;
use super::check::{check, of_twofold, twofold, word};
use super::slot::SLOT;

/// Length of the header in bytes. Chosen so that no slot crosses a page.
pub(super) const LEN: usize = SLOT;
/// Offset of the word with the number of slots, in bytes.
pub(super) const SLOTS: u64 = 24;
/// Offset of the word that says whether intents are missing, in bytes.
pub(super) const GAPS: u64 = 248;
/// The value of that word if intents are missing.
pub(super) const HAS_GAPS: [u8; 8] = *b"has gaps";
/// Maximum length of a dispatcher's name, in bytes.
pub(super) const MAX_NAME: usize = 128;

const MAGIC: [u8; 8] = *b"sextonir";
const VERSION: u32 = 1;

const CHECK: usize = 16;
const NAME: usize = 32;

/// Returns the header of a file without slots.
pub(super) fn encode(name: &str) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
    bytes[12..CHECK].copy_from_slice(&(SLOT as u32).to_ne_bytes());
    bytes[24..NAME].copy_from_slice(&slots(0));
    bytes[NAME] = name.len() as u8;
    bytes[NAME + 1..=NAME + name.len()].copy_from_slice(name.as_bytes());
    let sum = check(&[&bytes[..CHECK], &bytes[NAME..GAPS as usize]]);
    bytes[CHECK..24].copy_from_slice(&sum.to_ne_bytes());
    bytes
}

/// Returns the word with the number of slots.
pub(super) fn slots(slots: u32) -> [u8; 8] {
    twofold(slots).to_ne_bytes()
}

/// Returns the number of slots of the file of dispatcher `name`, from the header of that file. The
/// error says what is wrong with the header.
pub(super) fn read(head: &[u8], name: &str) -> Result<u32, &'static str> {
    let head: &[u8; LEN] = head.first_chunk().ok_or("it ends within its header")?;
    if head[..8] != MAGIC {
        return Err("it is not a file of records");
    }
    if head[8..12] != VERSION.to_ne_bytes() {
        return Err("another version of sexton wrote it");
    }
    // The rest of the header never changes after it was created.
    let made = encode(name);
    let fixed = NAME..GAPS as usize;
    if head[12..24] != made[12..24] || head[fixed.clone()] != made[fixed] {
        return Err("its header is damaged, or another dispatcher's");
    }
    let slots = word(head, SLOTS as usize).and_then(of_twofold).filter(|slots| *slots <= MAX_SLOTS);
    slots.ok_or("the number of its slots is damaged")
}

/// Returns whether an attempt may be missing. Any value but zero means so: damage must not look like
/// proof.
pub(super) fn has_gaps(head: &[u8]) -> bool {
    head.get(GAPS as usize..LEN).is_none_or(|word| word != [0; 8])
}
