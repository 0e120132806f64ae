//! Descriptors that stand for a process: unlike a pid, one never comes to mean another process.

use std::fs;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::wait;
use crate::machine::ids::Pid;
use crate::machine::verdict::ExitStatus;

/// Whom a signal by pidfd reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only the process itself.
    Process,
    /// Every process of the group that has the process's pid for its id, also when the process
    /// itself has been reaped. Linux 6.9.
    Group,
}

/// How far a process has come, by its pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The process has not exited.
    Running,
    /// It has ended, and its parent has not reaped it.
    Zombie,
    /// It has ended and was reaped.
    Reaped,
}

/// Opens process `pid`. The caller must know that the number still means the same process: because
/// it is an unreaped child, or by checking [`identity`](super::identity) *after* this call.
///
/// # Errors ESRCH if the process does not exist; EMFILE, ENFILE, ENOMEM from the host.
pub fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the pid of the process; `None` if it has been reaped, or belongs to another pid namespace.
#[must_use]
pub fn pid(pidfd: BorrowedFd<'_>) -> Option<Pid> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok().filter(|pid| *pid > 0).map(Pid)
}

/// Sends `signal`; 0 only tests whether it could be sent.
///
/// # Errors ESRCH if no process is left; EINVAL if the kernel does not know [`Reach::Group`];
/// EPERM.
pub fn send(pidfd: BorrowedFd<'_>, signal: i32, reach: Reach) -> Result<(), Errno> {
    let flags = match reach {
        Reach::Process => 0,
        Reach::Group => libc::PIDFD_SIGNAL_PROCESS_GROUP,
    };
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and makes the kernel fill in what kill(2) would.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags)
    };
    Errno::result(sent).map(drop)
}

/// How far the process has come. Kernels before 6.9 do not tell a zombie from a reaped process
/// here; there `Zombie` is said of both.
///
/// # Errors
/// ENOMEM, or EINTR over and over.
pub fn stage(pidfd: BorrowedFd<'_>) -> Result<Stage, Errno> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    wait::uninterrupted(|| poll(&mut fds, PollTimeout::ZERO))?;
    let ready = fds.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    Ok(if ready.contains(PollFlags::POLLHUP) {
        Stage::Reaped
    } else if ready.contains(PollFlags::POLLIN) {
        Stage::Zombie
    } else {
        Stage::Running
    })
}

/// Returns how a reaped process ended, no matter which process reaped it or was its parent. `None`
/// if it is not reaped yet, or if the kernel does not keep the status (before Linux 6.15).
#[must_use]
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    // SAFETY: the structure consists of integers, for which all zeros is a value.
    let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the request's number holds the structure's size, and it outlives the call.
    let told = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    let has_exit = told == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    has_exit.then(|| wait::from_raw(info.exit_code))
}
