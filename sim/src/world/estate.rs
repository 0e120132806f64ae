//! What outlives a dispatcher: the records of its attempts, and the keeper, which holds its workers by
//! pidfds and so learns how they end. Each entry is filed under the dispatcher that made the claim and
//! its number there, even after the claim is adopted.

use std::collections::{BTreeMap, BTreeSet};

use sexton::machine::adoption;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::{ExitStatus, Verdict};

use crate::board::Instance;
use crate::kernel::Uid;

/// A claim, by the dispatcher that made it and the attempt's number there.
pub(super) type Key = (Instance, SpawnId);

/// What outlives dispatchers.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Estate {
    records: BTreeMap<Key, Record>,
    /// Dispatchers whose records are lost.
    lost: BTreeSet<Instance>,
    kept: BTreeMap<Key, Kept>,
    /// No keeper runs before this moment of the world.
    pub(super) keeper_from: u64,
    /// Children of dead dispatchers that have not yet executed their program.
    executing: BTreeSet<Key>,
}

/// The record of an attempt.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct Record {
    intent: bool,
    pid: Option<Pid>,
    noted: Option<Verdict>,
}

/// A worker that the keeper holds.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Kept {
    pub(super) uid: Uid,
    pub(super) status: Option<ExitStatus>,
}

impl Estate {
    /// Records the intent to start a process.
    pub(super) fn intend(&mut self, key: Key) {
        if let Some(record) = self.record_mut(key) {
            record.intent = true;
        }
    }

    /// A process writes down its pid and hands its pidfd to the keeper.
    pub(super) fn begun(&mut self, key: Key, uid: Uid, pid: Pid, now: u64) {
        self.executing.remove(&key);
        if let Some(record) = self.record_mut(key) {
            (record.intent, record.pid) = (true, Some(pid));
        }
        if now >= self.keeper_from {
            self.kept.insert(key, Kept { uid, status: None });
        }
    }

    /// The keeper learns that a worker has ended.
    pub(super) fn ended(&mut self, key: Key, status: ExitStatus) {
        self.executing.remove(&key);
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.status = Some(status);
        }
    }

    /// A dispatcher notes the verdict of an attempt.
    pub(super) fn note(&mut self, key: Key, verdict: Verdict) {
        if let Some(record) = self.record_mut(key) {
            record.noted = Some(verdict);
        }
    }

    /// Lost records are not created again.
    fn record_mut(&mut self, key: Key) -> Option<&mut Record> {
        (!self.lost.contains(&key.0)).then(|| self.records.entry(key).or_default())
    }

    /// Clears a record: the board has recorded the end of the attempt.
    pub(super) fn clear(&mut self, key: Key) {
        self.records.remove(&key);
        self.kept.remove(&key);
    }

    /// Loses the state directory of a dispatcher.
    pub(super) fn lose(&mut self, instance: Instance) {
        self.lost.insert(instance);
        self.records.retain(|(of, _), _| *of != instance);
    }

    /// The keeper dies, and loses all pidfds.
    pub(super) fn keeper_dies(&mut self, until: u64) {
        self.kept.clear();
        self.keeper_from = until;
    }

    /// A pid namespace ended, and its keeper with it.
    pub(super) fn let_go(&mut self, of: Instance) {
        self.kept.retain(|(instance, _), _| *instance != of);
    }

    /// A dispatcher died while it was starting this process.
    pub(super) fn forked(&mut self, key: Key) {
        self.executing.insert(key);
    }

    /// The process was never created.
    pub(super) fn not_forked(&mut self, key: Key) {
        self.executing.remove(&key);
    }

    /// Returns whether a child of this dispatcher has not yet executed its program.
    pub(super) fn has_child_of(&self, instance: Instance) -> bool {
        self.executing.iter().any(|(of, _)| *of == instance)
    }

    /// Returns whether the records of a dispatcher exist.
    pub(super) fn has_records_of(&self, instance: Instance) -> bool {
        !self.lost.contains(&instance)
    }

    /// Returns what is known of an attempt from its record, and from `row`, the pid in its row.
    pub(super) fn record(&self, key: Key, row: Option<Pid>) -> adoption::Record {
        use adoption::Record as R;
        match self.records.get(&key) {
            _ if row.is_some() => R::Started,
            _ if self.lost.contains(&key.0) => R::Lost,
            Some(Record { pid: Some(_), .. }) => R::Started,
            Some(Record { intent: true, .. }) => R::Intent,
            Some(_) | None => R::NoIntent,
        }
    }

    /// Returns the verdict that was noted.
    pub(super) fn noted(&self, key: Key) -> Option<Verdict> {
        self.records.get(&key)?.noted
    }

    /// Returns what the keeper holds for an attempt.
    pub(super) fn kept(&self, key: Key) -> Option<Kept> {
        self.kept.get(&key).copied()
    }

    /// Returns whether, by its record, a worker of this attempt may be alive. `lives` tells which pids
    /// are.
    pub(super) fn may_live(&self, key: Key, lives: impl Fn(Pid) -> bool) -> bool {
        self.records.get(&key).is_some_and(|record| match record.pid {
            Some(pid) => lives(pid),
            None => record.intent && record.noted.is_none(),
        })
    }

    /// Returns the attempts that have a record.
    pub(super) fn recorded(&self) -> impl Iterator<Item = Key> + '_ {
        self.records.keys().copied()
    }
}
