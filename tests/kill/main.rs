//! Dispatchers that are killed: whatever moment it hits, the next one finds every worker, every end
//! and every claim again.
//!
//! A program of its own: its tests load the host for a minute, beside no other test. How many kills
//! the long story has is said by `SEXTON_KILLS`; the one with 100 is run by
//! `cargo test --test kill -- --ignored a_hundred_kills`.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

#[path = "../support"]
mod support {
    pub mod gate;
    pub mod hung;
    pub mod process;
    pub mod root;
    pub mod running;
    pub mod sandbox;
    pub mod shell;
    pub mod skip;
    pub mod wait;
}

mod body;
mod claims;
mod dead_board;
mod dice;
mod leases;
mod moments;
mod namespaces;
mod pids;
mod processes;
mod scene;
mod spawning;
mod story;
mod traced;
mod truth;
