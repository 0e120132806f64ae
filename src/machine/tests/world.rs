//! A dispatcher and its clock, driven by real events only.

use alloc::collections::BTreeMap;

use crate::machine::Dispatcher;
use crate::machine::board::{Board, Link};
use crate::machine::effect::{Effect, Report, Whom};
use crate::machine::event::{Event, Group};
use crate::machine::exchange::{Answer, Change, Fence, Observation, Ready, Request, Taken};
use crate::machine::fault::{Commit, Fault, FaultClass};
use crate::machine::hold::{Candidate, Lane};
use crate::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use crate::machine::policy::Policy;
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::{ExitStatus, Release, Verdict};

/// The board of every test that needs only one, and another.
pub const B: BoardId = BoardId(1);
pub const C: BoardId = BoardId(2);
/// What the wall clock shows when the monotonic one shows zero.
pub const EPOCH: i64 = 1_000_000;

pub struct World {
    pub dispatcher: Dispatcher,
    /// The monotonic clock, in milliseconds.
    pub ms: u64,
    /// The moment of the newest `WakeAt`.
    pub wake: Option<u64>,
    seqs: BTreeMap<BoardId, u64>,
}

impl World {
    pub fn of(dispatcher: Dispatcher) -> World {
        World { dispatcher, ms: 0, wake: None, seqs: BTreeMap::new() }
    }

    pub fn with(policy: Policy) -> World {
        World::of(Dispatcher::new(policy))
    }

    pub fn new() -> World {
        World::with(Policy::default())
    }

    /// Board `B` is listed, open and was found empty.
    pub fn open() -> World {
        World::open_with(Policy::default())
    }

    pub fn open_with(policy: Policy) -> World {
        let mut world = World::with(policy);
        world.add(B);
        world.step(Event::BoardsListed);
        world.look_for(B, Observation::default());
        world
    }

    /// Board `B` is open; one worker runs for task `t1` and its pid is recorded.
    pub fn running() -> World {
        let mut world = World::new();
        world.add(B);
        world.step(Event::BoardsListed);
        world.answer(B, &[], Some(ready(&["t1"])));
        world.answer(B, &[claimed(1)], Some(ours(&[1])));
        world.step(Event::SpawnOk { spawn: SpawnId(1), pid: Pid(101) });
        world.after(5, Event::Wake);
        world.answer(B, &[Taken::Yes], Some(ours(&[1])));
        world
    }

    /// Lists and opens a board; its first look is under way.
    pub fn add(&mut self, board: BoardId) {
        self.step(Event::BoardAdded { board });
        self.connected(board);
    }

    pub fn now(&self) -> Now {
        let seconds = i64::try_from(self.ms / 1000).unwrap();
        Now { mono: Mono(self.ms), unix: EPOCH + seconds }
    }

    /// What an event calls for, now. The alarm clock goes to `wake`, not among the effects.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.dispatcher.step(self.now(), event, &mut effects);
        for effect in &effects {
            if let Effect::Connect { board, seq, .. } | Effect::Exchange { board, seq, .. } = effect
            {
                self.seqs.insert(*board, *seq);
            }
            if let Effect::WakeAt(Mono(at)) = effect {
                self.wake = Some(*at);
            }
        }
        effects.retain(|effect| !matches!(effect, Effect::WakeAt(_)));
        effects
    }

    /// The same, `ms` later.
    pub fn after(&mut self, ms: u64, event: Event) -> Vec<Effect> {
        self.ms += ms;
        self.step(event)
    }

    pub fn seq(&self, board: BoardId) -> u64 {
        self.seqs.get(&board).copied().unwrap_or(0)
    }

    pub fn connected(&mut self, board: BoardId) -> Vec<Effect> {
        let seq = self.seq(board);
        self.step(Event::Connected { board, seq })
    }

    pub fn connect_failed(&mut self, board: BoardId, fault: Fault) -> Vec<Effect> {
        let seq = self.seq(board);
        self.step(Event::ConnectFailed { board, seq, fault })
    }

    /// Answers the exchange that is under way.
    pub fn answer(
        &mut self,
        board: BoardId,
        taken: &[Taken],
        observation: Option<Observation>,
    ) -> Vec<Effect> {
        let answer = Box::new(Answer { taken: taken.to_vec(), observation });
        let seq = self.seq(board);
        self.step(Event::Exchanged { board, seq, answer })
    }

    /// Answers the look that is under way.
    pub fn look_for(&mut self, board: BoardId, observation: Observation) -> Vec<Effect> {
        self.answer(board, &[], Some(observation))
    }

    pub fn exchange_failed(
        &mut self,
        board: BoardId,
        class: FaultClass,
        commit: Commit,
    ) -> Vec<Effect> {
        let seq = self.seq(board);
        self.step(Event::ExchangeFailed { board, seq, fault: fault(class), commit })
    }

    /// The worker of `spawn`, whose pid is 100 more, exits and leaves nothing behind.
    pub fn exits(&mut self, spawn: u64, code: i32) -> Vec<Effect> {
        self.step(exit(spawn, code))
    }

    pub fn board(&self, id: BoardId) -> &Board {
        self.dispatcher.boards().find(|board| board.id() == id).unwrap()
    }

    pub fn link(&self, id: BoardId) -> &Link {
        self.board(id).link()
    }

    /// The exchange with `B` that carries `changes`, as it is sent now.
    pub fn exchange(&self, seq: u64, fresh: bool, want: u32, changes: &[Change]) -> Effect {
        let request = Request {
            changes: changes.to_vec(),
            fresh,
            relist: false,
            want,
            unix: self.now().unix,
        };
        Effect::Exchange { board: B, seq, request }
    }

    pub fn is_idle(&self, grace_ms: u64) -> bool {
        self.dispatcher.is_idle(self.now(), grace_ms)
    }

    pub fn is_drained(&self, grace_ms: u64) -> bool {
        self.dispatcher.is_drained(self.now(), grace_ms)
    }

    pub fn has_started(&self, grace_ms: u64) -> bool {
        self.dispatcher.has_started(self.now(), grace_ms)
    }
}

/// Whether an answer of this board is outstanding.
pub fn is_under_way(board: &Board) -> bool {
    matches!(board.link(), Link::Connecting(_) | Link::Exchanging(_))
}

/// The changes of the only exchange among `effects`.
pub fn sent(effects: &[Effect]) -> Vec<Change> {
    let mut requests = effects.iter().filter_map(|effect| match effect {
        Effect::Exchange { request, .. } => Some(request),
        _ => None,
    });
    let request = requests.next().unwrap();
    assert_eq!(requests.next(), None);
    request.changes.clone()
}

pub fn report(report: Report) -> Effect {
    Effect::Report(report)
}

/// A reaping step that asks all children.
pub fn reap(seq: u64) -> Effect {
    Effect::Reap { seq, whom: Whom::All }
}

/// One that asks only those of which the kernel has said something.
pub fn reap_hinted(seq: u64) -> Effect {
    Effect::Reap { seq, whom: Whom::Hinted }
}

pub fn connect(board: BoardId, seq: u64, if_changed: bool) -> Effect {
    Effect::Connect { board, seq, if_changed }
}

pub fn task(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

/// What is seen: these tasks are ready.
pub fn ready(tasks: &[&str]) -> Observation {
    let candidate = |(order, id): (i64, &&str)| Candidate {
        task: task(id),
        lane: Lane::Worker(WorkerId(0)),
        priority: 0,
        created_at: 0,
        order,
        has_body: true,
        failures: 0,
        last_end: None,
    };
    let tasks = (0..).zip(tasks).map(candidate).collect();
    Observation { ready: Some(Ready { tasks, more: false }), ..Observation::default() }
}

/// What is seen: these runs of ours, the ready tasks unchanged.
pub fn ours(numbers: &[u64]) -> Observation {
    let ours: Vec<Fence> = numbers.iter().map(|n| fence(*n)).collect();
    Observation { running: u32::try_from(ours.len()).unwrap(), ours, ..Observation::default() }
}

/// Attempt `n` is of task `tn`, under run `10 n`.
pub fn fence(n: u64) -> Fence {
    let run = RunId(10 * i64::try_from(n).unwrap());
    Fence { task: task(&format!("t{n}")), run, spawn: SpawnId(n) }
}

pub fn claim(n: u64) -> Change {
    claim_of(fence(n).task, n)
}

/// Attempt `n` at this task.
pub fn claim_of(task: TaskId, n: u64) -> Change {
    Change::Claim { spawn: SpawnId(n), task, worker: WorkerId(0), ttl_s: 900, cap: 8 }
}

pub fn claimed(n: u64) -> Taken {
    Taken::Claimed { run: fence(n).run, max_runtime_s: None }
}

pub fn spawn(n: u64) -> Effect {
    let Fence { task, run, spawn } = fence(n);
    Effect::Spawn { spawn, board: B, task, run, worker: WorkerId(0) }
}

pub fn started(n: u64) -> Change {
    Change::Started { fence: fence(n), pid: pid(n) }
}

pub fn finish(n: u64, verdict: Verdict) -> Change {
    Change::Finish { fence: fence(n), pid: Some(pid(n)), verdict, failure_limit: 2 }
}

/// The end of a run that never had a process.
pub fn release(n: u64, why: Release) -> Change {
    let verdict = Verdict::Released(why);
    Change::Finish { fence: fence(n), pid: None, verdict, failure_limit: 2 }
}

/// Returns the effect that notes the end of attempt `n`.
pub fn note(n: u64, verdict: Verdict) -> Effect {
    Effect::Note { spawn: SpawnId(n), verdict }
}

pub fn pid(n: u64) -> Pid {
    Pid(100 + i32::try_from(n).unwrap())
}

pub fn exit(n: u64, code: i32) -> Event {
    let status = ExitStatus::Code(code);
    Event::ChildExited { spawn: SpawnId(n), pid: pid(n), status, group: Group::Gone }
}

pub fn fault(class: FaultClass) -> Fault {
    Fault { class, unchanged: false }
}
