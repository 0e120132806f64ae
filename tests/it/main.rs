//! The integration tests, one module for each subject, in one program. What changes its own process,
//! or must have one to itself, is a program beside this one and says why in its first lines.
//!
//! A program names the files of `tests/support/` that it needs, and uses all of each.

#[cfg(feature = "runtime")]
#[path = "../support"]
mod support {
    pub mod board;
    pub mod cli;
    pub mod daemon;
    pub mod gate;
    pub mod hung;
    pub mod pipe;
    pub mod process;
    pub mod root;
    pub mod running;
    pub mod sandbox;
    pub mod shell;
    pub mod skip;
    pub mod sql;
    pub mod user;
    pub mod wait;
    pub mod zombie;
}

mod bad_days;
mod board_claim;
mod board_exchange;
mod board_finish;
mod board_observe;
mod board_open;
mod board_promote;
mod cli_commands;
mod cli_refusals;
mod cli_rows;
mod conformance;
mod corruption;
mod fuzz_corpus;
mod keeper;
mod main_job;
mod new_boards;
mod pages;
mod paths;
mod properties;
mod real_boards;
mod scenarios;
mod syscall_faults;
