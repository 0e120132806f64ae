//! The pure machine: events in, effects out. No I/O, no clock, no randomness, no panic.
//!
//! [`Dispatcher::step`] is the only way in. Start reading there.

pub mod effect;
pub mod event;
pub mod exchange;
pub mod header;
pub mod hold;
pub mod ids;
pub mod now;
pub mod policy;
pub mod verdict;
