//! What the new process does before it executes its program.
//!
//! It runs in our memory while our other threads run there too. So it makes system calls only: no
//! allocation, no lock, no formatting, no panic, no drop. It may change errno, which belongs to the
//! calling thread, suspended meanwhile.

use std::convert::Infallible;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::os::fd::RawFd;
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::evidence::Evidence;
use super::signals;
use crate::machine::ids::Pid;
use crate::process::cells::{Cells, Step};

/// Size of the kernel's signal sets, in bytes.
pub(super) const SIGNAL_SET: usize = size_of::<u64>();

/// What to do. The pointers are valid until the program is executed.
pub(super) struct Plan<'a> {
    /// Path of the program.
    pub program: *const c_char,
    /// Its arguments; a null pointer ends them.
    pub argv: *const *const c_char,
    /// Its environment; a null pointer ends it.
    pub env: *const *const c_char,
    /// Path of its directory.
    pub cwd: *const c_char,
    /// The descriptor for its output.
    pub output: RawFd,
    /// The descriptor for its errors.
    pub errors: RawFd,
    /// The evidence that it leaves.
    pub evidence: Evidence<'a>,
    /// Where it reports.
    pub cells: &'a Cells,
}

/// The entry point of the child. Does not return.
pub(super) extern "C" fn run(plan: *mut c_void) -> c_int {
    // SAFETY: `clone` passes its plan, which stays valid while the child runs in our memory.
    let plan = unsafe { &*plan.cast_const().cast::<Plan<'_>>() };
    let Err((step, errno)) = execute(plan);
    plan.cells.fail(step, errno);
    // SAFETY: ends only the child, and does not return into our code.
    unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    127
}

fn execute(plan: &Plan<'_>) -> Result<Infallible, (Step, Errno)> {
    let prepare = |errno| (Step::Prepare, errno);
    // SAFETY: takes nothing.
    call(unsafe { libc::syscall(libc::SYS_setsid) }).map_err(prepare)?;
    signals::reset();
    leave_evidence(plan).map_err(|errno| (Step::Record, errno))?;
    give_descriptors(plan).map_err(prepare)?;
    // SAFETY: the path is a C string.
    call(unsafe { libc::syscall(libc::SYS_chdir, plan.cwd) }).map_err(|e| (Step::Enter, e))?;
    close_on_exec_from(3).map_err(prepare)?;
    // Last, so that the child is set up when a signal arrives.
    signals::unblock().map_err(prepare)?;
    // SAFETY: a C string, and two lists of such with a null pointer at their ends.
    let executed =
        call(unsafe { libc::syscall(libc::SYS_execve, plan.program, plan.argv, plan.env) });
    Err((Step::Execute, executed.err().unwrap_or(Errno::EIO)))
}

/// Writes the record first: a process without a record must not do anything.
fn leave_evidence(plan: &Plan<'_>) -> Result<(), Errno> {
    // SAFETY: takes nothing.
    let pid = call(unsafe { libc::syscall(libc::SYS_getpid) })?;
    let pid = Pid(i32::try_from(pid).map_err(|_| Errno::ERANGE)?);
    if let Some(record) = &plan.evidence.record {
        record.write(pid)?;
    }
    let handed_over = plan.evidence.keeper.is_some_and(|keeper| keeper.send(pid).is_ok());
    if handed_over {
        plan.cells.hand_over();
    }
    Ok(())
}

/// Returns the result of a system call.
pub(super) fn call(answer: c_long) -> Result<c_long, Errno> {
    Errno::result(answer)
}

/// Standard input is set last: the log may be our descriptor 0, and would be lost otherwise.
fn give_descriptors(plan: &Plan<'_>) -> Result<(), Errno> {
    copy_to(plan.errors, 2)?;
    copy_to(plan.output, 1)?;
    let path = c"/dev/null".as_ptr();
    // SAFETY: closes a descriptor of the child only, which has its own table; the path is a C string.
    // Then 0 is the lowest free descriptor, which `openat` returns.
    call(unsafe {
        libc::syscall(libc::SYS_close, 0);
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_RDONLY)
    })
    .map(drop)
}

fn copy_to(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: both change the child's own table only.
    call(unsafe {
        if from == to {
            // `dup3` onto itself fails, and would not clear close-on-exec.
            libc::syscall(libc::SYS_fcntl, to, libc::F_SETFD, 0)
        } else {
            libc::syscall(libc::SYS_dup3, from, to, 0)
        }
    })
    .map(drop)
}

/// Marks descriptors close-on-exec and does not close them: one that holds a lock shows that this
/// process exists until the program is executed.
fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only, and closes nothing.
    let marked = call(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    });
    match marked {
        // Before Linux 5.11.
        Err(Errno::ENOSYS | Errno::EINVAL) => mark_each(first, limit()?),
        marked => marked.map(drop),
    }
}

fn mark_each(first: u32, limit: u32) -> Result<(), Errno> {
    for fd in first..limit {
        // SAFETY: takes integers only, and closes nothing.
        match call(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, libc::FD_CLOEXEC) }) {
            Ok(_) | Err(Errno::EBADF) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Returns one more than the highest possible descriptor.
fn limit() -> Result<u32, Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none = ptr::null::<libc::rlimit64>();
    // SAFETY: writes to `limit` only, which outlives the call.
    call(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, none, &raw mut limit)
    })?;
    Ok(u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    fn flags(fd: RawFd) -> c_int {
        // SAFETY: only reads.
        unsafe { libc::fcntl(fd, libc::F_GETFD) }
    }

    #[test]
    fn an_old_kernels_descriptors_are_marked_one_by_one() {
        let file = File::open("/dev/null").unwrap();
        // SAFETY: duplicates a descriptor; F_DUPFD leaves close-on-exec unset.
        let [low, high] =
            [800, 810].map(|at| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, at) });
        let high_number = high.cast_unsigned();
        assert_eq!((flags(low), flags(high)), (0, 0));
        mark_each(low.cast_unsigned(), high_number).unwrap();
        assert_eq!((flags(low), flags(high)), (libc::FD_CLOEXEC, 0), "up to the limit");
        mark_each(high_number, high_number + 1).unwrap();
        assert_eq!(flags(high), libc::FD_CLOEXEC);
        for fd in [low, high] {
            // SAFETY: these two belong to this test alone.
            unsafe { libc::close(fd) };
        }
        assert!(limit().unwrap() > high_number);
    }
}
