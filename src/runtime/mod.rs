//! The event loop and its lanes: effects made real.

pub mod clock;
pub mod config;
pub mod root;
