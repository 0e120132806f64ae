//! The keeper's process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, absolute};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Backlog, SockFlag, accept4, bind, listen};
use nix::unistd::geteuid;

use super::connection::Connection;
use super::detach;
use super::directory::Directory;
use super::error::KeeperError;
use super::kept::Kept;
use super::socket::{self, uninterrupted};
use crate::machine::ids::Pid;

/// How long the keeper waits for a dispatcher when none is connected, in milliseconds. Then it ends if
/// it holds nothing.
pub const IDLE_MS: u16 = 60_000;

/// Most pidfds that are held.
const MOST_KEPT: u64 = 65_536;
/// Most connections. More are closed at once.
const MOST_CONNECTIONS: usize = 64;
/// Descriptors for anything but pidfds: connections, and as many for what is on its way.
const OTHER_DESCRIPTORS: u64 = 2 * MOST_CONNECTIONS as u64;
/// How long nobody is let in when the host is short of descriptors or memory, in milliseconds.
const SHORTAGE_MS: u16 = 1000;

/// Makes this process the keeper of the directory `state`. Returns when no dispatcher has been connected
/// for `idle_ms` and it holds nothing or the directory was removed, and at once if the directory has a
/// keeper.
///
/// # Errors
/// See [`KeeperError`]. None comes after the keeper could be reached, but for a failing `poll`.
pub fn run(state: &Path, idle_ms: u16) -> Result<(), KeeperError> {
    let failed = |what| KeeperError::call(what, state);
    let state = &absolute(state).map_err(|error| KeeperError::Io {
        what: "find the directory",
        path: state.to_owned(),
        source: error,
    })?;
    detach::leave_parent().map_err(failed("detach the keeper of"))?;
    let directory = Directory::open(state)?;
    let Some(_lock) = directory.lock()? else { return Ok(()) };
    let descriptors = detach::raise_limit().map_err(failed("raise the limit for the keeper of"))?;
    let listener = open_door(&directory)?;
    detach::say_ready().map_err(|source| KeeperError::Io {
        what: "open",
        path: "/dev/null".into(),
        source,
    })?;
    let limit = descriptors.saturating_sub(OTHER_DESCRIPTORS).min(MOST_KEPT);
    let kept = Kept::new(usize::try_from(limit).unwrap_or(0));
    let connections = Vec::new();
    let server = Server { directory: &directory, listener, connections, kept, shortage: false };
    let end = server.run(idle_ms).map_err(failed("wait for the dispatchers of"));
    // While the lock is held: a later keeper's socket must not be removed.
    directory.remove_socket().and(end)
}

/// Listens at the directory's socket. Only for the process that holds the lock.
fn open_door(directory: &Directory) -> Result<OwnedFd, KeeperError> {
    use std::os::fd::AsRawFd;
    let failed = |what| KeeperError::call(what, directory.socket());
    directory.remove_socket()?;
    let listener = socket::new().map_err(failed("open"))?;
    bind(listener.as_raw_fd(), &directory.address()?).map_err(failed("bind"))?;
    let backlog = Backlog::new(64).map_err(failed("listen at"))?;
    listen(&listener, backlog).map_err(failed("listen at"))?;
    Ok(listener)
}

struct Server<'a> {
    directory: &'a Directory,
    listener: OwnedFd,
    connections: Vec<Connection>,
    kept: Kept,
    /// The host had no descriptor for a new connection.
    shortage: bool,
}

impl Server<'_> {
    fn run(mut self, idle_ms: u16) -> Result<(), Errno> {
        loop {
            let ready = self.wait(idle_ms)?;
            let Some((door, connections)) = ready.split_first() else { return Ok(()) };
            if ready.iter().all(|flags| flags.is_empty()) && self.is_of_no_use() {
                return Ok(());
            }
            self.shortage = false;
            self.serve(connections);
            if !door.is_empty() {
                self.let_in();
            }
        }
    }

    /// No dispatcher is connected although one could be, and there is nothing for one that comes, or no
    /// way for it to come.
    fn is_of_no_use(&self) -> bool {
        let is_alone = self.connections.is_empty() && !self.shortage;
        is_alone && (self.kept.is_empty() || self.directory.is_removed())
    }

    /// Waits until something is to be done. Returns what is ready: the listener, then each
    /// connection; nothing is, if the time is over.
    fn wait(&self, idle_ms: u16) -> Result<Vec<PollFlags>, Errno> {
        let timeout = match (self.shortage, self.connections.is_empty()) {
            (true, _) => PollTimeout::from(SHORTAGE_MS),
            (false, true) => PollTimeout::from(idle_ms),
            (false, false) => PollTimeout::NONE,
        };
        let door = if self.shortage { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut fds = vec![PollFd::new(self.listener.as_fd(), door)];
        fds.extend(self.connections.iter().map(|one| PollFd::new(one.socket(), one.interest())));
        // A shortage of memory must not end what others rely on.
        while let Err(errno) = poll(&mut fds, timeout) {
            if !matches!(errno, Errno::EINTR | Errno::ENOMEM) {
                return Err(errno);
            }
        }
        Ok(fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect())
    }

    /// Serves the connections that are ready, and closes those that are over.
    fn serve(&mut self, ready: &[PollFlags]) {
        let mut ready = ready.iter();
        self.connections.retain_mut(|connection| {
            let is_ready = ready.next().is_some_and(|flags| !flags.is_empty());
            !is_ready || connection.serve(&mut self.kept).is_ok()
        });
    }

    /// Takes one connection. One of another user is closed, unread.
    fn let_in(&mut self) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = match uninterrupted(|| accept4(&self.listener, flags)) {
            Ok(socket) => socket,
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                self.shortage = true;
                return;
            }
            // It has gone again.
            Err(_) => return,
        };
        let Ok(peer) = socket::peer(&socket) else { return };
        if peer.uid() == geteuid().as_raw() && self.connections.len() < MOST_CONNECTIONS {
            self.connections.push(Connection::new(socket, Pid(peer.pid())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{self, Ask, VERSION};
    use super::super::tag::Tag;
    use super::*;
    use crate::process::pidfd;
    use nix::sys::socket::{Shutdown, connect, shutdown};
    use std::os::fd::AsRawFd;
    use std::thread;

    fn greeted(directory: &Directory) -> OwnedFd {
        let socket = socket::new().unwrap();
        connect(socket.as_raw_fd(), &directory.address().unwrap()).unwrap();
        socket::send(socket.as_fd(), &Ask::Hello(VERSION).packet(), None).unwrap();
        socket
    }

    /// Says no more, and waits until the keeper has closed its end.
    fn part(socket: &OwnedFd) {
        shutdown(socket.as_raw_fd(), Shutdown::Write).unwrap();
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        assert_eq!(poll(&mut fds, PollTimeout::from(45_000_u16)), Ok(1));
    }

    /// Has the keeper hold this process under the lock `lock`.
    fn keep_something(directory: &Directory) {
        let dispatcher = greeted(directory);
        let keep = protocol::keep(&Tag::new("board", 1, "lock").unwrap());
        let pidfd = pidfd::open(Pid(std::process::id().cast_signed())).unwrap();
        socket::send(dispatcher.as_fd(), &keep, Some(pidfd.as_fd())).unwrap();
        part(&dispatcher);
    }

    /// Runs a keeper that ends as soon as it may, once a dispatcher has left something there.
    fn served(act: impl FnOnce(&Directory, &Path)) {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let listener = open_door(&directory).unwrap();
        let (connections, kept) = (Vec::new(), Kept::new(8));
        let server = Server { directory: &directory, listener, connections, kept, shortage: false };
        thread::scope(|scope| {
            let first = greeted(&directory);
            let end = scope.spawn(|| server.run(0));
            keep_something(&directory);
            part(&first);
            act(&directory, place.path());
            assert_eq!(end.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn it_stays_while_it_holds_something_and_ends_when_it_does_not() {
        served(|directory, _| {
            let second = greeted(directory);
            socket::send(second.as_fd(), &Ask::Drop("lock".to_owned()).packet(), None).unwrap();
            part(&second);
        });
    }

    #[test]
    fn it_ends_with_what_it_holds_when_its_directory_is_removed() {
        served(|_, path| std::fs::remove_dir_all(path).unwrap());
    }
}
