//! Looking at a board: the ready tasks that free slots can use, and all other changes.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use sexton::machine::exchange::{Expired, Observation, Ready, Request};
use sexton::machine::hold::Lane;
use sexton::machine::hold::{self, End, Hold};
use sexton::machine::ids::TaskId;
use sexton::machine::policy::Policy;

use super::lease::Lease;
use super::{Pass, Status, Task};

/// Most promotable tasks in one answer.
const PROMOTABLE: usize = 256;

/// Most ended claims in one answer.
const EXPIRED: usize = 256;

/// Seconds after which every waiting task is looked at again if the board has changed.
const SWEEP_S: i64 = 300;

/// What one connection saw before, so that its next look can be short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// By what the board was judged when last looked at; `None` before the first look.
    judged_by: Option<Policy>,
    /// When time alone changes a row, or a row must be judged again.
    due: Option<i64>,
    /// The list that was last given.
    given: Option<Given>,
    /// Waiting tasks that may have become promotable.
    waiting: BTreeSet<TaskId>,
    /// Where the look at every waiting task goes on; `None` if it has been through.
    sweep: Option<Sweep>,
    swept_at: i64,
}

/// A ready list as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Given {
    more: bool,
    /// When the next of the held tasks in view comes free.
    due: Option<i64>,
}

/// How far the look at every waiting task has come: first the blocked ones, then the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sweep {
    status: Status,
    after: i64,
}

const FROM_THE_START: Sweep = Sweep { status: Status::Blocked, after: i64::MIN };

impl Memory {
    /// True if a look now would show nothing new, provided that there was no write since the last.
    pub(super) fn is_current(&self, policy: &Policy, unix: i64) -> bool {
        self.judged_by.as_ref() == Some(policy)
            && self.sweep.is_none()
            && self.due.is_none_or(|due| unix < due)
    }
}

impl Pass<'_> {
    /// Looks at the board, and remembers what the next look can leave out.
    pub(super) fn look(
        &mut self,
        memory: &mut Memory,
        request: &Request,
        requeued: bool,
    ) -> Observation {
        let first = memory.judged_by.is_none();
        let reader = self.board.readers.entry(self.owner).or_default();
        let changed = first || !reader.current;
        reader.current = true;
        let news = std::mem::take(&mut reader.news);
        let alike = memory.judged_by.as_ref() == Some(self.env.policy);

        let mut observation = Observation::default();
        let again = self.running(&mut observation);
        if changed || requeued || !alike || self.wants_list(memory, request) {
            let (ready, due) = self.ready(request.want);
            memory.given = Some(Given { more: ready.more, due });
            observation.ready = Some(ready);
        }
        self.follow(memory, news, first || request.fresh || !alike, changed);
        observation.promotable = self.promotable(memory);
        let held = memory.given.and_then(|given| given.due);
        observation.due = earliest(observation.due, held);
        memory.due = earliest(observation.due, again);
        if !alike {
            memory.judged_by = Some(self.env.policy.clone());
        }
        observation
    }

    /// Fills in the running rows and the ended claims. Returns the second at which the processes of
    /// others must be looked at again.
    fn running(&self, observation: &mut Observation) -> Option<i64> {
        observation.running = self.board.running();
        let (mut again, mut listed) = (None, 0);
        for task in self.board.tasks.iter().filter(|task| task.status == Status::Running) {
            if listed >= EXPIRED && self.ours(task).is_none() {
                // The next look shows it, and is due.
                observation.due = earliest(observation.due, Some(self.unix));
                continue;
            }
            match self.judge(task) {
                Lease::Ours { fence, adopted } => {
                    observation.ours.push(fence);
                    observation.orphans.extend(self.orphan(task).filter(|_| adopted));
                }
                Lease::Orphan(orphan) => {
                    listed += 1;
                    observation.orphans.push(orphan);
                }
                Lease::Ended(by) => {
                    listed += 1;
                    observation.expired.push(Expired { task: task.id, run: task.claim.run, by });
                }
                Lease::Held { due, look } => {
                    observation.due = earliest(observation.due, due);
                    again = earliest(again, look);
                }
            }
        }
        again
    }

    /// Whether the ready list is requested, or time may have changed it since it was returned.
    fn wants_list(&self, memory: &Memory, request: &Request) -> bool {
        request.fresh
            || memory.given.is_none_or(|given| {
                (given.more && request.relist) || given.due.is_some_and(|due| due <= self.unix)
            })
    }

    /// The first `want` tasks that may run now, and when the next of those in front of them may.
    fn ready(&self, want: u32) -> (Ready, Option<i64>) {
        let (mut list, mut due) = (Ready::default(), None);
        let mut waiting: Vec<&Task> =
            self.board.tasks.iter().filter(|task| self.is_listed(task)).collect();
        waiting.sort_by_key(|task| (Reverse(task.priority), task.created_at, task.order));
        for task in waiting {
            let candidate = self.board.candidate(task, self.env.policy, self.unix);
            match hold::on(&candidate, self.env.policy, self.unix).map(Hold::end) {
                Some(End::At(second)) => due = earliest(due, Some(second)),
                Some(End::Owner(_)) => {}
                None if list.tasks.len() < want as usize => list.tasks.push(candidate),
                None => {
                    list.more = true;
                    break;
                }
            }
        }
        (list, due)
    }

    /// True if the task is ready, free, and in a lane that we can run.
    fn is_listed(&self, task: &Task) -> bool {
        let worker = match task.lane {
            Lane::Worker(worker) => Some(worker),
            Lane::Unassigned => self.env.policy.default_worker,
            Lane::Foreign => None,
        };
        let runs = worker.is_some_and(|worker| self.env.policy.worker(worker).enabled);
        runs && task.status == Status::Ready && task.claim.holder.is_none()
    }

    /// Finds out which waiting tasks may have become promotable since the last look.
    fn follow(
        &self,
        memory: &mut Memory,
        news: BTreeSet<TaskId>,
        from_the_start: bool,
        changed: bool,
    ) {
        let stale = changed && self.unix.saturating_sub(memory.swept_at) >= SWEEP_S;
        if from_the_start || stale {
            memory.sweep = Some(FROM_THE_START);
            memory.swept_at = self.unix;
            return;
        }
        for task in news {
            memory.waiting.insert(task);
            memory.waiting.extend(self.board.children(task));
        }
    }

    /// Those of the waiting tasks that may be promoted, as many as fit one answer. A task that was
    /// returned is remembered until it is seen to have changed; the others come back with an event.
    fn promotable(&self, memory: &mut Memory) -> Vec<TaskId> {
        let mut found = Vec::new();
        for id in std::mem::take(&mut memory.waiting) {
            if found.len() >= PROMOTABLE {
                memory.waiting.insert(id);
            } else if self.board.task(id).is_some_and(|task| self.may(task)) {
                memory.waiting.insert(id);
                found.push(id);
            }
        }
        while found.len() < PROMOTABLE
            && let Some(sweep) = memory.sweep
        {
            memory.sweep = self.go_on(sweep, &mut memory.waiting, &mut found);
        }
        found
    }

    /// Looks at the rest of the waiting tasks of one status. Returns where to continue.
    fn go_on(
        &self,
        sweep: Sweep,
        waiting: &mut BTreeSet<TaskId>,
        found: &mut Vec<TaskId>,
    ) -> Option<Sweep> {
        let rest = self.board.tasks.iter();
        for task in rest.filter(|t| t.status == sweep.status && t.order > sweep.after) {
            if self.may(task) && waiting.insert(task.id) {
                found.push(task.id);
                if found.len() >= PROMOTABLE {
                    return Some(Sweep { after: task.order, ..sweep });
                }
            }
        }
        let rest = Sweep { status: Status::Todo, after: i64::MIN };
        (sweep.status == FROM_THE_START.status).then_some(rest)
    }

    fn may(&self, task: &Task) -> bool {
        self.board.may_promote(task, self.env.policy.failure_limit)
    }
}

/// The earlier of two seconds, of which neither need exist.
fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}
