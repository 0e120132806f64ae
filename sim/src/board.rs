//! A board without a file, for worlds that are made up.
//!
//! It has the rules of the SQLite boards as far as a machine, a worker or a person can see them, in
//! the same words: read a function here beside the one of the same name in `sexton::board`. What
//! decides nothing (titles, texts, comments) is not kept, and of the events only what later decisions
//! ask of them. That both agree is shown in `tests/it/conformance.rs` of the main package.
//!
//! Left out on purpose: reviews, fingerprints of processes, names of workers (a task carries its
//! [`Lane`](hold::Lane)), transactions that fail, and two bounds that no small board reaches. More
//! than 4096 events between two looks make SQLite boards look at every waiting task; so does the
//! deletion of a board's newest event, which is noticed here only with the next such look that is due
//! anyway.
//!
//! Equal boards behave alike, and what does not matter is not counted up, so that a search through
//! all states meets the same one again. That is why a board itself knows which of its readers have
//! seen it as it is, in place of a version that grows.

mod change;
mod lease;
mod look;
mod run;
mod task;
mod verb;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sexton::machine::exchange::{Answer, Change, Request, Taken};
use sexton::machine::hold;
use sexton::machine::hold::{Candidate, LastEnd};
use sexton::machine::ids::{Pid, SpawnId, TaskId};
use sexton::machine::policy::Policy;
use sexton::machine::verdict::Verdict;

pub use look::Memory;
pub use run::{Outcome, Run, RunEnd};
pub use task::{BlockKind, Claim, Holder, Status, Task};
pub use verb::{Block, Complete, NewTask};

/// One dispatcher process of our kind. All of them are on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u32);

/// Everything that an exchange depends on besides the board and the request.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// What the owner wants.
    pub policy: &'a Policy,
    /// Which processes of this host are alive.
    pub liveness: &'a dyn Liveness,
    /// True while another dispatcher is at work on this board.
    pub contended: bool,
}

/// Whether processes of this host live. "Cannot tell" counts as alive.
pub trait Liveness {
    /// Whether the worker with this pid may be alive.
    fn worker(&self, pid: Pid) -> bool;
    /// Whether the worker of this attempt may be alive, by the records of its dispatcher.
    fn attempt(&self, instance: Instance, spawn: SpawnId) -> bool;
    /// Whether this dispatcher lives.
    fn dispatcher(&self, instance: Instance) -> Dispatcher;
}

/// What can be said of a dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatcher {
    /// It lives.
    Lives,
    /// It has ended.
    Dead {
        /// The records that it kept of its attempts are here.
        recorded: bool,
    },
    /// It is of another pid namespace.
    CannotTell,
}

/// What one reader has not seen yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Reader {
    /// Nobody else has written since it last looked.
    current: bool,
    /// Tasks of which events speak that it has not followed.
    news: BTreeSet<TaskId>,
}

/// A board in memory, with the rules of the real one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModelBoard {
    /// All tasks, in insertion order.
    tasks: Vec<Task>,
    /// All runs, ordered by id.
    runs: Vec<Run>,
    /// Pairs of parent and child.
    links: BTreeSet<(TaskId, TaskId)>,
    /// The newest run that there ever was.
    last_run: i64,
    readers: BTreeMap<Instance, Reader>,
}

/// One exchange under way.
struct Pass<'a> {
    board: &'a mut ModelBoard,
    owner: Instance,
    env: Env<'a>,
    /// The second that all rows of this exchange carry.
    unix: i64,
}

impl ModelBoard {
    /// Returns an empty board.
    #[must_use]
    pub fn new() -> ModelBoard {
        ModelBoard::default()
    }

    /// All tasks, in insertion order.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// All runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The task of this id.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Returns the pairs of parent and child.
    pub fn links(&self) -> impl Iterator<Item = (TaskId, TaskId)> + '_ {
        self.links.iter().copied()
    }

    /// One exchange, as described in [`sexton::machine::exchange`]: all of it happens, or nothing.
    ///
    /// `memory` belongs to the connection of `owner`, which has only one at a time. A new connection
    /// begins with an empty one. An exchange that is committed although its answer is lost leaves the
    /// memory as it was: hand in a copy then.
    pub fn exchange(
        &mut self,
        owner: Instance,
        memory: &mut Memory,
        request: &Request,
        env: &Env<'_>,
    ) -> Answer {
        if self.is_unchanged(owner, memory, request, env) {
            return Answer { taken: Vec::new(), observation: None };
        }
        let mut pass = Pass { board: self, owner, env: *env, unix: request.unix };
        let taken: Vec<_> = request.changes.iter().map(|change| pass.change(*change)).collect();
        let requeued = request.changes.iter().zip(&taken).any(|(c, t)| requeues(c, *t));
        let observation = pass.look(memory, request, requeued);
        Answer { taken, observation: Some(observation) }
    }

    /// True if there is nothing to write and nothing to see.
    fn is_unchanged(
        &self,
        owner: Instance,
        memory: &Memory,
        request: &Request,
        env: &Env<'_>,
    ) -> bool {
        request.changes.is_empty()
            && !request.fresh
            && !request.relist
            && self.readers.get(&owner).is_some_and(|reader| reader.current)
            && memory.is_current(env.policy, request.unix)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.id == id)
    }

    /// Somebody has written; readers but the writer see another board next time.
    fn wrote(&mut self, by: Option<Instance>) {
        for (instance, reader) in &mut self.readers {
            reader.current &= Some(*instance) == by;
        }
    }

    /// An event that may mean that this task, or one that waits for it, can go on.
    fn tell(&mut self, task: TaskId) {
        for reader in self.readers.values_mut() {
            reader.news.insert(task);
        }
    }

    fn running(&self) -> u32 {
        let running = self.tasks.iter().filter(|task| task.status == Status::Running).count();
        u32::try_from(running).unwrap_or(u32::MAX)
    }

    /// Whether everything that `task` waits for is over. Parents that do not exist are.
    #[must_use]
    pub fn parents_done(&self, task: TaskId) -> bool {
        let mut parents = self.links.iter().filter(|(_, child)| *child == task);
        parents.all(|(parent, _)| self.task(*parent).is_none_or(|p| p.status.is_over()))
    }

    fn children(&self, task: TaskId) -> Vec<TaskId> {
        self.links.iter().filter(|(p, _)| *p == task).map(|(_, child)| *child).collect()
    }

    /// Whether a waiting task may be promoted now.
    #[must_use]
    pub fn may_promote(&self, task: &Task, failure_limit: u32) -> bool {
        match task.status {
            Status::Todo => self.parents_done(task.id),
            Status::Blocked => {
                let limit = task.max_retries.unwrap_or(failure_limit).max(1);
                let held = task.held || task.sticky;
                task.failures < limit && !held && self.parents_done(task.id)
            }
            Status::Triage
            | Status::Scheduled
            | Status::Ready
            | Status::Running
            | Status::Done
            | Status::Archived => false,
        }
    }

    /// A task as the rules see it at `unix`.
    #[must_use]
    pub fn candidate(&self, task: &Task, policy: &Policy, unix: i64) -> Candidate {
        Candidate {
            task: task.id,
            lane: task.lane,
            priority: task.priority,
            created_at: task.created_at,
            order: task.order,
            has_body: task.has_body,
            failures: task.failures,
            last_end: self.last_end(task, policy, unix),
        }
    }

    /// Returns how the newest closed run of a task ended. An end that lies further ahead than it
    /// could hold the task is ignored.
    fn last_end(&self, task: &Task, policy: &Policy, unix: i64) -> Option<LastEnd> {
        task.started_at?;
        let ends = self.runs.iter().filter(|run| run.task == task.id).filter_map(|run| {
            let rate_limited = run.end?.outcome == Outcome::RateLimited;
            let rest = hold::rest_s(policy, task.id, task.failures, rate_limited);
            let at = run.end?.at;
            (at <= unix.saturating_add(rest)).then_some((at, run.id, rate_limited))
        });
        let (at, _, rate_limited) = ends.max()?;
        Some(LastEnd { at, rate_limited })
    }
}

/// True if the change, having taken, may have put something on the ready list.
fn requeues(change: &Change, taken: Taken) -> bool {
    taken == Taken::Yes
        && match change {
            Change::Promote { .. } | Change::Reclaim { .. } => true,
            Change::Finish { verdict, .. } => *verdict != Verdict::Completed,
            Change::Claim { .. }
            | Change::Adopt { .. }
            | Change::Started { .. }
            | Change::Renew { .. } => false,
        }
}
