//! Makes the process.
//!
//! The child runs in our memory, on a stack of its own, and the calling thread stands still until it
//! has executed its program or exited. So no page table is copied, however much memory we have.

use std::ffi::{c_int, c_void};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::child::{self, Plan, SIGNAL_SET};
use crate::machine::ids::Pid;

/// Starts a process that does what `plan` says. Returns its pid; that, its
/// pidfd and its failure are in the plan's cells. The caller reaps it, also if it fails.
///
/// # Errors
/// What `clone` returns: EAGAIN, ENOMEM, EPERM. No process was made.
pub(super) fn clone(plan: &Plan<'_>) -> Result<Pid, Errno> {
    let stack = Stack::new()?;
    // The child starts with this mask. No handler of ours may run there: it would change our memory
    // and take the child for us.
    let before = swap_mask(u64::MAX)?;
    let made = match clone_onto(&stack, plan, libc::CLONE_PIDFD) {
        // No descriptor is left for a pidfd. A worker can do without.
        Err(Errno::EMFILE | Errno::ENFILE) => clone_onto(&stack, plan, 0),
        made => made,
    };
    let _cannot_fail = swap_mask(before);
    made
}

fn clone_onto(stack: &Stack, plan: &Plan<'_>, more: c_int) -> Result<Pid, Errno> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    let (pidfd, pid) = (plan.cells.place_for_pidfd(), plan.cells.place_for_pid());
    let no_tls = ptr::null_mut::<c_void>();
    // SAFETY: the child has the stack for itself, and stack, plan and cells until this call returns:
    // with CLONE_VFORK that is when it no longer runs in our memory. It calls nothing that would
    // disturb a thread of ours (see `child`). The kernel writes to the two cells only.
    Errno::result(unsafe {
        libc::clone(
            child::run,
            stack.top(),
            flags | more,
            ptr::from_ref(plan).cast_mut().cast(),
            pidfd,
            no_tls,
            pid,
        )
    })
    .map(Pid)
}

/// Returns the mask before. Not the library's call: that leaves two signals of its own unblocked,
/// whose handlers must not run in the child either.
fn swap_mask(mask: u64) -> Result<u64, Errno> {
    let mut before = 0_u64;
    // SAFETY: both masks outlive the call, and have the size that it is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut before,
            SIGNAL_SET,
        )
    };
    Errno::result(done).map(|_| before)
}

/// What the child runs on. Its lowest page cannot be touched, so that a stack that overflows ends
/// the child and spoils nothing of ours.
struct Stack(*mut c_void);

impl Stack {
    /// Several times what the child needs, in a build without optimisation.
    const SIZE: usize = 64 * 1024;
    /// At least a page, on every machine.
    const GUARD: usize = 64 * 1024;

    fn new() -> Result<Stack, Errno> {
        let (access, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let size = Stack::GUARD + Stack::SIZE;
        // SAFETY: makes new memory, at an address that the kernel chooses.
        let low = unsafe { libc::mmap(ptr::null_mut(), size, access, flags, -1, 0) };
        if low == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let stack = Stack(low);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: only the upper part of the memory that was just made.
        let opened = unsafe { libc::mprotect(low.byte_add(Stack::GUARD), Stack::SIZE, access) };
        Errno::result(opened).map(|_| stack)
    }

    /// Where it begins: it grows downwards, and pages are aligned as a stack must be.
    fn top(&self) -> *mut c_void {
        self.0.wrapping_byte_add(Stack::GUARD + Stack::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and no process runs on it any more.
        unsafe { libc::munmap(self.0, Stack::GUARD + Stack::SIZE) };
    }
}
