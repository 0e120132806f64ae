//! How a new process reports to its parent: memory that both share until it executes its program.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use nix::errno::Errno;

use crate::machine::ids::Pid;

/// Written by the kernel and the child, read by any of our threads.
#[derive(Debug)]
pub(super) struct Cells {
    pid: AtomicI32,
    pidfd: AtomicI32,
    handed_over: AtomicBool,
    step: AtomicU8,
    errno: AtomicI32,
}

/// The step at which the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Setting up what a worker is given: session, signals, descriptors.
    Prepare,
    /// Writing its pid into its intent record.
    Record,
    /// Entering its directory.
    Enter,
    /// Executing its program.
    Execute,
}

impl Step {
    const ALL: [Step; 4] = [Step::Prepare, Step::Record, Step::Enter, Step::Execute];
}

/// Values that are never a pid or a descriptor.
const NO_PID: i32 = 0;
const NO_PIDFD: i32 = -1;

impl Cells {
    /// Returns the cells of a process that does not exist yet.
    pub fn new() -> Cells {
        Cells {
            pid: AtomicI32::new(NO_PID),
            pidfd: AtomicI32::new(NO_PIDFD),
            handed_over: AtomicBool::new(false),
            step: AtomicU8::new(0),
            errno: AtomicI32::new(0),
        }
    }

    /// Returns where the kernel writes the pid, before the child's first instruction.
    pub fn place_for_pid(&self) -> *mut i32 {
        self.pid.as_ptr()
    }

    /// Returns where the kernel writes the pidfd, before it writes the pid.
    pub fn place_for_pidfd(&self) -> *mut i32 {
        self.pidfd.as_ptr()
    }

    /// Returns the pid; `None` while there is no process.
    pub fn pid(&self) -> Option<Pid> {
        let pid = self.pid.load(Ordering::Acquire);
        (pid != NO_PID).then_some(Pid(pid))
    }

    /// Takes the pidfd, once. `None` if the kernel could create none.
    pub fn take_pidfd(&self) -> Option<OwnedFd> {
        // A clone that fails late may have written the number of a descriptor that is closed again.
        self.pid()?;
        let fd = self.pidfd.swap(NO_PIDFD, Ordering::AcqRel);
        // SAFETY: the kernel made this descriptor for us, and the swap returns it only once.
        (fd != NO_PIDFD).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Notes that the keeper has the child's pidfd.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    /// Whether the keeper has the child's pidfd. Final once the child has executed its program.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Notes why the child cannot execute its program. The child does nothing after this but exit.
    pub fn fail(&self, step: Step, errno: Errno) {
        self.step.store(step as u8, Ordering::Relaxed);
        self.errno.store(errno as i32, Ordering::Release);
    }

    /// Returns why the child cannot execute its program. Final once the child is a zombie.
    pub fn failure(&self) -> Option<(Step, Errno)> {
        let errno = self.errno.load(Ordering::Acquire);
        let step = Step::ALL.get(usize::from(self.step.load(Ordering::Relaxed)))?;
        (errno != 0).then(|| (*step, Errno::from_raw(errno)))
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        drop(self.take_pidfd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_as_it_was_written() {
        let cells = Cells::new();
        assert_eq!(cells.failure(), None);
        for step in Step::ALL {
            cells.fail(step, Errno::ENOENT);
            assert_eq!(cells.failure(), Some((step, Errno::ENOENT)));
        }
    }

    #[test]
    fn a_number_that_a_failed_clone_left_behind_is_never_taken_for_a_pidfd() {
        let cells = Cells::new();
        cells.pidfd.store(2, Ordering::Release);
        assert!(cells.take_pidfd().is_none());
    }
}
