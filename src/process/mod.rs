//! The kernel: spawn, reap, signal, identity, and the directories and files that a worker gets.
//! Nothing here knows a board, and no process is signalled by a bare number.
//!
//! * [`spawn`]: a worker that inherits only what is listed there.
//! * [`children`]: our children; reaps each of them exactly once.
//! * [`wait`]: `waitid`, with every status that the kernel reports.
//! * [`signal`]: a signal to a worker's whole group, never to a bare number.
//! * [`identity`]: which process a pid is, and whether that one is alive.
//! * [`environment`]: recognises workers by their environment.
//! * [`workspace`]: the directory in which a worker runs.
//! * [`logfile`]: the file that takes its output.
//! * [`descriptors`]: what this process must not hand on.
//!
//! Nothing here reads a clock or waits for one, except that preparing a workspace gives `git` a
//! bounded time.

mod cells;
pub mod children;
pub mod descriptors;
pub mod environment;
mod git;
pub mod identity;
pub mod logfile;
mod name;
pub mod pidfd;
pub mod signal;
pub mod spawn;
pub mod wait;
pub mod workspace;
