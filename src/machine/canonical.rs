//! A dispatcher as it looks from the present: what was when does not matter, only what is still to
//! come and how long ago something began. Two dispatchers with the same canonical form behave alike
//! from then on, so that a search through what may happen has to go on from one of them only.
//!
//! The canonical form is itself a dispatcher, which lives at [`PRESENT`] and goes on from there as
//! the one it was made of does, if every event is handed in [as it looks from there](Renaming). One
//! thing is left out of account: for how long exactly a locked board is left alone hangs on what the
//! clock itself shows.

use alloc::collections::{BTreeMap, BTreeSet};

use super::dispatcher::Dispatcher;
use super::exchange::Fence;
use super::ids::{BoardId, SpawnId};
use super::renamer::Renamer;
use super::time::{Mono, Now};

/// The moment at which every canonical form lives: late enough for everything that began before it.
pub const PRESENT: Now = Now { mono: Mono(1 << 62), unix: 0 };

/// What times and numbers become in the canonical form. When the dispatcher is replaced, this must
/// also be applied to requests and answers under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Renaming {
    now: Now,
    spawns: BTreeMap<SpawnId, SpawnId>,
    /// The next attempt's number, before and after.
    next: (u64, u64),
    seqs: BTreeMap<BoardId, u64>,
    last_dropped: u64,
    reap: u64,
}

impl Dispatcher {
    /// This dispatcher as it looks at `now`, with its attempts numbered from 1 and nothing asked
    /// before. A `now` before its newest event counts as that event's.
    #[must_use]
    pub fn canonical(&self, now: Now) -> Dispatcher {
        self.relative(&self.renaming(now, []))
    }

    /// As it looks through a renaming that knows all its attempts.
    #[must_use]
    pub fn relative(&self, seen: &Renaming) -> Dispatcher {
        let mut dispatcher = self.clone();
        dispatcher.rename(PRESENT, seen);
        dispatcher
    }

    /// What [`canonical`](Dispatcher::canonical) does to times and numbers. `also` are attempts that
    /// the dispatcher may have forgotten, but its surroundings have not (the claims that stand in a
    /// board): they are numbered along with its own.
    #[must_use]
    pub fn renaming(&self, now: Now, also: impl IntoIterator<Item = SpawnId>) -> Renaming {
        let before = self.shared.next_attempt;
        let held = self.spawns().chain(also).filter(|spawn| spawn.0 < before);
        let held: BTreeSet<SpawnId> = held.collect();
        let spawns: BTreeMap<SpawnId, SpawnId> = held.into_iter().zip((1..).map(SpawnId)).collect();
        let after = u64::try_from(spawns.len()).unwrap_or(u64::MAX).saturating_add(1);
        Renaming {
            now: self.clamped(now),
            spawns,
            next: (before, after),
            seqs: self.boards().map(|board| (board.id(), board.seq())).collect(),
            last_dropped: self.last_dropped,
            reap: self.reaper.seq(),
        }
    }

    /// Every attempt that it knows: its own, and those that it found in a board.
    fn spawns(&self) -> impl Iterator<Item = SpawnId> {
        let strays = self.boards().flat_map(|board| board.strays().iter().map(|fence| fence.spawn));
        let sent = self.boards().flat_map(|board| board.under_way()).filter_map(|c| c.spawn());
        self.shared.owners.keys().copied().chain(strays).chain(sent)
    }
}

impl Renaming {
    /// A moment, before or after the present one. The end of time stays.
    #[must_use]
    pub fn moment(&self, at: Mono) -> Mono {
        if at > self.now.mono {
            let ahead = at.since(self.now.mono);
            return if at == Mono(u64::MAX) { at } else { PRESENT.mono.after(ahead) };
        }
        Mono(PRESENT.mono.0.saturating_sub(self.now.mono.since(at)))
    }

    /// A moment of which only matters whether it has come, and when it will: all that have are one.
    #[must_use]
    pub fn deadline(&self, at: Mono) -> Mono {
        self.moment(at).max(PRESENT.mono)
    }

    /// A second of the wall clock. That clock can go back, so the past stays as it was.
    #[must_use]
    pub fn second(&self, unix: i64) -> i64 {
        unix.saturating_sub(self.now.unix)
    }

    /// An attempt; `None` if it is not known any more. One that is not yet allotted keeps its
    /// distance from the next.
    #[must_use]
    pub fn spawn(&self, spawn: SpawnId) -> Option<SpawnId> {
        let (before, after) = self.next;
        match spawn.0.checked_sub(before) {
            Some(distance) => Some(SpawnId(after.saturating_add(distance))),
            None => self.spawns.get(&spawn).copied(),
        }
    }

    /// A fence, by the attempt in it. One of an attempt that is not known proves nothing: it gets
    /// the number 0.
    #[must_use]
    pub fn fence(&self, fence: Fence) -> Fence {
        Fence { spawn: self.spawn(fence.spawn).unwrap_or(SpawnId(0)), ..fence }
    }

    /// The number of a request to a board: 0 is the newest one, and what comes next counts up from
    /// there.
    #[must_use]
    pub fn seq(&self, board: BoardId, seq: u64) -> u64 {
        seq.wrapping_sub(self.seqs.get(&board).copied().unwrap_or(self.last_dropped))
    }

    /// The number of a reaping step, in the same way.
    #[must_use]
    pub fn reap(&self, seq: u64) -> u64 {
        seq.wrapping_sub(self.reap)
    }
}

impl Renamer for Renaming {
    fn moment(&self, at: &mut Mono) {
        *at = Renaming::moment(self, *at);
    }

    fn deadline(&self, at: &mut Mono) {
        *at = Renaming::deadline(self, *at);
    }

    fn second(&self, unix: &mut i64) {
        *unix = Renaming::second(self, *unix);
    }

    fn attempt(&self, spawn: &mut SpawnId) {
        *spawn = self.spawn(*spawn).unwrap_or(SpawnId(0));
    }

    fn request(&self, board: BoardId, seq: &mut u64) {
        *seq = self.seq(board, *seq);
    }

    fn reaping(&self, seq: &mut u64) {
        *seq = self.reap(*seq);
    }
}
