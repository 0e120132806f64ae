//! Descriptors: which must not travel to other programs, and which we were not given.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;

/// Whether standard output was closed when the program began.
static NO_OUTPUT: AtomicBool = AtomicBool::new(false);

/// Looks before anything else does. Rust opens `/dev/null` in place of whichever of the descriptors
/// 0 to 2 is closed, so that no file gets their numbers; from then on a closed output looks like one
/// that takes everything.
#[used]
// SAFETY: the section is a list of functions of this kind, called once each before `main`; this one
// needs nothing that is not there yet.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: asks for the flags of a descriptor, which changes nothing.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    NO_OUTPUT.store(closed, Ordering::Relaxed);
}

/// Whether standard output was closed when the program began: what is written to it is lost.
#[must_use]
pub fn output_was_closed() -> bool {
    NO_OUTPUT.load(Ordering::Relaxed)
}

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
