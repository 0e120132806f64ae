//! The loop: events to the machine, its effects to the kernel and to threads. Nothing here waits for
//! anything but the next event.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use super::attempts::Attempts;
use super::board_thread::Job;
use super::boards::{Boards, Known};
use super::clock;
use super::evidence::{self, EvidenceThreads};
use super::host::Host;
use super::keeper::{self, KeeperLink};
use super::listing::{self, Lister, Place};
use super::post::{Message, Post, post};
use super::reload::Reloader;
use super::report::{self, Names};
use super::signals::{Asked, Signals};
use super::spawn_thread::Spawning;
use super::status::StatusWriter;
use super::tally::Tally;
use super::wakeups::Wakeups;
use crate::board::BoardError;
use crate::config::{Config, ConfigError};
use crate::machine::attempt::End;
use crate::machine::effect::Effect;
use crate::machine::event::Event;
use crate::machine::fault::{Fault, FaultClass};
use crate::machine::ids::BoardId;
use crate::machine::time::Mono;
use crate::machine::verdict::Verdict;
use crate::machine::{Dispatcher, Mode};
use crate::process::children::Children;
use crate::root::Environment;

/// Milliseconds between two checks whether a run that ends on its own is over.
const END_MS: u64 = 100;
/// Time limit in milliseconds for threads to shut down.
const SHUTDOWN_MS: u64 = 2_000;
/// Milliseconds that the state directory may take to answer at the start.
const STATE_MS: u64 = 2_000;
/// Milliseconds in which everything must have been killed and recorded after a second signal.
const ABORT_MS: u64 = 3_000;

/// The settings of a daemon.
#[derive(Debug)]
pub struct Settings {
    /// Where the boards are.
    pub place: Place,
    /// The configuration at the start; SIGHUP replaces it.
    pub config: Config,
    /// The directory of the records and of the keeper's socket; `None` for neither.
    pub state: Option<PathBuf>,
    /// One tick only: each board's ready tasks are claimed once.
    pub once: bool,
    /// Reap adopted orphans: only where this is the program's main thread.
    pub adopt: bool,
    /// The signals to obey.
    pub signals: Option<Signals>,
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

/// One dispatcher at work.
#[derive(Debug)]
pub struct Daemon {
    machine: Dispatcher,
    config: Arc<Config>,
    wakeups: Wakeups,
    boards: Boards,
    attempts: Attempts,
    reloader: Reloader,
    names: Names,
    tally: Tally,
    status: Option<StatusWriter>,
    effects: Vec<Effect>,
}

impl Daemon {
    /// A daemon that has done nothing yet.
    pub fn new(settings: Settings) -> Result<Daemon, StartError> {
        let children = Children::new().map_err(StartError::of("making an epoll"))?;
        Daemon::with(settings, children)
    }

    /// As [`new`](Daemon::new), with these children.
    pub fn with(settings: Settings, children: Children) -> Result<Daemon, StartError> {
        let Settings { place, config, state, once, adopt, signals } = settings;
        let host = Host::of_this_process(&place.root, state.as_deref());
        let host = Arc::new(host.map_err(StartError::of("finding out who we are"))?);
        let (post, inbox) = post().map_err(StartError::of("making a queue"))?;
        let inotify = listing::inotify().map_err(StartError::of("making an inotify"))?;
        let lister = Lister::start(place, Arc::clone(&inotify), post.clone())
            .map_err(StartError::of("starting to list boards"))?;
        let wakeups = Wakeups::new(children.clone(), inbox, inotify, signals)
            .map_err(StartError::of("adding to the epoll"))?;
        let policy = config.policy.clone();
        let config = Arc::new(config);
        let reloader = Reloader::start(Arc::clone(&config), post.clone())
            .map_err(StartError::of("starting to read the configuration again"))?;
        let evidence = evidence_of(&host, &config, &children, &post);
        let spawning = Spawning::new(children.clone(), post.clone(), evidence.clone());
        Ok(Daemon {
            machine: if once { Dispatcher::once(policy) } else { Dispatcher::new(policy) },
            config,
            wakeups,
            attempts: Attempts::new(children, adopt, evidence),
            boards: Boards::new(lister, host, post, spawning),
            reloader,
            names: Names::default(),
            tally: Tally::default(),
            status: None,
            effects: Vec::new(),
        })
    }

    /// Runs the loop, ticking at the configured interval.
    pub fn run(&mut self, until: Until, grace_ms: u64) -> Outcome {
        let mut ticked_at: Option<Mono> = None;
        let mut abort_at = None;
        loop {
            // Computed each time: the interval may have become a shorter one.
            let next_tick =
                |at: Option<Mono>, interval| at.map_or(Mono(0), |at| at.after(interval));
            if clock::now().mono >= next_tick(ticked_at, self.config.policy.interval_ms) {
                tracing::trace!("tick");
                self.feed(Event::Tick);
                ticked_at = Some(clock::now().mono);
            }
            let next_tick = next_tick(ticked_at, self.config.policy.interval_ms);
            self.write_status();
            if self.is_over(until, grace_ms) || abort_at.is_some_and(|at| clock::now().mono >= at) {
                return self.outcome(abort_at.is_some());
            }
            let ends_by_itself = until != Until::Stopped || self.machine.mode() != Mode::Running;
            let limit = abort_at.map_or(next_tick, |at: Mono| at.min(next_tick));
            let limit = if ends_by_itself { limit.min(soon()) } else { limit };
            for asked in self.turn(limit) {
                match asked {
                    Asked::Reload => self.reloader.ask(),
                    Asked::Stop if self.machine.mode() == Mode::Running => {
                        tracing::info!("stopping; workers may finish within {grace_ms} ms");
                        self.feed(Event::Drain { grace_ms });
                    }
                    Asked::Stop => {
                        tracing::warn!("stopping immediately");
                        abort_at.get_or_insert(clock::now().mono.after(ABORT_MS));
                        self.feed(Event::Abort);
                    }
                }
            }
        }
    }

    fn is_over(&self, until: Until, grace_ms: u64) -> bool {
        let now = clock::now();
        match self.machine.mode() {
            Mode::Running => {}
            Mode::Draining { .. } => return self.machine.is_drained(now, grace_ms),
            Mode::Aborting => return self.machine.is_aborted(now, grace_ms),
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
        let deadline = clock::now().mono.after(self.config.policy.board_deadline_ms);
        while !self.machine.is_settled() && clock::now().mono < deadline {
            let _a_tick_is_not_stopped = self.turn(deadline);
        }
        self.take_tally()
    }

    /// What has happened since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        let next = self.tally.emptied();
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

    /// Lets the board threads close their files, and scratch workspaces be removed; what hangs is
    /// left to the end of the process. Returns the boards that are listed.
    pub fn shutdown(&mut self) -> Vec<Known> {
        self.attempts.evidence().finish(SHUTDOWN_MS);
        self.boards.shut_down(self.wakeups.inbox(), SHUTDOWN_MS)
    }

    /// From now on other processes can read what only this one knows of the boards.
    pub fn tell_others(&mut self, root: PathBuf, env: Environment) {
        match StatusWriter::start(root, env) {
            Ok(writer) => self.status = Some(writer),
            Err(error) => {
                tracing::warn!("cannot start the thread that writes the status file: {error}")
            }
        }
    }

    /// Has the status file written if what it holds has changed. While all is well this costs a look
    /// at each board.
    fn write_status(&mut self) {
        if let Some(writer) = &mut self.status {
            writer.update(&self.machine, &self.boards, &self.names);
        }
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
        self.attempts.children()
    }

    /// Waits for the next thing to happen, not beyond `limit`, and deals with it, except for what is
    /// asked by signal, which it returns.
    pub fn turn(&mut self, limit: Mono) -> Vec<Asked> {
        let limit = self.boards.poll_at().map_or(limit, |at| at.min(limit));
        let woken = self.wakeups.wait(limit);
        let (orphans, asked) =
            if woken.signals { self.wakeups.asked() } else { Default::default() };
        // A worker's exit shows in two ways; it is one reason to reap.
        if woken.exits || orphans {
            self.feed(Event::KernelReady);
        }
        while let Some(message) = self.wakeups.message() {
            self.take_in(message);
        }
        let changes = if woken.changes { self.wakeups.changes() } else { Vec::new() };
        for board in self.boards.changed(clock::now().mono, changes) {
            self.feed(Event::BoardChanged { board });
        }
        if self.wakeups.is_due() {
            self.feed(Event::Wake);
        }
        asked
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

    /// Turns a thread's message into the event that the machine knows.
    fn take_in(&mut self, message: Message) {
        match message {
            Message::Connected(board, seq) => self.feed(Event::Connected { board, seq }),
            Message::ConnectFailed(board, seq, error) => {
                let fault = self.note_fault(board, error.as_ref());
                self.feed(Event::ConnectFailed { board, seq, fault });
            }
            Message::Exchanged(board, seq, exchanged) => {
                for (spawn, facts) in exchanged.facts {
                    self.attempts.claimed(spawn, board, facts);
                }
                for (spawn, inherited) in exchanged.inherited {
                    self.names.runs.insert(spawn, (board, inherited.task));
                    self.attempts.evidence().inherit(spawn, inherited);
                }
                if let Some(spawns) = self.boards.spawns(board) {
                    exchanged.unneeded.into_iter().for_each(|s| spawns.cleaner().ask(s));
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
            Message::Found(spawn, evidence) => self.feed(Event::Found { spawn, evidence }),
            Message::Listed(listing) => {
                for event in self.boards.listed(listing, &mut self.names) {
                    self.feed(event);
                }
            }
            Message::Configured(read) => self.configured(read),
            Message::BoardThreadEnded(id) => self.boards.thread_ended(id),
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

    /// Carries out one effect. Answers that are known immediately are pushed to `events`.
    fn perform(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Reap { seq, whom } => self.attempts.reap(seq, whom, events),
            Effect::Signal { spawn, signal } => {
                events.push_back(self.attempts.signal(spawn, signal));
            }
            Effect::ListBoards => self.boards.list(),
            Effect::Connect { board, seq, if_changed } => {
                self.boards.ask(board, Job::Connect { seq, if_changed });
            }
            Effect::Exchange { board, seq, request } => {
                let texts = self.attempts.texts(&request, &self.names);
                let config = Arc::clone(&self.config);
                self.boards.ask(board, Job::Exchange { seq, request, config, texts });
            }
            Effect::Disconnect { board } => {
                let is_forgotten = self.machine.boards().all(|known| known.id() != board);
                self.boards.disconnect(board, is_forgotten);
            }
            Effect::Spawn { spawn, worker, board: _, task: _, run: _ } => {
                let (config, names) = (&self.config, &mut self.names);
                events.extend(self.attempts.spawn(spawn, worker, config, &self.boards, names));
            }
            Effect::CancelSpawn { spawn } => {
                events.extend(self.attempts.call_off(spawn, &self.boards));
            }
            Effect::Find { spawn } => events.extend(self.attempts.find(spawn)),
            Effect::Note { spawn, verdict } => self.attempts.evidence().ended(spawn, verdict),
            Effect::SyncNotes => self.attempts.evidence().sync(),
            Effect::Forget { spawn } => {
                self.attempts.forget(spawn);
                self.names.forget(spawn);
            }
            Effect::WakeAt(at) => self.wakeups.wake_at(at),
            Effect::Report(report) => {
                report::log(&report, &self.names);
                self.tally.count(&report);
            }
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

/// Returns the evidence that outlives this dispatcher, as far as its state directory allows.
fn evidence_of(
    host: &Arc<Host>,
    config: &Config,
    children: &Children,
    post: &Post,
) -> EvidenceThreads {
    let records = host
        .state()
        .and_then(|state| evidence::open_records(state.to_owned(), host.record_name(), STATE_MS));
    let keeper = match host.state() {
        Some(state) if config.keeper => KeeperLink::start(state, children.clone(), STATE_MS),
        Some(_) => {
            tracing::info!("the keeper is switched off; {}", keeper::WITHOUT);
            KeeperLink::default()
        }
        None => KeeperLink::default(),
    };
    let evidence =
        EvidenceThreads::new(Arc::clone(host), records, keeper, children.clone(), post.clone());
    evidence.sweep();
    evidence
}

/// When an end that nothing announces (patience with a sick board) is looked for again.
fn soon() -> Mono {
    clock::now().mono.after(END_MS)
}
