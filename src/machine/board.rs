//! One board as a phase machine: opened, talked to one exchange at a time, out of use while sick.
//!
//! ```text
//! Absent ─▶ Connecting ─▶ Idle ⇄ Exchanging
//!               ▲  └────────┐      │
//!               └─── Quarantined ◀─┘
//! ```

mod canonical;
mod climb;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::effect::{Effect, Report};
use super::exchange::{Change, Expired, Fence, Observation, Refusal};
use super::fault::{Fault, FaultClass};
use super::hold::BoardHold;
use super::hold::Candidate;
use super::ids::{BoardId, TaskId};
use super::policy::Policy;
use super::quarantine::{self, BUSY_IS_NORMAL, NOTICE_MS};
use super::run::earlier;
use super::time::{Mono, Now};
use climb::Climb;

/// Milliseconds for which a change notice is taken for the echo of a write of our own: notices are
/// gathered for a while before they are told.
const ECHO_MS: u64 = 20;
/// Milliseconds between two looks at everything that waits, not only at what is known to have
/// changed.
const SWEEP_MS: u64 = 300_000;
/// Milliseconds for which a task is left alone after the board's own rules refused something about
/// it, and after something had changed under us.
const REFUSED_MS: (u64, u64) = (30_000, 1_000);
/// With this many tasks refused, something is wrong with the board itself: nothing new is asked of
/// it until the first of them is tried again.
const MOST_REFUSED: usize = 256;

/// One board.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Board {
    /// Its number.
    pub id: BoardId,
    /// Where it stands.
    pub phase: Phase,
    /// False once it is no longer listed: kept only for what is owed to it.
    pub listed: bool,
    /// Number of the newest request; answers to older ones are late.
    seq: u64,

    /// Look at it as soon as it is idle.
    look: bool,
    /// And look at everything.
    fresh: bool,
    /// When everything was last looked at.
    swept_at: Mono,
    /// The looks that are still to follow change notices.
    climb: Option<Climb>,
    /// Until when a change notice is taken for the echo of our own write.
    echo_until: Mono,
    /// Until when a pid that the board does not have may wait for company.
    pub flush_at: Option<Mono>,

    /// What can be claimed, as last seen.
    pub ready: Vec<Candidate>,
    /// True if there is more of it.
    pub more: bool,
    /// True once a claim of ours has taken here.
    pub claimed: bool,
    /// Rows of other dispatchers that are running.
    pub others: u32,
    /// Waiting tasks that can be promoted, claims of others that have ended, and claims of our own
    /// behind which there is no run (their answer was lost).
    pub promotable: Vec<TaskId>,
    /// See `promotable`.
    pub expired: Vec<Expired>,
    /// See `promotable`.
    pub strays: Vec<Fence>,
    /// When something on it changes by itself, in seconds since 1970.
    pub due: Option<i64>,
    /// True once some of `ready` was used, or if there was no room for any of it: only then can
    /// listing it again bring more.
    pub used: bool,
    /// Tasks for which it refused something: it may show them over and over.
    refused: BTreeMap<TaskId, Refused>,
    /// Since when it has refused what it showed, without anything that took in between.
    refusing_since: Option<Mono>,

    /// Another dispatcher is at work: no claims, promotions or releases before this.
    pub locked_until: Option<Mono>,
    /// Since when it has been locked without a break.
    pub locked_since: Option<Mono>,
    /// Its folders fail: no claims before this, and for how long next time.
    pub spawns_from: Mono,
    spawn_wait_ms: u64,
    /// Since when they have failed, without a worker that started in between.
    pub spawns_fail_since: Option<Mono>,

    /// Faults in a row.
    faults: u32,
    /// When a file that was refused for its content is tried again even if it has not changed, and
    /// when it is to be looked at for a change.
    refused_until: Mono,
    recheck_at: Option<Mono>,
    /// Since when it has been out of use; `None` while it is well.
    pub sick_since: Option<Mono>,
    /// True once it has been open.
    pub ever_open: bool,
    /// The class of fault that was last told.
    told: Option<FaultClass>,
    /// True from when it was told that it hangs until it is told to be well.
    told_hung: bool,
}

/// What is known of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Refused {
    /// Until when nothing is asked about the task.
    until: Mono,
    /// Something had changed under us, and may change again.
    may_pass: bool,
}

/// Where a board stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing asked for yet.
    Absent,
    /// Being checked and opened.
    Connecting {
        /// When it will have taken too long.
        deadline: Mono,
        /// True once it has.
        overdue: bool,
        /// Only if it is not the very file that was refused last time.
        if_changed: bool,
    },
    /// Open, nothing under way.
    Idle,
    /// Open, one request under way.
    Exchanging {
        /// What was sent.
        changes: Vec<Change>,
        /// When it will have taken too long.
        deadline: Mono,
        /// True once it has.
        overdue: bool,
    },
    /// Out of use.
    Quarantined {
        /// Until when.
        until: Mono,
        /// Why.
        fault: Fault,
        /// Whether the connection is still there.
        open: bool,
    },
}

impl Board {
    /// A board that was just listed. Its requests are numbered from behind `seq`.
    #[must_use]
    pub fn new(id: BoardId, seq: u64, now: Mono) -> Board {
        Board {
            id,
            phase: Phase::Absent,
            listed: true,
            seq,
            look: true,
            fresh: true,
            swept_at: now,
            climb: None,
            echo_until: now,
            flush_at: None,
            ready: Vec::new(),
            more: false,
            claimed: false,
            others: 0,
            promotable: Vec::new(),
            expired: Vec::new(),
            strays: Vec::new(),
            due: None,
            used: false,
            refused: BTreeMap::new(),
            refusing_since: None,
            locked_until: None,
            locked_since: None,
            spawns_from: now,
            spawn_wait_ms: 1_000,
            spawns_fail_since: None,
            faults: 0,
            refused_until: now,
            recheck_at: None,
            sick_since: None,
            ever_open: false,
            told: None,
            told_hung: false,
        }
    }

    /// Asks for it to be opened.
    pub fn connect(&mut self, now: Mono, policy: &Policy, if_changed: bool, fx: &mut Vec<Effect>) {
        self.seq = self.seq.wrapping_add(1);
        self.recheck_at = None;
        let deadline = now.after(policy.lane_deadline_ms);
        self.phase = Phase::Connecting { deadline, overdue: false, if_changed };
        fx.push(Effect::Connect { board: self.id, seq: self.seq, if_changed });
    }

    /// The number that the next exchange, now begun, is to carry.
    pub fn exchanging(&mut self, changes: Vec<Change>, now: Mono, policy: &Policy) -> u64 {
        self.seq = self.seq.wrapping_add(1);
        let deadline = now.after(policy.lane_deadline_ms);
        self.phase = Phase::Exchanging { changes, deadline, overdue: false };
        self.look = false;
        if core::mem::take(&mut self.fresh) {
            self.swept_at = now;
        }
        self.seq
    }

    /// Whether `seq` is what was last asked of a board that is connecting.
    #[must_use]
    pub fn awaits_connect(&self, seq: u64) -> bool {
        self.seq == seq && matches!(self.phase, Phase::Connecting { .. })
    }

    /// Whether `seq` is what was last asked of a board that is exchanging.
    #[must_use]
    pub fn awaits_exchange(&self, seq: u64) -> bool {
        self.seq == seq && matches!(self.phase, Phase::Exchanging { .. })
    }

    /// It is open.
    pub fn connected(&mut self, fx: &mut Vec<Effect>) {
        self.phase = Phase::Idle;
        self.recheck_at = None;
        self.ever_open = true;
        self.look_at_everything();
        fx.push(Effect::Report(Report::BoardOpened(self.id)));
    }

    /// Whether a write of ours is on its way.
    fn is_writing(&self) -> bool {
        match &self.phase {
            Phase::Exchanging { changes, .. } => !changes.is_empty(),
            Phase::Absent | Phase::Connecting { .. } | Phase::Idle | Phase::Quarantined { .. } => {
                false
            }
        }
    }

    /// An exchange was committed: it is well.
    pub fn exchanged(&mut self, now: Mono, wrote: bool, fx: &mut Vec<Effect>) {
        if wrote {
            self.echo_until = now.after(ECHO_MS);
            if let Some(climb) = &mut self.climb {
                climb.since = now;
            }
        }
        self.phase = Phase::Idle;
        self.faults = 0;
        self.sick_since = None;
        let was_hung = core::mem::take(&mut self.told_hung);
        if self.told.take().is_some() || was_hung {
            fx.push(Effect::Report(Report::BoardWell(self.id)));
        }
    }

    /// It failed: out of use for a while. What was seen of it is no longer believed.
    pub fn failed(&mut self, fault: Fault, now: Mono, fx: &mut Vec<Effect>) {
        let was_open = matches!(self.phase, Phase::Exchanging { .. });
        let asked_if_changed = matches!(self.phase, Phase::Connecting { if_changed: true, .. });
        self.forget_what_was_seen();
        self.sick_since = self.sick_since.or(Some(now));
        if fault.unchanged && asked_if_changed {
            // The very file that was refused before: nothing new, and no other end.
            let until = self.refused_until;
            self.phase = Phase::Quarantined { until, fault, open: false };
            return;
        }
        self.faults = self.faults.saturating_add(1);
        let until = now.after(quarantine::wait_ms(fault.class, self.faults));
        self.refused_until = until;
        let open = was_open && quarantine::stays_open(fault.class);
        if was_open && !open {
            fx.push(Effect::Disconnect { board: self.id });
        }
        self.phase = Phase::Quarantined { until, fault, open };
        let everyday = match fault.class {
            FaultClass::Busy => self.faults <= BUSY_IS_NORMAL,
            FaultClass::Replaced => self.faults <= 1,
            FaultClass::Content | FaultClass::Access => false,
        };
        if !everyday && self.told != Some(fault.class) {
            self.told = Some(fault.class);
            fx.push(Effect::Report(Report::BoardSick(self.id, fault, until)));
        }
    }

    fn forget_what_was_seen(&mut self) {
        self.ready.clear();
        self.promotable.clear();
        self.expired.clear();
        self.strays.clear();
        self.more = false;
        self.due = None;
        self.look_at_everything();
    }

    /// Takes what was seen in place of what was known, without what it refused a moment ago.
    pub fn observed(&mut self, seen: Observation, mut strays: Vec<Fence>, unix: i64) {
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
        if self.refused.is_empty() && self.ready.is_empty() && !self.wants_moves() {
            self.refusing_since = None;
        }
        // What should have changed by now and has not is looked at once a second, not without end.
        self.due = seen.due.map(|due| due.max(unix.saturating_add(1)));
    }

    /// It refused something about this task: do not ask again for a while.
    pub fn refuse(&mut self, task: TaskId, refusal: Refusal, now: Mono) {
        let may_pass = refusal != Refusal::Rejected;
        let rest_ms = if may_pass { REFUSED_MS.1 } else { REFUSED_MS.0 };
        self.refused.insert(task, Refused { until: now.after(rest_ms), may_pass });
        self.refusing_since = self.refusing_since.or(Some(now));
    }

    /// Something that was not owed to it took.
    pub fn took(&mut self) {
        self.refusing_since = None;
    }

    /// Whether what it refused may soon take, unless it has gone on refusing for `grace_ms`.
    #[must_use]
    pub fn may_yet_take(&self, now: Mono, grace_ms: u64) -> bool {
        self.refused.values().any(|refused| refused.may_pass)
            && self.refusing_since.is_some_and(|at| now.since(at) < grace_ms)
    }

    /// Whether it is to be asked for changes that are not owed to it.
    #[must_use]
    pub fn takes_new_work(&self) -> bool {
        self.locked_until.is_none() && self.refused.len() < MOST_REFUSED
    }

    fn ask_again(&mut self, now: Mono) {
        let before = self.refused.len();
        self.refused.retain(|_, refused| now < refused.until);
        if self.refused.len() < before {
            self.look_at_everything();
        }
    }

    /// Look soon, at everything.
    pub fn look_at_everything(&mut self) {
        (self.look, self.fresh) = (true, true);
    }

    /// Whether the next exchange is to look at everything.
    #[must_use]
    pub fn wants_everything(&self) -> bool {
        self.fresh
    }

    /// A tick: look at it, or at its file if it is sick.
    pub fn tick(&mut self, now: Mono, policy: &Policy, fx: &mut Vec<Effect>) {
        self.look = true;
        self.fresh |= now.since(self.swept_at) >= SWEEP_MS;
        match &self.phase {
            Phase::Quarantined { until, fault, .. }
                if fault.class == FaultClass::Content && now < *until =>
            {
                self.connect(now, policy, true, fx);
            }
            Phase::Absent
            | Phase::Connecting { .. }
            | Phase::Idle
            | Phase::Exchanging { .. }
            | Phase::Quarantined { .. } => {}
        }
    }

    /// Something near its file changed.
    pub fn noticed(&mut self, now: Mono) {
        let echo = self.is_writing() || now < self.echo_until;
        self.climb = Some(Climb::noticed(self.climb, echo, now));
        let soon = now.after(NOTICE_MS);
        // Nor the look at a sick board.
        let recheck = self.recheck_at.map_or(soon, |at| at.min(soon));
        match &mut self.phase {
            Phase::Quarantined { until, fault, open: false } => match fault.class {
                FaultClass::Content => self.recheck_at = Some(recheck),
                FaultClass::Access | FaultClass::Busy | FaultClass::Replaced => {
                    *until = (*until).min(soon);
                }
            },
            // What is being looked at may be what was there before.
            Phase::Connecting { .. } => self.recheck_at = Some(recheck),
            Phase::Absent
            | Phase::Idle
            | Phase::Exchanging { .. }
            | Phase::Quarantined { open: true, .. } => {}
        }
    }

    /// It is listed. If it was not, try it at once.
    pub fn listed_again(&mut self, now: Mono) {
        if core::mem::replace(&mut self.listed, true) {
            return;
        }
        if let Phase::Quarantined { until, .. } = &mut self.phase {
            *until = now;
        }
    }

    /// A spawn failed because its folders do: no claims for a moment.
    pub fn spawn_trouble(&mut self, now: Mono) {
        // Spawns that were under way together and fail together are one trouble.
        if now < self.spawns_from {
            return;
        }
        self.spawns_fail_since = self.spawns_fail_since.or(Some(now));
        self.spawns_from = now.after(self.spawn_wait_ms);
        self.spawn_wait_ms = (self.spawn_wait_ms * 2).min(30_000);
    }

    /// A spawn succeeded.
    pub fn spawn_went_well(&mut self) {
        self.spawn_wait_ms = 1_000;
        self.spawns_fail_since = None;
    }

    /// Does what its clocks call for. Says whether its lane has just become overdue.
    pub fn act_on_time(&mut self, now: Now, policy: &Policy, fx: &mut Vec<Effect>) -> bool {
        if let Some(climb) = self.climb.filter(|climb| now.mono >= climb.at) {
            self.look = true;
            self.climb = climb.up(now.mono);
        }
        if self.due.is_some_and(|due| now.unix >= due) {
            (self.look, self.due) = (true, None);
        }
        if self.locked_until.is_some_and(|at| now.mono >= at) {
            (self.look, self.locked_until) = (true, None);
        }
        self.ask_again(now.mono);
        match &mut self.phase {
            Phase::Absent => self.connect(now.mono, policy, false, fx),
            Phase::Quarantined { until, open, .. } if now.mono >= *until => {
                if *open {
                    self.phase = Phase::Idle;
                } else {
                    self.connect(now.mono, policy, false, fx);
                }
            }
            Phase::Quarantined { .. } if self.recheck_at.is_some_and(|at| now.mono >= at) => {
                self.connect(now.mono, policy, true, fx);
            }
            Phase::Connecting { deadline, overdue, .. }
            | Phase::Exchanging { deadline, overdue, .. }
                if now.mono >= *deadline && !*overdue =>
            {
                *overdue = true;
                self.sick_since = self.sick_since.or(Some(now.mono));
                self.told_hung = true;
                fx.push(Effect::Report(Report::BoardHung(self.id)));
                return true;
            }
            Phase::Connecting { .. }
            | Phase::Idle
            | Phase::Exchanging { .. }
            | Phase::Quarantined { .. } => {}
        }
        false
    }

    /// Why its file is out of use, from when that was told until it takes changes again: a retry
    /// under way is no news. Faults of everyday life are no hold.
    #[must_use]
    pub fn file_hold(&self) -> Option<BoardHold> {
        match self.phase {
            Phase::Connecting { overdue: true, .. } | Phase::Exchanging { overdue: true, .. } => {
                Some(BoardHold::Hung)
            }
            Phase::Absent
            | Phase::Connecting { .. }
            | Phase::Idle
            | Phase::Exchanging { .. }
            | Phase::Quarantined { .. } => {
                let until = self.refused_until;
                self.told.map(|class| BoardHold::Quarantined { class, until })
            }
        }
    }

    /// Whether its folders are out of use now.
    #[must_use]
    pub fn folder_hold(&self, now: Mono) -> Option<BoardHold> {
        (now < self.spawns_from).then_some(BoardHold::FoldersFail { until: self.spawns_from })
    }

    /// Whether it is open with nothing under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether an answer is outstanding.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        match self.phase {
            Phase::Connecting { .. } | Phase::Exchanging { .. } => true,
            Phase::Absent | Phase::Idle | Phase::Quarantined { .. } => false,
        }
    }

    /// Whether it shows something that is to be put right: a promotion, the end of somebody else's
    /// claim, a claim of ours without a run.
    #[must_use]
    pub fn wants_moves(&self) -> bool {
        !(self.promotable.is_empty() && self.expired.is_empty() && self.strays.is_empty())
    }

    /// Whether there are tasks to start as soon as there is room for them: listed, or not listed for
    /// lack of room.
    #[must_use]
    pub fn wants_slots(&self) -> bool {
        !self.ready.is_empty() || (self.more && self.used)
    }

    /// Whether there is a reason to look at it, apart from what is to be written.
    #[must_use]
    pub fn wants_look(&self) -> bool {
        self.look
    }

    /// Whether a change notice is still followed by looks that are worth waiting for.
    #[must_use]
    pub fn is_climbing(&self, now: Mono, grace_ms: u64) -> bool {
        self.climb.is_some_and(|climb| climb.is_awaited(now, grace_ms))
    }

    /// When [`act_on_time`](Board::act_on_time) has something to do.
    #[must_use]
    pub fn next(&self, now: Now) -> Option<Mono> {
        let own = match &self.phase {
            Phase::Absent => Some(now.mono),
            Phase::Quarantined { until, .. } => earlier(Some(*until), self.recheck_at),
            Phase::Connecting { deadline, overdue, .. }
            | Phase::Exchanging { deadline, overdue, .. } => (!overdue).then_some(*deadline),
            Phase::Idle => self.flush_at,
        };
        let rows = earlier(self.due.map(|due| now.mono_at(due)), self.locked_until);
        let refused = self.refused.values().map(|refused| refused.until).min();
        let looks = earlier(self.climb.map(|climb| climb.at), refused);
        earlier(earlier(own, looks), rows)
    }

    /// Number of the newest request.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The changes that were sent and are not answered.
    #[must_use]
    pub fn under_way(&self) -> &[Change] {
        match &self.phase {
            Phase::Exchanging { changes, .. } => changes,
            Phase::Absent | Phase::Connecting { .. } | Phase::Idle | Phase::Quarantined { .. } => {
                &[]
            }
        }
    }
}
