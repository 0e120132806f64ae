//! The pure machine: events in, effects out. No I/O, no clock, no randomness, no panic.
//!
//! [`Dispatcher::step`] is the only way in. Start reading there; `attempt/table.rs` and
//! `board/link.rs` are the two tables that it leads to.
//!
#![doc = include_str!("table.md")]

pub mod attempt;
mod backoff;
pub mod board;
pub mod canonical;
mod dispatcher;
pub mod effect;
pub mod escalation;
pub mod event;
pub mod exchange;
pub mod fault;
pub mod header;
pub mod hold;
mod host;
pub mod ids;
pub mod plan;
pub mod policy;
pub mod quarantine;
pub mod reaper;
mod renamer;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod standing;
#[cfg(test)]
mod tests;
pub mod time;
mod turn;
pub mod verdict;

pub use dispatcher::Dispatcher;
pub use turn::Mode;
