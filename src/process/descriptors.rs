//! Descriptors that must not travel to other programs.

use nix::errno::Errno;
use nix::libc;

/// Marks every open descriptor from 3 upwards to be closed when a program is executed.
///
/// For the very start of the program: whatever it was started with (a shell's pipe, a supervisor's
/// socket) then reaches no program that anybody here starts, by whatever way. Workers are safe
/// without this; see [`spawn`](super::spawn).
///
/// # Errors
/// What the kernel says; ENOSYS and EINVAL before Linux 5.11.
pub fn close_on_exec_all() -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed, so no descriptor in use becomes invalid.
    Errno::result(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) }).map(drop)
}
