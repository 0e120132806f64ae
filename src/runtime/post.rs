//! How lanes talk to the loop: a queue, and a descriptor that wakes it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::listing::Listing;
use crate::board::{BoardError, Exchanged};
use crate::config::{Config, ConfigError};
use crate::machine::fault::{Blame, Commit};
use crate::machine::ids::{BoardId, Pid, SpawnId};

/// What a lane has to say.
#[derive(Debug)]
pub enum Message {
    /// A board is open.
    Connected(BoardId, u64),
    /// It is not. `None`: it is still the file that was refused before.
    ConnectFailed(BoardId, u64, Option<BoardError>),
    /// An exchange was committed.
    Exchanged(BoardId, u64, Box<Exchanged>),
    /// An exchange failed.
    ExchangeFailed(BoardId, u64, BoardError, Commit),
    /// A worker exists.
    Spawned(SpawnId, Pid),
    /// A worker could not be started, and why, in words.
    SpawnFailed(SpawnId, Blame, i32, String),
    /// The boards were listed.
    Listed(Listing),
    /// The configuration was read again.
    Configured(Result<Arc<Config>, ConfigError>),
    /// A board's lane has ended.
    BoardThreadEnded(BoardId),
}

/// The loop's end.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Message>,
    bell: Arc<EventFd>,
}

/// A lane's end.
#[derive(Clone, Debug)]
pub struct Post {
    queue: Sender<Message>,
    bell: Arc<EventFd>,
}

/// A new pair of ends.
pub fn post() -> Result<(Post, Inbox), Errno> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let bell = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (sender, queue) = channel();
    Ok((Post { queue: sender, bell: Arc::clone(&bell) }, Inbox { queue, bell }))
}

impl Post {
    /// Sends a message. If the loop is gone there is nobody to tell.
    pub fn send(&self, message: Message) {
        let _nobody_left = self.queue.send(message);
        // Fails only if the counter is full, and then the bell is ringing already.
        let _rings_already = self.bell.write(1);
    }
}

impl Inbox {
    /// The next message, if there is one.
    pub fn next(&self) -> Option<Message> {
        self.queue.try_recv().ok()
    }

    /// The next message, waited for so long at the most.
    pub fn next_within(&self, millis: u64) -> Option<Message> {
        self.queue.recv_timeout(Duration::from_millis(millis)).ok()
    }

    /// Quiets the bell: to be called before the queue is emptied.
    pub fn quiet(&self) {
        let _was_quiet = self.bell.read();
    }

    /// Readable while there may be messages.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
