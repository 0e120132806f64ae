//! One world: dispatchers, boards and a host, driven by entropy through chaos and then calm. The
//! machine in it is the shipped one; everything around it is made up.
//!
//! A request has three moments, each at a time of its own: it is sent, it takes effect, it is
//! answered. An effect itself is atomic.

mod adopted;
mod calm;
mod chance;
mod dispatcher;
mod domain;
mod estate;
mod founding;
mod item;
mod judge;
mod land;
mod life;
mod meddle;
mod orphans;
mod perform;
mod sabotage;
mod scope;
mod seat;
mod seen;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sexton::machine::effect::Effect;
use sexton::machine::event::Event;
use sexton::machine::ids::{BoardId, Pid, SpawnId};
use sexton::machine::policy::Policy;
use sexton::machine::time::{Mono, Now};
use sexton::machine::verdict::ExitStatus;

use crate::board::Instance;
use crate::entropy::Entropy;
use crate::fault::{Fault, Faults};
use crate::kernel::{Kernel, Uid};
use crate::ledger::Ledger;
use crate::saboteur::Saboteur;
use crate::sometimes::Sometimes;
use crate::table::{Before, Cells};
use crate::trace::{Record, Trail, What, Who};

pub use scope::{Choice, Small};

use domain::Place;
use estate::Estate;
use item::Item;
use seat::Seat;
use seen::Seen;

/// What the wall clock shows when a world begins.
const EPOCH: i64 = 1_000_000;
/// Moments of the world in a millisecond: events in the same millisecond still have an order.
const FINE: u64 = 256;
/// In the calm, ticks are no closer than this: hours pass, and no promise depends on shorter ones.
const CALM_INTERVAL_MS: u64 = 20_000;
/// Milliseconds between two ticks where they are rare: there, only wake-ups, timers and retries can
/// carry the work on.
const RARE_TICK_MS: u64 = 3_600_000;
/// Milliseconds for which a dispatcher that stops waits for a board that is out of use.
const RETIRE_MS: u64 = 1_000;
/// Milliseconds that the calm may take until everything has ended.
const CALM_MS: u64 = 4 * 3_600_000;
/// Events after which a run is stopped: no sound run needs this many.
const MOST_EVENTS: u64 = 200_000;

/// How a run is recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A bug to plant.
    pub saboteur: Option<Saboteur>,
    /// Keep a record of everything.
    pub trace: bool,
    /// Note what each event does in each state of the machine.
    pub cells: bool,
    /// Bugs to plant in the machine itself.
    #[cfg(feature = "sabotage")]
    pub planted: sexton::machine::sabotage::Sabotage,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Events handed to machines.
    pub events: u64,
    /// A hash over everything that happened.
    pub hash: u64,
    /// How often each fault struck.
    pub fired: [u32; Fault::COUNT],
    /// How often each state was reached.
    pub reached: [u32; Sometimes::COUNT],
    /// The promise that was broken, if one was.
    pub broken: Option<Broken>,
    /// How many bytes of entropy were used.
    pub used: usize,
    /// If it was asked for.
    pub trace: Vec<Record>,
    /// What each event did, if that was asked for.
    pub cells: Option<Cells>,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Name of the promise.
    pub promise: &'static str,
    /// How it was broken.
    pub how: String,
    /// When, in milliseconds since the beginning.
    pub at: u64,
}

/// Runs the world that follows from this entropy, to its end or to the first broken promise.
#[must_use]
pub fn run(entropy: Vec<u8>, options: Options) -> Run {
    let mut world = World::new(entropy, options);
    while world.broken.is_none() && world.next() {}
    if world.broken.is_none() {
        world.judge_the_end();
    }
    Run {
        events: world.events,
        hash: world.trail.value(),
        fired: world.faults.fired,
        reached: world.reached,
        broken: world.broken,
        used: world.entropy.used(),
        trace: world.trace,
        cells: world.cells,
    }
}

/// A whole simulated world: host, boards, dispatchers and time.
#[derive(Clone)]
struct World {
    entropy: Entropy,
    faults: Faults,
    /// The fault that is to strike where it next can, if it was chosen and not drawn.
    forced: Option<Fault>,
    saboteur: Option<Saboteur>,
    #[cfg(feature = "sabotage")]
    planted: sexton::machine::sabotage::Sabotage,
    /// The moment: milliseconds times [`FINE`].
    moment: u64,
    /// What the wall clock is ahead of the monotonic one, in seconds.
    ahead: i64,
    /// The most that it ever was.
    most_ahead: i64,
    items: BTreeMap<(u64, u32), Item>,
    numbered: u32,
    /// Answers that do not come before the faults end.
    hung: Vec<Item>,
    kernel: Kernel,
    /// The number that each process has, or had.
    pids: BTreeMap<Uid, Pid>,
    boards: Vec<Seen>,
    seats: Vec<Seat>,
    /// The pid namespace of each dispatcher, running or dead.
    places: Vec<Place>,
    domains: u32,
    estate: Estate,
    /// What the owner wants before and after the faults.
    policy: Policy,
    ledger: Ledger,
    calm_since: Option<u64>,
    /// Ticks are an hour apart, and in the calm there is only the first.
    rare_ticks: bool,
    events: u64,
    trail: Trail,
    reached: [u32; Sometimes::COUNT],
    broken: Option<Broken>,
    tracing: bool,
    trace: Vec<Record>,
    cells: Option<Cells>,
    nested: bool,
    /// Workers that left something behind that may live on.
    kept: BTreeSet<Uid>,
    /// In the calm: when to look next whether everything has ended.
    look_again: u64,
    /// What a saboteur remembers.
    notes: Notes,
    buffers: Vec<Vec<Effect>>,
}

/// What a saboteur remembers.
#[derive(Clone, Debug, Default)]
struct Notes {
    dropped: BTreeSet<SpawnId>,
    sick: BTreeSet<BoardId>,
    reap_failed: bool,
}

impl World {
    fn new(entropy: Vec<u8>, options: Options) -> World {
        let mut entropy = Entropy::new(entropy);
        let faults = Faults::swarm(|| entropy.byte());
        let policy = founding::policy(&mut entropy);
        let kernel = Kernel::new(entropy.one_of(&[60, 16, 6, 4]));
        let (eager, rare_ticks) =
            entropy.one_of(&[(false, false), (false, true), (true, false), (true, true)]);
        let mut world = World {
            kernel: if eager { kernel.eager() } else { kernel },
            faults,
            forced: None,
            saboteur: options.saboteur,
            #[cfg(feature = "sabotage")]
            planted: options.planted,
            moment: 0,
            ahead: 0,
            most_ahead: 0,
            items: BTreeMap::new(),
            numbered: 0,
            hung: Vec::new(),
            pids: BTreeMap::new(),
            boards: Vec::new(),
            seats: Vec::new(),
            places: Vec::new(),
            domains: 1,
            estate: Estate::default(),
            policy,
            ledger: Ledger::default(),
            calm_since: None,
            rare_ticks,
            events: 0,
            trail: Trail::default(),
            reached: [0; Sometimes::COUNT],
            broken: None,
            tracing: options.trace,
            trace: Vec::new(),
            cells: options.cells.then(Cells::default),
            nested: false,
            kept: BTreeSet::new(),
            look_again: 0,
            notes: Notes::default(),
            buffers: Vec::new(),
            entropy,
        };
        world.found_boards();
        for _ in 0..world.entropy.one_of(&[1, 1, 2, 2, 3]) {
            world.found_seat();
        }
        world
    }

    /// Lets the next thing happen. False once nothing is left to wait for.
    fn next(&mut self) -> bool {
        if self.calm_since.is_none() && self.entropy.is_spent() {
            self.calm_down();
        }
        let Some(((moment, _), item)) = self.items.pop_first() else { return false };
        self.moment = self.moment.max(moment);
        if self.is_over() {
            return false;
        }
        self.happen(item);
        (0..self.seats.len()).for_each(|seat| self.retire_if_drained(seat));
        true
    }

    fn happen(&mut self, item: Item) {
        self.judge_reapers();
        match item {
            Item::Tick(seat, of) => self.tick(seat, of),
            Item::Wake(seat, number) => {
                if self.seats[seat].wakes == number {
                    self.feed(seat, Event::Wake);
                }
            }
            Item::Tell(seat, of, event) => self.deliver(seat, of, event),
            Item::Repeat(seat, of, event) => {
                if self.is_alive(seat, of) {
                    self.feed(seat, event);
                }
            }
            Item::Listed(seat, of, there) => self.listed(seat, of, &there),
            Item::Connect { seat, of, board, seq, if_changed } => {
                if self.is_alive(seat, of) {
                    self.connect_lands(seat, board, seq, if_changed);
                }
            }
            Item::Exchange { seat, of, board, seq, request, policy } => {
                if self.is_alive(seat, of) {
                    self.exchange_lands(seat, board, seq, request, &policy);
                }
            }
            Item::Make { seat, of, spawn } => {
                if self.is_alive(seat, of) {
                    self.make_process(seat, spawn);
                }
            }
            Item::Born { of, lane } => self.born_late(of, lane),
            Item::Executes { of, lane, uid } => self.executes_late(of, &lane, uid),
            Item::Find { seat, of, spawn } => {
                if self.is_alive(seat, of) {
                    self.look_for(seat, spawn);
                }
            }
            Item::End(uid, status) => {
                if self.kernel.get(uid).is_some_and(|p| !p.stuck) {
                    self.end(uid, status);
                } else if self.kernel.get(uid).is_some() {
                    self.after(1_000, Item::End(uid, status));
                }
            }
            Item::EndBySignal(uid, signal) => self.end(uid, ExitStatus::Signal(signal)),
            Item::Fork(uid, lives_ms) => self.fork(uid, lives_ms),
            Item::Own(uid, deed) => self.own_deed(uid, deed),
            Item::Release(uid) => {
                if let Some(signal) = self.kernel.release(uid) {
                    self.end(uid, ExitStatus::Signal(signal));
                }
            }
            Item::Meddle(board) => self.meddle(board),
            Item::Restore(board) => self.restore(board),
            Item::Repair(board) => self.repair(board),
            Item::Add(board) => self.boards[board].listed = true,
            Item::Crash(seat) if self.calm_since.is_none() => {
                let after = self.entropy.below(4) as u32;
                self.seats[seat].dies_after = Some(after);
            }
            Item::Crash(_) => {}
            Item::Abort(seat, of) => {
                if self.is_alive(seat, of) {
                    self.feed(seat, Event::Abort);
                }
            }
            Item::Restart(seat) => {
                if self.seats[seat].machine.is_none() {
                    self.begin(seat);
                }
            }
        }
    }

    fn deliver(&mut self, seat: usize, of: Instance, mut event: Event) {
        if !self.is_alive(seat, of) {
            return;
        }
        self.bring_up_to_date(seat, &mut event);
        let here = &mut self.seats[seat];
        match &event {
            Event::Connected { board, .. } | Event::Exchanged { board, .. } => {
                here.under_way.remove(board);
                here.well.insert(*board);
                if matches!(event, Event::Exchanged { .. }) && here.failed.remove(board) {
                    here.is_back(*board, self.moment / FINE);
                }
            }
            Event::ConnectFailed { board, .. } | Event::ExchangeFailed { board, .. } => {
                here.under_way.remove(board);
                here.well.remove(board);
                here.failed.insert(*board);
                here.chances.retain(|(on, _), _| on != board);
            }
            Event::Found { spawn, evidence } => {
                let (spawn, process) = (*spawn, evidence.process);
                self.tell_found(seat, spawn, process);
            }
            Event::SpawnOk { spawn, .. } => {
                self.seats[seat].lanes.retain(|lane| lane.spawn != *spawn);
            }
            _ => {}
        }
        if self.fires(Fault::Duplicate, Who::Dispatcher(seat)) {
            let wait = self.millis();
            self.after(wait, Item::Repeat(seat, of, event.clone()));
        }
        self.feed(seat, event);
    }

    fn listed(&mut self, seat: usize, of: Instance, there: &[bool]) {
        for (n, there) in there.iter().enumerate() {
            let board = self.boards[n].id;
            if self.is_alive(seat, of) {
                let (added, removed) = (Event::BoardAdded { board }, Event::BoardRemoved { board });
                self.feed(seat, if *there { added } else { removed });
            }
        }
        if self.is_alive(seat, of) {
            self.feed(seat, Event::BoardsListed);
        }
    }

    /// Hands an event to a dispatcher, and does what it asks for, until it asks for nothing more.
    fn feed(&mut self, seat: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(mut event) = events.pop_front() {
            if self.seats[seat].machine.is_none() || self.broken.is_some() {
                return;
            }
            if !self.sabotage_event(seat, &mut event) {
                continue;
            }
            let mut effects = self.buffers.pop().unwrap_or_default();
            self.step(seat, event, &mut effects);
            for effect in effects.drain(..) {
                if self.seats[seat].machine.is_none() {
                    break;
                }
                self.perform(seat, effect, &mut events);
                self.between_effects(seat, &mut events);
            }
            self.buffers.push(effects);
            self.judge();
        }
    }

    fn step(&mut self, seat: usize, event: Event, effects: &mut Vec<Effect>) {
        let now = self.now_for(seat);
        self.ledger.news.clear();
        let zombies = self.before(seat, &event);
        self.events += 1;
        self.trail.follow(&event);
        self.tell(Who::Dispatcher(seat), || What::Event(event.clone()));
        self.seats[seat].told = self.seats[seat].told.max(now.mono);
        let is_tick = matches!(event, Event::Tick);
        let told = self.saboteur.map(|_| event.clone());
        if let Some(machine) = &mut self.seats[seat].machine {
            match &mut self.cells {
                None => machine.step(now, event, effects),
                Some(cells) => {
                    let before = Before::of(machine, now);
                    machine.step(now, event.clone(), effects);
                    cells.note(&before, &event, machine, effects);
                }
            }
        }
        if let Some(event) = told {
            self.sabotage_effects(seat, &event, effects);
        }
        self.trail.follow(effects);
        if is_tick {
            self.note_tick(seat, zombies, effects);
        }
    }

    /// What may come between two effects of the same step.
    fn between_effects(&mut self, seat: usize, events: &mut VecDeque<Event>) {
        if let Some(left) = self.seats[seat].dies_after {
            if left == 0 {
                return self.die(seat);
            }
            self.seats[seat].dies_after = Some(left - 1);
        }
        if self.nested || self.seats.len() < 2 || events.is_empty() {
            return;
        }
        if self.fires(Fault::RivalTick, Who::Dispatcher(seat)) {
            let rival = (seat + 1) % self.seats.len();
            self.nested = true;
            let news = std::mem::take(&mut self.ledger.news);
            self.feed(rival, Event::Tick);
            self.ledger.news = news;
            self.nested = false;
        }
    }

    fn reach(&mut self, state: Sometimes) {
        self.reached[state as usize] += 1;
    }

    fn is_alive(&self, seat: usize, of: Instance) -> bool {
        self.seats[seat].machine.is_some() && self.seats[seat].instance == of
    }

    fn now(&self) -> Now {
        let mono = self.moment / FINE;
        Now { mono: Mono(mono), unix: EPOCH + self.ahead + (mono / 1000) as i64 }
    }

    fn now_for(&mut self, seat: usize) -> Now {
        let now = self.now();
        // Few events show it; asking each would use up all entropy.
        if self.events.is_multiple_of(16) && self.fires(Fault::MonoBack, Who::Dispatcher(seat)) {
            return Now { mono: Mono(now.mono.0.saturating_sub(seat::CLOCK_BACK_MS)), ..now };
        }
        now
    }

    fn tell(&mut self, who: Who, what: impl FnOnce() -> What) {
        if self.tracing {
            self.trace.push(Record { at: self.moment / FINE, who, what: what() });
        }
    }
}
