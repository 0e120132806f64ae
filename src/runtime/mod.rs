//! The event loop and its threads, which carry out effects. Nothing here decides what happens to a
//! task, and the loop's own thread makes no call that can block.
//!
//! * [`daemon`]: the loop. It only makes calls that do not block.
//! * `wakeups`: what wakes it, in one epoll.
//! * [`boards`]: the boards, listed and watched, as the loop knows them.
//! * `attempts`: the attempts, as the loop knows them.
//! * [`board_thread`]: SQLite, one thread for each board.
//! * [`spawn_thread`]: workspaces, worker logs and spawns, a few threads for each board.
//! * [`host`]: this process's identity, and which processes are alive.
//! * `evidence`: writes evidence for the next dispatcher, and searches that of an earlier one.
//! * `keeper`: the connection to the process that holds the workers' pidfds.
//! * [`cleaner`]: removes scratch workspaces that are no longer needed.
//! * [`listing`]: which boards there are, and their directories watched.
//! * [`reload`]: the configuration, read again.
//! * `threads`: a queue of jobs that may hang, and the threads that do them.
//! * [`post`]: how threads talk to the loop.
//! * [`signals`]: TERM, INT, HUP and CHLD as events.
//! * [`worker`]: the command line and environment of a worker.
//! * [`report`]: what happened, as log lines, and the words for it.
//! * [`tally`]: what happened, as numbers.
//! * [`status`]: what only a dispatcher knows, for other processes to read.
//! * [`clock`]: the only place that reads a clock.

mod attempts;
pub mod board_thread;
pub mod boards;
pub mod cleaner;
pub mod clock;
pub mod daemon;
mod evidence;
pub mod host;
mod keeper;
pub mod listing;
pub mod post;
pub mod reload;
pub mod report;
pub mod signals;
pub mod spawn_thread;
pub mod status;
pub mod tally;
mod threads;
mod wakeups;
pub mod worker;
