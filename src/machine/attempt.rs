//! One attempt, from the claim to the recorded end: where it stands, and what its board is still
//! owed. Nothing here knows other attempts.

mod acts;
mod debt;
mod stage;
mod table;

use alloc::vec::Vec;

use super::effect::Effect;
use super::event::Group;
use super::exchange::{Change, Fence};
use super::ids::{Pid, RunId, SpawnId, TaskId, WorkerId};
use super::policy::{Completion, Policy};
use super::renamer::Renamer;
use super::time::{Mono, Now};
use super::verdict::{ExitStatus, Verdict};
use acts::Acts;

pub use debt::{Debt, End, Lease};
pub use stage::{Cancelling, Draining, Ending, Limit, Looking, Preparing, Running, Stage, Why};
pub(super) use stage::{Exit, Input};

/// One attempt of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    id: SpawnId,
    task: TaskId,
    worker: WorkerId,
    /// Its run, once the claim took.
    row: Option<RunId>,
    stage: Stage,
    debt: Debt,
}

impl Attempt {
    /// An attempt whose claim is about to be asked for.
    pub(super) fn new(
        id: SpawnId,
        task: TaskId,
        worker: WorkerId,
        now: Now,
        ttl_s: u32,
    ) -> Attempt {
        let debt = Debt::new(Lease::begin(now, ttl_s));
        Attempt { id, task, worker, row: None, stage: Stage::Claiming { lent: false }, debt }
    }

    /// Its number, which is also its claim's token.
    #[must_use]
    pub fn id(&self) -> SpawnId {
        self.id
    }

    /// Returns the task that it works on.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Returns the configured worker that runs it.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Returns its stage, with the data of that stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What its board is owed.
    #[must_use]
    pub fn debt(&self) -> &Debt {
        &self.debt
    }

    /// What proves that the run is ours, once it is.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.row.map(|run| Fence { task: self.task, run, spawn: self.id })
    }

    /// Whether everything is over: nothing alive, nothing owed, no answer outstanding.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Gone { answered: true } && self.debt.end() == End::Settled
    }

    /// The verdict of its end, if the board has yet to record it.
    pub(super) fn owed_end(&self) -> Option<Verdict> {
        match self.debt.end() {
            End::Owed { verdict, .. } => Some(verdict),
            End::Open(_) | End::Settled => None,
        }
    }

    /// Whether nothing of it is alive and its end is owed, so that recording it makes room.
    pub(super) fn makes_room(&self) -> bool {
        let gone = matches!(self.stage, Stage::Gone { .. });
        gone && matches!(self.debt.end(), End::Owed { .. })
    }

    /// Applies an input to its stage.
    pub(super) fn take_in(
        &mut self,
        input: Input,
        now: Mono,
        policy: &Policy,
        effects: &mut Vec<Effect>,
    ) {
        let (id, worker) = (self.id, policy.worker(self.worker));
        let mut act = Acts { id, now, worker, debt: &mut self.debt, effects };
        self.stage = table::next(self.stage, input, &mut act);
    }

    /// The exit of its leader, as the stage table takes it in.
    pub(super) fn exit(
        &self,
        pid: Pid,
        status: ExitStatus,
        group: Group,
        now: Mono,
        policy: &Policy,
    ) -> Exit {
        let worker = policy.worker(self.worker);
        let verdict = match self.stage {
            Stage::Ending(it) => it.why.verdict(now, it.escalation.has_killed()),
            Stage::Claiming { .. }
            | Stage::Finding(_)
            | Stage::Preparing(_)
            | Stage::Cancelling(_)
            | Stage::Running(_)
            | Stage::Draining(_)
            | Stage::Gone { .. } => Verdict::of(status, worker.completion),
        };
        let may_stay = worker.keep_leftovers && verdict == Verdict::Completed;
        Exit { pid, status, verdict, alone: group == Group::Gone || may_stay }
    }

    /// Stores the run that the claim opened.
    pub(super) fn claimed(&mut self, row: RunId) {
        self.row = Some(row);
    }

    /// Changes what its board is owed.
    pub(super) fn debt_mut(&mut self) -> &mut Debt {
        &mut self.debt
    }

    /// Returns when the next change is due that does not wait for others, once its board has the
    /// row.
    pub(super) fn send_at(&self) -> Option<Mono> {
        self.row.and(self.debt.send_at())
    }

    /// Returns the latest second at which its lease must be renewed.
    pub(super) fn renew_by(&self) -> Option<i64> {
        self.row.and(self.debt.renew_by())
    }

    /// Pushes what is owed to its board now, and returns whether any of it cannot wait.
    pub(super) fn owed_changes(
        &self,
        now: Now,
        policy: &Policy,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(fence) = self.fence() else { return false };
        if let Some(pid) = self.debt.owed_pid() {
            changes.push(Change::Started { fence, pid });
        }
        let due = self.send_at().is_some_and(|at| now.mono >= at);
        match self.debt.end() {
            End::Owed { verdict, .. } if due => {
                let (pid, failure_limit) = (self.debt.pid(), policy.failure_limit);
                changes.push(Change::Finish { fence, pid, verdict, failure_limit });
                true
            }
            End::Open(_) if due || self.debt.lease_is_short(now.unix) => {
                let worker = policy.worker(self.worker);
                let heartbeat = worker.completion == Completion::ExitStatus;
                changes.push(Change::Renew { fence, ttl_s: policy.claim_ttl_s, heartbeat });
                true
            }
            End::Open(_) | End::Owed { .. } | End::Settled => false,
        }
    }

    /// Rewrites its moments and numbers.
    pub(super) fn rename(&mut self, to: &impl Renamer) {
        to.attempt(&mut self.id);
        self.stage.rename(to);
        self.debt.rename(to);
    }
}
