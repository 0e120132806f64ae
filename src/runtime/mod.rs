//! The event loop and its lanes: effects made real.
//!
//! * [`daemon`]: the loop. It only makes calls that return at once.
//! * `perform`: the machine's effects made real, one arm each.
//! * `boards`: the boards that there are, listed and watched, as the loop knows them.
//! * [`board_thread`]: SQLite, one thread for each board.
//! * [`spawn_thread`]: workspaces, log files and spawns, a few threads for each board.
//! * [`cleaner`]: scratch workspaces that nobody needs any more, removed.
//! * [`listing`]: which boards there are, and their folders watched.
//! * [`reload`]: the configuration, read again.
//! * [`post`]: how lanes talk to the loop.
//! * [`signals`]: TERM, INT, HUP and CHLD as events.
//! * [`worker`]: what a worker is given: command line and environment.
//! * [`report`]: what happened, as log lines and as numbers.
//! * [`status`]: what only a dispatcher knows, told to other processes.
//! * [`clock`]: the only place that reads a clock.

pub mod board_thread;
mod boards;
pub mod cleaner;
pub mod clock;
pub mod daemon;
pub mod listing;
mod perform;
pub mod post;
pub mod reload;
pub mod report;
pub mod signals;
pub mod spawn_thread;
pub mod status;
pub mod worker;
