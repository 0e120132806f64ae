//! Starts a worker that inherits only what is listed here.
//!
//! It leads a session and a group of its own, has an empty signal mask, default dispositions,
//! `/dev/null` for input, its log for output, and no other descriptor.
//!
//! The process is created by our own clone call, which shares our memory until the program is
//! executed. Copying our page tables would make every spawn from a large parent fifty times slower,
//! and the library's `posix_spawn` tells neither which step failed nor, before it returns, which
//! process it created. Before it executes its program, the child starts its session, resets its
//! signals, leaves its [`Evidence`], sets up its three descriptors, enters its directory, marks all
//! other descriptors close-on-exec, and unblocks its signals.

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

/// A started process that is announced to the reaper. Dropping this registers it.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is also its group's and its session's. Another process may have it once the
    /// reaper has returned this one's exit.
    pub pid: Pid,
    /// Whether it has sent its pidfd to the keeper. Also false if it was killed right after sending.
    pub handed_over: bool,
    birth: Birth,
}

impl Spawned {
    /// Calls `act` unless the process was reaped already. The process is not reaped during the call,
    /// so `act` must not block.
    pub fn unless_reaped(&self, act: impl FnOnce()) {
        self.birth.unless_reaped(act);
    }
}

/// Starts `command` as the child that `birth` announces; the child leaves `evidence` before it
/// executes the program. Returns when the new process has executed its program, so a program on a disk
/// that hangs blocks the caller.
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

/// A process that the caller itself waits for.
#[derive(Debug)]
pub(super) struct Unregistered {
    /// Its pid, which is also its group's and its session's.
    pub pid: Pid,
    /// Its pidfd; `None` if the host had no descriptor left. The child runs in any case.
    pub pidfd: Option<OwnedFd>,
}

/// Like [`spawn`], but with separate output and error, and the caller reaps the child.
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

/// Creates the process. If it cannot execute its program, the caller must reap it.
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

    /// Returns a child that could not execute its program, and that its thread has not reaped yet.
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
        // Its thread continues at last.
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
