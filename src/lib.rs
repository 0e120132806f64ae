//! A dispatcher for task boards kept in SQLite, whose reaping depends on no board.
//!
//! * [`machine`]: the pure state machine that decides everything.
//! * [`board`]: SQLite. One transaction per request.
//! * [`process`]: the kernel. Spawn, reap, signal.
//! * [`runtime`]: the event loop that makes the machine's effects real.
//! * [`config`], [`root`]: what the owner wants, and where the boards are.
//! * [`cli`]: the commands.
//!
//! `regular` reads files that somebody else may have put there, for all of these.
#![cfg_attr(not(any(test, feature = "runtime")), no_std)]

extern crate alloc;

#[cfg(feature = "runtime")]
pub mod board;
#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod config;
#[forbid(unsafe_code)]
pub mod machine;
#[cfg(feature = "runtime")]
pub mod process;
#[cfg(feature = "runtime")]
mod regular;
#[cfg(feature = "runtime")]
pub mod root;
#[cfg(feature = "runtime")]
pub mod runtime;
