//! What others do to a board: workers, people, dispatchers of another kind.
//!
//! Each verb is one transaction. It returns false, and changes nothing, where the client refuses.

use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, RunId, SpawnId, TaskId};

use super::{BlockKind, Claim, Holder, Instance, ModelBoard, Outcome, Status, Task};

/// The lease of a claim by the client, and what a heartbeat of its workers renews it to.
const CLIENT_TTL_S: u32 = 900;

/// A task that is blocked this often for the same reason goes back to triage.
const BLOCK_LIMIT: u32 = 2;

/// The fields of a new task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Its id; a task that has it already keeps it.
    pub id: TaskId,
    /// Whose work it is.
    pub lane: Lane,
    /// Tasks that must be done first. They must exist.
    pub parents: Vec<TaskId>,
    /// Priority: larger runs first.
    pub priority: i64,
    /// Whether there is a body to hand to a worker.
    pub has_body: bool,
    /// Its own failure limit.
    pub max_retries: Option<u32>,
    /// Its own time limit.
    pub max_runtime_s: Option<u32>,
    /// Create it blocked, until a person unblocks it.
    pub blocked: bool,
    /// Create it in triage, where a person sorts it.
    pub triage: bool,
}

impl NewTask {
    /// Returns a plain task for this lane.
    #[must_use]
    pub fn new(id: TaskId, lane: Lane) -> NewTask {
        NewTask {
            id,
            lane,
            parents: Vec::new(),
            priority: 0,
            has_body: true,
            max_retries: None,
            max_runtime_s: None,
            blocked: false,
            triage: false,
        }
    }
}

/// What is said with a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    /// The run that the caller belongs to, if it is a worker.
    pub own_run: Option<RunId>,
    /// There is a summary: without an open run, one is made up to keep it.
    pub told: bool,
    /// From how many failures on a blocked child stays blocked.
    pub failure_limit: u32,
}

/// What is said with a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The run that the caller belongs to, if it is a worker.
    pub own_run: Option<RunId>,
    /// There is a reason: without an open run, one is made up to keep it.
    pub told: bool,
    /// Why it is blocked, which decides who is asked.
    pub kind: Option<BlockKind>,
}

/// The actions of workers.
impl ModelBoard {
    /// The task is done. Children that waited only for it become ready.
    pub fn complete(&mut self, id: TaskId, with: Complete, now: i64) -> bool {
        let may = [Status::Running, Status::Ready, Status::Blocked];
        if !self.is_open(id, &may, with.own_run) {
            return false;
        }
        self.end_run(id, Outcome::Completed, with.told, now);
        self.set(id, |task| {
            task.status = Status::Done;
            task.claim = Claim { run: task.claim.run, ..Claim::default() };
            task.failures = 0;
            task.blocks = None;
        });
        self.tell(id);
        for child in self.children(id) {
            self.promote_if_due(child, with.failure_limit);
        }
        true
    }

    /// The task cannot go on.
    pub fn block(&mut self, id: TaskId, with: Block, now: i64) -> bool {
        if !self.is_open(id, &[Status::Running, Status::Ready], with.own_run) {
            return false;
        }
        let waits = !self.parents_done(id);
        self.end_run(id, Outcome::Blocked, with.told, now);
        self.set(id, |task| {
            task.claim = Claim { run: task.claim.run, ..Claim::default() };
            route(task, with.kind, waits);
        });
        self.tell(id);
        true
    }

    /// The worker of a run is alive, and its lease goes on.
    pub fn heartbeat(&mut self, id: TaskId, run: RunId, now: i64) -> bool {
        if !self.is_open(id, &[Status::Running], Some(run)) {
            return false;
        }
        let expires = now.saturating_add(i64::from(CLIENT_TTL_S));
        self.set(id, |task| {
            task.claim.expires = Some(expires);
            task.claim.heartbeat = Some(now);
        });
        true
    }
}

/// The actions of people.
impl ModelBoard {
    /// Makes a task and its links.
    pub fn create(&mut self, new: &NewTask, now: i64) -> bool {
        let unknown = new.parents.iter().any(|parent| self.task(*parent).is_none());
        if unknown || self.task(new.id).is_some() {
            return false;
        }
        self.links.extend(new.parents.iter().map(|parent| (*parent, new.id)));
        let status = match (new.blocked, new.triage, self.parents_done(new.id)) {
            (true, _, _) => Status::Blocked,
            (false, true, _) => Status::Triage,
            (false, false, false) => Status::Todo,
            (false, false, true) => Status::Ready,
        };
        self.tasks.push(Task {
            id: new.id,
            order: self.tasks.last().map_or(1, |task| task.order.saturating_add(1)),
            status,
            lane: new.lane,
            priority: new.priority,
            created_at: now,
            started_at: None,
            has_body: new.has_body,
            failures: 0,
            max_retries: new.max_retries,
            max_runtime_s: new.max_runtime_s,
            claim: Claim::default(),
            held: new.blocked,
            sticky: false,
            blocks: None,
            refuses: false,
        });
        self.wrote(None);
        self.tell(new.id);
        true
    }

    /// Puts a task away. Its worker gets no signal from this.
    pub fn archive(&mut self, id: TaskId, now: i64) -> bool {
        if self.task(id).is_none_or(|task| task.status == Status::Archived) {
            return false;
        }
        self.take_back(id, Status::Archived, Outcome::Reclaimed, now);
        true
    }

    /// Lets a blocked or scheduled task go on. Failures so far are forgiven.
    pub fn unblock(&mut self, id: TaskId, now: i64) -> bool {
        let Some(task) = self.task(id) else { return false };
        if !matches!(task.status, Status::Blocked | Status::Scheduled) {
            return false;
        }
        self.close_run(task.claim.run, Outcome::Reclaimed, now);
        let status = if self.parents_done(id) { Status::Ready } else { Status::Todo };
        self.set(id, |task| {
            task.status = status;
            task.claim.run = None;
            task.failures = 0;
            task.held = false;
            task.sticky = false;
        });
        self.tell(id);
        true
    }

    /// Makes a waiting task ready; by force even if something that it waits for is not done.
    pub fn promote(&mut self, id: TaskId, force: bool) -> bool {
        if !self.is_open(id, &[Status::Todo, Status::Blocked], None)
            || !(force || self.parents_done(id))
        {
            return false;
        }
        self.set(id, |task| task.status = Status::Ready);
        self.tell(id);
        true
    }

    /// Moves a task back to todo, triage or ready. If it was done, tasks that depend on it must
    /// wait again.
    pub fn reopen(&mut self, id: TaskId, to: Status, now: i64) -> bool {
        let Some(from) = self.task(id).map(|task| task.status) else { return false };
        let waits = to == Status::Ready && !self.parents_all_done(id);
        if !matches!(to, Status::Todo | Status::Triage | Status::Ready) || waits {
            return false;
        }
        if from == Status::Running {
            self.end_run(id, Outcome::Reclaimed, false, now);
        }
        self.set(id, |task| {
            task.status = to;
            task.claim = Claim { run: task.claim.run, ..Claim::default() };
        });
        self.tell(id);
        if from == Status::Done {
            self.send_back_children(id);
        }
        true
    }

    /// Takes a running or claimed task from its worker. Failures so far are forgiven.
    pub fn reclaim(&mut self, id: TaskId, now: i64) -> bool {
        let Some(task) = self.task(id) else { return false };
        let may = [Status::Running, Status::Ready, Status::Blocked].contains(&task.status);
        if !may || (task.status != Status::Running && task.claim.holder.is_none()) {
            return false;
        }
        self.take_back(id, Status::Ready, Outcome::Reclaimed, now);
        self.set(id, |task| task.failures = 0);
        true
    }

    /// Puts a task off.
    pub fn schedule(&mut self, id: TaskId, now: i64) -> bool {
        let may = [Status::Todo, Status::Ready, Status::Running, Status::Blocked];
        if !self.is_open(id, &may, None) {
            return false;
        }
        self.take_back(id, Status::Scheduled, Outcome::Scheduled, now);
        true
    }

    /// Assigns a task to another lane, unless it runs under a claim.
    pub fn assign(&mut self, id: TaskId, lane: Lane) -> bool {
        let Some(task) = self.task(id) else { return false };
        if task.status == Status::Running && task.claim.holder.is_some() {
            return false;
        }
        self.set(id, |task| {
            task.failures = if task.lane == lane { task.failures } else { 0 };
            task.lane = lane;
        });
        self.tell(id);
        true
    }

    /// Changes the order in which tasks run.
    pub fn prioritise(&mut self, id: TaskId, priority: i64) -> bool {
        self.task(id).is_some() && {
            self.set(id, |task| task.priority = priority);
            true
        }
    }

    /// Writes or empties the body of a task.
    pub fn edit(&mut self, id: TaskId, has_body: bool) -> bool {
        self.task(id).is_some() && {
            self.set(id, |task| task.has_body = has_body);
            self.tell(id);
            true
        }
    }

    /// Adds a comment to a task, which affects no decision.
    pub fn comment(&mut self, id: TaskId) -> bool {
        self.task(id).is_some() && {
            self.wrote(None);
            true
        }
    }

    /// Makes `child` wait for `parent`.
    pub fn link(&mut self, parent: TaskId, child: TaskId) -> bool {
        let both = self.task(parent).is_some() && self.task(child).is_some();
        if !both || parent == child || self.waits_for(parent, child) {
            return false;
        }
        self.links.insert((parent, child));
        self.wrote(None);
        let is_over = self.task(parent).is_some_and(|task| task.status.is_over());
        if !is_over && self.task(child).is_some_and(|task| task.status == Status::Ready) {
            self.set(child, |task| task.status = Status::Todo);
        }
        self.tell(child);
        true
    }

    /// Lets `child` wait for `parent` no longer.
    pub fn unlink(&mut self, parent: TaskId, child: TaskId) -> bool {
        if !self.links.remove(&(parent, child)) {
            return false;
        }
        self.wrote(None);
        self.tell(child);
        true
    }

    /// Removes a task with everything that belongs to it. No event records it.
    pub fn delete(&mut self, id: TaskId) -> bool {
        if self.task(id).is_none() {
            return false;
        }
        self.tasks.retain(|task| task.id != id);
        self.runs.retain(|run| run.task != id);
        self.links.retain(|(parent, child)| *parent != id && *child != id);
        for reader in self.readers.values_mut() {
            reader.news.remove(&id);
        }
        self.wrote(None);
        true
    }

    /// From now on the board refuses every run of this task, or does so no longer.
    pub fn refuse(&mut self, id: TaskId, refuses: bool) -> bool {
        self.task(id).is_some() && {
            self.set(id, |task| task.refuses = refuses);
            true
        }
    }
}

/// What dispatchers of another kind do.
impl ModelBoard {
    /// Claims a ready task and starts a worker for it.
    pub fn claim(&mut self, id: TaskId, by: Holder, pid: Option<Pid>, now: i64) -> Option<RunId> {
        let free = |task: &&Task| task.status == Status::Ready && task.claim.holder.is_none();
        self.task(id).filter(free)?;
        self.wrote(None);
        if !self.parents_done(id) {
            self.set(id, |task| task.status = Status::Todo);
            self.tell(id);
            return None;
        }
        let run = self.open_run(id, by, CLIENT_TTL_S, now);
        if let Some(pid) = pid {
            self.store_pid(id, run, pid);
        }
        Some(run)
    }

    /// Takes the lock off a running task, so that it runs without a claim. No event records it.
    pub fn disown(&mut self, id: TaskId) -> bool {
        let held = |task: &&Task| task.status == Status::Running && task.claim.holder.is_some();
        self.task(id).filter(held).is_some() && {
            self.set(id, |task| (task.claim.holder, task.claim.expires) = (None, None));
            true
        }
    }

    /// Makes every waiting task ready that may be.
    pub fn promote_all(&mut self, failure_limit: u32) {
        for id in self.tasks.iter().map(|task| task.id).collect::<Vec<_>>() {
            self.promote_if_due(id, failure_limit);
        }
    }

    /// Makes a dispatcher the owner of a run without checking who owns it now. Our dispatchers never
    /// do this.
    pub fn seize(&mut self, id: TaskId, run: RunId, owner: Instance, spawn: SpawnId) -> bool {
        let runs = |task: &&Task| task.status == Status::Running && task.claim.run == Some(run);
        self.task(id).filter(runs).is_some() && {
            self.set(id, |task| task.claim.adopter = Some((owner, spawn)));
            true
        }
    }

    /// The connection of this dispatcher is closed for good.
    pub fn forget(&mut self, owner: Instance) {
        self.readers.remove(&owner);
    }
}

impl ModelBoard {
    /// True if the task is in one of these statuses, and the caller not the worker of an old run.
    fn is_open(&self, id: TaskId, statuses: &[Status], own_run: Option<RunId>) -> bool {
        self.task(id).is_some_and(|task| {
            statuses.contains(&task.status) && own_run.is_none_or(|run| task.claim.run == Some(run))
        })
    }

    /// Writes to a task, not as one of our dispatchers.
    fn set(&mut self, id: TaskId, write: impl FnOnce(&mut Task)) {
        self.wrote(None);
        if let Some(task) = self.task_mut(id) {
            write(task);
        }
    }

    /// Ends the task's current run. Without one, makes up a closed run if there is something to keep
    /// in it.
    fn end_run(&mut self, id: TaskId, outcome: Outcome, told: bool, now: i64) {
        let current = self.task(id).and_then(|task| task.claim.run);
        if current.is_some() {
            self.close_run(current, outcome, now);
            self.set(id, |task| task.claim.run = None);
        } else if told {
            let run = self.new_run(id, None, now);
            self.close_run(Some(run), outcome, now);
        }
    }

    /// Ends the current run, releases the task, and sets its status to `to`.
    fn take_back(&mut self, id: TaskId, to: Status, outcome: Outcome, now: i64) {
        self.end_run(id, outcome, false, now);
        self.set(id, |task| {
            task.status = to;
            task.claim = Claim::default();
        });
        self.tell(id);
    }

    fn promote_if_due(&mut self, id: TaskId, failure_limit: u32) {
        if self.task(id).is_some_and(|task| self.may_promote(task, failure_limit)) {
            self.set(id, |task| task.status = Status::Ready);
            self.tell(id);
        }
    }

    fn send_back_children(&mut self, id: TaskId) {
        for child in self.children(id) {
            if self.task(child).is_some_and(|task| task.status == Status::Ready) {
                self.set(child, |task| task.status = Status::Todo);
                self.tell(child);
            }
        }
    }

    /// Unlike for a dispatcher, an archived parent is an open one here.
    fn parents_all_done(&self, id: TaskId) -> bool {
        let mut parents = self.links.iter().filter(|(_, child)| *child == id);
        parents.all(|(parent, _)| self.task(*parent).is_none_or(|p| p.status == Status::Done))
    }

    /// Whether `task` waits for `other`, directly or by others.
    fn waits_for(&self, task: TaskId, other: TaskId) -> bool {
        let mut parents = self.links.iter().filter(|(_, child)| *child == task);
        // Links never make a circle, so this ends.
        parents.any(|(parent, _)| *parent == other || self.waits_for(*parent, other))
    }
}

/// Where a block leads.
fn route(task: &mut Task, kind: Option<BlockKind>, waits: bool) {
    let again = |kind| match task.blocks {
        Some((known, count)) if Some(known) == kind => count.saturating_add(1),
        _ => 1,
    };
    let (status, kind, count) = match kind {
        // It becomes ready when its parents are done.
        Some(BlockKind::Dependency) if waits => (Status::Todo, Some(BlockKind::Dependency), 0),
        // Without open parents it would become ready immediately, again and again.
        Some(BlockKind::Dependency) => {
            let kind = Some(BlockKind::NeedsInput);
            (Status::Blocked, kind, again(kind))
        }
        kind if again(kind) >= BLOCK_LIMIT => (Status::Triage, kind, again(kind)),
        kind => (Status::Blocked, kind, again(kind)),
    };
    task.status = status;
    task.blocks = kind.map(|kind| (kind, count));
    task.held |= status == Status::Blocked;
}
