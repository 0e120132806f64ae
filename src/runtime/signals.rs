//! TERM, INT, HUP and CHLD as readable descriptors. No signal is blocked for it: a blocked mask would
//! leak into the workers.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// What somebody asks of us by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// TERM or INT: come to an end.
    Stop,
    /// HUP: read the configuration again.
    Reload,
}

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    stop: UnixStream,
    reload: UnixStream,
    children: UnixStream,
}

impl Signals {
    /// Starts to listen.
    pub fn listen() -> io::Result<Signals> {
        let (stop, stop_in) = UnixStream::pair()?;
        let (reload, reload_in) = UnixStream::pair()?;
        let (children, children_in) = UnixStream::pair()?;
        for stream in [&stop, &stop_in, &reload, &reload_in, &children, &children_in] {
            stream.set_nonblocking(true)?;
        }
        pipe::register(SIGTERM, stop_in.try_clone()?)?;
        pipe::register(SIGINT, stop_in)?;
        pipe::register(SIGHUP, reload_in)?;
        pipe::register(SIGCHLD, children_in)?;
        Ok(Signals { stop, reload, children })
    }

    /// Readable once something was asked.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.stop.as_fd(), self.reload.as_fd(), self.children.as_fd()]
    }

    /// Whether some child has exited since last time (workers announce that by their pidfds; this is
    /// for adopted processes, which have none), and what was asked; a stop once for each signal.
    pub fn asked(&mut self) -> (bool, Vec<Asked>) {
        let mut asked = vec![Asked::Stop; drain(&mut self.stop)];
        if drain(&mut self.reload) > 0 {
            asked.push(Asked::Reload);
        }
        (drain(&mut self.children) > 0, asked)
    }
}

/// How many bytes were waiting.
fn drain(stream: &mut UnixStream) -> usize {
    let (mut buffer, mut count) = ([0_u8; 64], 0);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        count += n;
    }
    count
}
