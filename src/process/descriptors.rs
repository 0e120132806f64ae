//! Descriptors: which must not travel to other programs, and which we were not given.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;

/// Whether standard output was closed when the program began.
static NO_OUTPUT: AtomicBool = AtomicBool::new(false);

/// Runs before `main`. Rust opens `/dev/null` in place of each closed descriptor from 0 to 2, so
/// that no file gets these numbers. From then on a closed output looks like one that accepts
/// everything.
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
/// Called first in the program: descriptors that it inherited (a shell's pipe, a supervisor's
/// socket) then reach no program that it starts, by any library. Workers are safe without this; see
/// [`spawn`](super::spawn).
///
/// # Errors The errno of the call; ENOSYS and EINVAL before Linux 5.11.
pub fn close_on_exec_all() -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed, so no descriptor in use becomes invalid.
    Errno::result(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) }).map(drop)
}
