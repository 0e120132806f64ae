//! Sends packets and descriptors through a socket that keeps packets whole and in order.

use std::io::IoSlice;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixCredentials, getsockopt,
    sendmsg, socket, sockopt,
};

/// One received packet.
pub struct Received {
    /// Its length in bytes; 0 if the other end has closed.
    pub length: usize,
    /// The descriptors that were attached.
    pub descriptors: Vec<OwnedFd>,
    /// The packet was longer than the buffer.
    pub is_cut: bool,
    /// Descriptors were lost: this process has no room for more.
    pub lost_descriptors: bool,
}

/// Returns a new socket for packets. No call on it blocks.
pub fn new() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
}

/// Returns the process and user at the other end, as they were when it connected or began to listen.
pub fn peer(socket: &OwnedFd) -> Result<UnixCredentials, Errno> {
    getsockopt(socket, sockopt::PeerCredentials)
}

/// Sends a packet, whole or not at all.
///
/// Returns EAGAIN if the other end is behind; EPIPE or ECONNRESET if it has closed.
pub fn send(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let raw = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
    let control = raw.as_ref().map(|raw| [ControlMessage::ScmRights(raw)]);
    let control = control.as_ref().map_or(&[][..], |control| &control[..]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let bytes = [IoSlice::new(packet)];
    uninterrupted(|| sendmsg::<()>(socket.as_raw_fd(), &bytes, control, flags, None)).map(drop)
}

/// Receives a packet into `buffer`; EAGAIN if there is none.
///
/// The safe wrapper cannot be used. If the kernel can install only some of the descriptors of a
/// packet, it returns an error and never closes them.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut control = Control::new();
    let mut bytes = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the structure consists of integers and pointers, for which all zeros is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control.0);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let length = uninterrupted(|| {
        // SAFETY: both buffers outlive the call, and their lengths are theirs.
        Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })
    })?;
    Ok(Received {
        length: length.unsigned_abs(),
        // SAFETY: the kernel has just filled in the message, and this is the first use of it.
        descriptors: unsafe { descriptors(&message) },
        is_cut: message.msg_flags & libc::MSG_TRUNC != 0,
        lost_descriptors: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// Maximum number of descriptors that the kernel allows in one packet. There is room for all of them,
/// so some are lost only if this process can have no more.
const MOST_DESCRIPTORS: usize = 253;

/// The bytes around the list of descriptors: its header, and padding.
const FRAME: usize = size_of::<libc::cmsghdr>() + size_of::<u64>();

/// Room for the control messages, aligned as their headers require.
struct Control([MaybeUninit<u64>; (FRAME + MOST_DESCRIPTORS * size_of::<RawFd>()) / 8]);

impl Control {
    fn new() -> Control {
        Control([const { MaybeUninit::uninit() }; _])
    }
}

/// Takes ownership of the descriptors of a message.
///
/// # Safety
/// `message` was filled in by `recvmsg`, its control buffer still exists, and this was not called
/// for it before: each descriptor has one owner.
unsafe fn descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel wrote the headers and set the buffer's length to that of what it wrote.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the pointer is null, or points to a header within the buffer.
    while let Some(header) = unsafe { next.as_ref() } {
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the data of such a message is a list of descriptors, of this length.
            let (data, frame) = unsafe { (libc::CMSG_DATA(next), libc::CMSG_LEN(0)) };
            let length = header.cmsg_len.saturating_sub(frame as usize);
            for index in 0..length / size_of::<RawFd>() {
                // SAFETY: the index is within the list; the kernel installed the descriptor for this
                // message, so it has no other owner.
                let descriptor = unsafe {
                    OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned())
                };
                descriptors.push(descriptor);
            }
        }
        // SAFETY: as for the first header.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    descriptors
}

/// Repeats the call while a signal interrupts it.
pub fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Returns whether the descriptor refers to a process.
pub fn is_pidfd(descriptor: &OwnedFd) -> bool {
    // Without a call on the descriptor itself: one of another kind may hang with its file system.
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
    std::fs::read(path)
        .is_ok_and(|info| info.split(|b| *b == b'\n').any(|line| line.starts_with(b"Pid:")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::socketpair;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
    }

    /// Returns the inode of a descriptor.
    fn inode(descriptor: &OwnedFd) -> u64 {
        nix::sys::stat::fstat(descriptor).unwrap().st_ino
    }

    #[test]
    fn a_packet_arrives_whole_with_its_descriptor() {
        let (here, there) = pair();
        let (pipe, _writer) = std::io::pipe().unwrap();
        let pipe = OwnedFd::from(pipe);
        send(here.as_fd(), b"one", Some(pipe.as_fd())).unwrap();
        send(here.as_fd(), b"two", None).unwrap();
        let mut buffer = [0; 16];
        let one = receive(there.as_fd(), &mut buffer).unwrap();
        assert_eq!(
            (&buffer[..one.length], one.is_cut, one.lost_descriptors),
            (&b"one"[..], false, false)
        );
        assert_eq!(one.descriptors.iter().map(inode).collect::<Vec<_>>(), [inode(&pipe)]);
        assert_ne!(one.descriptors[0].as_raw_fd(), pipe.as_raw_fd());
        let two = receive(there.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..two.length], two.descriptors.len()), (&b"two"[..], 0));
        assert_eq!(receive(there.as_fd(), &mut buffer).err(), Some(Errno::EAGAIN));
    }

    #[test]
    fn a_packet_that_is_too_long_is_said_to_be_cut() {
        let (here, there) = pair();
        send(here.as_fd(), b"too long", None).unwrap();
        send(here.as_fd(), b"fits", None).unwrap();
        let mut buffer = [0; 4];
        assert!(receive(there.as_fd(), &mut buffer).unwrap().is_cut);
        assert!(!receive(there.as_fd(), &mut buffer).unwrap().is_cut);
        assert_eq!(&buffer, b"fits");
    }

    #[test]
    fn as_many_descriptors_arrive_as_the_kernel_lets_into_a_packet() {
        let (here, there) = pair();
        let raw = [here.as_raw_fd(); MOST_DESCRIPTORS];
        let control = [ControlMessage::ScmRights(&raw)];
        let bytes = [IoSlice::new(b"x")];
        sendmsg::<()>(here.as_raw_fd(), &bytes, &control, MsgFlags::empty(), None).unwrap();
        let received = receive(there.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!(
            (received.descriptors.len(), received.lost_descriptors),
            (MOST_DESCRIPTORS, false)
        );
    }

    #[test]
    fn what_a_killed_peer_has_sent_is_read_to_the_end() {
        let (here, there) = pair();
        // Left unread by the end that closes, so that the other end sees a reset first.
        send(there.as_fd(), b"answer", None).unwrap();
        send(here.as_fd(), b"last words", None).unwrap();
        drop(here);
        let mut buffer = [0; 16];
        assert_eq!(receive(there.as_fd(), &mut buffer).err(), Some(Errno::ECONNRESET));
        assert_eq!(receive(there.as_fd(), &mut buffer).unwrap().length, 10);
        assert_eq!(receive(there.as_fd(), &mut buffer).unwrap().length, 0);
    }

    #[test]
    fn only_a_pidfd_is_one() {
        let me = crate::machine::ids::Pid(std::process::id().cast_signed());
        assert!(is_pidfd(&crate::process::pidfd::open(me).unwrap()));
        let (socket, _other) = pair();
        assert!(!is_pidfd(&socket));
        let directory = std::fs::File::open("/proc/self").unwrap();
        assert!(!is_pidfd(&directory.into()), "which signals accept in place of one");
    }
}
