//! `waitid`, with every status that the kernel can tell.
//!
//! The usual wrappers turn the signal's number into an enumeration that lacks the real-time signals.
//! They then report an error for a child that has just been reaped, and its exit is lost.

use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::machine::ids::Pid;
use crate::machine::verdict::ExitStatus;

/// Which children to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The process behind this pidfd.
    PidFd(BorrowedFd<'a>),
    /// The process with this pid.
    Pid(Pid),
    /// Any child of this process.
    Any,
}

impl<'a> Which<'a> {
    /// A process, by its pidfd or, without one, by its pid.
    pub(super) fn of(pid: Pid, pidfd: Option<&'a OwnedFd>) -> Which<'a> {
        pidfd.map_or(Which::Pid(pid), |fd| Which::PidFd(fd.as_fd()))
    }
}

/// A way to wait for a child, with the meaning of [`wait`], which is the kernel's own.
pub type Waiter =
    Box<dyn Fn(Which<'_>, i32) -> Result<Option<(Pid, ExitStatus)>, Errno> + Send + Sync>;

/// Waits for a child's exit. `flags` are added to `WEXITED`. `None`: with `WNOHANG`, no child has exited.
///
/// # Errors
/// ECHILD if no child of ours is meant. EINTR is retried.
pub fn wait(which: Which<'_>, flags: i32) -> Result<Option<(Pid, ExitStatus)>, Errno> {
    let (kind, id) = match which {
        Which::PidFd(fd) => (libc::P_PIDFD, fd.as_raw_fd().cast_unsigned()),
        Which::Pid(pid) => (libc::P_PID, pid.0.cast_unsigned()),
        Which::Any => (libc::P_ALL, 0),
    };
    // SAFETY: the structure consists of integers and pointers that are not followed; zero is a value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    uninterrupted(|| {
        // SAFETY: `info` outlives the call, and the kernel writes nothing else.
        Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | flags) })
    })?;
    // SAFETY: after waitid these fields are set, or still zero where WNOHANG found no child.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => ExitStatus::Signal(status),
        _ => ExitStatus::Unknown,
    };
    Ok((pid != 0).then_some((Pid(pid), status)))
}

/// A status in the form that `wait4` and the kernel's own notes use.
pub(super) fn from_raw(raw: i32) -> ExitStatus {
    if libc::WIFEXITED(raw) {
        ExitStatus::Code(libc::WEXITSTATUS(raw))
    } else if libc::WIFSIGNALED(raw) {
        ExitStatus::Signal(libc::WTERMSIG(raw))
    } else {
        ExitStatus::Unknown
    }
}

/// Calls again for as long as a signal interrupts the call.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_statuses_are_read_as_the_kernel_writes_them() {
        assert_eq!(from_raw(0x2a00), ExitStatus::Code(42));
        assert_eq!(from_raw(9), ExitStatus::Signal(9));
        assert_eq!(from_raw(0x80 | 6), ExitStatus::Signal(6));
        assert_eq!(from_raw(40), ExitStatus::Signal(40));
        assert_eq!(from_raw(0x7f), ExitStatus::Unknown);
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut left = 3;
        let answer = uninterrupted(|| {
            left -= 1;
            if left > 0 { Err(Errno::EINTR) } else { Ok(7) }
        });
        assert_eq!((answer, left), (Ok(7), 0));
    }
}
