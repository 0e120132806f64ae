//! The dispatcher's own machine in a simulated world.
//!
//! [`script`] plays hand-written events to the machine, one line at a time, and writes down what it
//! answers. [`board`] is a board without a file, to stand in for SQLite.

pub mod board;
pub mod script;
