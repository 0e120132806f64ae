//! What outlives a dispatcher, so that the next one need not guess what happened to its workers.
//!
//! * [`records`]: what a dispatcher was about to start, which process it became, and how it ended.
//! * [`keeper`]: a process that holds the workers' pidfds while no dispatcher runs.
//! * [`lifeline`]: a lock beside the boards that shows whether a dispatcher is alive.
//! * [`search`]: looks for the worker of an adopted claim.
//!
//! `README.md` beside this file describes the files in the state directory, and how to read them.

pub mod keeper;
pub mod lifeline;
pub mod records;
pub mod search;
