//! Checks that distinguish a completely written part from any other.

/// FNV-1a, 64 bits. A change of one byte always changes the result, since each step is reversible.
pub(super) fn check(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().copied().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Returns a number and its complement in one word, which a single store writes.
pub(super) fn twofold(number: u32) -> u64 {
    u64::from(number) | u64::from(!number) << 32
}

/// Returns the number, if the word was written completely.
pub(super) fn of_twofold(word: u64) -> Option<u32> {
    let number = word as u32;
    (twofold(number) == word).then_some(number)
}

/// Returns the word at this offset, in the host's byte order; `None` beyond the end.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes)
}
