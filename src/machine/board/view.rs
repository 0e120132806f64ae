//! What was last seen of a board, what it refuses, and who has it locked.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::super::effect::Report;
use super::super::exchange::{
    Change, Expired, Fence, LeaseEnd, Observation, Orphan, Refusal, Taken,
};
use super::super::hold::Candidate;
use super::super::ids::{BoardId, TaskId};
use super::super::renamer::Renamer;
use super::super::time::Mono;

/// Milliseconds for which a task is left alone after the board's own rules refused something about
/// it, and after something had changed under us.
const REFUSED_MS: (u64, u64) = (30_000, 1_000);
/// Milliseconds after a board's return during which expired claims are left to their owners.
const TURN_MS: u64 = 5_000;
/// With this many tasks refused, something is wrong with the board itself: nothing new is asked of
/// it until the first of them is tried again.
const MOST_REFUSED: usize = 256;

/// What was last seen of a board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    /// What can be claimed.
    ready: Vec<Candidate>,
    /// True if there is more of it.
    more: bool,
    /// True once some of `ready` was used, or if there was no room for any of it: only then can
    /// listing it again bring more.
    used: bool,
    /// True once a claim of ours has taken here.
    claimed: bool,
    /// Running rows of other dispatchers.
    others: u32,
    /// Waiting tasks that can be promoted.
    promotable: Vec<TaskId>,
    /// Claims of others that have ended.
    expired: Vec<Expired>,
    /// Claims of dead dispatchers for which we have no attempt.
    orphans: Vec<Orphan>,
    /// When expired claims of others may be reclaimed, and when those whose dispatcher is alive may
    /// be.
    reclaim_from: (Option<Mono>, Option<Mono>),
    /// Claims of our own without an attempt: their answer was lost.
    strays: Vec<Fence>,
    /// Tasks for which it refused something: it may show them over and over.
    refused: BTreeMap<TaskId, Refused>,
    /// Since when it has refused what it showed, without anything that took in between.
    refusing_since: Option<Mono>,
    /// Another dispatcher is at work: no claims, promotions or releases before this.
    locked_until: Option<Mono>,
    /// Since when it has been locked without a break.
    locked_since: Option<Mono>,
}

/// What is known of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Refused {
    /// Until when nothing is asked about the task.
    until: Mono,
    /// Something had changed under us, and may change again.
    may_pass: bool,
}

impl View {
    /// What can be claimed, as last seen.
    pub fn ready(&self) -> &[Candidate] {
        &self.ready
    }

    /// Whether a claim of ours has taken here.
    pub fn has_claimed(&self) -> bool {
        self.claimed
    }

    /// Running rows of other dispatchers.
    pub fn others(&self) -> u32 {
        self.others
    }

    /// Returns the claims of our own without an attempt.
    pub fn strays(&self) -> &[Fence] {
        &self.strays
    }

    /// What was seen is no longer believed.
    pub fn forget(&mut self) {
        self.ready.clear();
        self.promotable.clear();
        self.expired.clear();
        self.orphans.clear();
        self.strays.clear();
        self.more = false;
    }

    /// The board's file was out of use, and is back: the owners of its claims get time first, since
    /// they could neither renew them nor record an end. Another outage within that time does not
    /// extend it, or expired claims of an unreliable board would never be reclaimed.
    pub fn came_back(&mut self, now: Mono, claim_ttl_s: u32) {
        let lease_ms = u64::from(claim_ttl_s) * 1000;
        let (all, living) = &mut self.reclaim_from;
        all.get_or_insert(now.after(TURN_MS));
        living.get_or_insert(now.after(lease_ms.max(TURN_MS)));
    }

    /// Ends the time left to the owners of claims, if it is over by now.
    pub fn end_turns(&mut self, now: Mono) {
        let (all, living) = &mut self.reclaim_from;
        all.take_if(|at| now >= *at);
        living.take_if(|at| now >= *at);
    }

    /// Returns the claims of dead dispatchers.
    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// The changes that correct them were sent.
    pub fn strays_sent(&mut self) {
        self.strays.clear();
    }

    /// Takes what was seen in place of what was known, without what it refused a moment ago.
    pub fn observed(
        &mut self,
        seen: Observation,
        mut strays: Vec<Fence>,
        mut orphans: Vec<Orphan>,
    ) {
        let ours = u32::try_from(seen.ours.len().saturating_sub(strays.len())).unwrap_or(u32::MAX);
        self.others = seen.running.saturating_sub(ours);
        let refused = &self.refused;
        if let Some(ready) = seen.ready {
            // A list that had no room for any of them was asked for while nothing could be started.
            self.used = ready.more && ready.tasks.is_empty();
            self.ready = ready.tasks;
            self.ready.retain(|c| !refused.contains_key(&c.task));
            self.more = ready.more;
        }
        self.promotable = seen.promotable;
        self.promotable.retain(|task| !refused.contains_key(task));
        self.expired = seen.expired;
        self.expired.retain(|e| !refused.contains_key(&e.task));
        strays.retain(|fence| !refused.contains_key(&fence.task));
        self.strays = strays;
        orphans.retain(|orphan| !refused.contains_key(&orphan.task));
        self.orphans = orphans;
        if refused.is_empty() && self.ready.is_empty() && !self.wants_moves() {
            self.refusing_since = None;
        }
    }

    /// Whether there are tasks to start as soon as there is room for them: listed, or not listed for
    /// lack of room.
    pub fn wants_slots(&self) -> bool {
        !self.ready.is_empty() || (self.more && self.used)
    }

    /// Whether the ready list is used up to `left` tasks, and listing it again brings more.
    pub fn wants_list(&self, left: u32) -> bool {
        let known = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        self.more && self.used && known <= left
    }

    /// The list is asked for again.
    pub fn list_asked(&mut self) {
        self.used = false;
    }

    /// Whether it shows something to correct: a promotion, an ended claim of others, a claim of
    /// ours without an attempt. A claim whose dispatcher is alive is left to it.
    pub fn wants_moves(&self) -> bool {
        let ended = self.expired.iter().any(|expired| expired.by != LeaseEnd::Neglected);
        ended || !(self.promotable.is_empty() && self.orphans.is_empty() && self.strays.is_empty())
    }

    /// Returns the promotions, and the reclaims of ended claims of others.
    pub fn moves(&self, failure_limit: u32, now: Mono) -> impl Iterator<Item = Change> {
        let promote = move |task: &TaskId| Change::Promote { task: *task, failure_limit };
        let reclaim = move |expired: &Expired| Change::Reclaim { expired: *expired, failure_limit };
        let ended = self
            .expired
            .iter()
            .filter(move |expired| self.reclaim_at(expired).is_none_or(|at| now >= at));
        self.promotable.iter().map(promote).chain(ended.map(reclaim))
    }

    fn reclaim_at(&self, expired: &Expired) -> Option<Mono> {
        match expired.by {
            LeaseEnd::Expired | LeaseEnd::WorkerGone => self.reclaim_from.0,
            LeaseEnd::Neglected => self.reclaim_from.1,
        }
    }

    /// Returns when the next expired claim that is left to its owner may be reclaimed.
    pub fn reclaims_at(&self) -> Option<Mono> {
        self.expired.iter().filter_map(|expired| self.reclaim_at(expired)).min()
    }

    /// Takes the answer to an adoption.
    pub fn adopted(&mut self, orphan: Orphan, taken: Taken, now: Mono) {
        self.orphans.retain(|known| *known != orphan);
        self.moved(orphan.task, taken, now);
    }

    /// A promotion was answered. Returns what is reported.
    pub fn promoted(
        &mut self,
        task: TaskId,
        taken: Taken,
        on: BoardId,
        now: Mono,
    ) -> Option<Report> {
        if taken != Taken::No(Refusal::Locked) {
            self.promotable.retain(|known| *known != task);
        }
        self.moved(task, taken, now).then_some(Report::Promoted(task, on))
    }

    /// The end of a claim of others was answered. Returns what is reported.
    pub fn reclaimed(
        &mut self,
        expired: Expired,
        taken: Taken,
        on: BoardId,
        now: Mono,
    ) -> Option<Report> {
        if taken != Taken::No(Refusal::Locked) {
            self.expired.retain(|known| *known != expired);
        }
        self.moved(expired.task, taken, now).then_some(Report::Reclaimed(expired.task, on))
    }

    fn moved(&mut self, task: TaskId, taken: Taken, now: Mono) -> bool {
        self.note_refusal(task, taken, now);
        let took = matches!(taken, Taken::Yes | Taken::Claimed { .. });
        if took {
            self.refusing_since = None;
        }
        took
    }

    /// A claim of this task took.
    pub fn claimed(&mut self, task: TaskId) {
        self.claimed = true;
        self.refusing_since = None;
        self.forget_candidate(task);
    }

    /// A claim did not take, for a reason that lies in the task.
    pub fn claim_refused(&mut self, task: TaskId, refusal: Refusal, now: Mono) {
        self.forget_candidate(task);
        self.note_refusal(task, Taken::No(refusal), now);
    }

    /// The board is full, so more tasks run than we counted. The next look corrects the count.
    pub fn is_full(&mut self, max_in_progress: u32) {
        self.others = self.others.max(max_in_progress);
    }

    fn forget_candidate(&mut self, task: TaskId) {
        self.ready.retain(|candidate| candidate.task != task);
        self.used = true;
    }

    /// Remembers that a change to a task was refused for a reason that may well stay.
    pub fn note_refusal(&mut self, task: TaskId, taken: Taken, now: Mono) {
        let Taken::No(refusal) = taken else { return };
        let may_pass = match refusal {
            Refusal::Locked | Refusal::Full => return,
            Refusal::Superseded | Refusal::Held(_) => true,
            Refusal::Rejected => false,
        };
        let rest_ms = if may_pass { REFUSED_MS.1 } else { REFUSED_MS.0 };
        self.refused.insert(task, Refused { until: now.after(rest_ms), may_pass });
        self.refusing_since = self.refusing_since.or(Some(now));
    }

    /// Asks again about what has been left alone for long enough. Returns whether there is any.
    pub fn ask_again(&mut self, now: Mono) -> bool {
        let before = self.refused.len();
        self.refused.retain(|_, refused| now < refused.until);
        self.refused.len() < before
    }

    /// When the first of what was refused may be asked about again.
    pub fn refused_until(&self) -> Option<Mono> {
        self.refused.values().map(|refused| refused.until).min()
    }

    /// Whether what it refused may soon take, unless it has gone on refusing for `grace_ms`.
    pub fn may_yet_take(&self, now: Mono, grace_ms: u64) -> bool {
        self.refused.values().any(|refused| refused.may_pass)
            && self.refusing_since.is_some_and(|at| now.since(at) < grace_ms)
    }

    /// Whether it may be sent changes that are not owed to it.
    pub fn takes_new_work(&self) -> bool {
        self.locked_until.is_none() && self.refused.len() < MOST_REFUSED
    }

    /// An answer came: did another dispatcher have it `locked`, and was it `asked` for anything that
    /// waits for others? What did not ask for the lock shows nothing of its holder.
    pub fn note_lock(&mut self, locked: bool, asked: bool, on: BoardId, now: Mono) {
        if locked {
            // Spread over boards and time, so that rivals do not meet again and again.
            let jitter = (now.0 ^ u64::from(on.0).wrapping_mul(7)) % 40;
            self.locked_until = Some(now.after(10 + jitter));
            self.locked_since = self.locked_since.or(Some(now));
        } else if asked || self.locked_until.is_none() {
            self.locked_since = None;
        }
    }

    /// The lock is tried again.
    pub fn unlock(&mut self) {
        self.locked_until = None;
    }

    /// Returns until when another dispatcher's lock holds back new work.
    pub fn locked_until(&self) -> Option<Mono> {
        self.locked_until
    }

    /// Whether it has been locked for `ms` without a break.
    pub fn is_locked_for(&self, now: Mono, ms: u64) -> bool {
        self.locked_since.is_some_and(|since| now.since(since) >= ms)
    }

    /// Rewrites its moments and numbers.
    pub fn rename(&mut self, to: &impl Renamer) {
        self.ready.iter_mut().for_each(|candidate| candidate.rename(to));
        self.strays.iter_mut().for_each(|fence| fence.rename(to));
        self.refused.values_mut().for_each(|refused| to.deadline(&mut refused.until));
        self.refusing_since.iter_mut().for_each(|since| to.moment(since));
        self.locked_until.iter_mut().for_each(|until| to.deadline(until));
        self.locked_since.iter_mut().for_each(|since| to.moment(since));
        self.reclaim_from.0.iter_mut().for_each(|at| to.deadline(at));
        self.reclaim_from.1.iter_mut().for_each(|at| to.deadline(at));
    }
}
