//! The attempts of one board, and what is looked up among them. Each attempt changes through
//! [`take_in`](Attempts::take_in) and
//! [`update`](Attempts::update) alone, so that every index follows it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem;

use super::super::attempt::{Attempt, Input, Stage};
use super::super::effect::Effect;
use super::super::exchange::{Change, Fence};
use super::super::ids::{BoardId, RunId, SpawnId, TaskId};
use super::super::policy::Policy;
use super::super::renamer::Renamer;
use super::super::time::{Key, Mono, Now, Timers, earlier, swap};
use super::super::turn::{Mode, Turn};

/// Milliseconds for which a pid may wait for other changes to share a transaction with.
pub const FLUSH_MS: u64 = 5;

/// The attempts of one board.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempts {
    board: BoardId,
    all: BTreeMap<SpawnId, Attempt>,
    /// Until when a pid that the board does not have may wait for another change.
    flush_at: Option<Mono>,
    index: Index,
}

/// What follows from the attempts, kept so that it need not be searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    tasks: BTreeSet<(TaskId, SpawnId)>,
    claiming: BTreeSet<SpawnId>,
    /// Attempts whose pid the board does not have yet.
    pids: BTreeSet<SpawnId>,
    /// When a change is due that does not wait for others.
    sends: BTreeSet<(Mono, SpawnId)>,
    /// The second by which each lease must be renewed.
    leases: BTreeSet<(i64, SpawnId)>,
    /// Those that are over and not forgotten yet.
    over: BTreeSet<SpawnId>,
    /// Number of attempts that use a slot of the host.
    slots: u32,
}

/// It follows from the attempts, which are hashed.
impl Hash for Index {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What the indexes hold about one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    slot: bool,
    claiming: bool,
    pid: bool,
    send_at: Option<Mono>,
    renew_by: Option<i64>,
    alarm: Option<Mono>,
    over: bool,
}

impl Marks {
    fn of(attempt: &Attempt) -> Marks {
        let stage = attempt.stage();
        Marks {
            slot: stage.uses_host_slot(),
            claiming: matches!(stage, Stage::Claiming { .. }),
            pid: attempt.debt().owed_pid().is_some(),
            send_at: attempt.send_at(),
            renew_by: attempt.renew_by(),
            alarm: stage.alarm(),
            over: attempt.is_over(),
        }
    }
}

impl Attempts {
    /// A board without attempts.
    pub fn new(board: BoardId) -> Attempts {
        Attempts { board, all: BTreeMap::new(), flush_at: None, index: Index::default() }
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.all.values()
    }

    /// Returns the attempt with this number.
    pub fn get(&self, id: SpawnId) -> Option<&Attempt> {
        self.all.get(&id)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether one of them is of this task.
    pub fn has_task(&self, task: TaskId) -> bool {
        self.index.tasks.range((task, SpawnId(0))..).next().is_some_and(|(of, _)| *of == task)
    }

    /// Whether one of them belongs to this run of this task.
    pub fn has_run(&self, task: TaskId, run: RunId) -> bool {
        let of_task =
            self.index.tasks.range((task, SpawnId(0))..).take_while(|(of, _)| *of == task);
        let mut runs = of_task.filter_map(|(_, id)| self.all.get(id)?.fence());
        runs.any(|fence| fence.run == run)
    }

    /// Whether the board has yet to record the end of this attempt.
    pub fn owes_end(&self, id: SpawnId) -> bool {
        self.all.get(&id).is_some_and(|attempt| attempt.owed_end().is_some())
    }

    /// Number of attempts that use a slot of the host.
    pub fn slots(&self) -> u32 {
        self.index.slots
    }

    /// How many use a slot of the board in an exchange that begins now: what it records makes room.
    pub fn in_progress(&self, now: Mono) -> u32 {
        let ending = self.index.sends.range(..=(now, SpawnId(u64::MAX)));
        let ending = ending.filter_map(|(_, id)| self.all.get(id)).filter(|a| a.makes_room());
        count(self.all.len() - ending.count())
    }

    /// Takes in an attempt whose claim is about to be asked for.
    pub fn insert(&mut self, attempt: Attempt, turn: &mut Turn<'_>) {
        let (id, marks) = (attempt.id(), Marks::of(&attempt));
        turn.shared.owners.insert(id, self.board);
        self.index.tasks.insert((attempt.task(), id));
        self.all.insert(id, attempt);
        self.note(id, Marks::default(), marks, turn);
    }

    /// Drops an attempt whose claim did not take.
    pub fn remove(&mut self, id: SpawnId, turn: &mut Turn<'_>) -> Option<Attempt> {
        let attempt = self.all.remove(&id)?;
        turn.shared.owners.remove(&id);
        self.index.tasks.remove(&(attempt.task(), id));
        self.note(id, Marks::of(&attempt), Marks::default(), turn);
        Some(attempt)
    }

    /// Applies `act` to an attempt, and updates the indexes.
    pub fn update(&mut self, id: SpawnId, turn: &mut Turn<'_>, act: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.all.get_mut(&id) {
            let before = Marks::of(attempt);
            act(attempt);
            let after = Marks::of(attempt);
            self.note(id, before, after, turn);
        }
    }

    /// Lets something happen to an attempt, and has it end if everything is to end.
    pub fn take_in(&mut self, id: SpawnId, input: Input, turn: &mut Turn<'_>) {
        let Some(attempt) = self.all.get_mut(&id) else { return };
        let (before, owed) = (Marks::of(attempt), attempt.owed_end());
        let (now, policy) = (turn.now.mono, &turn.shared.policy);
        attempt.take_in(input, now, policy, turn.effects);
        match turn.shared.mode {
            Mode::Running | Mode::Draining { deadline: Some(_) } => {}
            Mode::Draining { deadline: None } => {
                attempt.take_in(Input::Stop, now, policy, turn.effects);
            }
            Mode::Aborting => attempt.take_in(Input::Kill, now, policy, turn.effects),
        }
        if let Some(verdict) = attempt.owed_end().filter(|_| owed.is_none()) {
            turn.effects.push(Effect::Note { spawn: id, verdict });
        }
        let after = Marks::of(attempt);
        self.note(id, before, after, turn);
    }

    /// Keeps every index in step with one attempt.
    fn note(&mut self, id: SpawnId, before: Marks, after: Marks, turn: &mut Turn<'_>) {
        let index = &mut self.index;
        index.slots = (index.slots + u32::from(after.slot)).saturating_sub(u32::from(before.slot));
        turn.shared.host.count(before.slot, after.slot);
        swap(&mut index.claiming, before.claiming.then_some(id), after.claiming.then_some(id));
        swap(&mut index.pids, before.pid.then_some(id), after.pid.then_some(id));
        swap(&mut index.over, before.over.then_some(id), after.over.then_some(id));
        let at = |at: Option<Mono>| at.map(|at| (at, id));
        swap(&mut index.sends, at(before.send_at), at(after.send_at));
        let by = |by: Option<i64>| by.map(|by| (by, id));
        swap(&mut index.leases, by(before.renew_by), by(after.renew_by));
        turn.shared.timers.set(Key::Attempt(id, self.board), before.alarm, after.alarm);
    }

    /// Forgets those that are over.
    pub fn forget_over(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.index.over.first().copied() {
            self.remove(id, turn);
            turn.effects.push(Effect::Forget { spawn: id });
        }
    }

    /// Drops those whose claim failed: if it took after all, the next look finds its row.
    pub fn drop_claiming(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.index.claiming.first().copied() {
            self.remove(id, turn);
        }
    }

    /// Lends the slots of unanswered claims to others.
    pub fn lend_slots(&mut self, turn: &mut Turn<'_>) {
        let claiming: Vec<SpawnId> = self.index.claiming.iter().copied().collect();
        for id in claiming {
            self.take_in(id, Input::Lend, turn);
        }
    }

    /// What is owed to the board now, and whether any of it cannot wait.
    pub fn owed_changes(&self, now: Now, policy: &Policy) -> (Vec<Change>, bool) {
        let mut changes = Vec::new();
        let mut urgent = self.flush_at.is_some_and(|at| now.mono >= at);
        for id in self.owing(now) {
            let owed = self.all.get(&id).map(|a| a.owed_changes(now, policy, &mut changes));
            urgent |= owed == Some(true);
        }
        (changes, urgent)
    }

    fn owing(&self, now: Now) -> BTreeSet<SpawnId> {
        let last = SpawnId(u64::MAX);
        let sends = self.index.sends.range(..=(now.mono, last)).map(|(_, id)| *id);
        let leases = self.index.leases.range(..=(now.unix, last)).map(|(_, id)| *id);
        self.index.pids.iter().copied().chain(sends).chain(leases).collect()
    }

    /// A pid waits for company, but not for long.
    pub fn flush_soon(&mut self, now: Mono) {
        self.flush_at = self.flush_at.or(Some(now.after(FLUSH_MS)));
    }

    /// All pids are on their way.
    pub fn flushed(&mut self) {
        self.flush_at = None;
    }

    /// Compares what is seen in the board with what is known. A row of ours that is gone has been
    /// ended by others; its worker may live on for `grace_ms`, and no longer.
    pub fn compare(&mut self, ours: &[Fence], grace_ms: u64, turn: &mut Turn<'_>) {
        let seen: BTreeSet<Fence> = ours.iter().copied().collect();
        let lost_at = turn.now.mono.after(grace_ms);
        let changed: Vec<(SpawnId, bool)> = self
            .all
            .values()
            .filter(|attempt| attempt.renew_by().is_some())
            .filter_map(|attempt| {
                let lost = !seen.contains(&attempt.fence()?);
                (lost != attempt.stage().is_lost()).then_some((attempt.id(), lost))
            })
            .collect();
        for (id, lost) in changed {
            self.take_in(id, Input::Row { lost_at: lost.then_some(lost_at) }, turn);
        }
    }

    /// Returns when the next change is due, if the board can take it.
    pub fn send_at(&self) -> Option<Mono> {
        earlier(self.flush_at, self.index.sends.first().map(|(at, _)| *at))
    }

    /// Returns the second by which the next lease must be renewed, if the board can take it.
    pub fn renew_by(&self) -> Option<i64> {
        self.index.leases.first().map(|(by, _)| *by)
    }

    /// Rewrites moments and numbers, and rebuilds the indexes.
    pub fn rename(&mut self, to: &impl Renamer) {
        self.flush_at.iter_mut().for_each(|at| to.deadline(at));
        self.all = mem::take(&mut self.all)
            .into_values()
            .map(|mut attempt| {
                attempt.rename(to);
                (attempt.id(), attempt)
            })
            .collect();
        self.index = self.recount();
    }

    fn recount(&self) -> Index {
        let mut index = Index::default();
        for (id, attempt) in &self.all {
            let marks = Marks::of(attempt);
            index.tasks.insert((attempt.task(), *id));
            index.slots += u32::from(marks.slot);
            swap(&mut index.claiming, None, marks.claiming.then_some(*id));
            swap(&mut index.pids, None, marks.pid.then_some(*id));
            swap(&mut index.over, None, marks.over.then_some(*id));
            swap(&mut index.sends, None, marks.send_at.map(|at| (at, *id)));
            swap(&mut index.leases, None, marks.renew_by.map(|by| (by, *id)));
        }
        index
    }

    /// Whether the indexes match a recount.
    pub fn agrees(&self) -> bool {
        self.index == self.recount()
    }

    /// Sets the timers of all of them.
    pub fn set_timers(&self, timers: &mut Timers) {
        for (id, attempt) in &self.all {
            timers.set(Key::Attempt(*id, self.board), None, attempt.stage().alarm());
        }
    }
}

/// A number of things, as limits are given.
pub fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
