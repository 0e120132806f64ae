//! What outlives a dispatcher, so that the next one need not guess what became of its workers.
//!
//! * [`records`]: what a dispatcher was about to start, which process that became, and how it ended.
//! * [`keeper`]: a process that holds the workers' pidfds while no dispatcher lives.
//! * [`lifeline`]: a lock beside the boards that shows whether a dispatcher lives.
//! * [`search`]: looks for the worker of a claim that was adopted.
//!
//! What lies in the state directory, and how it is read, is in `README.md` beside this file.

pub mod keeper;
pub mod lifeline;
pub mod records;
pub mod search;
