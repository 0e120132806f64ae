//! How threads talk to the loop: a queue of messages, and a descriptor that wakes it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::WatchDescriptor;

use crate::board::{BoardError, Exchanged};
use crate::config::{Config, ConfigError};
use crate::machine::adoption::Evidence;
use crate::machine::fault::{Blame, Commit};
use crate::machine::ids::{BoardId, Pid, SpawnId};
use crate::root::BoardPaths;

/// What a thread sends.
#[derive(Debug)]
pub enum Message {
    /// A board is open.
    Connected(BoardId, u64),
    /// It is not. `None`: it is still the file that was refused before.
    ConnectFailed(BoardId, u64, Option<BoardError>),
    /// An exchange was committed.
    Exchanged(BoardId, u64, Box<Exchanged>),
    /// An exchange failed: its number, and whether it may have been committed.
    ExchangeFailed(BoardId, u64, BoardError, Commit),
    /// A worker was started: its attempt, and the pid of its leader.
    Spawned(SpawnId, Pid),
    /// A worker could not be started, and why, in words.
    SpawnFailed(SpawnId, Blame, i32, String),
    /// The answer to a search for the worker of an adopted claim.
    Found(SpawnId, Evidence),
    /// The boards were listed.
    Listed(Listing),
    /// The configuration was read again.
    Configured(Result<Arc<Config>, ConfigError>),
    /// A board's thread has ended.
    BoardThreadEnded(BoardId),
}

/// Which boards there are.
#[derive(Debug)]
pub struct Listing {
    /// The boards; `Err` holds the reason if they cannot be listed.
    pub boards: Result<Vec<BoardPaths>, String>,
    /// New watches, and the directory that each is on.
    pub watches: BTreeMap<WatchDescriptor, PathBuf>,
}

/// The receiving end, which the loop holds.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Message>,
    wake: Arc<EventFd>,
}

/// The sending end, which every thread holds.
#[derive(Clone, Debug)]
pub struct Post {
    queue: Sender<Message>,
    wake: Arc<EventFd>,
}

/// A new pair of ends.
pub fn post() -> Result<(Post, Inbox), Errno> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (sender, queue) = channel();
    Ok((Post { queue: sender, wake: Arc::clone(&wake) }, Inbox { queue, wake }))
}

impl Post {
    /// Sends a message. If the loop is gone, the message is dropped.
    pub fn send(&self, message: Message) {
        let _no_reader_left = self.queue.send(message);
        // Fails only if the counter is full, and then the descriptor is readable already.
        let _readable_already = self.wake.write(1);
    }
}

impl Inbox {
    /// The next message, if there is one.
    pub fn next(&self) -> Option<Message> {
        self.queue.try_recv().ok()
    }

    /// Returns the next message, or `None` after `millis` milliseconds.
    pub fn next_within(&self, millis: u64) -> Option<Message> {
        self.queue.recv_timeout(Duration::from_millis(millis)).ok()
    }

    /// Makes the descriptor unreadable: to be called before the queue is emptied.
    pub fn reset(&self) {
        let _was_not_readable = self.wake.read();
    }

    /// Readable while there may be messages.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
