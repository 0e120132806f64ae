#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sexton_fuzz::board_file::check(data));
