//! What wakes the loop, in one epoll: the exits of children, messages of threads, changes in watched
//! directories, signals. And the clock, as the limit of a wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::inotify::{Inotify, InotifyEvent};

use super::clock;
use super::post::{Inbox, Message};
use super::signals::{Asked, Signals};
use crate::machine::ids::SpawnId;
use crate::machine::time::Mono;
use crate::process::children::{self, Children};

/// Milliseconds for which no further change notices are taken in after some were: each page that a
/// commit writes is one, and the looks that follow the first cover the others.
const PAUSE_MS: u64 = 16;

const MESSAGE: u64 = children::OTHERS;
const CHANGE: u64 = children::OTHERS + 1;
const SIGNAL: u64 = children::OTHERS + 2;

/// Everything that the loop waits for.
#[derive(Debug)]
pub struct Wakeups {
    children: Children,
    inbox: Inbox,
    inotify: Arc<Inotify>,
    /// Until when change notices are not waited for.
    paused_until: Option<Mono>,
    signals: Option<Signals>,
    /// When the machine wants to be woken.
    wake_at: Option<Mono>,
}

/// What a wait ended with, beside messages. Several may be true, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Woken {
    /// Children have exited; their ids were handed on as hints.
    pub exits: bool,
    /// Changes may be there.
    pub changes: bool,
    /// Signals may be there.
    pub signals: bool,
}

impl Wakeups {
    /// Puts all descriptors into the children's epoll.
    pub fn new(
        children: Children,
        inbox: Inbox,
        inotify: Arc<Inotify>,
        signals: Option<Signals>,
    ) -> io::Result<Wakeups> {
        let add = |fd: BorrowedFd<'_>, flags, token| {
            children.epoll().add(fd, EpollEvent::new(flags, token))
        };
        add(inbox.descriptor(), EpollFlags::EPOLLIN, MESSAGE)?;
        add(inotify.as_fd(), change_flags(), CHANGE)?;
        for fd in signals.iter().flat_map(Signals::descriptors) {
            add(fd, EpollFlags::EPOLLIN, SIGNAL)?;
        }
        Ok(Wakeups { children, inbox, inotify, paused_until: None, signals, wake_at: None })
    }

    /// Has [`is_due`](Wakeups::is_due) become true at this moment; replaces any earlier one.
    pub fn wake_at(&mut self, at: Mono) {
        self.wake_at = Some(at);
    }

    /// Whether the moment to wake the machine has come; true once.
    pub fn is_due(&mut self) -> bool {
        self.wake_at.take_if(|at| clock::now().mono >= *at).is_some()
    }

    /// Waits until something happens, not beyond `limit`, and takes in which children have exited.
    pub fn wait(&mut self, limit: Mono) -> Woken {
        let limit = self.wake_at.map_or(limit, |at| at.min(limit));
        let limit = self.end_of_pause().map_or(limit, |at| at.min(limit));
        let wait_ms = limit.since(clock::now().mono);
        let mut timeout = EpollTimeout::try_from(wait_ms).unwrap_or(EpollTimeout::MAX);
        let mut woken = Woken::default();
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.children.epoll().wait(&mut events, timeout) {
                Ok(count) => count,
                // A SIGCHLD interrupts the wait; what it announces shows by now.
                Err(Errno::EINTR) if timeout != EpollTimeout::ZERO => {
                    timeout = EpollTimeout::ZERO;
                    continue;
                }
                Err(_) => {
                    // There is nothing to do but to look at everything.
                    self.inbox.reset();
                    return Woken { exits: true, changes: true, signals: true };
                }
            };
            let mut more = false;
            for event in events.iter().take(count) {
                match event.data() {
                    MESSAGE => self.inbox.reset(),
                    CHANGE => woken.changes = true,
                    SIGNAL => woken.signals = true,
                    spawn => {
                        more = true;
                        self.children.hint(SpawnId(spawn));
                    }
                }
            }
            woken.exits |= more;
            // An exit shows once, so this ends; and exits that come together are reaped together.
            if !more {
                return woken;
            }
            timeout = EpollTimeout::ZERO;
        }
    }

    /// When changes are waited for again, if they are not now.
    fn end_of_pause(&mut self) -> Option<Mono> {
        let at = self.paused_until?;
        if clock::now().mono < at {
            return Some(at);
        }
        let mut event = EpollEvent::new(change_flags(), CHANGE);
        // The kernel does not refuse this; if it did, ticks would still look at the boards.
        let _there_since_the_start = self.children.epoll().modify(&*self.inotify, &mut event);
        self.paused_until = None;
        None
    }

    /// What changed in watched directories since last time.
    pub fn changes(&mut self) -> Vec<InotifyEvent> {
        let mut changes = Vec::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => changes.extend(events),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        let pause_ms = if changes.is_empty() { 0 } else { PAUSE_MS };
        self.paused_until = Some(clock::now().mono.after(pause_ms));
        changes
    }

    /// The next message, if there is one. To be called until there is none.
    pub fn message(&self) -> Option<Message> {
        self.inbox.next()
    }

    /// Where messages come in.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Whether a child has exited since last time, and what was asked. Nothing without signals.
    pub fn asked(&mut self) -> (bool, Vec<Asked>) {
        self.signals.as_mut().map(Signals::asked).unwrap_or_default()
    }
}

/// Shown once, and again only after the pause that follows.
fn change_flags() -> EpollFlags {
    EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::sys::inotify::AddWatchFlags;

    use super::super::listing;
    use super::super::post::post;
    use super::*;
    use crate::machine::effect::Whom;
    use crate::machine::ids::BoardId;
    use crate::process::spawn::{Command, Evidence, spawn};

    /// Long enough for anything on a busy machine.
    const PATIENCE_MS: u64 = 45_000;

    #[test]
    fn each_source_wakes_the_loop_and_changes_only_once_in_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (children, inotify) = (Children::new().unwrap(), listing::inotify().unwrap());
        inotify.add_watch(dir.path(), AddWatchFlags::IN_CREATE).unwrap();
        let (post, inbox) = post().unwrap();
        let mut wakeups = Wakeups::new(children.clone(), inbox, inotify, None).unwrap();
        let within = |ms| clock::now().mono.after(ms);

        let woken = wakeups.wait(within(0));
        assert!(!woken.exits && !woken.changes && !woken.signals);

        post.send(Message::BoardThreadEnded(BoardId(0)));
        wakeups.wait(within(PATIENCE_MS));
        assert!(wakeups.message().is_some() && wakeups.message().is_none());

        let log = File::options().write(true).open("/dev/null").unwrap();
        let command = Command { argv: vec!["/bin/true".into()], env: vec![], cwd: "/".into(), log };
        spawn(&command, Evidence::default(), children.birth(SpawnId(7))).unwrap();
        assert!(wakeups.wait(within(PATIENCE_MS)).exits);
        assert_eq!(children.reap(Whom::Hinted).exits.len(), 1, "its id was handed on");

        wakeups.wake_at(within(0));
        wakeups.wait(within(PATIENCE_MS));
        assert!(wakeups.is_due() && !wakeups.is_due());

        File::create(dir.path().join("a")).unwrap();
        assert!(wakeups.wait(within(PATIENCE_MS)).changes);
        let (began, first) = (clock::now().mono, wakeups.changes());
        assert_eq!(first.len(), 1);
        // The next change waits until the pause is over, and is not lost.
        File::create(dir.path().join("b")).unwrap();
        assert!(!wakeups.wait(within(PATIENCE_MS)).changes);
        assert!(wakeups.wait(within(PATIENCE_MS)).changes);
        assert!(clock::now().mono >= began.after(PAUSE_MS));
        assert_eq!(wakeups.changes().len(), 1);
    }
}
