//! The loop: events to the machine, its effects to kernel and lanes. Nothing here waits for anything
//! but the next event.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollTimeout};
use nix::sys::inotify::WatchDescriptor;

use super::board_thread;
use super::boards::BoardSeat;
use super::clock;
use super::listing::{Lister, Place};
use super::post::{Inbox, Message, Post, post};
use super::reload::Reloader;
use super::report::{Names, Tally};
use super::signals::{Asked, Signals};
use super::spawn_thread::{Fingerprints, Gate};
use super::status::Teller;
use crate::board::{BoardError, Owner, SpawnFacts};
use crate::config::{Config, ConfigError};
use crate::machine::attempt::End;
use crate::machine::effect::Effect;
use crate::machine::event::Event;
use crate::machine::fault::{Fault, FaultClass};
use crate::machine::ids::{BoardId, SpawnId};
use crate::machine::time::Mono;
use crate::machine::verdict::Verdict;
use crate::machine::{Dispatcher, Mode};
use crate::process::children::Children;
use crate::root::BoardPaths;

/// Milliseconds between two looks whether a run that ends by itself is over.
const END_MS: u64 = 100;
/// Milliseconds for which lanes may take their leave at the end.
const SHUTDOWN_MS: u64 = 2_000;
/// Milliseconds in which everything must have been killed and recorded after a second signal.
const ABORT_MS: u64 = 3_000;

/// How a daemon is to be.
#[derive(Debug)]
pub struct Settings {
    /// Where the boards are.
    pub place: Place,
    /// The configuration.
    pub config: Config,
    /// One tick only: each board's ready tasks are claimed once.
    pub once: bool,
    /// Reap adopted orphans: only where this is the program's main thread.
    pub adopt: bool,
}

/// Why a daemon could not begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot start: {tried}: {source}; the host may be out of descriptors or threads")]
pub struct StartError {
    tried: &'static str,
    source: io::Error,
}

impl StartError {
    fn of<E: Into<io::Error>>(tried: &'static str) -> impl Fn(E) -> StartError {
        move |source| StartError { tried, source: source.into() }
    }
}

/// When a run of the loop is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it was asked to stop.
    Stopped,
    /// When there is nothing left to do; what may pass, as a sick board, gets this many milliseconds.
    Idle(u64),
    /// When everything that was claimed has been started, and its pid recorded.
    Started(u64),
}

/// How a run of the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exits that no board took: board, task, and what they mean.
    pub unrecorded: Vec<(String, String, Verdict)>,
    /// True if it was cut short by a second signal.
    pub aborted: bool,
}

/// A board that a daemon knows.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it is.
    pub paths: BoardPaths,
    /// True if it does not answer: whoever touches it may hang, too.
    pub hangs: bool,
}

/// One dispatcher at work.
#[derive(Debug)]
pub struct Daemon {
    pub(super) machine: Dispatcher,
    pub(super) config: Arc<Config>,
    pub(super) owner: Arc<Owner>,
    pub(super) children: Children,
    pub(super) adopt: bool,
    pub(super) lister: Lister,
    pub(super) reloader: Reloader,
    pub(super) post: Post,
    pub(super) inbox: Inbox,
    pub(super) boards: BTreeMap<BoardId, BoardSeat>,
    /// How many lanes of each board have not ended: that of the board, and those that were let go.
    pub(super) lanes: BTreeMap<BoardId, usize>,
    pub(super) watches: BTreeMap<WatchDescriptor, PathBuf>,
    pub(super) spawns: BTreeMap<SpawnId, SpawnSeat>,
    pub(super) fingerprints: Fingerprints,
    pub(super) wake_at: Option<Mono>,
    pub(super) poll_at: Mono,
    pub(super) deaf_until: Mono,
    pub(super) list_error: Option<String>,
    pub(super) names: Names,
    pub(super) tally: Tally,
    pub(super) teller: Option<Teller>,
    pub(super) effects: Vec<Effect>,
}

/// What may have something to say.
#[derive(Clone, Copy)]
struct Stirred {
    children: bool,
    post: bool,
    folders: bool,
    signals: bool,
}

/// An attempt's place in the runtime.
#[derive(Debug)]
pub(super) struct SpawnSeat {
    pub(super) board: BoardId,
    pub(super) facts: Arc<SpawnFacts>,
    pub(super) gate: Arc<Gate>,
}

impl Daemon {
    /// A daemon that has done nothing yet.
    pub fn new(settings: Settings) -> Result<Daemon, StartError> {
        let children = Children::new().map_err(StartError::of("making an epoll"))?;
        Daemon::with(settings, children)
    }

    /// As [`new`](Daemon::new), with these children.
    pub fn with(settings: Settings, children: Children) -> Result<Daemon, StartError> {
        let Settings { place, config, once, adopt } = settings;
        let (post, inbox) = post().map_err(StartError::of("making a queue"))?;
        let lister = Lister::start(place, post.clone())
            .map_err(StartError::of("starting to list boards"))?;
        let owner = board_thread::owner().map_err(StartError::of("finding out who we are"))?;
        let policy = config.policy.clone();
        let config = Arc::new(config);
        let reloader = Reloader::start(Arc::clone(&config), post.clone())
            .map_err(StartError::of("starting to read the configuration again"))?;
        Ok(Daemon {
            machine: if once { Dispatcher::once(policy) } else { Dispatcher::new(policy) },
            config,
            owner: Arc::new(owner),
            children,
            adopt,
            lister,
            reloader,
            post,
            inbox,
            boards: BTreeMap::new(),
            lanes: BTreeMap::new(),
            watches: BTreeMap::new(),
            spawns: BTreeMap::new(),
            fingerprints: Fingerprints::default(),
            wake_at: None,
            poll_at: Mono(0),
            deaf_until: Mono(0),
            list_error: None,
            names: Names::default(),
            tally: Tally::default(),
            teller: None,
            effects: Vec::new(),
        })
    }

    /// Runs the loop, ticking at the configured interval.
    pub fn run(&mut self, until: Until, signals: Option<Signals>, grace_ms: u64) -> Outcome {
        self.run_watched(until, signals, grace_ms, |_| {})
    }

    /// As [`run`](Daemon::run); `watch` is called after each turn of the loop.
    pub fn run_watched(
        &mut self,
        until: Until,
        mut signals: Option<Signals>,
        grace_ms: u64,
        mut watch: impl FnMut(&Daemon),
    ) -> Outcome {
        let mut ticked_at: Option<Mono> = None;
        let mut abort_at = None;
        loop {
            // Reckoned anew each time: the interval may have become a shorter one.
            let next_tick =
                |at: Option<Mono>, interval| at.map_or(Mono(0), |at| at.after(interval));
            if clock::now().mono >= next_tick(ticked_at, self.config.policy.interval_ms) {
                tracing::trace!("tick");
                self.feed(Event::Tick);
                ticked_at = Some(clock::now().mono);
            }
            let next_tick = next_tick(ticked_at, self.config.policy.interval_ms);
            self.tell_standing();
            watch(self);
            if self.is_over(until, grace_ms) || abort_at.is_some_and(|at| clock::now().mono >= at) {
                return self.outcome(abort_at.is_some());
            }
            let ends_by_itself = until != Until::Stopped || self.machine.mode() != Mode::Running;
            let limit = abort_at.map_or(next_tick, |at: Mono| at.min(next_tick));
            let limit = if ends_by_itself { limit.min(soon()) } else { limit };
            for asked in self.turn(limit, signals.as_mut()) {
                match asked {
                    Asked::Reload => self.reloader.ask(),
                    Asked::Stop if self.machine.mode() == Mode::Running => {
                        tracing::info!("stopping; workers may finish within {grace_ms} ms");
                        self.feed(Event::Drain { grace_ms });
                    }
                    Asked::Stop => {
                        tracing::warn!("stopping at once");
                        abort_at.get_or_insert(clock::now().mono.after(ABORT_MS));
                        self.feed(Event::Abort);
                    }
                }
            }
        }
    }

    fn is_over(&self, until: Until, grace_ms: u64) -> bool {
        let now = clock::now();
        if self.machine.mode() != Mode::Running {
            return self.machine.is_drained(now, grace_ms);
        }
        match until {
            Until::Stopped => false,
            Until::Idle(patience_ms) => self.machine.is_idle(now, patience_ms),
            Until::Started(patience_ms) => self.machine.has_started(now, patience_ms),
        }
    }

    /// One tick, and the passes that it began: returns what happened when they have ended, or are
    /// overdue.
    pub fn tick(&mut self) -> Tally {
        self.take_tally();
        self.feed(Event::Tick);
        let deadline = clock::now().mono.after(self.config.policy.lane_deadline_ms);
        while !self.machine.is_settled() && clock::now().mono < deadline {
            let _none_without_signals = self.turn(deadline, None);
        }
        self.take_tally()
    }

    /// What has happened since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        let next = self.tally.begin_anew();
        mem::replace(&mut self.tally, next)
    }

    /// From now on what happens is only counted: lists of it would grow for as long as this lives.
    pub fn count_only(&mut self) {
        self.tally.count_only();
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// Lets the board lanes close their files, and scratch workspaces be removed; what hangs is left
    /// to the end of the process. Gives the boards that are there.
    pub fn shutdown(&mut self) -> Vec<Known> {
        let cleaners: Vec<_> =
            self.boards.values().map(|seat| seat.spawns.cleaner().clone()).collect();
        let boards = mem::take(&mut self.boards).into_iter().filter(|(_, seat)| seat.listed);
        let boards: Vec<_> = boards.map(|(id, seat)| (id, seat.paths.clone())).collect();
        let deadline = clock::now().mono.after(SHUTDOWN_MS);
        while !self.lanes.is_empty()
            && let Some(message) = self.inbox.next_within(deadline.since(clock::now().mono))
        {
            if let Message::BoardThreadEnded(id) = message {
                self.board_thread_ended(id);
            }
        }
        for cleaner in cleaners {
            cleaner.finish(deadline.since(clock::now().mono));
        }
        let lanes = mem::take(&mut self.lanes);
        let known = |(id, paths)| Known { paths, hangs: lanes.contains_key(&id) };
        boards.into_iter().map(known).collect()
    }

    fn board_thread_ended(&mut self, id: BoardId) {
        if let Some(lanes) = self.lanes.get_mut(&id) {
            *lanes -= 1;
        }
        self.lanes.retain(|_, lanes| *lanes > 0);
    }

    /// What has happened so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The names of the boards and tasks in the tally.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The machine, to be looked at.
    #[must_use]
    pub fn machine(&self) -> &Dispatcher {
        &self.machine
    }

    /// The machine, to plant bugs in.
    #[cfg(feature = "sabotage")]
    pub fn machine_mut(&mut self) -> &mut Dispatcher {
        &mut self.machine
    }

    /// The children, to be looked at.
    #[must_use]
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// Waits for the next thing to happen, not beyond `limit`, and deals with it, except for what
    /// somebody asks by signal.
    pub fn turn(&mut self, limit: Mono, mut signals: Option<&mut Signals>) -> Vec<Asked> {
        let stirred = self.wait(limit, signals.as_deref());
        let asked = signals.as_mut().filter(|_| stirred.signals).map(|signals| signals.asked());
        let (orphans, asked) = asked.unwrap_or_default();
        // A worker's exit shows in two ways; it is one reason to reap.
        let exits = stirred.children && self.take_hints();
        if exits || orphans {
            self.feed(Event::KernelReady);
        }
        if stirred.post {
            self.inbox.quiet();
        }
        while let Some(message) = self.inbox.next() {
            self.take_in(message);
        }
        let now = clock::now().mono;
        for board in self.changed_boards(now, stirred.folders) {
            self.feed(Event::BoardChanged { board });
        }
        if self.wake_at.is_some_and(|at| clock::now().mono >= at) {
            self.wake_at = None;
            self.feed(Event::Wake);
        }
        asked
    }

    fn wait(&self, limit: Mono, signals: Option<&Signals>) -> Stirred {
        let until = self.wake_at.map_or(limit, |at| at.min(limit));
        let until = if self.must_poll() { until.min(self.poll_at) } else { until };
        let now = clock::now().mono;
        let is_deaf = now < self.deaf_until;
        let until = if is_deaf { until.min(self.deaf_until) } else { until };
        let timeout = PollTimeout::try_from(until.since(now)).unwrap_or(PollTimeout::MAX);
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let folders = if is_deaf { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut fds: Vec<PollFd<'_>> = vec![
            readable(self.children.epoll().0.as_fd()),
            readable(self.inbox.bell()),
            PollFd::new(self.lister.descriptor(), folders),
        ];
        fds.extend(signals.iter().flat_map(|signals| signals.descriptors()).map(readable));
        if poll(&mut fds, timeout).is_err() {
            // Interrupted or refused, there is nothing to do but to look at everything.
            return Stirred { children: true, post: true, folders: true, signals: true };
        }
        // An error on a descriptor counts too: reading it says more.
        let stirs = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let mut ready = fds.iter().map(stirs);
        Stirred {
            children: ready.next().unwrap_or(true),
            post: ready.next().unwrap_or(true),
            folders: ready.next().unwrap_or(true),
            signals: ready.any(|stirs| stirs),
        }
    }

    /// Hands on which children have exited. False if none has.
    fn take_hints(&self) -> bool {
        let mut events = [EpollEvent::empty(); 64];
        let mut any = false;
        // Each hint shows once. Where all of them are taken, there may be more.
        while let Ok(count @ 1..) = self.children.epoll().wait(&mut events, EpollTimeout::ZERO) {
            any = true;
            events.iter().take(count).for_each(|event| self.children.hint(SpawnId(event.data())));
            if count < events.len() {
                break;
            }
        }
        any
    }

    fn configured(&mut self, read: Result<Arc<Config>, ConfigError>) {
        match read {
            Ok(config) => {
                tracing::info!("configuration read again");
                let policy = Box::new(config.policy.clone());
                self.config = config;
                self.feed(Event::PolicyChanged(policy));
            }
            Err(error) => tracing::error!("configuration unchanged: {error}"),
        }
    }

    /// Turns a lane's message into the event that the machine knows.
    fn take_in(&mut self, message: Message) {
        match message {
            Message::Connected(board, seq) => self.feed(Event::Connected { board, seq }),
            Message::ConnectFailed(board, seq, error) => {
                let fault = self.note_fault(board, error.as_ref());
                self.feed(Event::ConnectFailed { board, seq, fault });
            }
            Message::Exchanged(board, seq, exchanged) => {
                for (spawn, facts) in exchanged.facts {
                    let (facts, gate) = (Arc::new(facts), Arc::default());
                    self.spawns.insert(spawn, SpawnSeat { board, facts, gate });
                }
                if let Some(seat) = self.boards.get(&board) {
                    exchanged.unneeded.into_iter().for_each(|s| seat.spawns.cleaner().ask(s));
                }
                let answer = Box::new(exchanged.answer);
                self.feed(Event::Exchanged { board, seq, answer });
            }
            Message::ExchangeFailed(board, seq, error, commit) => {
                let fault = self.note_fault(board, Some(&error));
                self.feed(Event::ExchangeFailed { board, seq, fault, commit });
            }
            Message::Spawned(spawn, pid) => self.feed(Event::SpawnOk { spawn, pid }),
            Message::SpawnFailed(spawn, blame, errno, text) => {
                self.names.errors.insert(spawn, text);
                self.feed(Event::SpawnFailed { spawn, blame, errno });
            }
            Message::Listed(listing) => self.listed(listing),
            Message::Configured(read) => self.configured(read),
            Message::BoardThreadEnded(id) => self.board_thread_ended(id),
        }
    }

    fn note_fault(&mut self, board: BoardId, error: Option<&BoardError>) -> Fault {
        match error {
            Some(error) => {
                self.names.faults.insert(board, error.to_string());
                Fault { class: error.class, unchanged: false }
            }
            None => Fault { class: FaultClass::Content, unchanged: true },
        }
    }

    /// Hands an event to the machine, and does what it asks for, until it asks for nothing more.
    pub fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            tracing::trace!(?event);
            let mut effects = mem::take(&mut self.effects);
            self.machine.step(clock::now(), event, &mut effects);
            for effect in effects.drain(..) {
                tracing::trace!(?effect);
                self.perform(effect, &mut events);
            }
            self.effects = effects;
        }
    }

    fn outcome(&self, aborted: bool) -> Outcome {
        let unrecorded =
            self.machine.attempts().filter_map(|(board, attempt)| match attempt.debt().end() {
                End::Owed { verdict, .. } => {
                    let board = self.names.boards.get(&board).cloned().unwrap_or_default();
                    Some((board, attempt.task().to_string(), verdict))
                }
                End::Open(_) | End::Settled => None,
            });
        Outcome { unrecorded: unrecorded.collect(), aborted }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// When an end that nothing announces (patience with a sick board) is looked for again.
fn soon() -> Mono {
    clock::now().mono.after(END_MS)
}

#[cfg(test)]
impl Daemon {
    /// One that works in a root without boards, and has not begun.
    pub(super) fn of_nothing(root: &std::path::Path) -> Daemon {
        let env = crate::root::Environment::default();
        let place = Place { root: root.to_owned(), env, only: None };
        let settings = Settings { place, config: Config::default(), once: false, adopt: false };
        Daemon::new(settings).unwrap()
    }
}
