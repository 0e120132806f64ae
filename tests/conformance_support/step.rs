//! Random steps. They are numbers that get their meaning from the board as it is then, so that most
//! of them hit something.

use proptest::prelude::*;
use sexton::machine::exchange::{Change, Expired, Fence, Lane, LeaseEnd, Request};
use sexton::machine::ids::{Pid, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::verdict::{ExitStatus, Release, Verdict};
use sexton_sim::board::{BlockKind, Holder, NewTask, Status};

use super::verb::{ANCHOR, Verb};
use super::{Pair, Step, current_run, task};

const IDS: [&str; 5] = ["t_1", "t_2", "t_3", "t_4", "t_5"];
const PIDS: std::ops::Range<i32> = 100..104;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Op {
    Send { asks: Vec<Ask>, fresh: bool, relist: bool, want: u32, contended: bool },
    Do { verb: u8, task: usize, other: usize, flag: bool, n: u8 },
    Wait(i64),
    Sit(u32),
    Lives { pid: i32, alive: bool },
    Attends { dispatcher: u32, alive: bool },
    Policy { failure_limit: u32, default_worker: Option<u16> },
}

/// A change before it is known what it hits.
#[derive(Clone, Debug)]
pub struct Ask {
    kind: u8,
    task: usize,
    /// A fence that is off by this: 0 to 2 are right.
    off: u8,
    n: u8,
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..60)
}

fn op() -> impl Strategy<Value = Op> {
    let task = 0..IDS.len();
    let ask = (0..9_u8, task.clone(), 0..6_u8, any::<u8>()).prop_map(|(kind, task, off, n)| Ask {
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
    let verb = (0..24_u8, task.clone(), task, any::<bool>(), any::<u8>())
        .prop_map(|(verb, task, other, flag, n)| Op::Do { verb, task, other, flag, n });
    let waits = prop::sample::select(vec![0, 1, 2, 29, 30, 31, 299, 300, 870, 901, -5]);
    prop_oneof![
        8 => send,
        6 => verb,
        2 => waits.prop_map(Op::Wait),
        1 => (0..2_u32).prop_map(Op::Sit),
        1 => (PIDS, any::<bool>()).prop_map(|(pid, alive)| Op::Lives { pid, alive }),
        1 => (0..2_u32, any::<bool>())
            .prop_map(|(dispatcher, alive)| Op::Attends { dispatcher, alive }),
        1 => (1..4_u32, prop::option::of(0..2_u16)).prop_map(|(failure_limit, default_worker)| {
            Op::Policy { failure_limit, default_worker }
        }),
    ]
}

/// A run through random steps.
pub struct Walk {
    pub pair: Pair,
    spawn: u64,
}

impl Walk {
    pub fn new(pair: Pair) -> Walk {
        let mut walk = Walk { pair, spawn: 0 };
        walk.pair.add(ANCHOR);
        walk.pair.verb(&Verb::Schedule(task(ANCHOR))).expect("out of the way");
        for id in &IDS[..3] {
            walk.pair.add(id);
        }
        walk
    }

    /// Does everything, on both boards; tells what led to a difference.
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
                self.pair.exchange(&request)?;
            }
            Op::Do { verb, task, other, flag, n } => {
                let verb = self.verb(*verb, *task, *other, *flag, *n);
                *trace += &format!("{verb:?}\n");
                if matches!(verb, Verb::Delete(_)) {
                    self.pair.verb(&Verb::Comment(super::task(ANCHOR)))?;
                }
                self.pair.verb(&verb)?;
            }
            _ => {
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
            Op::Attends { dispatcher, alive: true } => {
                self.pair.host.dispatchers.insert(*dispatcher);
            }
            Op::Attends { dispatcher, alive: false } => {
                self.pair.host.dispatchers.remove(dispatcher);
            }
            Op::Policy { failure_limit, default_worker } => {
                self.pair.policy.failure_limit = *failure_limit;
                self.pair.policy.default_worker = default_worker.map(WorkerId);
            }
            Op::Send { .. } | Op::Do { .. } => {}
        }
    }

    fn change(&mut self, ask: &Ask) -> Change {
        let id = task(IDS[ask.task]);
        let fence = self.fence(id, ask.off);
        let failure_limit = self.pair.policy.failure_limit;
        match ask.kind {
            0..=3 => {
                self.spawn += u64::from(ask.off < 5);
                let spawn = SpawnId(self.spawn);
                // Mostly the right worker.
                let worker = WorkerId(u16::from(ask.n % 8 == 0));
                let cap = if ask.n % 4 == 0 { 1 } else { 3 };
                Change::Claim { spawn, task: id, worker, ttl_s: 900, cap }
            }
            4 => Change::Started { fence, pid: pid(ask.n) },
            5 => Change::Renew { fence, ttl_s: 900, heartbeat: ask.n % 2 == 0 },
            6 => Change::Finish { fence, pid: None, verdict: verdict(ask.n), failure_limit },
            7 => Change::Promote { task: id, failure_limit },
            _ => {
                let run = self.pair.model.task(id).and_then(|task| task.claim.run);
                let by = if ask.n % 2 == 0 { LeaseEnd::Expired } else { LeaseEnd::WorkerGone };
                let run = run.filter(|_| ask.off > 0);
                Change::Free { expired: Expired { task: id, run, by }, failure_limit }
            }
        }
    }

    fn fence(&self, id: TaskId, off: u8) -> Fence {
        let holder = self.pair.model.task(id).and_then(|task| task.claim.holder);
        let spawn = match holder {
            Some(Holder::Sexton(_, spawn)) => spawn.0,
            Some(Holder::Neighbour | Holder::Elsewhere) | None => self.spawn,
        };
        let run = current_run(&self.pair.model, id);
        Fence {
            task: id,
            run: RunId(run.0 + i64::from(off == 4)),
            spawn: SpawnId(spawn + u64::from(off == 5)),
        }
    }

    fn verb(&self, verb: u8, id: usize, other: usize, flag: bool, n: u8) -> Verb {
        let (id, other) = (task(IDS[id]), task(IDS[other]));
        let run = current_run(&self.pair.model, id);
        let own_run = [None, Some(run), Some(run), Some(RunId(run.0 + 1))][usize::from(n % 4)];
        match verb {
            0..=2 => Verb::Create(new_task(id, other, flag, n)),
            3 => Verb::Complete(id, own_run, flag),
            4 | 5 => Verb::Block(id, own_run, flag, kind(n / 4)),
            6 => Verb::Heartbeat(id, own_run.unwrap_or(run)),
            7 => Verb::Archive(id),
            8 | 9 => Verb::Unblock(id),
            10 => Verb::Promote(id, flag),
            11 | 12 => {
                let to = [Status::Todo, Status::Triage, Status::Ready, Status::Ready];
                Verb::Reopen(id, to[usize::from(n % 4)])
            }
            13 => Verb::Reclaim(id),
            14 => Verb::Schedule(id),
            15 => Verb::Assign(id, lane(n)),
            16 => Verb::Prioritise(id, i64::from(n % 3)),
            17 => Verb::Edit(id, flag),
            18 => Verb::Link(id, other),
            19 => Verb::Unlink(id, other),
            20 => Verb::Delete(id),
            21 => Verb::Refuse(id, flag),
            22 => {
                let by = if n % 3 == 0 { Holder::Elsewhere } else { Holder::Neighbour };
                Verb::Claim(id, by, flag.then_some(pid(n)))
            }
            _ => Verb::PromoteAll,
        }
    }
}

fn new_task(id: TaskId, parent: TaskId, flag: bool, n: u8) -> NewTask {
    NewTask {
        parents: if flag && parent != id { vec![parent] } else { vec![] },
        priority: i64::from(n % 2),
        has_body: n % 4 > 0,
        max_retries: (n % 5 == 0).then_some(u32::from(n % 3)),
        max_runtime_s: (n % 7 == 0).then_some(u32::from(n % 2)),
        blocked: n % 6 == 1,
        triage: n % 9 == 1,
        ..NewTask::new(id, lane(n))
    }
}

fn pid(n: u8) -> Pid {
    Pid(PIDS.start + i32::from(n % 4))
}

fn lane(n: u8) -> Lane {
    match n % 8 {
        0 => Lane::Foreign,
        1 => Lane::Unassigned,
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
        3 => Verdict::Crashed(ExitStatus::Unknown),
        4 | 5 => Verdict::ProtocolViolation,
        6 => Verdict::RateLimited,
        7 => Verdict::CredentialsRefused,
        8 if n % 4 == 0 => Verdict::SpawnFailed,
        8 => Verdict::TimedOut { elapsed_s: 2, limit_s: 1, killed: false },
        _ => Verdict::Released(Release::Shutdown),
    }
}
