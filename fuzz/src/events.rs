//! Any events in any order, sense and nonsense, while the clocks go on, stand still or jump.
//!
//! What is checked are the promises of the machine that need no truthful world: they follow from
//! what it has been told, whether or not that was true.

// By its path, because an ordinary test takes this file in by its own.
#[path = "events/any.rs"]
mod any;

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use sexton::machine::Dispatcher;
use sexton::machine::board::Phase as BoardPhase;
use sexton::machine::effect::{Effect, Report};
use sexton::machine::event::{Commit, Event, Group, Signal, SignalOutcome};
use sexton::machine::exchange::{Answer, Change, Fence, Observation, Refusal, Request, Taken};
use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, WorkerId};
use sexton::machine::now::{Mono, Now};
use sexton::machine::policy::{Completion, Policy};
use sexton::machine::run::{Phase, Run};
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

/// A dispatcher under watch, and what it has been told.
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
    newest: u64,
    taken: BTreeMap<SpawnId, (BoardId, Fence, WorkerId)>,
    /// Attempts whose end their board took, or of which it said that they were no longer ours.
    settled: BTreeSet<SpawnId>,
    forgotten: BTreeSet<SpawnId>,
}

/// What a board's lane knows.
#[derive(Default)]
struct Talk {
    seq: u64,
    connecting: bool,
    exchanging: Option<Vec<Change>>,
    open: bool,
    /// Claims of ours that it showed.
    shown: BTreeSet<Fence>,
}

/// What the machine has been told of a worker that it asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Nothing.
    Nothing,
    /// It exists.
    Lives,
    /// Its leader is gone, others of its group live.
    LeaderGone,
    /// Nothing of it is alive.
    Ended,
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
        let known: Vec<SpawnId> = self.dispatcher.runs().map(|run| run.spawn).collect();
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
        let runs = before.runs + self.dispatcher.runs().count();
        let boards = before.boards + self.boards.len();
        let most = 8 + 8 * runs + 8 * boards + 4 * items;
        assert!(effects.len() <= most, "{} effects, expected {most}: {effects:?}", effects.len());
        effects.into_iter().for_each(|effect| self.saw(effect));
        self.must_hold(&before);
    }

    /// Notes what an event says. False if it answers a question that was not asked.
    fn is_told(&mut self, event: &Event) -> bool {
        match event {
            Event::Connected { board, seq } => {
                let lane = self.boards.entry(*board).or_default();
                let asked = lane.connecting && lane.seq == *seq;
                if asked {
                    (lane.connecting, lane.open) = (false, true);
                }
                asked
            }
            Event::ConnectFailed { board, seq, .. } => {
                let lane = self.boards.entry(*board).or_default();
                let asked = lane.connecting && lane.seq == *seq;
                lane.connecting &= !asked;
                asked
            }
            Event::Exchanged { board, seq, answer } => {
                let lane = self.boards.entry(*board).or_default();
                let Some(changes) = lane.exchanging.take_if(|_| lane.seq == *seq) else {
                    return false;
                };
                if let Some(seen) = &answer.observation {
                    lane.shown.extend(&seen.ours);
                }
                for (n, change) in changes.iter().enumerate() {
                    // A change of which the answer says nothing was not written.
                    let nothing = Taken::No(Refusal::Superseded);
                    let taken = answer.taken.get(n).copied().unwrap_or(nothing);
                    self.is_told_of_change(*board, *change, taken);
                }
                true
            }
            Event::ExchangeFailed { board, seq, .. } => {
                let lane = self.boards.entry(*board).or_default();
                lane.exchanging.take_if(|_| lane.seq == *seq).is_some()
            }
            Event::SpawnOk { spawn, .. } => {
                self.hears(*spawn, |told| if told == Told::Nothing { Told::Lives } else { told })
            }
            Event::SpawnFailed { spawn, .. } => {
                self.hears(*spawn, |told| if told == Told::Nothing { Told::Ended } else { told })
            }
            Event::SpawnCancelled { spawn } => {
                // It counts only if it was asked for, which the phase says.
                let asked = self
                    .dispatcher
                    .runs()
                    .any(|run| run.spawn == *spawn && run.phase == Phase::Spawning);
                let ended = |told| if told == Told::Nothing && asked { Told::Ended } else { told };
                self.hears(*spawn, ended)
            }
            Event::ChildExited { spawn, status, group, .. } => {
                let left_alone = *group == Group::Gone || self.may_leave_others(*spawn, *status);
                self.hears(*spawn, |told| match told {
                    Told::Nothing | Told::Lives if left_alone => Told::Ended,
                    Told::Nothing | Told::Lives => Told::LeaderGone,
                    Told::LeaderGone | Told::Ended => told,
                })
            }
            Event::Signalled { spawn, outcome, .. } => {
                let _late_is_fine = self.hears(*spawn, |told| match (told, outcome) {
                    (Told::LeaderGone, SignalOutcome::Gone) => Told::Ended,
                    _ => told,
                });
                true
            }
            Event::PolicyChanged(policy) => {
                self.policy = (**policy).clone();
                true
            }
            Event::Drain { .. } | Event::Abort => {
                self.stopping = true;
                true
            }
            Event::Wake => {
                self.wake = None;
                true
            }
            Event::Tick
            | Event::KernelReady
            | Event::OrphanReaped { .. }
            | Event::Reaped { .. }
            | Event::ReapFailed { .. }
            | Event::BoardAdded { .. }
            | Event::BoardRemoved { .. }
            | Event::BoardsListed
            | Event::BoardChanged { .. } => true,
        }
    }

    fn is_told_of_change(&mut self, board: BoardId, change: Change, taken: Taken) {
        match (change, taken) {
            (Change::Claim { spawn, task, worker, .. }, Taken::Claimed { run, .. }) => {
                self.taken.insert(spawn, (board, Fence { task, run, spawn }, worker));
            }
            (
                Change::Finish { fence, .. },
                Taken::Yes | Taken::Claimed { .. } | Taken::No(Refusal::Superseded),
            ) if self.is_ours(board, fence) => {
                self.settled.insert(fence.spawn);
            }
            _ => {}
        }
    }

    /// Whether a claim of ours took with exactly this fence on this board.
    fn is_ours(&self, board: BoardId, fence: Fence) -> bool {
        self.taken.get(&fence.spawn).is_some_and(|(at, own, _)| (*at, *own) == (board, fence))
    }

    /// Whether what this worker leaves behind in its group, exiting like this, may live on.
    fn may_leave_others(&self, spawn: SpawnId, status: ExitStatus) -> bool {
        self.dispatcher.runs().any(|run| {
            let worker = self.policy.worker(run.worker);
            run.spawn == spawn
                && !matches!(run.phase, Phase::Terminating(_))
                && status == ExitStatus::Code(0)
                && worker.completion == Completion::ExitStatus
                && worker.keep_leftovers
        })
    }

    /// News of a worker. False if it was never asked for; then it must be reported.
    fn hears(&mut self, spawn: SpawnId, becomes: impl FnOnce(Told) -> Told) -> bool {
        match self.workers.get_mut(&spawn) {
            Some(told) => {
                *told = becomes(*told);
                true
            }
            None => false,
        }
    }

    fn saw(&mut self, effect: Effect) {
        match effect {
            Effect::Exchange { board, seq, request } => self.saw_exchange(board, seq, request),
            Effect::Connect { board, seq, .. } => {
                let lane = self.boards.entry(board).or_default();
                assert!(!lane.connecting, "two connects at a time with {board:?}");
                assert!(lane.exchanging.is_none(), "connects in the middle of an exchange");
                assert!(seq > lane.seq, "the number {seq} again");
                (lane.seq, lane.connecting, lane.open) = (seq, true, false);
            }
            Effect::Disconnect { board } => {
                let lane = self.boards.entry(board).or_default();
                assert!(lane.exchanging.is_none(), "lets go in the middle of an exchange");
                assert!(!lane.connecting, "lets go while connecting");
                // A board that comes again is a new one, and counts from the start.
                let listed = self.dispatcher.boards().any(|known| known.id == board);
                *lane = Talk { seq: if listed { lane.seq } else { 0 }, ..Talk::default() };
            }
            Effect::Spawn { spawn, board, task, run, worker } => {
                let fence = Fence { task, run, spawn };
                let claimed = self.taken.get(&spawn);
                assert_eq!(claimed, Some(&(board, fence, worker)), "spawned without its claim");
                let earlier = self.workers.insert(spawn, Told::Nothing);
                assert_eq!(earlier, None, "{spawn:?} spawned twice");
                assert!(!self.stopping, "spawned while stopping");
                assert!(
                    self.policy.worker(worker).enabled,
                    "spawned for {worker:?}, which is gone"
                );
                let alive = || self.workers.iter().filter(|(_, told)| **told != Told::Ended);
                let most = self.policy.max_workers as usize;
                assert!(alive().count() <= most, "more than {most} workers");
                let here = |spawn| self.taken.get(spawn).is_some_and(|(id, ..)| *id == board);
                let most = self.policy.max_in_progress as usize;
                let own = alive().filter(|(spawn, _)| here(*spawn)).count();
                assert!(own <= most, "{own} workers of {board:?}, {most} are allowed");
            }
            Effect::Signal { spawn, signal } => {
                let told = self.workers.get(&spawn);
                assert!(
                    matches!(told, Some(Told::Lives | Told::LeaderGone)),
                    "{signal:?} to {spawn:?}, of which is known: {told:?}"
                );
                assert!(!self.forgotten.contains(&spawn), "{spawn:?} is forgotten");
            }
            Effect::CancelSpawn { spawn } => {
                assert_eq!(self.workers.get(&spawn), Some(&Told::Nothing), "calls off {spawn:?}");
            }
            Effect::Forget { spawn } => {
                assert!(self.forgotten.insert(spawn), "{spawn:?} forgotten twice");
                let told = self.workers.get(&spawn);
                assert!(matches!(told, None | Some(Told::Ended)), "{spawn:?} forgotten: {told:?}");
                let recorded = self.settled.contains(&spawn) || !self.taken.contains_key(&spawn);
                assert!(recorded, "{spawn:?} forgotten before its board took its end");
            }
            Effect::WakeAt(Mono(at)) => {
                assert!(at > self.latest || at == u64::MAX, "a wake at {at} is over");
                self.wake = Some(at);
            }
            Effect::Reap { .. } | Effect::ListBoards | Effect::Report(_) => {}
        }
    }

    fn saw_exchange(&mut self, board: BoardId, seq: u64, request: Request) {
        for change in &request.changes {
            self.saw_change(board, *change);
        }
        let lane = self.boards.entry(board).or_default();
        assert!(lane.exchanging.is_none(), "two exchanges at a time with {board:?}");
        assert!(!lane.connecting && lane.open, "an exchange with {board:?}, which is not open");
        assert!(seq > lane.seq, "the number {seq} again");
        lane.seq = seq;
        lane.exchanging = Some(request.changes);
    }

    fn saw_change(&mut self, board: BoardId, change: Change) {
        match change {
            Change::Claim { spawn, cap, .. } => {
                assert!(self.asked.insert(spawn) && spawn.0 > self.newest, "{spawn:?} again");
                self.newest = spawn.0;
                assert!(!self.stopping, "claims while stopping");
                assert_eq!(cap, self.policy.max_in_progress);
                // What has ended, and is recorded with the same request, makes room in it.
                let ended = |run: &&Run| run.phase == Phase::Exited;
                let runs = self.dispatcher.runs().filter(|run| run.board == board);
                let own = runs.filter(|run| !ended(run)).count();
                assert!(own <= cap as usize, "{own} runs of {board:?}, {cap} are allowed");
                let host = self.dispatcher.runs().filter(|run| run.uses_host_slot()).count();
                let most = self.policy.max_workers as usize;
                assert!(host <= most, "claims for {host} slots, {most} are allowed");
            }
            Change::Started { fence, .. } | Change::Renew { fence, .. } => {
                assert!(self.is_ours(board, fence), "writes to a run that is not ours: {fence:?}");
            }
            Change::Finish { fence, verdict, .. } => {
                if !self.is_ours(board, fence) {
                    let shown = self.boards.get(&board).is_some_and(|b| b.shown.contains(&fence));
                    assert!(shown, "ends a run that is not ours: {fence:?}");
                } else if verdict.may_requeue() {
                    // Or the task would have two workers.
                    let told = self.workers.get(&fence.spawn);
                    let over = matches!(told, None | Some(Told::Ended));
                    assert!(over, "{fence:?} is given back: {verdict:?}, {told:?}");
                }
            }
            Change::Promote { .. } | Change::Free { .. } => {
                assert!(!self.stopping, "moves tasks while stopping");
            }
        }
    }

    fn must_hold(&self, before: &Before) {
        let slots = self.dispatcher.runs().filter(|run| run.uses_host_slot()).count();
        let most = before.slots.max(self.policy.max_workers as usize);
        assert!(slots <= most, "{slots} slots in use, of {most}");
        // Whoever is neither done nor lent out uses a slot; the others are owed to their boards.
        let mut attempts = BTreeSet::new();
        for run in self.dispatcher.runs() {
            assert!(attempts.insert((run.board, run.task)), "two attempts at once: {run:?}");
            let owed = run.phase == Phase::Exited || run.lent;
            assert!(owed || run.uses_host_slot(), "{run:?}");
            self.phase_fits(run);
        }
        let timed = |run: &Run| {
            matches!(
                run.phase,
                Phase::Preparing { .. } | Phase::Terminating(_) | Phase::Draining(..)
            )
        };
        if let Some(run) = self.dispatcher.runs().find(|run| timed(run)) {
            assert!(self.wake.is_some(), "nothing wakes {run:?}");
        }
        for board in self.dispatcher.boards() {
            let lane = self.boards.get(&board.id);
            let (connecting, exchanging) =
                lane.map_or((false, false), |lane| (lane.connecting, lane.exchanging.is_some()));
            assert_eq!(matches!(board.phase, BoardPhase::Connecting { .. }), connecting);
            assert_eq!(matches!(board.phase, BoardPhase::Exchanging { .. }), exchanging);
        }
    }

    /// What the machine believes of a worker is what it has been told.
    fn phase_fits(&self, run: &Run) {
        let told = self.workers.get(&run.spawn).copied();
        let fits = match run.phase {
            Phase::Claimed => told.is_none(),
            Phase::Preparing { .. } | Phase::Spawning => told == Some(Told::Nothing),
            Phase::Running | Phase::Terminating(_) => told == Some(Told::Lives),
            Phase::Draining(..) => told == Some(Told::LeaderGone),
            Phase::Exited => matches!(told, None | Some(Told::Ended)),
        };
        assert!(fits, "{run:?}, of which is known: {told:?}");
    }

    /// From now on everything is told as it is, and everything is to end: so it must.
    fn end(&mut self) {
        self.step(Event::Abort);
        for _ in 0..500 {
            if self.dispatcher.runs().count() == 0 {
                return;
            }
            self.answer_all();
            self.mono = self.wake.unwrap_or(0).max(self.latest.saturating_add(1));
            self.step(Event::Wake);
        }
        // At the end of time nothing comes due any more.
        let left: Vec<_> = self.dispatcher.runs().collect();
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
                    Change::Claim { .. } => Taken::Claimed { run: RunId(1), max_runtime_s: None },
                    Change::Started { .. }
                    | Change::Renew { .. }
                    | Change::Finish { .. }
                    | Change::Promote { .. }
                    | Change::Free { .. } => Taken::Yes,
                };
                let taken = changes.iter().map(taken).collect();
                let answer = Answer { taken, observation: Some(Observation::default()) };
                self.step(Event::Exchanged { board, seq, answer: Box::new(answer) });
            }
        }
        let runs: Vec<Run> = self.dispatcher.runs().cloned().collect();
        for run in runs {
            let (spawn, pid) = (run.spawn, Pid(1));
            let event = match run.phase {
                Phase::Claimed => continue,
                Phase::Preparing { .. } | Phase::Spawning => Event::SpawnCancelled { spawn },
                Phase::Running | Phase::Terminating(_) => {
                    let status = ExitStatus::Signal(9);
                    Event::ChildExited { spawn, pid, status, group: Group::Gone }
                }
                Phase::Draining(..) => {
                    Event::Signalled { spawn, signal: Signal::Kill, outcome: SignalOutcome::Gone }
                }
                // If its exit came before the answer to its spawn, that is still to come.
                Phase::Exited => Event::SpawnOk { spawn, pid },
            };
            self.step(event);
        }
    }
}

/// How things stood before a step.
struct Before {
    runs: usize,
    slots: usize,
    boards: usize,
}

impl Before {
    fn of(watch: &Watch) -> Before {
        let runs = || watch.dispatcher.runs();
        let slots = runs().filter(|run| run.uses_host_slot()).count();
        Before { runs: runs().count(), slots, boards: watch.boards.len() }
    }
}

/// How many things an event tells at once.
fn items(event: &Event) -> usize {
    if let Event::Exchanged { answer, .. } = event { answer.taken.len() } else { 0 }
}
