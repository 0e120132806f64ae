//! Survives SIGBUS when another process truncates a mapped `-shm`. Any other SIGBUS keeps its default
//! action.
//!
//! SQLite maps the shm, and the kernel answers an access beyond the end of a mapped file with SIGBUS:
//! one board would end the process, and all other boards with it. `wal_shm` checks the size before
//! each use; this covers a truncation between that check and the access. The missing page is replaced
//! by zeroes, which SQLite takes for a shm to be rebuilt, and the thread counts the fault: nothing that
//! it has read since can be trusted.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, read, sysconf};

thread_local! {
    static FAULTS: Cell<u32> = const { Cell::new(0) };
}

/// Size of a memory page.
static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// How many pages of a shm were replaced by zeroes under this thread.
pub(crate) fn faults() -> u32 {
    FAULTS.get()
}

/// Installs the handler, once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Ok(Some(size)) = sysconf(SysconfVar::PAGE_SIZE) {
            PAGE.store(usize::try_from(size).unwrap_or(4096), Ordering::Relaxed);
        }
        let action =
            SigAction::new(SigHandler::SigAction(on_fault), SaFlags::SA_SIGINFO, SigSet::empty());
        // SAFETY: the handler does nothing but system calls that a signal handler may do, and touches
        // nothing but its own stack, an atomic and a thread's own integer without a destructor.
        let _without_it_only_less_safe = unsafe { sigaction(Signal::SIGBUS, &action) };
    });
}

extern "C" fn on_fault(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: with SA_SIGINFO the kernel passes a valid pointer, and with BUS_ADRERR an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == libc::BUS_ADRERR && is_in_a_shm(address) && put_zeroes(address) {
        FAULTS.set(FAULTS.get().wrapping_add(1));
    } else {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: no handler is installed, one is removed. The signal is blocked until we return.
        let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
        let _ = raise(Signal::SIGBUS);
    }
    Errno::set_raw(errno);
}

/// Replaces the page at an address inside a shm.
fn put_zeroes(address: usize) -> bool {
    let page = PAGE.load(Ordering::Relaxed);
    let start = (address & !(page - 1)) as *mut c_void;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page is part of SQLite's mapping of a file and has no memory behind it. SQLite reads
    // and writes it as memory that others change at any time, and unmaps it with the rest.
    let got = unsafe { libc::mmap(start, page, protection, flags, -1, 0) };
    got == start
}

/// Whether `/proc/self/maps` has the address in the mapping of a `-shm` file. Allocates nothing.
fn is_in_a_shm(address: usize) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let Ok(maps) = open(c"/proc/self/maps", flags, Mode::empty()) else { return false };
    // Each line is `start-end … path`.
    let (mut bounds, mut field, mut last) = ([0_usize; 2], 0, [0_u8; 14]);
    let mut buffer = [0_u8; 1024];
    while let Ok(count @ 1..) = read(&maps, &mut buffer) {
        for byte in buffer.iter().take(count).copied() {
            if byte == b'\n' {
                if (bounds[0]..bounds[1]).contains(&address) {
                    return last.ends_with(b"-shm") || last == *b"-shm (deleted)";
                }
                (bounds, field) = ([0; 2], 0);
            } else if byte == b'-' || byte == b' ' {
                field += 1;
            } else if let Some(bound) = bounds.get_mut(field) {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                *bound = (*bound << 4) | digit as usize;
            }
            last.rotate_left(1);
            last[last.len() - 1] = byte;
        }
    }
    false
}
