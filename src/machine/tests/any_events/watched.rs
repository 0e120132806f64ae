//! A dispatcher under watch: what must hold after each event, and that it comes to its end.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Happening, MAX_WORKERS, Moves};
use crate::machine::Dispatcher;
use crate::machine::adoption::{Evidence, Process, Record};
use crate::machine::attempt::Stage;
use crate::machine::effect::Effect;
use crate::machine::event::{Event, Group, Signal, SignalOutcome};
use crate::machine::exchange::{Answer, Change, Observation, Taken};
use crate::machine::ids::{BoardId, Pid, RunId, SpawnId};
use crate::machine::policy::Policy;
use crate::machine::tests::world::EPOCH;
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::ExitStatus;

/// A dispatcher under watch.
pub(super) struct Watched {
    dispatcher: Dispatcher,
    pub(super) mono: u64,
    pub(super) unix: i64,
    /// When it asked to be woken.
    wake: Option<u64>,
    seqs: BTreeMap<BoardId, u64>,
    /// Boards with an exchange, or a connect, under way.
    exchanging: BTreeMap<BoardId, u64>,
    connecting: BTreeMap<BoardId, u64>,
    /// What each exchange under way carries.
    changes: BTreeMap<BoardId, Vec<Change>>,
    adopted: BTreeSet<SpawnId>,
    noted: BTreeSet<SpawnId>,
    spawned: BTreeSet<SpawnId>,
    forgotten: BTreeSet<SpawnId>,
}

impl Watched {
    pub(super) fn new(once: bool, policy: Policy) -> Watched {
        let dispatcher = if once { Dispatcher::once(policy) } else { Dispatcher::new(policy) };
        Watched {
            dispatcher,
            mono: 0,
            unix: EPOCH,
            wake: None,
            seqs: BTreeMap::new(),
            exchanging: BTreeMap::new(),
            connecting: BTreeMap::new(),
            changes: BTreeMap::new(),
            spawned: BTreeSet::new(),
            adopted: BTreeSet::new(),
            noted: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        }
    }

    pub(super) fn live(&mut self, life: Vec<(Moves, Happening)>) {
        for board in 1..3 {
            self.step(Event::BoardAdded { board: BoardId(board) });
        }
        for (moves, happening) in life {
            let mono = i128::from(self.mono) + moves.mono;
            self.mono = u64::try_from(mono.max(0)).unwrap_or(u64::MAX);
            self.unix = self.unix.saturating_add(moves.unix);
            self.happens(happening);
        }
    }

    pub(super) fn happens(&mut self, happening: Happening) {
        let event = happening.event(|board| self.seqs.get(board).copied().unwrap_or(0));
        self.step(event);
    }

    fn step(&mut self, event: Event) {
        match &event {
            Event::Exchanged { board, seq, .. } | Event::ExchangeFailed { board, seq, .. }
                if self.exchanging.get(board) == Some(seq) =>
            {
                self.exchanging.remove(board);
            }
            Event::Connected { board, seq } | Event::ConnectFailed { board, seq, .. }
                if self.connecting.get(board) == Some(seq) =>
            {
                self.connecting.remove(board);
            }
            _ => {}
        }
        let ticks = event == Event::Tick;
        let now = Now { mono: Mono(self.mono), unix: self.unix };
        let mut effects = Vec::new();
        self.dispatcher.step(now, event, &mut effects);
        if ticks {
            assert!(matches!(effects.first(), Some(Effect::Reap { .. })), "{effects:?}");
        }
        effects.into_iter().for_each(|effect| self.saw(effect));
        self.check();
    }

    fn saw(&mut self, effect: Effect) {
        match effect {
            Effect::Exchange { board, seq, request } => {
                assert_eq!(self.exchanging.insert(board, seq), None, "two exchanges at a time");
                assert_eq!(self.connecting.get(&board), None, "an exchange while connecting");
                self.seqs.insert(board, seq);
                let adopted = request.changes.iter().filter_map(|change| match change {
                    Change::Adopt { spawn, .. } => Some(*spawn),
                    _ => None,
                });
                self.adopted.extend(adopted);
                self.changes.insert(board, request.changes);
            }
            Effect::Connect { board, seq, .. } => {
                assert_eq!(self.connecting.insert(board, seq), None, "two connects at a time");
                assert_eq!(self.exchanging.get(&board), None, "a connect while exchanging");
                self.seqs.insert(board, seq);
            }
            Effect::Disconnect { board } => {
                assert_eq!(self.exchanging.get(&board), None, "let go while exchanging");
            }
            Effect::Spawn { spawn, .. } => {
                assert!(self.spawned.insert(spawn), "spawned twice: {spawn:?}");
            }
            Effect::Signal { spawn, .. } | Effect::CancelSpawn { spawn } => {
                let known = self.spawned.contains(&spawn) || self.adopted.contains(&spawn);
                assert!(known, "neither spawned nor adopted: {spawn:?}");
                assert!(!self.forgotten.contains(&spawn), "forgotten: {spawn:?}");
            }
            Effect::Find { spawn } => {
                assert!(self.adopted.contains(&spawn), "never adopted: {spawn:?}");
            }
            Effect::Note { spawn, .. } => {
                assert!(self.noted.insert(spawn), "noted twice: {spawn:?}");
            }
            Effect::Forget { spawn } => {
                assert!(self.forgotten.insert(spawn), "forgotten twice: {spawn:?}");
            }
            Effect::WakeAt(Mono(at)) => {
                assert!(at > self.mono || at == u64::MAX, "a wake that is over");
                self.wake = Some(at);
            }
            Effect::Reap { .. } | Effect::ListBoards | Effect::SyncNotes | Effect::Report(_) => {}
        }
    }

    fn check(&self) {
        // What is adopted runs already, whatever the limits are.
        let own = self.dispatcher.attempts().filter(|(_, a)| !self.adopted.contains(&a.id()));
        let slots = own.filter(|(_, a)| a.stage().uses_host_slot()).count();
        assert!(slots <= MAX_WORKERS as usize, "{slots} slots in use");
        let mut attempts = BTreeSet::new();
        for (board, attempt) in self.dispatcher.attempts() {
            assert!(attempts.insert((board, attempt.task())), "two attempts: {attempt:?}");
        }
    }

    /// From now on everything is answered as it should be, once everything is to end.
    pub(super) fn end(&mut self) {
        self.step(Event::Abort);
        for _ in 0..500 {
            if self.dispatcher.attempts().count() == 0 {
                break;
            }
            self.answer_all();
            self.mono = self.wake.unwrap_or(0).max(self.mono.saturating_add(1));
            self.step(Event::Wake);
        }
        let left: Vec<_> = self.dispatcher.attempts().collect();
        assert!(left.is_empty(), "{left:?} on {:?}", self.dispatcher.boards().collect::<Vec<_>>());
        let now = Now { mono: Mono(self.mono), unix: self.unix };
        assert!(self.dispatcher.is_drained(now, 0));
    }

    fn answer_all(&mut self) {
        for (board, seq) in self.connecting.clone() {
            self.step(Event::Connected { board, seq });
        }
        for (board, seq) in self.exchanging.clone() {
            let taken = |change: &Change| match change {
                Change::Claim { .. } | Change::Adopt { .. } => {
                    Taken::Claimed { run: RunId(1), max_runtime_s: None }
                }
                _ => Taken::Yes,
            };
            let taken = self.changes.get(&board).unwrap().iter().map(taken).collect();
            let answer = Answer { taken, observation: Some(Observation::default()) };
            self.step(Event::Exchanged { board, seq, answer: Box::new(answer) });
        }
        let attempts: Vec<(SpawnId, Stage)> =
            self.dispatcher.attempts().map(|(_, a)| (a.id(), a.stage())).collect();
        for (spawn, stage) in attempts {
            let pid = Pid(1);
            let event = match stage {
                Stage::Claiming { .. } => continue,
                Stage::Finding(_) => {
                    let (record, process) = (Record::Started, Process::Held { pid, age_ms: 1 });
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
