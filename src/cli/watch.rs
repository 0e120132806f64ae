//! Waiting for files to change, without looking at them all the time.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::failure::Failure;

/// A commit becomes visible up to a millisecond or so after the notice of it, so a notice is followed
/// by rechecks after 1, 2, 4 … 128 ms.
const LAST_RECHECK_MS: u16 = 128;

/// How long to wait when nothing is heard: some file systems give no notice.
const QUIET_MS: u16 = 1_000;

/// Directories, watched for changes of what is in them.
pub struct Watch {
    inotify: Inotify,
    /// Directories that do not exist yet.
    missing: Vec<PathBuf>,
    /// Until the next look.
    wait_ms: u16,
}

impl Watch {
    /// Watches `directories`; one that is missing is watched as soon as it exists.
    pub fn new(directories: &[Option<&Path>]) -> Result<Watch, Failure> {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Inotify::init(flags).map_err(failed)?;
        let missing = directories.iter().flatten().map(|path| (*path).to_owned()).collect();
        let mut watch = Watch { inotify, missing, wait_ms: 1 };
        watch.add_missing();
        Ok(watch)
    }

    /// Returns when it is time to look again.
    pub fn wait(&mut self) -> Result<(), Failure> {
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(self.wait_ms)) {
            Ok(0) if self.wait_ms < LAST_RECHECK_MS => self.wait_ms *= 2,
            Ok(0) => self.wait_ms = QUIET_MS,
            Ok(_) => self.wait_ms = 1,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(failed(error)),
        }
        self.drain()?;
        self.add_missing();
        Ok(())
    }

    fn drain(&self) -> Result<(), Failure> {
        loop {
            match self.inotify.read_events() {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn add_missing(&mut self) {
        let mask = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE;
        let inotify = &self.inotify;
        self.missing.retain(|path| inotify.add_watch(path.as_path(), mask).is_err());
    }
}

fn failed(error: Errno) -> Failure {
    Failure::Refused(format!("cannot wait for changes: {error}"))
}
