//! Any events in any order, sense and nonsense, while the clocks go on, stand still or jump.
//!
//! What is checked are the promises of the machine that need no truthful world: they follow from
//! the events that it got, whether or not those were true.

// By their paths, because an ordinary test takes this file in by its own.
#[path = "events/any.rs"]
mod any;
#[path = "events/asked.rs"]
mod asked;
#[path = "events/told.rs"]
mod told;

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use sexton::machine::Dispatcher;
use sexton::machine::adoption::{Evidence, Process, Record};
use sexton::machine::attempt::{Attempt, Stage};
use sexton::machine::board::Link;
use sexton::machine::effect::{Effect, Report};
use sexton::machine::event::{Event, Group, Signal, SignalOutcome};
use sexton::machine::exchange::{Answer, Change, Fence, Observation, Taken};
use sexton::machine::fault::Commit;
use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, WorkerId};
use sexton::machine::policy::Policy;
use sexton::machine::time::{Mono, Now};
use sexton::machine::verdict::ExitStatus;

use any::{
    any_board, any_fault, any_observation, any_policy, any_taken, any_unix, pick, worker_event,
};

/// The wall clock at the start.
const EPOCH: i64 = 1_795_500_000;
/// Most events of one life.
const MOST: usize = 400;

/// Lives through the events that `data` stands for, then ends everything truthfully.
pub fn check(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // Bytes that have run out read as zeroes, so that only the length ends a life.
    let Ok(mut watch) = Watch::begin(&mut u) else { return };
    for _ in 0..MOST {
        if u.is_empty() || watch.happens(&mut u).is_err() {
            break;
        }
    }
    watch.end();
}

/// A dispatcher under watch, and what its events have told it.
struct Watch {
    dispatcher: Dispatcher,
    policy: Policy,
    mono: u64,
    /// The latest moment that any event carried: the machine's clock does not go back.
    latest: u64,
    unix: i64,
    /// When it asked to be woken.
    wake: Option<u64>,
    stopping: bool,
    boards: BTreeMap<BoardId, Talk>,
    workers: BTreeMap<SpawnId, Told>,
    /// Attempts whose claim was asked for, and whose claim took.
    asked: BTreeSet<SpawnId>,
    /// Attempts whose claim it adopted, or asked to adopt.
    adopted: BTreeSet<SpawnId>,
    newest: u64,
    taken: BTreeMap<SpawnId, (BoardId, Fence, WorkerId)>,
    /// Attempts whose end their board took, or of which it said that they were no longer ours.
    settled: BTreeSet<SpawnId>,
    forgotten: BTreeSet<SpawnId>,
}

/// What a board thread knows.
#[derive(Default)]
struct Talk {
    seq: u64,
    connecting: bool,
    exchanging: Option<Vec<Change>>,
    open: bool,
    /// Claims of ours that it showed.
    shown: BTreeSet<Fence>,
}

/// What the events said of a worker that the machine asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// No event named it yet.
    Nothing,
    /// An event said that it exists.
    Lives,
    /// Its leader is gone, others of its group live.
    LeaderGone,
    /// Nothing of it is alive.
    Ended,
    /// It was started by another dispatcher, and is being looked for.
    Sought,
}

impl Watch {
    fn begin(u: &mut Unstructured<'_>) -> Result<Watch> {
        let once = u.ratio(1, 4)?;
        let policy = any_policy(u)?;
        let dispatcher =
            if once { Dispatcher::once(policy.clone()) } else { Dispatcher::new(policy.clone()) };
        let mut watch = Watch {
            dispatcher,
            policy,
            mono: 0,
            latest: 0,
            unix: EPOCH,
            wake: None,
            stopping: false,
            boards: BTreeMap::new(),
            workers: BTreeMap::new(),
            asked: BTreeSet::new(),
            adopted: BTreeSet::new(),
            newest: 0,
            taken: BTreeMap::new(),
            settled: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        };
        for board in 0..2 {
            watch.step(Event::BoardAdded { board: BoardId(board) });
        }
        Ok(watch)
    }

    /// Moves the clocks and lets something happen.
    fn happens(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=15)? {
            0..=5 => {}
            6..=9 => self.mono = self.mono.saturating_add(u.int_in_range(0..=40)?),
            10 | 11 => self.mono = self.mono.saturating_add(u.int_in_range(0..=40_000)?),
            12 => self.mono = self.mono.max(self.wake.unwrap_or(0)),
            13 => self.mono = self.mono.saturating_sub(u.int_in_range(0..=5_000)?),
            14 => self.unix = any_unix(u, self.unix)?,
            _ => self.mono = pick(u, &[0, u64::MAX, u64::MAX - 1, 1 << 40])?,
        }
        let event = self.any_event(u)?;
        self.step(event);
        Ok(())
    }

    fn any_event(&self, u: &mut Unstructured<'_>) -> Result<Event> {
        Ok(match u.int_in_range(0..=31)? {
            // What makes sense, as far as there is something to answer.
            0..=6 => self.answer_of_a_board(u)?,
            7..=12 => self.news_of_a_worker(u)?,
            // What may or may not.
            13 => Event::Tick,
            14 => Event::Wake,
            15 => Event::KernelReady,
            16 => Event::OrphanReaped { pid: Pid(u.arbitrary()?) },
            17 => Event::Reaped { seq: u.arbitrary()? },
            18 => Event::ReapFailed { seq: u.arbitrary()?, errno: u.arbitrary()? },
            19 => Event::BoardAdded { board: any_board(u)? },
            20 => Event::BoardRemoved { board: any_board(u)? },
            21 => Event::BoardsListed,
            22 => Event::BoardChanged { board: any_board(u)? },
            23 => self.board_event(u, any_board, |u| u.int_in_range(0..=9))?,
            24..=27 => worker_event(u, |u| Ok(SpawnId(u.int_in_range(0..=15)?)))?,
            28 => Event::PolicyChanged(Box::new(any_policy(u)?)),
            29 => Event::Drain { grace_ms: pick(u, &[1_000, 0, u64::MAX])? },
            // Rare, or lives would be short.
            30 if u.ratio(1, 4)? => Event::Abort,
            _ => Event::Tick,
        })
    }

    /// An answer to a board's outstanding question.
    fn answer_of_a_board(&self, u: &mut Unstructured<'_>) -> Result<Event> {
        let waiting: Vec<BoardId> = self
            .boards
            .iter()
            .filter(|(_, lane)| lane.connecting || lane.exchanging.is_some())
            .map(|(id, _)| *id)
            .collect();
        if waiting.is_empty() {
            return Ok(Event::Wake);
        }
        let board = pick(u, &waiting)?;
        let seq = self.boards.get(&board).map_or(0, |lane| lane.seq);
        let exchanging = self.boards.get(&board).is_some_and(|lane| lane.exchanging.is_some());
        let fails = u.ratio(1, 8)?;
        Ok(match (exchanging, fails) {
            (false, false) => Event::Connected { board, seq },
            (false, true) => Event::ConnectFailed { board, seq, fault: any_fault(u)? },
            (true, false) => self.exchanged(u, board, seq)?,
            (true, true) => Event::ExchangeFailed {
                board,
                seq,
                fault: any_fault(u)?,
                commit: pick(u, &[Commit::No, Commit::Maybe])?,
            },
        })
    }

    fn exchanged(&self, u: &mut Unstructured<'_>, board: BoardId, seq: u64) -> Result<Event> {
        let changes = self.boards.get(&board).and_then(|lane| lane.exchanging.as_deref());
        let changes = changes.map_or(0, <[Change]>::len);
        // As a rule one answer for each change; else more, or fewer.
        let answers = if u.ratio(1, 8)? { u.int_in_range(0..=8)? } else { changes };
        let taken = (0..answers).map(|_| any_taken(u)).collect::<Result<_>>()?;
        let observation = if u.ratio(1, 4)? { None } else { Some(any_observation(u, self.unix)?) };
        Ok(Event::Exchanged { board, seq, answer: Box::new(Answer { taken, observation }) })
    }

    fn board_event(
        &self,
        u: &mut Unstructured<'_>,
        board: impl Fn(&mut Unstructured<'_>) -> Result<BoardId>,
        seq: impl Fn(&mut Unstructured<'_>) -> Result<u64>,
    ) -> Result<Event> {
        let (board, seq) = (board(u)?, seq(u)?);
        Ok(match u.int_in_range(0..=3)? {
            0 => Event::Connected { board, seq },
            1 => Event::ConnectFailed { board, seq, fault: any_fault(u)? },
            2 => self.exchanged(u, board, seq)?,
            _ => Event::ExchangeFailed {
                board,
                seq,
                fault: any_fault(u)?,
                commit: pick(u, &[Commit::No, Commit::Maybe])?,
            },
        })
    }

    /// News of one of the workers that were asked for.
    fn news_of_a_worker(&self, u: &mut Unstructured<'_>) -> Result<Event> {
        let known: Vec<SpawnId> =
            self.dispatcher.attempts().map(|(_, attempt)| attempt.id()).collect();
        if known.is_empty() {
            return Ok(Event::KernelReady);
        }
        worker_event(u, |u| pick(u, &known))
    }

    fn step(&mut self, event: Event) {
        let before = Before::of(self);
        let expected = self.is_told(&event);
        let reaps_first = matches!(event, Event::Tick | Event::KernelReady);
        let items = items(&event);
        let now = Now { mono: Mono(self.mono), unix: self.unix };
        self.latest = self.latest.max(self.mono);
        let mut effects = Vec::new();
        self.dispatcher.step(now, event, &mut effects);

        if reaps_first {
            let first = effects.first();
            assert!(matches!(first, Some(Effect::Reap { .. })), "not reaped first: {effects:?}");
        }
        let reported = |e: &Effect| matches!(e, Effect::Report(Report::Unexpected(_)));
        assert!(
            expected || effects.iter().any(reported),
            "taken in although it was not asked for: {effects:?}"
        );
        let attempts = before.attempts + self.dispatcher.attempts().count();
        let boards = before.boards + self.boards.len();
        let most = 8 + 8 * attempts + 8 * boards + 4 * items;
        assert!(effects.len() <= most, "{} effects, expected {most}: {effects:?}", effects.len());
        effects.into_iter().for_each(|effect| self.saw(effect));
        self.must_hold(&before);
    }

    fn must_hold(&self, before: &Before) {
        // Adopted workers already run, so limits do not apply to them.
        let adopted = |id: &SpawnId| self.adopted.contains(id);
        let slots = self
            .dispatcher
            .attempts()
            .filter(|(_, attempt)| attempt.stage().uses_host_slot() && !adopted(&attempt.id()));
        let slots = slots.count();
        let most = before.slots.max(self.policy.max_workers as usize);
        assert!(slots <= most, "{slots} slots in use, of {most}");
        // Whoever is neither done nor lent out uses a slot; the others are owed to their boards.
        let mut attempts = BTreeSet::new();
        for (board, attempt) in self.dispatcher.attempts() {
            assert!(attempts.insert((board, attempt.task())), "two attempts at once: {attempt:?}");
            let stage = attempt.stage();
            let owed = matches!(stage, Stage::Gone { .. } | Stage::Claiming { lent: true });
            assert!(owed || stage.uses_host_slot(), "{attempt:?}");
            self.stage_fits(attempt);
            let timed =
                matches!(stage, Stage::Preparing(_) | Stage::Ending(_) | Stage::Draining(_));
            assert!(!timed || self.wake.is_some(), "nothing wakes {attempt:?}");
        }
        for board in self.dispatcher.boards() {
            let lane = self.boards.get(&board.id());
            let (connecting, exchanging) =
                lane.map_or((false, false), |lane| (lane.connecting, lane.exchanging.is_some()));
            assert_eq!(matches!(board.link(), Link::Connecting(_)), connecting);
            assert_eq!(matches!(board.link(), Link::Exchanging(_)), exchanging);
        }
    }

    /// Checks that the stage of an attempt follows from its events.
    fn stage_fits(&self, attempt: &Attempt) {
        let told = self.workers.get(&attempt.id()).copied();
        let fits = match attempt.stage() {
            Stage::Claiming { .. } => told.is_none(),
            Stage::Finding(_) => told == Some(Told::Sought),
            Stage::Preparing(_) | Stage::Cancelling(_) => told == Some(Told::Nothing),
            Stage::Running(_) | Stage::Ending(_) => told == Some(Told::Lives),
            Stage::Draining(_) => told == Some(Told::LeaderGone),
            Stage::Gone { .. } => {
                let left = told == Some(Told::Sought) && self.stopping;
                matches!(told, None | Some(Told::Ended)) || left
            }
        };
        assert!(fits, "{attempt:?}, of which is known: {told:?}");
    }

    pub(super) fn slots(&self) -> usize {
        self.dispatcher.attempts().filter(|(_, attempt)| attempt.stage().uses_host_slot()).count()
    }

    /// From now on all events are true, and a shutdown begins: the dispatcher must finish.
    fn end(&mut self) {
        self.step(Event::Abort);
        for _ in 0..500 {
            if self.dispatcher.attempts().count() == 0 {
                return;
            }
            self.answer_all();
            self.mono = self.wake.unwrap_or(0).max(self.latest.saturating_add(1));
            self.step(Event::Wake);
        }
        // At the end of time nothing comes due any more.
        let left: Vec<_> = self.dispatcher.attempts().collect();
        assert!(self.latest == u64::MAX, "these never end: {left:?}");
    }

    fn answer_all(&mut self) {
        let waiting: Vec<BoardId> = self.boards.keys().copied().collect();
        for board in waiting {
            let Some(lane) = self.boards.get(&board) else { continue };
            let seq = lane.seq;
            if lane.connecting {
                self.step(Event::Connected { board, seq });
            } else if let Some(changes) = &lane.exchanging {
                let taken = |change: &Change| match change {
                    Change::Claim { .. } | Change::Adopt { .. } => {
                        Taken::Claimed { run: RunId(1), max_runtime_s: None }
                    }
                    Change::Started { .. }
                    | Change::Renew { .. }
                    | Change::Finish { .. }
                    | Change::Promote { .. }
                    | Change::Reclaim { .. } => Taken::Yes,
                };
                let taken = changes.iter().map(taken).collect();
                let answer = Answer { taken, observation: Some(Observation::default()) };
                self.step(Event::Exchanged { board, seq, answer: Box::new(answer) });
            }
        }
        let attempts: Vec<(SpawnId, Stage)> =
            self.dispatcher.attempts().map(|(_, a)| (a.id(), a.stage())).collect();
        for (spawn, stage) in attempts {
            let pid = Pid(1);
            let event = match stage {
                Stage::Claiming { .. } => continue,
                Stage::Finding(_) => {
                    let (record, process) = (Record::Started, Process::None(Group::Gone));
                    Event::Found { spawn, evidence: Evidence { record, process, noted: None } }
                }
                Stage::Preparing(_) | Stage::Cancelling(_) => Event::SpawnCancelled { spawn },
                Stage::Running(_) | Stage::Ending(_) => {
                    let status = ExitStatus::Signal(9);
                    Event::ChildExited { spawn, pid, status, group: Group::Gone }
                }
                Stage::Draining(_) => {
                    Event::Signalled { spawn, signal: Signal::Kill, outcome: SignalOutcome::Gone }
                }
                // If its exit came before the answer to its spawn, that is still to come.
                Stage::Gone { .. } => Event::SpawnOk { spawn, pid },
            };
            self.step(event);
        }
    }
}

/// How things stood before a step.
struct Before {
    attempts: usize,
    slots: usize,
    boards: usize,
}

impl Before {
    fn of(watch: &Watch) -> Before {
        let attempts = watch.dispatcher.attempts().count();
        Before { attempts, slots: watch.slots(), boards: watch.boards.len() }
    }
}

/// Returns how many items an event carries.
fn items(event: &Event) -> usize {
    if let Event::Exchanged { answer, .. } = event { answer.taken.len() } else { 0 }
}
