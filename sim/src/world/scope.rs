//! A world small enough to see all of it: what can happen next is not drawn, but chosen from
//! outside, one choice after another.
//!
//! What is on its way can arrive in any order. Time passes when nothing is on its way: then the next
//! alarm rings, or the interval ends. A fault strikes wherever it can; a tick out of turn, and the
//! death of a dispatcher, count as faults that can come at any time.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use sexton::machine::event::Event;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{BoardId, TaskId, WorkerId};
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton::machine::time::Mono;

use super::{EPOCH, FINE, Item, Options, Seat, Seen, World};
use crate::board::{ModelBoard, NewTask};
use crate::fault::{Fault, Faults};
use crate::trace::{Trail, What, Who};

/// Milliseconds from one regular tick to the next. An alarm that is further ahead comes after it.
const INTERVAL_MS: u64 = 60_000;

/// One thing that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    next: Next,
    /// The fault that strikes with it.
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// This item arrives.
    Arrives((u64, u32)),
    /// A dispatcher ticks, although its interval is not over. Counts as a fault.
    Ticks(usize),
    /// The interval is over: each ticks.
    IntervalEnds,
    /// A dispatcher dies. Counts as a fault.
    Dies(usize),
}

/// A small world, and what may still be done to it.
#[derive(Clone)]
pub struct Small {
    world: World,
    faults_left: u8,
}

impl Small {
    /// Two dispatchers, one board, two tasks, one worker each, and at most `faults` faults.
    #[must_use]
    pub fn new(faults: u8) -> Small {
        let mut world = World::new(Vec::new(), Options::default());
        world.faults = Faults::none();
        world.policy = Policy {
            max_workers: 1,
            max_in_progress: 2,
            lookahead: 2,
            workers: vec![WorkerPolicy { kill_after_ms: 50, ..WorkerPolicy::default() }],
            ..Policy::default()
        };
        let mut model = ModelBoard::new();
        for name in ["a", "b"] {
            let id = TaskId::new(name).unwrap_or_else(|| unreachable!("it is short"));
            model.create(&NewTask::new(id, Lane::Worker(WorkerId(0))), EPOCH);
        }
        world.boards = vec![Seen { model, ..Seen::sound(BoardId(0)) }];
        world.items.clear();
        world.seats.clear();
        world.places.clear();
        world.found_seat();
        world.found_seat();
        world.items.clear();
        Small { world, faults_left: faults }
    }

    /// The promise that is broken, if one is.
    #[must_use]
    pub fn broken(&self) -> Option<&super::Broken> {
        self.world.broken.as_ref()
    }

    /// Everything that can happen next. Nothing: this is the end.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let plain = |next| Choice { next, fault: None };
        let arrivals = || self.world.items.iter().filter(|(_, item)| !is_alarm(item));
        // Hearsay changes nothing but when a dispatcher looks: one order will do. It must not come
        // from what the key leaves out, as the numbers of items are.
        let hearsay = arrivals().filter(|(_, item)| is_hearsay(item));
        if let Some((at, _)) = hearsay.min_by_key(|(_, item)| hash_of(item)) {
            return vec![plain(Next::Arrives(*at))];
        }
        let mut choices: Vec<Choice> =
            arrivals().map(|(at, _)| plain(Next::Arrives(*at))).collect();
        if choices.is_empty() {
            choices.extend(self.alarms());
            if choices.is_empty() && self.is_unfinished() {
                choices.push(plain(Next::IntervalEnds));
            }
        }
        if self.faults_left > 0 && !choices.is_empty() {
            let faulty: Vec<Choice> =
                choices.iter().flat_map(|choice| self.with_faults(*choice)).collect();
            choices.extend(faulty);
            // An unexpected tick, and a crash, can come at any time.
            let any_time = |seat| [plain(Next::Ticks(seat)), plain(Next::Dies(seat))];
            choices.extend(self.living().flat_map(any_time));
        }
        choices
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.world.seats.len()).filter(|seat| self.world.seats[*seat].machine.is_some())
    }

    fn is_unfinished(&self) -> bool {
        self.world.seats.iter().any(is_fresh)
            || self.world.remains() != crate::ledger::Remains::default()
    }

    /// The alarms that ring next: those of the same moment have no order.
    fn alarms(&self) -> impl Iterator<Item = Choice> {
        let limit = self.world.moment + INTERVAL_MS * FINE;
        let alarms = || self.world.items.iter().filter(|(_, item)| is_alarm(item));
        let first = alarms().map(|((moment, _), _)| *moment).next().filter(|first| *first <= limit);
        alarms()
            .filter(move |((moment, _), _)| Some(*moment) == first)
            .map(|(at, _)| Choice { next: Next::Arrives(*at), fault: None })
    }

    /// The same, with each fault that can strike there.
    fn with_faults(&self, choice: Choice) -> impl Iterator<Item = Choice> {
        let faults: &[Fault] = match choice.next {
            Next::Arrives(at) => self.world.items.get(&at).map_or(&[], faults_of),
            Next::IntervalEnds => &REAPING,
            Next::Ticks(_) | Next::Dies(_) => &[],
        };
        faults.iter().map(move |fault| Choice { fault: Some(*fault), ..choice })
    }

    /// Applies a choice. Returns false if the fault could not occur: the world is then a duplicate.
    pub fn choose(&mut self, choice: Choice) -> bool {
        self.world.forced = choice.fault;
        match choice.next {
            Next::Arrives(at) => {
                let Some(item) = self.world.items.remove(&at) else { return false };
                if is_alarm(&item) {
                    self.world.moment = self.world.moment.max(at.0);
                }
                self.world.happen(item);
            }
            Next::Ticks(seat) => {
                self.faults_left -= 1;
                self.world.feed(seat, Event::Tick);
            }
            Next::IntervalEnds => {
                self.world.moment += INTERVAL_MS * FINE;
                self.world.judge_reapers();
                for seat in 0..self.world.seats.len() {
                    self.world.feed(seat, Event::Tick);
                }
            }
            Next::Dies(seat) => {
                self.faults_left -= 1;
                self.world.die(seat);
            }
        }
        if choice.fault.is_some() {
            self.faults_left -= 1;
            if self.world.forced.take().is_some() {
                return false;
            }
        }
        let world = &mut self.world;
        let mut items = std::mem::take(&mut world.items);
        items.retain(|_, item| comes_to_something(world, item));
        world.items = items;
        true
    }

    /// Judges what must be true when nothing can happen any more.
    pub fn judge_the_end(&mut self) {
        self.world.judge_the_end();
    }

    /// Keeps a record of what happens from now on.
    pub fn trace(&mut self) {
        self.world.tracing = true;
        self.world.tell(Who::World, || What::Note("a small world".to_owned()));
    }

    /// Returns the record of the run.
    #[must_use]
    pub fn record(&self) -> &[crate::trace::Record] {
        &self.world.trace
    }

    /// The same for two worlds in which the same can happen from now on.
    #[must_use]
    pub fn key(&self) -> u128 {
        let mut parts = [Trail::default(); 2];
        1_u64.hash(&mut parts[1]);
        for part in &mut parts {
            self.follow(part);
        }
        let [low, high] = parts.map(|part| u128::from(part.finish()));
        high << 64 | low
    }

    fn follow(&self, trail: &mut Trail) {
        let world = &self.world;
        let now = world.now();
        // Where in its second it is decides when the wall clock goes on.
        (now.unix, now.mono.0 % 1_000).hash(trail);
        self.faults_left.hash(trail);
        world.kernel.hash(trail);
        world.ledger.reap_failing.keys().for_each(|of| of.hash(trail));
        world.estate.hash(trail);
        // Records of dead dispatchers may still be read.
        let recorded = world.estate.recorded();
        recorded.for_each(|(of, spawn)| world.ledger.get(of, spawn).hash(trail));
        let mut seqs = BTreeMap::new();
        for seat in &world.seats {
            (seat.instance, &seat.refused, &seat.under_way, &seat.well, &seat.lanes).hash(trail);
            (is_fresh(seat), &seat.adopted).hash(trail);
            // Those of reaping steps that are not over; their numbers do not matter.
            seat.due.values().for_each(|due| due.hash(trail));
            for (id, conn) in &seat.conns {
                (id, conn.file, &conn.memory).hash(trail);
            }
            world.ledger.of(seat.instance).for_each(|attempt| attempt.hash(trail));
            if let Some(machine) = &seat.machine {
                machine.canonical(now).hash(trail);
                seqs.insert(seat.instance, machine.renaming(now, []));
            }
        }
        for board in &world.boards {
            board.model.hash(trail);
            (board.file, board.stamp, board.present, board.corrupt).hash(trail);
            let until = [board.busy_until, board.full_until, board.read_only_until];
            until.map(|until| until.saturating_sub(world.moment)).hash(trail);
        }
        // What is on its way has no order, and its numbers count from the newest request.
        let mut items: Vec<u64> = world
            .items
            .iter()
            .map(|((moment, _), item)| {
                let mut one = Trail::default();
                follow_item(item, *moment, world.moment, &seqs, &mut one);
                one.finish()
            })
            .collect();
        items.sort_unstable();
        items.hash(trail);
    }
}

type Renamings = BTreeMap<crate::board::Instance, sexton::machine::canonical::Renaming>;

fn follow_item(item: &Item, moment: u64, now: u64, seqs: &Renamings, trail: &mut Trail) {
    let seq = |of, board, seq| seqs.get(of).map_or(seq, |renaming| renaming.seq(board, seq));
    match item {
        Item::Wake(seat, _) => (seat, moment.saturating_sub(now)).hash(trail),
        Item::Repair(_) | Item::Release(_) => (0, item, moment.saturating_sub(now)).hash(trail),
        Item::Tell(seat, of, event) | Item::Repeat(seat, of, event) => {
            (seat, of).hash(trail);
            match event {
                Event::Connected { board, seq: n } => (1, seq(of, *board, *n)).hash(trail),
                Event::ConnectFailed { board, seq: n, fault } => {
                    (2, seq(of, *board, *n), fault).hash(trail);
                }
                Event::Exchanged { board, seq: n, answer } => {
                    (3, seq(of, *board, *n), answer).hash(trail);
                }
                Event::ExchangeFailed { board, seq: n, fault, commit } => {
                    (4, seq(of, *board, *n), fault, commit).hash(trail);
                }
                other => (5, other).hash(trail),
            }
        }
        Item::Connect { seat, of, board, seq: n, if_changed } => {
            (6, seat, of, seq(of, *board, *n), if_changed).hash(trail);
        }
        // Its policy is the only one that there is.
        Item::Exchange { seat, of, board, seq: n, request, policy: _ } => {
            (7, seat, of, seq(of, *board, *n), request).hash(trail);
        }
        other => (8, other).hash(trail),
    }
}

/// Whether it has not got any event yet.
fn is_fresh(seat: &Seat) -> bool {
    seat.told == Mono(0)
}

fn hash_of(item: &Item) -> u64 {
    let mut trail = Trail::default();
    item.hash(&mut trail);
    trail.finish()
}

/// Returns false for an item whose receiver is gone, for a wake-up that another one replaced, and
/// for ticks, which come when they are chosen.
fn comes_to_something(world: &World, item: &Item) -> bool {
    match item {
        Item::Tick(..) => false,
        Item::Wake(seat, number) => world.seats[*seat].wakes == *number,
        Item::Tell(seat, of, _)
        | Item::Repeat(seat, of, _)
        | Item::Listed(seat, of, _)
        | Item::Connect { seat, of, .. }
        | Item::Exchange { seat, of, .. }
        | Item::Make { seat, of, .. }
        | Item::Find { seat, of, .. }
        | Item::Abort(seat, of) => world.is_alive(*seat, *of),
        Item::End(..)
        | Item::EndBySignal(..)
        | Item::Born { .. }
        | Item::Executes { .. }
        | Item::Fork(..)
        | Item::Own(..)
        | Item::Release(_)
        | Item::Meddle(_)
        | Item::Restore(_)
        | Item::Repair(_)
        | Item::Add(_)
        | Item::Crash(_)
        | Item::Restart(_) => true,
    }
}

/// True for what comes by the passing of time.
fn is_alarm(item: &Item) -> bool {
    matches!(item, Item::Wake(..) | Item::Repair(_) | Item::Release(_))
}

fn is_hearsay(item: &Item) -> bool {
    matches!(item, Item::Listed(..) | Item::Tell(_, _, Event::BoardChanged { .. }))
}

const REAPING: [Fault; 3] = [Fault::ReapError, Fault::ReapInterrupted, Fault::NestedTick];

/// The faults that can strike when this arrives.
fn faults_of(item: &Item) -> &'static [Fault] {
    match item {
        Item::Tell(_, _, Event::KernelReady) => &REAPING,
        Item::Tell(..) => &[Fault::Duplicate],
        Item::Connect { .. } => &[Fault::ConnectEio, Fault::CorruptHeader],
        Item::Exchange { .. } => &[
            Fault::ReadEio,
            Fault::CommitEioBefore,
            Fault::CommitEioAfter,
            Fault::FileReplaced,
            Fault::BusyShort,
            Fault::DiskFull,
            Fault::HeaderGoesBad,
            Fault::DispatchLocked,
            Fault::LostNotice,
        ],
        Item::Make { .. } => &[
            Fault::ForkRefused,
            Fault::DiesInSpawn,
            Fault::ExecFails,
            Fault::DirectoryFails,
            Fault::DeafWorker,
            Fault::Leftovers,
        ],
        Item::End(..) => &[Fault::LostWakeup],
        Item::Find { .. } => &[Fault::ProcessHidden],
        _ => &[],
    }
}
