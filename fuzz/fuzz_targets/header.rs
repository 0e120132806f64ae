//! Any bytes as the head of a board's file: the check answers, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton::machine::header;

fuzz_target!(|bytes: &[u8]| {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let _sound_or_not = header::check(bytes, size);
    let _sound_or_not = header::check(bytes, u64::MAX);
});
