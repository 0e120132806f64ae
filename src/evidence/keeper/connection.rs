//! One dispatcher, as the keeper sees it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::kept::Kept;
use super::owner;
use super::protocol::{Answer, Ask, LARGEST_ASK, ROOM_FOR_TAGS, VERSION};
use super::socket::{self, Received};
use crate::machine::ids::Pid;

/// Maximum number of unanswered questions of one connection. A connection that asks more is closed.
const MOST_WAITING: usize = 64;
/// Maximum number of packets that are read before the other connections have their turn.
const PACKETS_IN_A_TURN: usize = 64;

/// A connection of a process of this user.
pub struct Connection {
    socket: OwnedFd,
    peer: Pid,
    was_greeted: bool,
    /// Questions not yet answered. Answers are built when they can be sent, so none is stored.
    waiting: VecDeque<Question>,
}

enum Question {
    Get {
        number: u32,
        lock: String,
    },
    /// All tags from this age on.
    List {
        number: u32,
        from: u64,
    },
}

/// The connection is to be closed.
pub struct Over;

impl Connection {
    pub fn new(socket: OwnedFd, peer: Pid) -> Connection {
        Connection { socket, peer, was_greeted: false, waiting: VecDeque::new() }
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFlags {
        if self.waiting.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        }
    }

    /// Reads what has arrived, and answers what can be answered. Never blocks.
    pub fn serve(&mut self, kept: &mut Kept) -> Result<(), Over> {
        for _ in 0..PACKETS_IN_A_TURN {
            let mut buffer = [0; LARGEST_ASK];
            match socket::receive(self.socket.as_fd(), &mut buffer) {
                Ok(received) => self.take(received, &buffer, kept)?,
                Err(Errno::EAGAIN) => break,
                // The other end closed the connection with answers unread. The kernel reports this
                // once, before the packets that it had sent, which may carry the pidfds of its last
                // workers.
                Err(Errno::ECONNRESET) => {}
                Err(_) => return Err(Over),
            }
        }
        self.answer(kept);
        Ok(())
    }

    fn take(&mut self, received: Received, buffer: &[u8], kept: &mut Kept) -> Result<(), Over> {
        let Received { length, mut descriptors, is_cut, lost_descriptors } = received;
        let packet = buffer.get(..length).filter(|_| !is_cut).ok_or(Over)?;
        let ask = Ask::read(packet).ok_or(Over)?;
        let (descriptor, more) = (descriptors.pop(), !descriptors.is_empty());
        if more || self.was_greeted == matches!(ask, Ask::Hello(_)) {
            return Err(Over);
        }
        match (ask, descriptor) {
            (Ask::Keep(tag), Some(pidfd)) if socket::is_pidfd(&pidfd) => kept.keep(tag, pidfd),
            // This process has no descriptor left. That is not the sender's fault: the pidfd is just
            // not kept.
            (Ask::Keep(_), None) if lost_descriptors => {}
            (Ask::Hello(version), None) => self.greet(version)?,
            (Ask::Drop(lock), None) => kept.drop(&lock),
            (Ask::Get { number, lock }, None) => self.ask(Question::Get { number, lock })?,
            (Ask::List { number }, None) => self.ask(Question::List { number, from: 0 })?,
            (
                Ask::Keep(_) | Ask::Hello(_) | Ask::Drop(_) | Ask::Get { .. } | Ask::List { .. },
                _,
            ) => {
                return Err(Over);
            }
        }
        Ok(())
    }

    fn greet(&mut self, version: u16) -> Result<(), Over> {
        self.was_greeted = true;
        let hello = Answer::Hello(VERSION).packet();
        let sent = socket::send(self.socket.as_fd(), &hello, None);
        if sent.is_ok() && version == VERSION { Ok(()) } else { Err(Over) }
    }

    fn ask(&mut self, question: Question) -> Result<(), Over> {
        if self.waiting.len() >= MOST_WAITING {
            return Err(Over);
        }
        self.waiting.push_back(question);
        Ok(())
    }

    /// Answers in the order of the questions, until the other end is behind.
    fn answer(&mut self, kept: &Kept) {
        while let Some(question) = self.waiting.front_mut() {
            let sent = match question {
                Question::Get { number, lock } => {
                    let (answer, pidfd) = look_up(*number, lock, self.peer, kept);
                    socket::send(self.socket.as_fd(), &answer.packet(), pidfd).map(|()| None)
                }
                Question::List { number, from } => {
                    let (tags, more) = kept.page(*from, ROOM_FOR_TAGS);
                    let answer = Answer::Tags { number: *number, last: more.is_none(), tags };
                    socket::send(self.socket.as_fd(), &answer.packet(), None).map(|()| more)
                }
            };
            match (sent, question) {
                (Ok(Some(more)), Question::List { from, .. }) => *from = more,
                (Ok(_), _) => drop(self.waiting.pop_front()),
                (Err(Errno::EAGAIN), _) => return,
                // The other end has closed, or the kernel lets no more descriptors travel. Askers do
                // not wait for long, so the answers are dropped; packets already sent must still be
                // read.
                (Err(_), _) => self.waiting.clear(),
            }
        }
    }
}

fn look_up<'a>(
    number: u32,
    lock: &str,
    asking: Pid,
    kept: &'a Kept,
) -> (Answer, Option<BorrowedFd<'a>>) {
    match kept.get(lock) {
        None => (Answer::NotHere { number }, None),
        Some(_) if owner::another_lives(lock, asking) => (Answer::DispatcherLives { number }, None),
        Some(pidfd) => (Answer::Here { number }, Some(pidfd)),
    }
}
