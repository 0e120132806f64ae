//! Random steps. They are numbers that get their meaning from the board as it is then: three of four
//! hit a task that they can do something to.

use proptest::prelude::*;
use sexton::machine::exchange::{Change, Expired, Fence, LeaseEnd, Observation, Orphan, Request};
use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::verdict::{ExitStatus, Release, Verdict};
use sexton_sim::board::{BlockKind, Holder, Instance, NewTask, Status, Task};

use super::verb::{ANCHOR, Verb};
use super::{Pair, Step, current_run, task};

const IDS: [&str; 5] = ["t_1", "t_2", "t_3", "t_4", "t_5"];
const PIDS: std::ops::Range<i32> = 100..104;

/// An operation that is applied to model and host.
#[derive(Clone, Debug)]
pub enum Op {
    Send { asks: Vec<Ask>, fresh: bool, relist: bool, want: u32, contended: bool },
    Do { verb: u8, task: u8, other: u8, flag: bool, n: u8 },
    Wait(i64),
    Sit(u32),
    Lives { pid: i32, alive: bool },
    Stands { dispatcher: u32, how: u8 },
    Has { attempt: u64, worker: bool },
    Policy { failure_limit: u32, default_worker: Option<u16> },
}

/// A change before it is known what it hits.
#[derive(Clone, Debug)]
pub struct Ask {
    kind: u8,
    task: u8,
    /// What a fence is off by: less than 10 is nothing.
    off: u8,
    n: u8,
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..150)
}

fn op() -> impl Strategy<Value = Op> {
    let ask = (0..13_u8, any::<u8>(), 0..12_u8, any::<u8>()).prop_map(|(kind, task, off, n)| Ask {
        kind,
        task,
        off,
        n,
    });
    let asks = prop::collection::vec(ask, 0..4);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    let send = (asks, flags, 0..4_u32).prop_map(|(asks, (fresh, relist, contended), want)| {
        Op::Send { asks, fresh: fresh && relist, relist, want, contended }
    });
    let verb = (0..25_u8, any::<u8>(), any::<u8>(), any::<bool>(), any::<u8>())
        .prop_map(|(verb, task, other, flag, n)| Op::Do { verb, task, other, flag, n });
    let waits = prop::sample::select(vec![0, 1, 2, 29, 30, 31, 299, 300, 870, 901, -5, -310]);
    prop_oneof![
        8 => send,
        6 => verb,
        2 => waits.prop_map(Op::Wait),
        1 => (0..2_u32).prop_map(Op::Sit),
        1 => (PIDS, any::<bool>()).prop_map(|(pid, alive)| Op::Lives { pid, alive }),
        1 => (0..2_u32, 0..4_u8).prop_map(|(dispatcher, how)| Op::Stands { dispatcher, how }),
        1 => (0..8_u64, any::<bool>())
            .prop_map(|(attempt, worker)| Op::Has { attempt, worker }),
        1 => (1..4_u32, prop::option::of(0..2_u16)).prop_map(|(failure_limit, default_worker)| {
            Op::Policy { failure_limit, default_worker }
        }),
    ]
}

/// A run through random steps.
pub struct Walk {
    pair: Pair,
    spawn: u64,
    /// What the boards last showed.
    seen: Observation,
}

impl Walk {
    pub fn new(pair: Pair) -> Walk {
        let mut walk = Walk { pair, spawn: 0, seen: Observation::default() };
        walk.pair.add(ANCHOR);
        walk.pair.verb(&Verb::Schedule(task(ANCHOR))).expect("out of the way");
        for id in &IDS[..3] {
            walk.pair.add(id);
        }
        walk
    }

    /// Applies all operations to both boards; fails with the operations that led to a difference.
    pub fn all(&mut self, ops: &[Op]) -> Step<()> {
        let mut trace = String::new();
        for op in ops {
            self.one(op, &mut trace).map_err(|error| format!("{trace}{error}"))?;
        }
        Ok(())
    }

    fn one(&mut self, op: &Op, trace: &mut String) -> Step<()> {
        match op {
            Op::Send { asks, fresh, relist, want, contended } => {
                let changes = asks.iter().map(|ask| self.change(ask)).collect();
                let unix = self.pair.unix;
                let request =
                    Request { changes, fresh: *fresh, relist: *relist, want: *want, unix };
                self.pair.contended = *contended;
                *trace += &format!("{request:?}\n");
                let answer = self.pair.exchange(&request)?;
                self.seen = answer.observation.unwrap_or(std::mem::take(&mut self.seen));
            }
            Op::Do { verb, task, other, flag, n } => {
                let verb = self.verb(*verb, *task, *other, *flag, *n);
                *trace += &format!("{verb:?}\n");
                if matches!(verb, Verb::Delete(_)) {
                    self.pair.verb(&Verb::Comment(super::task(ANCHOR)))?;
                }
                self.pair.verb(&verb)?;
            }
            Op::Wait(_)
            | Op::Sit(_)
            | Op::Lives { .. }
            | Op::Stands { .. }
            | Op::Has { .. }
            | Op::Policy { .. } => {
                *trace += &format!("{op:?}\n");
                self.turn(op);
            }
        }
        Ok(())
    }

    /// What changes in the world around the boards.
    fn turn(&mut self, op: &Op) {
        match op {
            Op::Wait(seconds) => self.pair.unix += seconds,
            Op::Sit(owner) => self.pair.sit(*owner),
            Op::Lives { pid, alive: true } => {
                self.pair.host.workers.insert(*pid);
            }
            Op::Lives { pid, alive: false } => {
                self.pair.host.workers.remove(pid);
            }
            Op::Stands { dispatcher, how } => {
                let host = &mut self.pair.host;
                let sets = [&mut host.dispatchers, &mut host.elsewhere, &mut host.recorded];
                for (n, set) in sets.into_iter().enumerate() {
                    set.remove(dispatcher);
                    // The fourth case is dead without records.
                    if n == usize::from(*how) {
                        set.insert(*dispatcher);
                    }
                }
            }
            Op::Has { attempt, worker: true } => {
                self.pair.host.attempts.insert(*attempt);
            }
            Op::Has { attempt, worker: false } => {
                self.pair.host.attempts.remove(attempt);
            }
            Op::Policy { failure_limit, default_worker } => {
                self.pair.policy.failure_limit = *failure_limit;
                self.pair.policy.default_worker = default_worker.map(WorkerId);
            }
            Op::Send { .. } | Op::Do { .. } => {}
        }
    }

    /// A task that is likely to be hit, or any.
    fn pick(&self, n: u8, likely: impl Fn(&Task) -> bool) -> TaskId {
        let (any, n) = (n % 4 == 3, usize::from(n / 4));
        let tasks = self.pair.model.tasks().iter().filter(|t| t.id != task(ANCHOR) && likely(t));
        let tasks: Vec<_> = tasks.map(|task| task.id).collect();
        let anything = || task(IDS[n % IDS.len()]);
        if any || tasks.is_empty() { anything() } else { tasks[n % tasks.len()] }
    }

    fn change(&mut self, ask: &Ask) -> Change {
        let failure_limit = self.pair.policy.failure_limit;
        let ready = |task: &Task| task.status == Status::Ready && task.claim.holder.is_none();
        let owner = Instance(self.pair.owner);
        let ours =
            |task: &Task| matches!(task.claim.owner(), Some(Holder::Sexton(o, _)) if o == owner);
        let run = self.pick(ask.task, ours);
        let fence = self.fence(run, ask.off);
        match ask.kind {
            0..=3 => self.claim(self.pick(ask.task, ready), ask),
            4 => Change::Started { fence, pid: pid(ask.n) },
            5 => Change::Renew { fence, ttl_s: 900, heartbeat: ask.n.is_multiple_of(2) },
            6..=8 => Change::Finish { fence, pid: None, verdict: verdict(ask.n), failure_limit },
            9 => {
                let promotable = |task: &Task| self.seen.promotable.contains(&task.id);
                Change::Promote { task: self.pick(ask.task, promotable), failure_limit }
            }
            10 => Change::Reclaim { expired: self.expired(ask), failure_limit },
            _ => self.adopt(ask),
        }
    }

    fn claim(&mut self, id: TaskId, ask: &Ask) -> Change {
        self.spawn += u64::from(ask.off < 10);
        let meant = match self.pair.model.task(id).map(|task| task.lane) {
            Some(Lane::Worker(worker)) => worker,
            Some(Lane::Unassigned | Lane::Foreign) | None => WorkerId(0),
        };
        let worker = if ask.off == 9 { WorkerId(1) } else { meant };
        let cap = if ask.n.is_multiple_of(8) { 1 } else { 3 };
        Change::Claim { spawn: SpawnId(self.spawn), task: id, worker, ttl_s: 900, cap }
    }

    /// Returns the adoption of a claim that is listed as an orphan, or of any.
    fn adopt(&mut self, ask: &Ask) -> Change {
        self.spawn += u64::from(ask.off < 10);
        let seen = &self.seen.orphans;
        let orphan = if !ask.n.is_multiple_of(4) && !seen.is_empty() {
            seen[usize::from(ask.task) % seen.len()]
        } else {
            let task = self.pick(ask.task, |task| task.status == Status::Running);
            Orphan { task, run: current_run(&self.pair.model, task), worker: WorkerId(0) }
        };
        Change::Adopt { spawn: SpawnId(self.spawn), orphan, ttl_s: 900 }
    }

    fn expired(&self, ask: &Ask) -> Expired {
        let seen = &self.seen.expired;
        if !ask.n.is_multiple_of(4) && !seen.is_empty() {
            return seen[usize::from(ask.task) % seen.len()];
        }
        let id = self.pick(ask.task, |task| task.status == Status::Running);
        let run = self.pair.model.task(id).and_then(|task| task.claim.run);
        let by = [LeaseEnd::Expired, LeaseEnd::WorkerGone, LeaseEnd::Neglected];
        let by = by[usize::from(ask.n) % by.len()];
        Expired { task: id, run: run.filter(|_| ask.off > 0), by }
    }

    fn fence(&self, id: TaskId, off: u8) -> Fence {
        let holder = self.pair.model.task(id).and_then(|task| task.claim.owner());
        let spawn = match holder {
            Some(Holder::Sexton(_, spawn)) => spawn.0,
            Some(Holder::Neighbour | Holder::Elsewhere) | None => self.spawn,
        };
        let run = current_run(&self.pair.model, id);
        Fence {
            task: id,
            run: RunId(run.0 + i64::from(off == 10)),
            spawn: SpawnId(spawn + u64::from(off == 11)),
        }
    }

    fn verb(&self, verb: u8, id: u8, other: u8, flag: bool, n: u8) -> Verb {
        use Status::{Archived, Blocked, Done, Ready, Running, Scheduled, Todo, Triage};
        let among = |likely: &[Status]| self.pick(id, |task| likely.contains(&task.status));
        let other = self.pick(other, |_| true);
        let any = self.pick(id, |_| true);
        let running = among(&[Running]);
        let run = current_run(&self.pair.model, running);
        let own_run = [None, Some(run), Some(run), Some(RunId(run.0 + 1))][usize::from(n % 4)];
        match verb {
            0 | 1 => Verb::Create(new_task(task(IDS[usize::from(id) % IDS.len()]), other, flag, n)),
            2 => Verb::Complete(running, own_run, flag),
            3 => Verb::Complete(among(&[Ready, Blocked]), None, flag),
            4 => Verb::Block(running, own_run, flag, kind(n / 4)),
            5 => Verb::Block(among(&[Ready]), None, flag, kind(n / 4)),
            6 => Verb::Heartbeat(running, own_run.unwrap_or(run)),
            7 => Verb::Archive(any),
            8 | 9 => Verb::Unblock(among(&[Blocked, Scheduled])),
            10 => Verb::Promote(among(&[Todo, Blocked]), flag),
            11 | 12 => {
                let to = [Todo, Triage, Ready, Ready][usize::from(n % 4)];
                Verb::Reopen(among(&[Done, Archived, Triage]), to)
            }
            13 => Verb::Reclaim(running),
            14 if flag => Verb::Schedule(any),
            14 => Verb::Reopen(running, Ready),
            15 => Verb::Assign(any, lane(n)),
            16 => Verb::Prioritise(any, i64::from(n % 3)),
            17 => Verb::Edit(any, flag),
            18 => Verb::Link(any, other),
            19 => {
                let links: Vec<_> = self.pair.model.links().collect();
                let link = links.get(usize::from(n) % links.len().max(1));
                let (parent, child) = link.copied().unwrap_or((any, other));
                Verb::Unlink(parent, child)
            }
            20 => Verb::Delete(any),
            21 => Verb::Refuse(any, flag),
            22 => {
                let by = if n.is_multiple_of(3) { Holder::Elsewhere } else { Holder::Neighbour };
                Verb::Claim(among(&[Ready]), by, flag.then_some(pid(n)))
            }
            23 => Verb::Disown(running),
            _ => Verb::PromoteAll,
        }
    }
}

fn new_task(id: TaskId, parent: TaskId, flag: bool, n: u8) -> NewTask {
    NewTask {
        parents: if flag && parent != id { vec![parent] } else { vec![] },
        priority: i64::from(n % 2),
        has_body: !n.is_multiple_of(4),
        max_retries: n.is_multiple_of(5).then_some(u32::from(n % 3)),
        max_runtime_s: n.is_multiple_of(7).then_some(u32::from(n % 2)),
        blocked: n % 6 == 1,
        triage: n % 9 == 1,
        ..NewTask::new(id, lane(n))
    }
}

fn pid(n: u8) -> Pid {
    Pid(PIDS.start + i32::from(n % 4))
}

fn lane(n: u8) -> Lane {
    match n % 12 {
        0 => Lane::Foreign,
        1 | 4 => Lane::Unassigned,
        2 => Lane::Worker(WorkerId(1)),
        3 => Lane::Worker(WorkerId(2)),
        _ => Lane::Worker(WorkerId(0)),
    }
}

fn kind(n: u8) -> Option<BlockKind> {
    match n % 5 {
        0 => None,
        1 => Some(BlockKind::Dependency),
        2 => Some(BlockKind::NeedsInput),
        3 => Some(BlockKind::Capability),
        _ => Some(BlockKind::Transient),
    }
}

fn verdict(n: u8) -> Verdict {
    match n % 10 {
        0 | 1 => Verdict::Completed,
        2 => Verdict::Crashed(ExitStatus::Code(1)),
        3 => Verdict::Unknown,
        4 | 5 => Verdict::ProtocolViolation,
        6 => Verdict::RateLimited,
        7 => Verdict::CredentialsRefused,
        8 if n.is_multiple_of(4) => Verdict::SpawnFailed,
        8 => Verdict::TimedOut { elapsed_s: 2, limit_s: 1, killed: false },
        _ => Verdict::Released(Release::Shutdown),
    }
}
