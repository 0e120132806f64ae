//! The keeper: a small process, one for each state directory, that holds the pidfds of workers.
//!
//! When a dispatcher is killed, its workers become children of pid 1, which reaps them, and their exit
//! codes would be lost. From Linux 6.15 on, a pidfd that was opened before the reaping still gives the
//! code afterwards, to any process that holds it. The keeper holds one for each worker. It gives
//! copies to the next dispatcher, and keeps its own until it is told that the run is recorded.
//!
//! ```text
//!  worker, before it executes ──┐ Keep
//!  dispatcher ──────────────────┼──▶ <state directory>/keeper.sock ──▶ keeper, locks keeper.lock
//!                               ┘ Drop · Get · List
//! ```
//!
//! * [`client`]: the dispatcher's side.
//! * [`server`]: the process itself.
//! * [`tag`]: the key under which a pidfd is kept.
//! * `protocol`, `fields`: the packets between them.
//! * `socket`, `directory`: how packets and descriptors are sent, and where the socket is.
//! * `kept`, `owner`: what the keeper holds, and which dispatcher it must not give it to.
//! * `connection`, `detach`: one dispatcher's connection, and how the keeper leaves its parent.
//!
//! The keeper has no thread and no timer, does not log, and decides nothing about a worker.

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

/// The argument that makes the program a keeper. It is not in the help: dispatchers start keepers.
pub const COMMAND: &str = "keeper";
