//! Starts a worker that inherits only what is listed here.
//!
//! It leads a session and a group of its own, has an empty signal mask, default dispositions,
//! `/dev/null` for input, its log for output, and no other descriptor.
//!
//! The process is made by a clone of our own that shares our memory until the program is executed: a
//! copy of our page tables would make every spawn from a large parent fifty times as slow, and the
//! library's `posix_spawn` tells neither which step failed nor, before it returns, which process it
//! made.

mod child;
mod clone;
mod error;
mod program;
mod signals;
mod strings;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use child::Plan;
pub use error::SpawnError;
pub(super) use error::{blame_for_directory, errno_of};
use strings::Strings;
pub use strings::own_environment;

use super::cells::Cells;
use super::wait::{self, Which};
use crate::machine::ids::Pid;

/// The program to start, with its environment.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments. A program without a slash is looked up on the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// Its whole environment; nothing of ours is added.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; an absolute path.
    pub cwd: PathBuf,
    /// What takes its output and its errors.
    pub log: File,
}

/// A process that was started. It is a child of this process until it is reaped.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is also its group's and its session's.
    pub pid: Pid,
    /// Its pidfd; `None` if the host had no descriptor left. The child exists nevertheless.
    pub pidfd: Option<OwnedFd>,
}

/// Starts `command`. Returns when the new process has executed its program, so a program on a disk
/// that hangs holds the caller for as long.
///
/// # Errors
/// See [`SpawnError`].
pub fn spawn(command: &Command) -> Result<Spawned, SpawnError> {
    let log = command.log.as_fd();
    start(&command.argv, &command.env, &command.cwd, log, log)
}

/// As [`spawn`], with two places for output and errors.
pub(super) fn start(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
    output: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
) -> Result<Spawned, SpawnError> {
    let cells = Cells::new();
    let pid = make(argv, env, cwd, output, errors, &cells).inspect_err(|_| reap(&cells))?;
    Ok(Spawned { pid, pidfd: cells.take_pidfd() })
}

/// Makes the process. If it could not execute its program, it is left to be reaped.
fn make(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
    output: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
    cells: &Cells,
) -> Result<Pid, SpawnError> {
    let program = program::find(argv, env, cwd)?;
    let strings = Strings::new(&program, argv, env, cwd)?;
    let (argv, env) = (strings.argv(), strings.env());
    let plan = Plan {
        program: strings.program.as_ptr(),
        argv: argv.as_ptr(),
        env: env.as_ptr(),
        cwd: strings.cwd.as_ptr(),
        output: output.as_raw_fd(),
        errors: errors.as_raw_fd(),
        cells,
    };
    let pid = clone::clone(&plan)
        .map_err(|errno| SpawnError::Host { program: program.clone(), errno })?;
    match cells.failure() {
        Some(failure) => Err(error::explain(failure, &program, strings.len(), cwd)),
        None => Ok(pid),
    }
}

/// Waits for a child that has failed, if there is one: it is about to exit.
fn reap(cells: &Cells) {
    let Some(pid) = cells.pid() else { return };
    let pidfd = cells.take_pidfd();
    let which = pidfd.as_ref().map_or(Which::Pid(pid), |fd| Which::PidFd(fd.as_fd()));
    let _its_failure_is_known = wait::wait(which, 0);
}
