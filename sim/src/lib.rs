//! The dispatcher's own machine in a simulated world.
//!
//! [`world::run`] is the one entry: entropy in, a [`world::Run`] out, in which every promise of
//! [`promise`] was judged after every event. What goes wrong on the way is listed in [`fault`], what
//! must have been reached in [`sometimes`], and the planted bugs that show that the promises are worth
//! something in [`saboteur`].
//!
//! [`script`] plays hand-written events to the machine, one line at a time, and writes down what it
//! answers.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "an outsider looks for one thing among many; the machine itself has no such arm"
)]

pub mod board;
pub mod bugs;
pub mod entropy;
pub mod exhaust;
pub mod fault;
pub mod kernel;
pub mod ledger;
pub mod page;
pub mod promise;
pub mod saboteur;
pub mod script;
pub mod shrink;
pub mod sometimes;
pub mod sweep;
pub mod table;
pub mod trace;
pub mod world;
