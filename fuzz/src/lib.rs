//! What each target does with the fuzzer's bytes: `check` panics if it finds something.
//!
//! The files are also part of the ordinary test `tests/it/fuzz_corpus.rs`, which replays the corpus and
//! every finding of the past.

pub mod board_file;
pub mod config;
pub mod events;
pub mod header;
pub mod plan;
pub mod world;
