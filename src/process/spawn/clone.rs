//! Creates the process.
//!
//! The child runs in our memory, on its own stack, and the calling thread is suspended until the child
//! has executed its program or exited. So no page table is copied, however much memory we use.

use std::ffi::{c_int, c_void};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::child::{self, Plan, SIGNAL_SET};
use crate::machine::ids::Pid;

/// Starts a process that carries out `plan`. Returns its pid; the pid, the pidfd and a failure are in
/// the plan's cells. The caller must reap the child, even if it fails.
///
/// # Errors
/// The error of `clone`: EAGAIN, ENOMEM, EPERM. No process was created.
pub(super) fn clone(plan: &Plan<'_>) -> Result<Pid, Errno> {
    let stack = Stack::new()?;
    // The child starts with this mask. None of our handlers may run there: it would change our memory,
    // and take the child for this process.
    let before = swap_mask(u64::MAX)?;
    let made = match clone_onto(&stack, plan, libc::CLONE_PIDFD) {
        // No descriptor is left for a pidfd. The worker can be started without one.
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
    // SAFETY: the child has the stack to itself. Stack, plan and cells stay valid until this call
    // returns, which with CLONE_VFORK is when the child has left our memory. It calls nothing that
    // would disturb our threads (see `child`). The kernel writes only to the two cells.
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

/// Returns the previous mask. Does not use the library's call, which leaves two of its own signals
/// unblocked; their handlers must not run in the child either.
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

/// The child's stack. Its lowest page is protected, so an overflow ends the child and damages nothing
/// of ours.
struct Stack(*mut c_void);

impl Stack {
    /// Several times what the child needs in a build without optimisation.
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

    /// Returns where the stack begins: it grows downwards, and pages are aligned as a stack must be.
    fn top(&self) -> *mut c_void {
        self.0.wrapping_byte_add(Stack::GUARD + Stack::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and no process runs on it now.
        unsafe { libc::munmap(self.0, Stack::GUARD + Stack::SIZE) };
    }
}
