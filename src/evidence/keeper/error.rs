//! Errors between a dispatcher and the keeper.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use super::tag::TagError;

/// Why the keeper did not do what it was asked. No error harms a worker: the worst result is an exit
/// code that a later dispatcher does not know.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// There is no keeper.
    #[error("no keeper answers at {}; start one", .0.display())]
    Absent(PathBuf),
    /// The socket belongs to another user's process.
    #[error(
        "the keeper at {} belongs to the user {uid}, who is another; nothing is handed to it; give \
         each user a state directory",
        socket.display()
    )]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// The user of the process behind it.
        uid: u32,
    },
    /// The keeper is of another version.
    #[error(
        "the keeper at {} speaks version {theirs}, this program {ours}; when its workers are \
         recorded, end it with SIGTERM, and it is started anew",
        socket.display()
    )]
    Version {
        /// The socket.
        socket: PathBuf,
        /// The keeper's version.
        theirs: u16,
        /// This program's version.
        ours: u16,
    },
    /// The keeper does not answer, or accepts no connection.
    #[error("the keeper at {} did not answer within {ms} ms; it may be stopped; try again", socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// How long the dispatcher waited, in milliseconds.
        ms: u16,
    },
    /// The keeper does not read what it is sent.
    #[error("the keeper at {} is behind and takes no packet now; try again", .0.display())]
    Behind(PathBuf),
    /// The keeper has ended or has closed the connection.
    #[error("the keeper at {} has closed the connection; connect again", .0.display())]
    Closed(PathBuf),
    /// The keeper sent a packet that cannot be read as an answer.
    #[error("the keeper at {} sent a packet of an unknown form; connect again", .0.display())]
    Garbled(PathBuf),
    /// The pidfd is kept for another dispatcher, which is alive.
    #[error(
        "the pidfd of {lock} is not given: the dispatcher that claimed it lives and records it itself"
    )]
    DispatcherLives {
        /// The lock that was asked for.
        lock: String,
    },
    /// A board or a lock that cannot be in a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A keeper was started, and ended before it could be reached.
    #[error("cannot start a keeper for {}: {reason}", state.display())]
    Start {
        /// The state directory.
        state: PathBuf,
        /// Its output, or what happened.
        reason: String,
    },
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What failed, as a verb.
        what: &'static str,
        /// The file that it concerned.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl KeeperError {
    pub(super) fn call(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(Errno) -> KeeperError {
        move |errno| KeeperError::Io { what, path: path.into(), source: errno.into() }
    }
}
