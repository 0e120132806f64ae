//! Checks by which a part that was not written whole is told from one that was.

/// FNV-1a, 64 bits. A change of one byte always changes it: each of its steps can be undone.
pub(super) fn check(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().copied().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A number and its complement in one word, which a single store writes.
pub(super) fn twofold(number: u32) -> u64 {
    u64::from(number) | u64::from(!number) << 32
}
