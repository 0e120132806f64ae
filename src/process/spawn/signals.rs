//! Resets the signals of a new process: none is ignored, caught or blocked. See
//! [`child`](super::child) for what may be done here.
//!
//! The kernel can reset caught signals (`CLONE_CLEAR_SIGHAND`), but not ignored ones. `/proc` shows
//! which signals are caught or ignored; only those are reset, a handful instead of 64.

use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::child::{SIGNAL_SET, call};

/// Signals are numbered from 1.
const SIGNALS: u32 = 64;

/// Gives every signal its default disposition, including the two that the C library hides: if they
/// were ignored here, they would be ignored in the worker and all its descendants.
pub(super) fn reset() {
    let changed = changed().unwrap_or(u64::MAX);
    for signal in (1..=SIGNALS).filter(|signal| changed & 1 << (signal - 1) != 0) {
        let default = [0_u64; 8];
        let none = ptr::null_mut::<u64>();
        // SAFETY: all zeros are the default disposition, and the kernel reads no more than that.
        // SIGKILL and SIGSTOP are refused, but cannot have another disposition.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SIGNAL_SET)
        };
    }
}

/// Unblocks every signal.
pub(super) fn unblock() -> Result<(), Errno> {
    let (empty, none) = (0_u64, ptr::null_mut::<u64>());
    // SAFETY: reads the mask only, which outlives the call.
    call(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const empty,
            none,
            SIGNAL_SET,
        )
    })
    .map(drop)
}

/// Returns the ignored and caught signals, the first as the lowest bit. `None` if `/proc` does not
/// tell.
fn changed() -> Option<u64> {
    let mut status = [0_u8; 4096];
    let path = c"/proc/self/status".as_ptr();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let fd = call(unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags) }).ok()?;
    // SAFETY: reads at most as much as there is room for, and closes what was just opened.
    let length = unsafe {
        let length = libc::syscall(libc::SYS_read, fd, status.as_mut_ptr(), status.len());
        libc::syscall(libc::SYS_close, fd);
        length
    };
    let status = status.get(..usize::try_from(length).ok()?)?;
    Some(mask(status, b"\nSigIgn:\t")? | mask(status, b"\nSigCgt:\t")?)
}

/// Returns the number after `name`. `None` if it is incomplete or missing.
fn mask(status: &[u8], name: &[u8]) -> Option<u64> {
    const DIGITS: usize = 16;
    let mut found = status.windows(name.len() + DIGITS).filter(|text| text.starts_with(name));
    let digits = found.next()?.get(name.len()..)?;
    digits
        .iter()
        .try_fold(0, |mask, digit| Some(mask << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_whole_or_not_at_all() {
        let status = b"Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t8000000000001001\nSigCgt:\t00";
        assert_eq!(mask(status, b"\nSigIgn:\t"), Some(0x8000_0000_0000_1001));
        assert_eq!(mask(status, b"\nSigCgt:\t"), None, "cut off");
        assert_eq!(mask(status, b"\nSigPnd:\t"), None);
        assert_eq!(mask(b"\nSigIgn:\tnot a number at all", b"\nSigIgn:\t"), None);
        assert_eq!(mask(b"", b"\nSigIgn:\t"), None);
    }

    #[test]
    fn what_the_kernel_tells_are_the_signals_that_are_not_at_their_default() {
        // Rust programs ignore SIGPIPE.
        let pipe = 1 << (libc::SIGPIPE - 1);
        let kill = 1 << (libc::SIGKILL - 1);
        assert_eq!(changed().unwrap() & (pipe | kill), pipe);
    }
}
