//! The evidence that a new process leaves before it executes its program, so that it is known even if
//! its parent is killed meanwhile. See [`child`](super::child) for what may be done here.

use std::ffi::c_long;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::child::call;
use crate::machine::ids::Pid;

/// The evidence that a new process must leave; by default none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Where it writes its pid. If that fails, the program is not executed.
    pub record: Option<Record<'a>>,
    /// The keeper to which it sends its own pidfd. If that fails, the program is executed in any case.
    pub keeper: Option<Handover<'a>>,
}

/// The place for a pid in an intent record.
///
/// It takes 8 bytes in the host's byte order: the pid in the lower half, its complement in the upper.
/// So neither zeros nor half of the word can be taken for a pid.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The file, open for writing.
    pub file: BorrowedFd<'a>,
    /// Where in the file, in bytes.
    pub offset: u64,
}

/// A packet to the keeper, to which the process attaches its pidfd.
#[derive(Clone, Copy, Debug)]
pub struct Handover<'a> {
    /// The connection, on which each message is a packet. It is never waited for.
    pub socket: BorrowedFd<'a>,
    /// The connection, on which each message is a packet. Sending never blocks.
    pub message: &'a [u8],
}

// Offsets are passed to the kernel in one register.
const _: () = assert!(size_of::<c_long>() == size_of::<u64>());

impl Record<'_> {
    /// Writes the pid of the calling process.
    pub(super) fn write(&self, pid: Pid) -> Result<(), Errno> {
        let word = word(pid).to_ne_bytes();
        let file = self.file.as_raw_fd();
        // SAFETY: reads only the word, which outlives the call.
        let written = call(unsafe {
            libc::syscall(libc::SYS_pwrite64, file, word.as_ptr(), word.len(), self.offset)
        })?;
        // A short write means that the disk is full.
        if usize::try_from(written) == Ok(word.len()) { Ok(()) } else { Err(Errno::ENOSPC) }
    }
}

fn word(pid: Pid) -> u64 {
    let pid = pid.0.cast_unsigned();
    u64::from(pid) | u64::from(!pid) << 32
}

impl Handover<'_> {
    /// Sends a pidfd of the calling process, which is `pid`.
    pub(super) fn send(&self, pid: Pid) -> Result<(), Errno> {
        // SAFETY: takes integers only.
        let pidfd = call(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
        let sent = RawFd::try_from(pidfd).map_err(|_| Errno::EBADF).and_then(|fd| self.attach(fd));
        // SAFETY: opened here, and nothing else owns it.
        unsafe { libc::syscall(libc::SYS_close, pidfd) };
        sent
    }

    fn attach(&self, pidfd: RawFd) -> Result<(), Errno> {
        let mut bytes = libc::iovec {
            iov_base: self.message.as_ptr().cast_mut().cast(),
            iov_len: self.message.len(),
        };
        let mut attached = Attached::of(pidfd);
        // SAFETY: the structure consists of integers and pointers, for which all zeros is a value.
        let mut packet: libc::msghdr = unsafe { mem::zeroed() };
        packet.msg_iov = &raw mut bytes;
        packet.msg_iovlen = 1;
        packet.msg_control = (&raw mut attached).cast();
        packet.msg_controllen = size_of::<Attached>();
        // A keeper that does not read must not block a worker, and one that is gone must not end it
        // with SIGPIPE.
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the packet, and what it points to, outlive the call.
        let sent = call(unsafe {
            libc::syscall(libc::SYS_sendmsg, self.socket.as_raw_fd(), ptr::from_ref(&packet), flags)
        })?;
        if usize::try_from(sent) == Ok(self.message.len()) { Ok(()) } else { Err(Errno::EMSGSIZE) }
    }
}

/// One descriptor, in the form in which a message carries it. The padding matters.
#[repr(C)]
struct Attached {
    header: libc::cmsghdr,
    fd: RawFd,
    padding: i32,
}

impl Attached {
    fn of(fd: RawFd) -> Attached {
        // SAFETY: the structure consists of integers, for which all zeros is a value.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = mem::offset_of!(Attached, padding);
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        Attached { header, fd, padding: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_word_can_be_checked() {
        assert_eq!(word(Pid(1)), 0xffff_fffe_0000_0001);
        assert_eq!(word(Pid(i32::MAX)), 0x8000_0000_7fff_ffff);
    }

    #[test]
    fn an_attached_descriptor_has_the_form_that_the_library_gives_it() {
        let length = u32::try_from(size_of::<RawFd>()).unwrap();
        // SAFETY: both compute with integers only.
        let (used, whole) = unsafe { (libc::CMSG_LEN(length), libc::CMSG_SPACE(length)) };
        assert_eq!(Attached::of(7).header.cmsg_len, usize::try_from(used).unwrap());
        assert_eq!(size_of::<Attached>(), usize::try_from(whole).unwrap());
    }
}
