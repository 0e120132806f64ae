//! What a dispatcher may change, each change with its precondition.

use sexton::machine::exchange::{Change, Expired, Fence, LeaseEnd, Orphan, Refusal, Taken};
use sexton::machine::hold;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, SpawnId, TaskId, WorkerId};
use sexton::machine::verdict::{Budget, ExitStatus, STREAK_LIMIT, Settlement, Verdict, settle};

use super::lease::Lease;
use super::{Claim, Holder, Outcome, Pass, Status, Task};

const SUPERSEDED: Taken = Taken::No(Refusal::Superseded);

impl Pass<'_> {
    /// Applies one change, if its precondition holds.
    pub(super) fn change(&mut self, change: Change) -> Taken {
        if is_dispatch(change) && self.env.contended {
            return Taken::No(Refusal::Locked);
        }
        match change {
            Change::Claim { spawn, task, worker, ttl_s, cap } => {
                self.claim(spawn, task, worker, ttl_s, cap)
            }
            Change::Adopt { spawn, orphan, ttl_s } => self.adopt(spawn, orphan, ttl_s),
            Change::Started { fence, pid } => self.started(fence, pid),
            Change::Renew { fence, ttl_s, heartbeat } => self.renew(fence, ttl_s, heartbeat),
            Change::Finish { fence, pid: _, verdict, failure_limit } => {
                self.finish(fence, verdict, failure_limit)
            }
            Change::Promote { task, failure_limit } => self.promote(task, failure_limit),
            Change::Reclaim { expired, failure_limit } => self.free(expired, failure_limit),
        }
    }

    fn claim(
        &mut self,
        spawn: SpawnId,
        id: TaskId,
        worker: WorkerId,
        ttl_s: u32,
        cap: u32,
    ) -> Taken {
        let Some(task) = self.board.task(id) else { return SUPERSEDED };
        let (claim, max_runtime_s) = (task.claim, task.max_runtime_s.filter(|limit| *limit > 0));
        let holder = Holder::Sexton(self.owner, spawn);
        if let (Status::Running, Some(run)) = (task.status, claim.run)
            && claim.holder == Some(holder)
        {
            return Taken::Claimed { run, max_runtime_s };
        }
        if task.status != Status::Ready || claim.holder.is_some() {
            return SUPERSEDED;
        }
        if let Some(refusal) = self.refuse(task, worker, cap) {
            return Taken::No(refusal);
        }
        let (refuses, unassigned) = (task.refuses, task.lane == Lane::Unassigned);
        if !self.board.parents_done(id) {
            self.set(id, |task| task.status = Status::Todo);
            self.board.tell(id);
            return SUPERSEDED;
        }
        if refuses {
            // What was written before the refusal is undone, but others see that something was.
            if unassigned || self.board.has_open_run(id) {
                self.board.wrote(Some(self.owner));
            }
            return Taken::No(Refusal::Rejected);
        }
        self.assign(id, worker);
        self.board.wrote(Some(self.owner));
        let run = self.board.open_run(id, holder, ttl_s, self.unix);
        Taken::Claimed { run, max_runtime_s }
    }

    /// Adopts a claim whose owner is dead, or renumbers one that this dispatcher has adopted already.
    fn adopt(&mut self, spawn: SpawnId, orphan: Orphan, ttl_s: u32) -> Taken {
        let Orphan { task, run, .. } = orphan;
        let Some(row) = self.board.task(task).filter(|row| row.claim.run == Some(run)) else {
            return SUPERSEDED;
        };
        let max_runtime_s = row.max_runtime_s.filter(|limit| *limit > 0);
        let may = row.status == Status::Running
            && matches!(self.judge(row), Lease::Orphan(_) | Lease::Ours { adopted: true, .. });
        if !may {
            return SUPERSEDED;
        }
        let claim = Claim {
            adopter: Some((self.owner, spawn)),
            expires: Some(self.unix.saturating_add(i64::from(ttl_s))),
            ..row.claim
        };
        // SQLite writes nothing if no row changes.
        if claim != row.claim {
            self.set(task, |task| task.claim = claim);
        }
        Taken::Claimed { run, max_runtime_s }
    }

    /// Why the task may not be claimed now, although it is ready and free.
    fn refuse(&self, task: &Task, worker: WorkerId, cap: u32) -> Option<Refusal> {
        let candidate = self.board.candidate(task, self.env.policy, self.unix);
        if let Some(hold) = hold::on(&candidate, self.env.policy, self.unix) {
            return Some(Refusal::Held(hold));
        }
        let meant = match task.lane {
            Lane::Worker(worker) => Some(worker),
            Lane::Unassigned => self.env.policy.default_worker,
            Lane::Foreign => None,
        };
        if meant != Some(worker) {
            return Some(Refusal::Superseded);
        }
        (self.board.running() >= cap).then_some(Refusal::Full)
    }

    /// Nobody's task goes to the default worker.
    fn assign(&mut self, id: TaskId, worker: WorkerId) {
        if self.board.task(id).is_some_and(|task| task.lane == Lane::Unassigned) {
            self.set(id, |task| task.lane = Lane::Worker(worker));
            self.board.tell(id);
        }
    }

    /// The task behind a fence, if the run is still ours.
    fn fenced(&self, fence: Fence) -> Option<&Task> {
        let holder = Some(Holder::Sexton(self.owner, fence.spawn));
        self.board.task(fence.task).filter(|task| {
            task.status == Status::Running
                && task.claim.run == Some(fence.run)
                && task.claim.owner() == holder
        })
    }

    /// Stores the pid of its worker.
    fn started(&mut self, fence: Fence, pid: Pid) -> Taken {
        let Some(task) = self.fenced(fence) else { return SUPERSEDED };
        if task.claim.pid.is_some_and(|known| known != pid) {
            return SUPERSEDED;
        }
        if self.board.runs.iter().any(|run| run.id == fence.run && run.spawned) {
            return Taken::Yes;
        }
        self.board.wrote(Some(self.owner));
        self.board.store_pid(fence.task, fence.run, pid);
        Taken::Yes
    }

    /// A lease that goes on, and a heartbeat for workers that have none of their own. Where that
    /// changes no row, SQLite writes nothing.
    fn renew(&mut self, fence: Fence, ttl_s: u32, heartbeat: bool) -> Taken {
        let Some(task) = self.fenced(fence) else { return SUPERSEDED };
        let claim = Claim {
            expires: Some(self.unix.saturating_add(i64::from(ttl_s))),
            heartbeat: if heartbeat { Some(self.unix) } else { task.claim.heartbeat },
            ..task.claim
        };
        if claim != task.claim {
            self.set(fence.task, |task| task.claim = claim);
        }
        Taken::Yes
    }

    /// Ends a run of ours.
    fn finish(&mut self, fence: Fence, verdict: Verdict, failure_limit: u32) -> Taken {
        let Some(task) = self.fenced(fence).cloned() else { return SUPERSEDED };
        match verdict {
            Verdict::Completed => self.completed(&task),
            Verdict::Released(_) => self.requeue(&task, Outcome::Reclaimed),
            Verdict::SpawnFailed
            | Verdict::Unknown
            | Verdict::Crashed(_)
            | Verdict::ProtocolViolation
            | Verdict::RateLimited
            | Verdict::CredentialsRefused
            | Verdict::TimedOut { .. } => self.failed(&task, verdict, failure_limit),
        }
        Taken::Yes
    }

    fn completed(&mut self, task: &Task) {
        self.requeue(task, Outcome::Completed);
        self.set(task.id, |task| {
            task.status = Status::Done;
            task.failures = 0;
            task.blocks = None;
        });
    }

    /// The worker failed, or never came to life: closes its run, and settles what that means.
    fn failed(&mut self, task: &Task, verdict: Verdict, failure_limit: u32) {
        let budget = self.budget(task, verdict, failure_limit);
        let settlement = settle(verdict, budget);
        let gave_up = matches!(settlement, Settlement::Blocked { .. });
        self.requeue(task, outcome(verdict, gave_up));
        match settlement {
            Settlement::Done => {}
            Settlement::Ready { failures } => self.set(task.id, |task| task.failures = failures),
            Settlement::Blocked { failures, sticky, .. } => self.set(task.id, |task| {
                task.status = Status::Blocked;
                task.failures = failures;
                task.sticky = sticky;
            }),
        }
    }

    /// Frees the task, so that it can be tried again, and closes its run.
    fn requeue(&mut self, task: &Task, outcome: Outcome) {
        self.set(task.id, |task| {
            task.status = Status::Ready;
            task.claim = Claim::default();
        });
        self.board.close_run(task.claim.run, outcome, self.unix);
        self.board.tell(task.id);
    }

    /// What the task has used up so far.
    fn budget(&self, task: &Task, verdict: Verdict, failure_limit: u32) -> Budget {
        let alike = match verdict {
            Verdict::Unknown => Outcome::Unknown,
            _ => Outcome::Violation,
        };
        Budget {
            failures: task.failures,
            failure_limit,
            max_retries: task.max_retries.map(|limit| limit.max(1)),
            streak: self.streak(task.id, alike).saturating_add(1),
        }
    }

    /// Returns how many of the newest closed runs in a row ended alike. Rate limits are skipped.
    fn streak(&self, task: TaskId, alike: Outcome) -> u32 {
        let closed = self.board.runs.iter().rev().filter(|run| run.task == task);
        let outcomes = closed.filter_map(|run| run.end.map(|end| end.outcome)).take(50);
        let streak = outcomes
            .filter(|outcome| *outcome != Outcome::RateLimited)
            .take_while(|outcome| *outcome == alike)
            .count();
        u32::try_from(streak).unwrap_or(STREAK_LIMIT)
    }

    /// Makes a waiting task ready, if it may.
    fn promote(&mut self, id: TaskId, failure_limit: u32) -> Taken {
        let task = self.board.task(id);
        if !task.is_some_and(|task| self.board.may_promote(task, failure_limit)) {
            return SUPERSEDED;
        }
        self.set(id, |task| task.status = Status::Ready);
        self.board.tell(id);
        Taken::Yes
    }

    /// Puts the task of an ended claim back, if the claim is still the same and still ended.
    fn free(&mut self, expired: Expired, failure_limit: u32) -> Taken {
        let task = self.board.task(expired.task);
        let same = |task: &&Task| task.status == Status::Running && task.claim.run == expired.run;
        let Some(task) = task.filter(same).cloned() else { return SUPERSEDED };
        if self.judge(&task) != Lease::Ended(expired.by) {
            return SUPERSEDED;
        }
        match expired.by {
            LeaseEnd::Expired | LeaseEnd::Neglected => self.requeue(&task, Outcome::Reclaimed),
            LeaseEnd::WorkerGone => {
                self.failed(&task, Verdict::Crashed(ExitStatus::Unknown), failure_limit);
            }
        }
        Taken::Yes
    }

    /// Writes to a task.
    fn set(&mut self, id: TaskId, write: impl FnOnce(&mut Task)) {
        self.board.wrote(Some(self.owner));
        if let Some(task) = self.board.task_mut(id) {
            write(task);
        }
    }
}

/// The outcome of a run that ended with this verdict. Only where no worker came to life does the run
/// itself say that its task was given up.
fn outcome(verdict: Verdict, gave_up: bool) -> Outcome {
    match verdict {
        Verdict::Completed => Outcome::Completed,
        Verdict::Released(_) => Outcome::Reclaimed,
        Verdict::Unknown => Outcome::Unknown,
        Verdict::SpawnFailed if gave_up => Outcome::GaveUp,
        Verdict::SpawnFailed => Outcome::SpawnFailed,
        Verdict::Crashed(_) | Verdict::CredentialsRefused => Outcome::Crashed,
        Verdict::ProtocolViolation => Outcome::Violation,
        Verdict::RateLimited => Outcome::RateLimited,
        Verdict::TimedOut { .. } => Outcome::TimedOut,
    }
}

/// Claims, promotions and the ends of others' claims wait for other dispatchers.
fn is_dispatch(change: Change) -> bool {
    match change {
        Change::Claim { .. } | Change::Promote { .. } | Change::Reclaim { .. } => true,
        Change::Adopt { .. }
        | Change::Started { .. }
        | Change::Renew { .. }
        | Change::Finish { .. } => false,
    }
}
