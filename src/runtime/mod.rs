//! The event loop and its lanes: effects made real.
