//! The dispatcher's side of the connection.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, connect, shutdown};
use nix::unistd::geteuid;

use super::COMMAND;
use super::detach::READY;
use super::directory::Directory;
use super::error::KeeperError;
use super::protocol::{Answer, Ask, LARGEST_ANSWER, VERSION};
use super::socket::{self, Received, uninterrupted};
use super::tag::{Tag, check_lock};

/// How long to wait for one answer, in milliseconds.
const ANSWER_MS: u16 = 1000;
/// How long a new keeper may take until it can be reached, in milliseconds.
const START_MS: u16 = 10_000;
/// How often starting a keeper is tried: other dispatchers may start and end keepers at the same time.
const STARTS: usize = 10;

/// A connection to the keeper. No call blocks for longer than a second for each answer.
///
/// Must not be used again after [`KeeperError::Closed`] or [`KeeperError::Garbled`].
#[derive(Debug)]
pub struct Keeper {
    /// The socket's path, for messages.
    path: PathBuf,
    socket: OwnedFd,
    /// The number of the last question. The thread that holds it reads the answers.
    number: Mutex<u32>,
}

impl Keeper {
    /// Connects to the keeper of the directory `state`.
    ///
    /// # Errors
    /// [`KeeperError::Absent`] if there is none; see [`KeeperError`] for the rest.
    pub fn connect(state: &Path) -> Result<Keeper, KeeperError> {
        let directory = Directory::open(state)?;
        let path = directory.socket();
        let socket = socket::new().map_err(KeeperError::call("open a socket for", &path))?;
        let address = directory.address()?;
        let keeper = Keeper { path, socket, number: Mutex::new(0) };
        uninterrupted(|| connect(keeper.socket.as_raw_fd(), &address))
            .map_err(|errno| keeper.unreachable(errno))?;
        keeper.check_user()?;
        keeper.greet()?;
        Ok(keeper)
    }

    /// Like [`connect`](Keeper::connect), but starts a keeper if there is none: `program`, which is
    /// `/proc/self/exe` for a dispatcher, since its file may have been replaced.
    ///
    /// The keeper is then a child of the calling *thread*, which must live as long as the dispatcher
    /// and reap the child: a child of a thread that ends passes to the main thread, which takes it for
    /// a worker's orphan.
    ///
    /// # Errors
    /// See [`KeeperError`]. No child is left behind.
    pub fn connect_or_start(
        program: &Path,
        state: &Path,
    ) -> Result<(Keeper, Option<Child>), KeeperError> {
        for _ in 0..STARTS {
            match Keeper::connect(state) {
                Ok(keeper) => return Ok((keeper, None)),
                // A keeper that is about to end closes the connection.
                Err(KeeperError::Absent(_) | KeeperError::Closed(_)) => {}
                Err(error) => return Err(error),
            }
            if let Some(child) = start(program, state)? {
                return match Keeper::connect(state) {
                    Ok(keeper) => Ok((keeper, Some(child))),
                    Err(error) => Err(end(child, error)),
                };
            }
        }
        Err(not_started(
            state,
            "another has the lock and cannot be reached; look for what stops it",
        ))
    }

    /// Returns the socket on which a new worker sends [`Tag::keep_message`] before it executes its
    /// program. It is closed on exec.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a copy of a worker's pidfd, which replaces an earlier one of the same lock. The keeper
    /// does not confirm it. Never blocks.
    ///
    /// # Errors
    /// [`KeeperError::Behind`], [`KeeperError::Closed`].
    pub fn keep(&self, tag: &Tag, pidfd: BorrowedFd<'_>) -> Result<(), KeeperError> {
        self.send(&tag.keep_message(), Some(pidfd))
    }

    /// Tells the keeper that the run of this lock is recorded, so that it may close the pidfd. Never
    /// blocks.
    ///
    /// # Errors
    /// [`KeeperError::Behind`], [`KeeperError::Closed`], [`KeeperError::Tag`].
    pub fn forget(&self, lock: &str) -> Result<(), KeeperError> {
        check_lock(lock)?;
        self.send(&Ask::Drop(lock.to_owned()).packet(), None)
    }

    /// Returns a copy of the pidfd that is kept under `lock`; `None` if there is none.
    ///
    /// # Errors
    /// [`KeeperError::DispatcherLives`]; for the rest see [`KeeperError`].
    pub fn get(&self, lock: &str) -> Result<Option<OwnedFd>, KeeperError> {
        check_lock(lock)?;
        let mut last = self.lock();
        let number = self.next(&mut last)?;
        self.send(&Ask::Get { number, lock: lock.to_owned() }.packet(), None)?;
        match self.answer_to(number)? {
            (Answer::Here { .. }, Some(pidfd)) => Ok(Some(pidfd)),
            (Answer::NotHere { .. }, None) => Ok(None),
            (Answer::DispatcherLives { .. }, None) => {
                Err(KeeperError::DispatcherLives { lock: lock.to_owned() })
            }
            (
                Answer::Here { .. }
                | Answer::NotHere { .. }
                | Answer::DispatcherLives { .. }
                | Answer::Hello(_)
                | Answer::Tags { .. },
                _,
            ) => Err(self.garbled()),
        }
    }

    /// Returns the tags of all pidfds that are kept, oldest first.
    ///
    /// # Errors
    /// See [`KeeperError`].
    pub fn list(&self) -> Result<Vec<Tag>, KeeperError> {
        let mut last_number = self.lock();
        let number = self.next(&mut last_number)?;
        self.send(&Ask::List { number }.packet(), None)?;
        let mut all = Vec::new();
        loop {
            let (Answer::Tags { last, tags, .. }, None) = self.answer_to(number)? else {
                return Err(self.garbled());
            };
            all.extend(tags);
            if last {
                return Ok(all);
            }
        }
    }

    fn check_user(&self) -> Result<(), KeeperError> {
        let peer = socket::peer(&self.socket);
        let uid = peer.map_err(KeeperError::call("ask for the owner of", &self.path))?.uid();
        let is_ours = uid == geteuid().as_raw();
        if is_ours { Ok(()) } else { Err(KeeperError::Foreign { socket: self.path.clone(), uid }) }
    }

    fn greet(&self) -> Result<(), KeeperError> {
        self.send(&Ask::Hello(VERSION).packet(), None)?;
        match self.receive(self.patience())? {
            Some((Answer::Hello(VERSION), _)) => Ok(()),
            Some((Answer::Hello(theirs), _)) => {
                Err(KeeperError::Version { socket: self.path.clone(), theirs, ours: VERSION })
            }
            Some(_) => Err(self.garbled()),
            None => Err(self.silent()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, u32> {
        // It guards a number, which a panic cannot leave half written.
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of a new question, and discards answers that came too late.
    fn next(&self, number: &mut u32) -> Result<u32, KeeperError> {
        while self.receive(PollTimeout::ZERO)?.is_some() {}
        *number = number.wrapping_add(1);
        Ok(*number)
    }

    /// Returns the answer to this question. Answers to earlier ones are discarded.
    fn answer_to(&self, number: u32) -> Result<(Answer, Option<OwnedFd>), KeeperError> {
        loop {
            let (answer, descriptor) =
                self.receive(self.patience())?.ok_or_else(|| self.silent())?;
            if answer.number() == Some(number) {
                return Ok((answer, descriptor));
            }
        }
    }

    /// Returns the next packet; `None` if none comes in time.
    fn receive(
        &self,
        timeout: PollTimeout,
    ) -> Result<Option<(Answer, Option<OwnedFd>)>, KeeperError> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        uninterrupted(|| poll(&mut fds, timeout))
            .map_err(KeeperError::call("wait for", &self.path))?;
        let mut buffer = [0; LARGEST_ANSWER];
        let received = match socket::receive(self.socket.as_fd(), &mut buffer) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(self.failed("read from", errno)),
        };
        self.read(received, &buffer).map(Some)
    }

    fn read(
        &self,
        received: Received,
        buffer: &[u8],
    ) -> Result<(Answer, Option<OwnedFd>), KeeperError> {
        let Received { length, mut descriptors, is_cut, lost_descriptors } = received;
        if length == 0 {
            return Err(KeeperError::Closed(self.path.clone()));
        }
        if lost_descriptors {
            return Err(self.failed("take a pidfd from", Errno::EMFILE));
        }
        let packet = buffer.get(..length).filter(|_| !is_cut);
        let answer = packet.and_then(Answer::read).ok_or_else(|| self.garbled())?;
        Ok((answer, descriptors.pop()))
    }

    fn send(&self, packet: &[u8], pidfd: Option<BorrowedFd<'_>>) -> Result<(), KeeperError> {
        socket::send(self.socket.as_fd(), packet, pidfd)
            .map_err(|errno| self.failed("write to", errno))
    }

    fn failed(&self, what: &'static str, errno: Errno) -> KeeperError {
        if matches!(errno, Errno::EAGAIN | Errno::ENOBUFS) {
            KeeperError::Behind(self.path.clone())
        } else if matches!(errno, Errno::EPIPE | Errno::ECONNRESET) {
            KeeperError::Closed(self.path.clone())
        } else {
            KeeperError::call(what, &self.path)(errno)
        }
    }

    fn unreachable(&self, errno: Errno) -> KeeperError {
        if matches!(errno, Errno::ENOENT | Errno::ECONNREFUSED) {
            KeeperError::Absent(self.path.clone())
        } else if errno == Errno::EAGAIN {
            // Its queue of connections is full.
            self.silent()
        } else {
            KeeperError::call("connect to", &self.path)(errno)
        }
    }

    fn patience(&self) -> PollTimeout {
        PollTimeout::from(ANSWER_MS)
    }

    fn silent(&self) -> KeeperError {
        KeeperError::Silent { socket: self.path.clone(), ms: ANSWER_MS }
    }

    /// Ends the connection too, so that whoever watches it makes another.
    fn garbled(&self) -> KeeperError {
        let _already_ended = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        KeeperError::Garbled(self.path.clone())
    }
}

/// Starts a keeper, and waits until it can be reached; `None` if another has the lock.
fn start(program: &Path, state: &Path) -> Result<Option<Child>, KeeperError> {
    let failed = |error: io::Error| not_started(state, error);
    let path = absolute(state).map_err(failed)?;
    let (mut output, writer) = io::pipe().map_err(failed)?;
    let errors = writer.try_clone().map_err(failed)?;
    let child = Command::new(program)
        // The name in process lists.
        .arg0("sexton")
        .arg(COMMAND)
        .arg(path)
        // A claim's token in its environment would make it look like that claim's worker. An empty
        // environment would make it look like a worker that is executing its program, and be waited
        // for.
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn();
    let child = child.map_err(failed)?;
    let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    let ready = uninterrupted(|| poll(&mut fds, PollTimeout::from(START_MS)));
    if !ready.is_ok_and(|count| count > 0) {
        let error = not_started(state, format!("it was not ready within {START_MS} ms"));
        return Err(end(child, error));
    }
    // One read, not to the end: another thread's child may hold a copy of the write end.
    let mut said = [0; 4096];
    let length = match output.read(&mut said) {
        Ok(length) => length,
        Err(error) => return Err(end(child, failed(error))),
    };
    match said.get(..length).unwrap_or_default() {
        [READY] => Ok(Some(child)),
        [] => {
            let _status = { child }.wait();
            Ok(None)
        }
        text => Err(end(child, not_started(state, String::from_utf8_lossy(text).trim()))),
    }
}

fn not_started(state: &Path, reason: impl ToString) -> KeeperError {
    KeeperError::Start { state: state.to_owned(), reason: reason.to_string() }
}

/// Ends a keeper that cannot be used, and returns why.
fn end(mut child: Child, error: KeeperError) -> KeeperError {
    // Both fail only if it was reaped, and only this thread reaps it.
    let _ended = child.kill();
    let _reaped = child.wait();
    error
}
