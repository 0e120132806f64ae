//! The keeper: a tiny process, one for each state directory, that holds the pidfds of workers.
//!
//! When a dispatcher is killed, its workers become children of pid 1, which reaps them, and their
//! exit codes would be lost. From Linux 6.15 on, a pidfd that was opened before the reaping tells
//! the code afterwards, to any process that holds it. The keeper holds one for each worker. It gives
//! copies to the next dispatcher, and keeps its own until it is told that the run is recorded.
//!
//! ```text
//!  worker, before it executes ──┐ Keep
//!  dispatcher ──────────────────┼──▶ <state directory>/keeper.sock ──▶ keeper, locks keeper.lock
//!                               ┘ Drop · Get · List
//! ```
//!
//! * [`client`]: the dispatcher's end.
//! * [`server`]: the process itself.
//! * [`tag`]: what a pidfd is kept under.
//! * `protocol`, `fields`: the packets between them.
//! * `socket`, `directory`: how the packets and the descriptors travel, and where the socket is.
//! * `kept`, `owner`: what the keeper holds, and to whom it is not given.
//! * `connection`, `detach`: one dispatcher as the keeper sees it, and how it leaves its parent.
//!
//! It has no thread and no timer, does not log, and decides nothing about a worker.

pub mod client;
mod connection;
mod detach;
mod directory;
pub mod error;
mod fields;
mod kept;
mod owner;
mod protocol;
pub mod server;
mod socket;
pub mod tag;

/// The argument that makes the program a keeper. It is in no help text: dispatchers start keepers.
pub const COMMAND: &str = "keeper";
