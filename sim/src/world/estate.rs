//! What outlives a dispatcher: the records of its attempts, and the keeper that holds its workers by
//! pidfds, and so learns how they end. Each is by the claim's first dispatcher and its number there,
//! whoever has adopted it since.

use std::collections::{BTreeMap, BTreeSet};

use sexton::machine::adoption;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::{ExitStatus, Verdict};

use crate::board::Instance;
use crate::kernel::Uid;

/// A claim, by the dispatcher that made it.
pub(super) type Key = (Instance, SpawnId);

/// What outlives dispatchers.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Estate {
    records: BTreeMap<Key, Record>,
    /// Dispatchers whose records are gone.
    lost: BTreeSet<Instance>,
    kept: BTreeMap<Key, Kept>,
    /// There is no keeper until this moment of the world.
    pub(super) keeper_from: u64,
    /// Children of dead dispatchers that have not executed their program.
    executing: BTreeSet<Key>,
}

/// What is written down about an attempt.
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
    /// A process is about to be made.
    pub(super) fn intend(&mut self, key: Key) {
        if let Some(record) = self.record_mut(key) {
            record.intent = true;
        }
    }

    /// A process writes its pid down, and hands itself to the keeper.
    pub(super) fn begun(&mut self, key: Key, uid: Uid, pid: Pid, now: u64) {
        self.executing.remove(&key);
        if let Some(record) = self.record_mut(key) {
            (record.intent, record.pid) = (true, Some(pid));
        }
        if now >= self.keeper_from {
            self.kept.insert(key, Kept { uid, status: None });
        }
    }

    /// A worker has ended.
    pub(super) fn ended(&mut self, key: Key, status: ExitStatus) {
        self.executing.remove(&key);
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.status = Some(status);
        }
    }

    /// A dispatcher notes what an end means.
    pub(super) fn note(&mut self, key: Key, verdict: Verdict) {
        if let Some(record) = self.record_mut(key) {
            record.noted = Some(verdict);
        }
    }

    /// Records that are gone are not made anew.
    fn record_mut(&mut self, key: Key) -> Option<&mut Record> {
        (!self.lost.contains(&key.0)).then(|| self.records.entry(key).or_default())
    }

    /// The board took the end of an attempt.
    pub(super) fn clear(&mut self, key: Key) {
        self.records.remove(&key);
        self.kept.remove(&key);
    }

    /// The state directory of a dispatcher is gone.
    pub(super) fn lose(&mut self, instance: Instance) {
        self.lost.insert(instance);
        self.records.retain(|(of, _), _| *of != instance);
    }

    /// The keeper dies, with all that it holds.
    pub(super) fn keeper_dies(&mut self, until: u64) {
        self.kept.clear();
        self.keeper_from = until;
    }

    /// What the keeper of a pid namespace held is gone with it.
    pub(super) fn let_go(&mut self, of: Instance) {
        self.kept.retain(|(instance, _), _| *instance != of);
    }

    /// A dispatcher has died while it made this process.
    pub(super) fn forked(&mut self, key: Key) {
        self.executing.insert(key);
    }

    /// Nothing comes of it.
    pub(super) fn not_forked(&mut self, key: Key) {
        self.executing.remove(&key);
    }

    /// Whether a child of this dispatcher has not executed its program.
    pub(super) fn has_child_of(&self, instance: Instance) -> bool {
        self.executing.iter().any(|(of, _)| *of == instance)
    }

    /// Whether the records of a dispatcher are there.
    pub(super) fn has_records_of(&self, instance: Instance) -> bool {
        !self.lost.contains(&instance)
    }

    /// What is written down about an attempt whose row has, or has not, a pid.
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

    /// The end that was noted.
    pub(super) fn noted(&self, key: Key) -> Option<Verdict> {
        self.records.get(&key)?.noted
    }

    /// What the keeper holds of an attempt.
    pub(super) fn kept(&self, key: Key) -> Option<Kept> {
        self.kept.get(&key).copied()
    }

    /// Whether, by its record, a worker of this attempt may live, as far as `lives` tells of pids.
    pub(super) fn may_live(&self, key: Key, lives: impl Fn(Pid) -> bool) -> bool {
        self.records.get(&key).is_some_and(|record| match record.pid {
            Some(pid) => lives(pid),
            None => record.intent && record.noted.is_none(),
        })
    }

    /// The attempts about which something is written down.
    pub(super) fn recorded(&self) -> impl Iterator<Item = Key> + '_ {
        self.records.keys().copied()
    }
}
