//! Starts a worker that inherits only what is listed here.
//!
//! It leads a session and a group of its own, has an empty signal mask, default dispositions,
//! `/dev/null` for input, its log for output, and no other descriptor.
//!
//! The process is made by a clone of our own that shares our memory until the program is executed: a
//! copy of our page tables would make every spawn from a large parent fifty times as slow, and the
//! library's `posix_spawn` neither tells which step failed nor, before it returns, which process it
//! made. In between, the child begins its session, resets its signals, leaves its [`Evidence`], takes
//! its three descriptors, enters its directory, marks all other descriptors to be closed, and
//! unblocks its signals.

mod child;
mod clone;
mod error;
mod evidence;
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
pub use evidence::{Evidence, Handover, Record};
use strings::Strings;
pub use strings::own_environment;

use super::cells::Cells;
use super::children::Birth;
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

/// A process that was started, and is announced to the reaper. Dropping this registers it.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is also its group's and its session's. Another process may have it once the
    /// reaper has returned this one's exit.
    pub pid: Pid,
    /// Whether it has sent its pidfd to the keeper. Also false if it was killed right after that.
    pub handed_over: bool,
    birth: Birth,
}

impl Spawned {
    /// Calls `act` unless the process was reaped already. It is not reaped meanwhile: `act` must not
    /// wait for anything.
    pub fn unless_reaped(&self, act: impl FnOnce()) {
        self.birth.unless_reaped(act);
    }
}

/// Starts `command` as the child that `birth` announces, and that leaves `evidence` behind before it
/// executes the program. Returns when the new process has executed
/// its program, so a program on a disk that hangs holds the caller for as long.
///
/// # Errors
/// See [`SpawnError`].
pub fn spawn(
    command: &Command,
    evidence: Evidence<'_>,
    birth: Birth,
) -> Result<Spawned, SpawnError> {
    let Command { argv, env, cwd, log } = command;
    match make(argv, env, cwd, log.as_fd(), log.as_fd(), evidence, birth.cells()) {
        Ok(pid) => Ok(Spawned { pid, handed_over: birth.cells().is_handed_over(), birth }),
        Err(error) => {
            birth.fail();
            Err(error)
        }
    }
}

/// A process that its parent waits for by itself.
#[derive(Debug)]
pub(super) struct Unregistered {
    /// Its pid, which is also its group's and its session's.
    pub pid: Pid,
    /// Its pidfd; `None` if the host had no descriptor left. The child exists nevertheless.
    pub pidfd: Option<OwnedFd>,
}

/// As [`spawn`], with two places for output and errors, and for the caller to reap.
pub(super) fn start(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
    output: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
) -> Result<Unregistered, SpawnError> {
    let cells = Cells::new();
    let made = make(argv, env, cwd, output, errors, Evidence::default(), &cells);
    let pidfd = cells.take_pidfd();
    match (made, cells.pid()) {
        (Ok(pid), _) => Ok(Unregistered { pid, pidfd }),
        (Err(error), Some(pid)) => {
            let _its_failure_is_known = wait::wait(Which::of(pid, pidfd.as_ref()), 0);
            Err(error)
        }
        (Err(error), None) => Err(error),
    }
}

/// Makes the process. If it could not execute its program, it is left to be reaped.
fn make(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
    output: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
    evidence: Evidence<'_>,
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
        evidence,
        cells,
    };
    let pid = clone::clone(&plan)
        .map_err(|errno| SpawnError::Host { program: program.clone(), errno })?;
    match cells.failure() {
        Some(failure) => Err(error::explain(failure, &program, strings.len(), cwd)),
        None => Ok(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::super::children::Children;
    use super::super::identity;
    use super::*;
    use crate::machine::effect::Whom;
    use crate::machine::ids::SpawnId;

    /// A child that could not execute its program, whose thread is held before it reaps it.
    fn failed(children: &Children) -> (Birth, Pid) {
        let birth = children.birth(SpawnId(1));
        let log = File::options().write(true).open("/dev/null").unwrap();
        let (log, argv) = (log.as_fd(), ["/nonexistent".into()]);
        let none = Evidence::default();
        let error = make(&argv, &[], Path::new("/"), log, log, none, birth.cells()).unwrap_err();
        assert!(matches!(error, SpawnError::Program { .. }), "{error}");
        let pid = birth.cells().pid().unwrap();
        (birth, pid)
    }

    fn is_reaped(pid: Pid) -> bool {
        identity::stat(pid).is_err()
    }

    fn wait_for_zombie(pid: Pid) {
        wait::wait(Which::Pid(pid), nix::libc::WNOWAIT).unwrap();
    }

    #[test]
    fn a_child_that_failed_is_reaped_by_the_reaper_and_is_no_exit() {
        let children = Children::new().unwrap();
        let (birth, pid) = failed(&children);
        wait_for_zombie(pid);
        assert!(!is_reaped(pid));
        let reaping = children.reap(Whom::All);
        assert_eq!((reaping.exits, reaping.error), (vec![], None));
        assert!(is_reaped(pid));
        // Its thread comes back at last.
        birth.fail();
        assert_eq!(children.unreaped(), 0);
    }

    #[test]
    fn a_child_that_failed_is_reaped_by_its_thread_if_that_is_first() {
        for registered in [false, true] {
            let children = Children::new().unwrap();
            let (birth, pid) = failed(&children);
            if registered {
                assert!(children.reap(Whom::Hinted).exits.is_empty());
                assert_eq!(children.unreaped(), 1);
            }
            birth.fail();
            assert!(is_reaped(pid));
            assert_eq!(children.unreaped(), 0);
            let reaping = children.reap(Whom::All);
            assert_eq!((reaping.exits, reaping.error), (vec![], None));
        }
    }

    #[test]
    fn a_pidfd_has_one_owner() {
        let children = Children::new().unwrap();
        let (birth, pid) = failed(&children);
        wait_for_zombie(pid);
        assert!(birth.cells().take_pidfd().is_some());
        assert!(birth.cells().take_pidfd().is_none());
        birth.fail();
        assert!(is_reaped(pid), "it can do without");
    }
}
