//! Dispatchers that are killed: whatever moment it hits, the next one finds every worker, every end
//! and every claim again.
//!
//! A program of its own: its tests load the host for two minutes, beside no other test. `SEXTON_KILLS`
//! and `SEXTON_WORKERS` make the long ones longer, as `SEXTON_KILLS=100 cargo test --test kill story`.
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
mod sizes;
mod spawning;
mod story;
mod traced;
mod truth;
