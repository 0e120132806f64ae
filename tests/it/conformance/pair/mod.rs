//! A board on a real file and its model, side by side: both are asked the same, and compared.

pub mod real;
pub mod step;
pub mod verb;

use std::collections::BTreeSet;

use sexton::board::{self, Owner, Workers};
use sexton::machine::exchange::{Answer, Change, Fence, Request, Taken};
use sexton::machine::hold;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton::machine::verdict::Verdict;
use sexton_sim::board::{self as model, Env, Holder, Instance, Memory, ModelBoard, Status};

use real::Real;
use verb::Verb;

/// The clock at the beginning.
pub const NOW: i64 = 1_795_500_000;

/// The workers' names in the order of their numbers.
pub const NAMES: [&str; 3] = ["shell", "critic", "retired"];

/// Changes what the model is asked, so that it deviates.
pub type Twist = fn(&ModelBoard, &mut Request);

/// What differs, in words.
pub type Step<T> = Result<T, String>;

/// Which processes are alive. One host for both boards.
#[derive(Clone, Default)]
pub struct Host {
    pub workers: BTreeSet<i32>,
    /// Dispatchers that are alive.
    pub dispatchers: BTreeSet<u32>,
    /// Dispatchers of another pid namespace.
    pub elsewhere: BTreeSet<u32>,
    /// Dead dispatchers that have left their records.
    pub recorded: BTreeSet<u32>,
    /// The attempts that have a worker, by the records of their dispatchers.
    pub attempts: BTreeSet<u64>,
}

impl board::Liveness for Host {
    fn worker(&self, pid: Pid, _: Option<&str>) -> board::Worker {
        may_live(self.workers.contains(&pid.0))
    }

    fn attempt(&self, _: Pid, _: &str, attempt: SpawnId) -> board::Worker {
        may_live(self.attempts.contains(&attempt.0))
    }

    fn dispatcher(&self, _: Pid, instance: &str) -> board::Dispatcher {
        let number = instance.rsplit('.').next().and_then(|number| number.parse().ok());
        let is_one_of = |these: &BTreeSet<u32>| number.is_some_and(|n| these.contains(&n));
        if is_one_of(&self.dispatchers) {
            board::Dispatcher::Lives
        } else if is_one_of(&self.elsewhere) {
            board::Dispatcher::CannotTell
        } else {
            board::Dispatcher::Dead { recorded: is_one_of(&self.recorded) }
        }
    }
}

impl model::Liveness for Host {
    fn worker(&self, pid: Pid) -> bool {
        self.workers.contains(&pid.0)
    }

    fn attempt(&self, _: Instance, spawn: SpawnId) -> bool {
        self.attempts.contains(&spawn.0)
    }

    fn dispatcher(&self, instance: Instance) -> model::Dispatcher {
        if self.dispatchers.contains(&instance.0) {
            model::Dispatcher::Lives
        } else if self.elsewhere.contains(&instance.0) {
            model::Dispatcher::CannotTell
        } else {
            model::Dispatcher::Dead { recorded: self.recorded.contains(&instance.0) }
        }
    }
}

fn may_live(may_live: bool) -> board::Worker {
    if may_live { board::Worker::MayLive } else { board::Worker::Gone }
}

/// A dispatcher as it signs real boards.
pub fn owner(instance: u32) -> Owner {
    let pid = 77 + i32::try_from(instance).expect("a small number");
    Owner::new("vm", Pid(pid), &format!("boot.1.1.{instance}"))
}

pub fn task(id: &str) -> TaskId {
    TaskId::new(id).expect("a task id")
}

/// Both boards, and everything that they depend on.
pub struct Pair {
    pub model: ModelBoard,
    memory: Memory,
    /// What a second connection saw, which only watches for changes.
    watcher: Memory,
    pub real: Real,
    /// Whose connection is open. A process has a file open but once, so there is one at a time.
    pub owner: u32,
    pub policy: Policy,
    workers: Workers,
    pub host: Host,
    pub contended: bool,
    pub unix: i64,
    twist: Twist,
}

impl Pair {
    pub fn new() -> Pair {
        Pair::twisted(|_, _| {})
    }

    pub fn twisted(twist: Twist) -> Pair {
        let needs_body = WorkerPolicy { needs_body: true, ..WorkerPolicy::default() };
        let off = WorkerPolicy { enabled: false, ..WorkerPolicy::default() };
        let policy =
            Policy { workers: vec![WorkerPolicy::default(), needs_body, off], ..Policy::default() };
        Pair {
            model: ModelBoard::new(),
            memory: Memory::default(),
            watcher: Memory::default(),
            real: Real::new(),
            owner: 0,
            policy,
            workers: Workers::new(NAMES),
            host: Host::default(),
            contended: false,
            unix: NOW,
            twist,
        }
    }

    /// Two tasks and more, all ready.
    pub fn with(ids: &[&str]) -> Pair {
        let mut pair = Pair::new();
        for id in ids {
            pair.add(id);
        }
        pair
    }

    pub fn add(&mut self, id: &str) {
        self.verb(&Verb::create(task(id))).expect("a new task");
    }

    /// The connection is closed, and another dispatcher opens its own.
    pub fn sit(&mut self, owner: u32) {
        self.owner = owner;
        self.memory = Memory::default();
        self.real.reopen();
    }

    /// One exchange with both.
    pub fn exchange(&mut self, request: &Request) -> Step<Answer> {
        let mut twisted = request.clone();
        (self.twist)(&self.model, &mut twisted);
        let version = self.real.data_version();
        self.sees_change();
        let env = Env { policy: &self.policy, liveness: &self.host, contended: self.contended };
        let instance = Instance(self.owner);
        let expected = self.model.exchange(instance, &mut self.memory, &twisted, &env);
        let context = board::Context {
            policy: &self.policy,
            workers: &self.workers,
            owner: &owner(self.owner),
            spawn_error: &|_| None,
            fingerprint: &|_| None,
            liveness: &self.host,
        };
        let answer = self.real.exchange(request, &context, self.contended);
        same("the answer", &format!("{answer:#?}"), &format!("{expected:#?}"))?;
        let changed = self.real.data_version() != version;
        same("what others see", &changed.to_string(), &self.sees_change().to_string())?;
        self.same_rows()?;
        Ok(answer)
    }

    /// Whether the model was written since the last call.
    fn sees_change(&mut self) -> bool {
        // Long before time alone changes anything, and under a fixed policy.
        let request =
            Request { changes: vec![], fresh: false, relist: false, want: 0, unix: i64::MIN };
        let env = Env { policy: &Policy::default(), liveness: &self.host, contended: false };
        let answer = self.model.exchange(Instance(9), &mut self.watcher, &request, &env);
        answer.observation.is_some()
    }

    /// Applies the action of another process to both. Returns true if it was allowed.
    pub fn verb(&mut self, verb: &Verb) -> Step<bool> {
        let expected = verb.on_model(&mut self.model, self.unix);
        let done = verb.on_real(&self.real, self.unix);
        same("what is allowed", &done.to_string(), &expected.to_string())?;
        self.same_rows()?;
        Ok(done)
    }

    fn same_rows(&self) -> Step<()> {
        same("the tasks", &self.real.tasks(), &self.model_tasks())?;
        same("the runs", &self.real.runs(), &self.model_runs())?;
        same("the links", &self.real.links(), &self.model_links())?;
        let said = self.real.said(&self.policy, &self.workers, self.unix);
        same("what is said of the tasks", &said, &self.model_says())
    }

    /// What the tasks wait for, in the words of [`Real::said`].
    fn model_says(&self) -> String {
        let model = &self.model;
        let what = |task: &model::Task| {
            let waits = matches!(task.status, Status::Ready | Status::Todo);
            if waits && !model.parents_done(task.id) {
                "parents".to_owned()
            } else if task.status == Status::Ready {
                let candidate = model.candidate(task, &self.policy, self.unix);
                let hold = hold::on(&candidate, &self.policy, self.unix);
                hold.map_or("nothing".to_owned(), |hold| format!("{hold:?}"))
            } else if model.may_promote(task, self.policy.failure_limit) {
                "promotion".to_owned()
            } else {
                "others".to_owned()
            }
        };
        model.tasks().iter().map(|task| format!("{} {}\n", task.id, what(task))).collect()
    }

    fn model_tasks(&self) -> String {
        let rows = self.model.tasks().iter().map(|task| {
            let claim = task.claim;
            format!(
                "{} {} {} {} p{} c{} s{} f{} {} {} {} {}\n",
                task.order,
                task.id,
                task.status.as_str(),
                name(task.lane),
                task.priority,
                task.created_at,
                text(task.started_at),
                task.failures,
                text(claim.holder.map(lock)),
                text(claim.expires),
                text(claim.pid.map(|pid| pid.0)),
                text(claim.run.map(|run| run.0)),
            )
        });
        rows.collect()
    }

    fn model_runs(&self) -> String {
        let rows = self.model.runs().iter().map(|run| {
            let ended = text(run.end.map(|end| end.at));
            let outcome = run.outcome().unwrap_or("-");
            format!("{} {} {outcome} {} {ended}\n", run.id.0, run.task, run.started_at)
        });
        rows.collect()
    }

    fn model_links(&self) -> String {
        self.model.links().map(|(parent, child)| format!("{parent} {child}\n")).collect()
    }
}

/// Short forms of common steps, for scripts.
impl Pair {
    pub fn send(&mut self, changes: &[Change]) -> Step<Answer> {
        let request = Request {
            changes: changes.to_vec(),
            fresh: false,
            relist: false,
            want: 2,
            unix: self.unix,
        };
        self.exchange(&request)
    }

    pub fn look(&mut self) -> Step<Answer> {
        let request =
            Request { changes: vec![], fresh: true, relist: false, want: 2, unix: self.unix };
        self.exchange(&request)
    }

    /// What became of one change.
    pub fn change(&mut self, change: Change) -> Step<Taken> {
        Ok(self.send(&[change])?.taken[0])
    }

    /// Claims a ready task and stores the pid of its worker.
    pub fn start(&mut self, id: &str, spawn: u64) -> Step<Fence> {
        let taken = self.change(claim(id, spawn))?;
        let Taken::Claimed { run, .. } = taken else { return Err(format!("{id}: {taken:?}")) };
        let fence = Fence { task: task(id), run, spawn: SpawnId(spawn) };
        let pid = Pid(100 + i32::try_from(spawn).expect("a small number"));
        self.change(Change::Started { fence, pid })?;
        Ok(fence)
    }

    pub fn finish(&mut self, fence: Fence, verdict: Verdict) -> Step<Taken> {
        self.change(Change::Finish { fence, pid: None, verdict, failure_limit: 2 })
    }

    /// Status, failures and whether there is a claim.
    pub fn row(&self, id: &str) -> (&'static str, u32, bool) {
        let task = self.model.task(task(id)).expect("a task");
        (task.status.as_str(), task.failures, task.claim.holder.is_some())
    }

    /// The outcomes of all runs.
    pub fn outcomes(&self) -> Vec<&'static str> {
        self.model.runs().iter().map(|run| run.outcome().unwrap_or("-")).collect()
    }
}

/// A claim for the first worker, with room for two.
pub fn claim(id: &str, spawn: u64) -> Change {
    let (spawn, worker) = (SpawnId(spawn), WorkerId(0));
    Change::Claim { spawn, task: task(id), worker, ttl_s: 900, cap: 2 }
}

/// The run that a task is in, or one that never was.
pub fn current_run(model: &ModelBoard, task: TaskId) -> RunId {
    model.task(task).and_then(|task| task.claim.run).unwrap_or(RunId(999))
}

/// Returns the assignee that stands for a lane in a board.
pub fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Worker(worker) => NAMES[usize::from(worker.0)],
        Lane::Unassigned => "-",
        Lane::Foreign => "somebody",
    }
}

/// What stands in a board for a holder.
pub fn lock(holder: Holder) -> String {
    match holder {
        Holder::Sexton(instance, spawn) => owner(instance.0).lock(spawn),
        Holder::Neighbour => "vm:9".to_owned(),
        Holder::Elsewhere => "other:9".to_owned(),
    }
}

fn text<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn same(what: &str, real: &str, model: &str) -> Step<()> {
    if real == model {
        return Ok(());
    }
    Err(format!("{what} differs\nin SQLite:\n{real}\nin the model:\n{model}"))
}
