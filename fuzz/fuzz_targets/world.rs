#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sexton_fuzz::world::check(data));
