//! TERM, INT, HUP and CHLD as readable descriptors. No signal is blocked for it: a blocked mask would
//! leak into the workers.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::clock;
use crate::machine::time::Mono;

/// Milliseconds after a stop in which further ones belong to it: `timeout` signals its command and
/// then the whole group, and so do supervisors. A person's second Ctrl-C comes later.
const TOGETHER_MS: u64 = 200;

/// What a signal asks for.
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
    /// When the last stop that counted was seen.
    stopped_at: Option<Mono>,
}

impl Signals {
    /// Installs the signal handlers.
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
        Ok(Signals { stop, reload, children, stopped_at: None })
    }

    /// Readable once something was asked.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.stop.as_fd(), self.reload.as_fd(), self.children.as_fd()]
    }

    /// Whether some child has exited since last time (workers announce that by their pidfds; this is
    /// for adopted processes, which have none), and what was asked.
    pub fn asked(&mut self) -> (bool, Vec<Asked>) {
        let mut asked = Vec::new();
        if drain(&mut self.stop) && self.is_another_stop() {
            asked.push(Asked::Stop);
        }
        if drain(&mut self.reload) {
            asked.push(Asked::Reload);
        }
        (drain(&mut self.children), asked)
    }

    /// Whether a stop that has just come is a second request, and not part of the last one.
    fn is_another_stop(&mut self) -> bool {
        let now = clock::now().mono;
        let is_another = self.stopped_at.is_none_or(|at| now >= at.after(TOGETHER_MS));
        if is_another {
            self.stopped_at = Some(now);
        }
        is_another
    }
}

/// Whether anything was waiting.
fn drain(stream: &mut UnixStream) -> bool {
    let (mut buffer, mut any) = ([0_u8; 64], false);
    while let Ok(1..) = stream.read(&mut buffer) {
        any = true;
    }
    any
}
