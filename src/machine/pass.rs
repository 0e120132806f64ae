//! A pass: what one exchange with a board is to carry, and what its answer means.

use alloc::vec::Vec;

use super::board::{Board, Phase as BoardPhase};
use super::dispatcher::{Dispatcher, Mode};
use super::effect::{Effect, Report};
use super::exchange::{Answer, Change, Fence, Observation, Refusal, Request, Taken};
use super::fault::{Commit, Fault};
use super::hold::Candidate;
use super::ids::{BoardId, RunId, SpawnId, TaskId};
use super::plan::{self, Slots};
use super::policy::Completion;
use super::run::{Finish, Phase, Run};
use super::time::{Mono, Now};
use super::verdict::Release;

/// Milliseconds for which a pid may wait for other changes to share a transaction with.
pub const FLUSH_MS: u64 = 5;
/// Milliseconds after which what the board's own rules rejected is sent again.
const REJECTED_MS: u64 = 30_000;

/// What an exchange is to carry, and whether any of it cannot wait.
struct Changes {
    list: Vec<Change>,
    urgent: bool,
}

impl Dispatcher {
    /// Begins a pass on every board that is idle and has a reason for one. They take turns: in one
    /// fixed order the first board would take every slot of the host that comes free.
    pub(super) fn begin_passes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let idle = |b: &&Board| b.phase == BoardPhase::Idle;
        let mut boards: Vec<BoardId> = self.boards.values().filter(idle).map(|b| b.id).collect();
        boards.sort_by_key(|id| (Some(*id) <= self.served, *id));
        for id in boards {
            self.begin_pass(id, now, effects);
        }
    }

    fn begin_pass(&mut self, id: BoardId, now: Now, effects: &mut Vec<Effect>) {
        let mut changes = self.owed_changes(id, now);
        self.add_claims(id, now, &mut changes);
        let free = self.slots(id, now.mono).free();
        let lookahead = self.policy.lookahead;
        let Some(board) = self.boards.get_mut(&id) else { return };
        if board.takes_new_work() && self.mode == Mode::Running {
            let failure_limit = self.policy.failure_limit;
            let promote = |task: &TaskId| Change::Promote { task: *task, failure_limit };
            changes.list.extend(board.promotable.iter().map(promote));
            let free = |expired: &_| Change::Free { expired: *expired, failure_limit };
            changes.list.extend(board.expired.iter().map(free));
            changes.urgent |= !(board.promotable.is_empty() && board.expired.is_empty());
        }
        let known = count(board.ready.len());
        let relist = board.more && board.used && free > 0 && known <= lookahead / 4;
        if !(changes.urgent || relist || board.wants_look()) {
            return;
        }
        if !changes.urgent {
            // A mere look is no reason to write: what is left here are pids, which wait for company.
            changes.list.clear();
        }
        board.used &= !relist;
        let request = Request {
            changes: changes.list.clone(),
            fresh: board.wants_everything(),
            relist,
            want: free.saturating_add(lookahead),
            unix: now.unix,
        };
        if changes.urgent {
            board.flush_at = None;
        }
        for change in &changes.list {
            if let Change::Renew { fence, ttl_s, .. } = change
                && let Some(run) = self.runs.get_mut(&fence.spawn)
            {
                run.lease_begins(now, *ttl_s);
            }
        }
        let seq = board.exchanging(changes.list, now.mono, &self.policy);
        effects.push(Effect::Exchange { board: id, seq, request });
    }

    /// What is owed to the board about runs that it knows.
    fn owed_changes(&self, id: BoardId, now: Now) -> Changes {
        let mut changes = Changes { list: Vec::new(), urgent: false };
        let Some(board) = self.boards.get(&id) else { return changes };
        changes.urgent = board.flush_at.is_some_and(|at| now.mono >= at);
        for run in self.runs.values().filter(|run| run.board == id) {
            let Some(fence) = run.fence() else { continue };
            if let (true, Some(pid)) = (run.pid_owed, run.pid) {
                changes.list.push(Change::Started { fence, pid });
            }
            match run.finish {
                Finish::Owed(verdict) if now.mono >= run.retry_at => {
                    let failure_limit = self.policy.failure_limit;
                    let pid = run.pid;
                    changes.list.push(Change::Finish { fence, pid, verdict, failure_limit });
                    changes.urgent = true;
                }
                Finish::No if run.renew_due(now) => {
                    let heartbeat =
                        self.policy.worker(run.worker).completion == Completion::ExitStatus;
                    let ttl_s = self.policy.claim_ttl_s;
                    changes.list.push(Change::Renew { fence, ttl_s, heartbeat });
                    changes.urgent = true;
                }
                Finish::Owed(_) | Finish::No | Finish::Settled => {}
            }
        }
        for fence in &board.strays {
            let verdict = super::verdict::Verdict::Released(Release::NotStarted);
            let failure_limit = self.policy.failure_limit;
            changes.list.push(Change::Finish { fence: *fence, pid: None, verdict, failure_limit });
            changes.urgent = true;
        }
        changes
    }

    /// Claims as many ready tasks as fit, and reserves their slots.
    fn add_claims(&mut self, id: BoardId, now: Now, changes: &mut Changes) {
        let slots = self.slots(id, now.mono);
        let Some(board) = self.boards.get(&id) else { return };
        let busy = |task| self.runs.values().any(|run| run.board == id && run.task == task);
        let claims = plan::claims(&board.ready, slots, &self.policy, now.unix, busy);
        for (task, worker) in claims {
            let spawn = SpawnId(self.next_spawn);
            self.next_spawn += 1;
            let (ttl_s, cap) = (self.policy.claim_ttl_s, self.policy.max_in_progress);
            let mut run = Run::new(spawn, id, task, worker, now.mono);
            run.lease_begins(now, ttl_s);
            self.runs.insert(spawn, run);
            changes.list.push(Change::Claim { spawn, task, worker, ttl_s, cap });
            changes.urgent = true;
            self.served = Some(id);
        }
    }

    /// How many more tasks of this board may be started now.
    pub(super) fn slots(&self, id: BoardId, now: Mono) -> Slots {
        let none = Slots { host: 0, board: 0 };
        let Some(board) = self.boards.get(&id) else { return none };
        let waits = !board.takes_new_work()
            || now < board.spawns_from
            || !board.listed
            || (self.once && board.claimed);
        if self.mode != Mode::Running || now < self.host.from || waits {
            return none;
        }
        // What is recorded by this very exchange makes room in it: the end comes before the claims.
        let ending = |run: &Run| run.ends_with_next_exchange(now);
        let own = self.runs.values().filter(|run| run.board == id && !ending(run)).count();
        Slots {
            host: self.free_host_slots(),
            board: self
                .policy
                .max_in_progress
                .saturating_sub(count(own).saturating_add(board.others)),
        }
    }

    /// How many more workers the host may have, if it will.
    pub(super) fn free_host_slots(&self) -> u32 {
        let used = self.runs.values().filter(|run| run.uses_host_slot()).count();
        self.policy.max_workers.saturating_sub(count(used))
    }

    /// An exchange was committed.
    pub(super) fn exchanged(
        &mut self,
        id: BoardId,
        seq: u64,
        answer: Answer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(board) = self.boards.get_mut(&id).filter(|b| b.awaits_exchange(seq)) else {
            effects.push(Effect::Report(Report::Unexpected("Exchanged")));
            return;
        };
        let BoardPhase::Exchanging { changes, .. } = &mut board.phase else { return };
        let changes = core::mem::take(changes);
        board.exchanged(now.mono, !changes.is_empty(), effects);
        board.strays.clear();
        let Answer { taken, observation } = answer;
        let (mut locked, mut asked) = (false, false);
        for (n, change) in changes.iter().enumerate() {
            // An answer that says nothing of a change is as good as "not written".
            let taken = taken.get(n).copied().unwrap_or(Taken::No(Refusal::Superseded));
            // A board that is full although it looked otherwise is somebody else's work, too.
            locked |= matches!(taken, Taken::No(Refusal::Locked | Refusal::Full));
            asked |= change.waits_for_others();
            self.settle_change(id, *change, taken, now, effects);
        }
        self.note_lock(id, locked, asked, now.mono);
        if let Some(observation) = observation {
            self.observe(id, observation, now);
        }
        self.sweep_runs(effects);
    }

    fn note_lock(&mut self, id: BoardId, locked: bool, asked: bool, now: Mono) {
        let Some(board) = self.boards.get_mut(&id) else { return };
        if locked {
            // Spread over boards and time, so that rivals do not meet again and again.
            let jitter = (now.0 ^ u64::from(id.0).wrapping_mul(7)) % 40;
            board.locked_until = Some(now.after(10 + jitter));
            board.locked_since = board.locked_since.or(Some(now));
        } else if asked || board.locked_until.is_none() {
            // What did not ask for the lock says nothing of whoever held it a moment ago.
            board.locked_since = None;
        }
    }

    fn settle_change(
        &mut self,
        id: BoardId,
        change: Change,
        taken: Taken,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match change {
            Change::Claim { spawn, .. } => match taken {
                Taken::Claimed { run, max_runtime_s } => {
                    self.claimed(spawn, run, max_runtime_s, now, effects);
                }
                Taken::Yes => self.claim_refused(spawn, Refusal::Superseded, now.mono, effects),
                Taken::No(refusal) => self.claim_refused(spawn, refusal, now.mono, effects),
            },
            Change::Started { fence, .. } => {
                if let Some(run) = self.runs.get_mut(&fence.spawn) {
                    run.pid_owed = false;
                }
            }
            // Its lease has begun when this was sent.
            Change::Renew { .. } => {}
            Change::Finish { fence, verdict, .. } if self.is_of_a_run(id, fence) => {
                self.finished(fence, taken, verdict, now.mono, effects);
            }
            // A stray: nothing is owed for it.
            Change::Finish { fence, .. } => self.note_refusal(id, fence.task, taken, now.mono),
            Change::Promote { task, .. } => {
                if taken == Taken::Yes {
                    effects.push(Effect::Report(Report::Promoted(task, id)));
                    self.boards.entry(id).and_modify(Board::took);
                }
                self.keep_if_locked(id, taken, |board| board.promotable.retain(|t| *t != task));
                self.note_refusal(id, task, taken, now.mono);
            }
            Change::Free { expired, .. } => {
                if taken == Taken::Yes {
                    effects.push(Effect::Report(Report::Freed(expired.task, id)));
                    self.boards.entry(id).and_modify(Board::took);
                }
                self.keep_if_locked(id, taken, |board| board.expired.retain(|e| *e != expired));
                self.note_refusal(id, expired.task, taken, now.mono);
            }
        }
    }

    /// Whether a run of ours on this board has exactly this fence. Its token alone proves nothing:
    /// any row may bear any text.
    fn is_of_a_run(&self, id: BoardId, fence: Fence) -> bool {
        let run = self.runs.get(&fence.spawn);
        run.is_some_and(|run| run.board == id && run.fence() == Some(fence))
    }

    fn keep_if_locked(&mut self, id: BoardId, taken: Taken, drop: impl FnOnce(&mut Board)) {
        if taken != Taken::No(Refusal::Locked)
            && let Some(board) = self.boards.get_mut(&id)
        {
            drop(board);
        }
    }

    /// Remembers that a change to a task was refused for a reason that may well stay.
    fn note_refusal(&mut self, id: BoardId, task: TaskId, taken: Taken, now: Mono) {
        let Taken::No(refusal) = taken else { return };
        match refusal {
            Refusal::Locked | Refusal::Full => {}
            Refusal::Superseded | Refusal::Held(_) | Refusal::Rejected => {
                if let Some(board) = self.boards.get_mut(&id) {
                    board.refuse(task, refusal, now);
                }
            }
        }
    }

    fn claimed(
        &mut self,
        spawn: SpawnId,
        row: RunId,
        max_runtime_s: Option<u32>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let full = self.is_full_without(spawn);
        let Some(run) = self.runs.get_mut(&spawn).filter(|run| run.phase == Phase::Claimed) else {
            effects.push(Effect::Report(Report::Unexpected("Claimed")));
            return;
        };
        let worker = self.policy.worker(run.worker);
        // What was written late says when it was asked for: others may take it for ended.
        let late = run.lease_is_short(now.unix);
        let (id, task) = (run.board, run.task);
        match self.mode {
            Mode::Draining { .. } | Mode::Aborting => run.claimed_in_vain(row, Release::Shutdown),
            // Its answer took so long that little of its lease is left, or that its slot was lent
            // and is still in use; or the owner has lowered a limit or removed the worker meanwhile.
            Mode::Running if late || full || !worker.enabled => {
                run.claimed_in_vain(row, Release::NotStarted);
            }
            Mode::Running => {
                let limit_s = max_runtime_s.or(worker.max_runtime_s);
                let deadline = now.mono.after(self.policy.spawn_deadline_ms);
                run.claimed(row, limit_s, deadline, effects);
            }
        }
        let fence = Fence { task, run: row, spawn };
        effects.push(Effect::Report(Report::Claimed(fence, id)));
        self.boards.entry(id).and_modify(|board| {
            board.claimed = true;
            board.took();
        });
        self.forget_candidate(id, task);
    }

    /// Whether the other runs leave no slot for this one, on the host or on its board.
    fn is_full_without(&self, spawn: SpawnId) -> bool {
        let board = self.runs.get(&spawn).map(|run| run.board);
        let (mut host, mut own) = (0, 0);
        for run in self.runs.values().filter(|run| run.spawn != spawn && run.uses_host_slot()) {
            host += 1;
            own += u32::from(Some(run.board) == board);
        }
        host >= self.policy.max_workers || own >= self.policy.max_in_progress
    }

    fn claim_refused(
        &mut self,
        spawn: SpawnId,
        refusal: Refusal,
        now: Mono,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Run { board: id, task, .. }) = self.runs.remove(&spawn) else { return };
        match refusal {
            Refusal::Locked => {}
            // Whatever we thought to be running, it is more: wait for the next observation.
            Refusal::Full => {
                if let Some(board) = self.boards.get_mut(&id) {
                    board.others = board.others.max(self.policy.max_in_progress);
                }
            }
            Refusal::Superseded | Refusal::Held(_) | Refusal::Rejected => {
                self.forget_candidate(id, task);
                self.note_refusal(id, task, Taken::No(refusal), now);
                effects.push(Effect::Report(Report::ClaimRefused(task, id, refusal)));
            }
        }
    }

    fn forget_candidate(&mut self, id: BoardId, task: TaskId) {
        if let Some(board) = self.boards.get_mut(&id) {
            board.ready.retain(|c: &Candidate| c.task != task);
            board.used = true;
        }
    }

    fn finished(
        &mut self,
        fence: Fence,
        taken: Taken,
        verdict: super::verdict::Verdict,
        now: Mono,
        effects: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(&fence.spawn) else { return };
        match taken {
            Taken::Yes | Taken::Claimed { .. } => {
                run.finish = Finish::Settled;
                effects.push(Effect::Report(Report::Recorded(fence.spawn, verdict)));
            }
            Taken::No(Refusal::Rejected) => run.retry_at = now.after(REJECTED_MS),
            Taken::No(Refusal::Locked | Refusal::Full | Refusal::Held(_)) => {
                run.retry_at = now.after(FLUSH_MS);
            }
            Taken::No(Refusal::Superseded) => {
                run.finish = Finish::Settled;
                effects.push(Effect::Report(Report::NotOurs(fence.spawn)));
            }
        }
    }

    /// Takes in what was seen: runs of ours that are no longer in the board have been ended by
    /// somebody; claims of ours without a run here are put back.
    fn observe(&mut self, id: BoardId, observation: Observation, now: Now) {
        let ours = &observation.ours;
        for run in self.runs.values_mut().filter(|run| run.board == id) {
            if let (Some(fence), Finish::No) = (run.fence(), run.finish) {
                run.seen_lost(!ours.contains(&fence), now.mono, self.policy.ended_grace_ms);
            }
        }
        // Also if the run is another board's: this may be that board's file, moved here, and its
        // worker may be alive.
        let known = |fence: &Fence| self.runs.contains_key(&fence.spawn);
        let strays = ours.iter().filter(|fence| !known(fence)).copied().collect();
        if let Some(board) = self.boards.get_mut(&id) {
            board.observed(observation, strays, now.unix);
        }
    }

    /// An exchange failed. Claims that were in it are dropped: if they took after all, the next
    /// observation shows them as strays. Everything else stays owed, and is safe to send again.
    pub(super) fn exchange_failed(
        &mut self,
        id: BoardId,
        seq: u64,
        fault: Fault,
        commit: Commit,
        now: Mono,
        effects: &mut Vec<Effect>,
    ) {
        let Some(board) = self.boards.get_mut(&id).filter(|b| b.awaits_exchange(seq)) else {
            effects.push(Effect::Report(Report::Unexpected("ExchangeFailed")));
            return;
        };
        for change in board.under_way() {
            if let Change::Renew { fence, .. } = change
                && let Some(run) = self.runs.get_mut(&fence.spawn)
            {
                run.renew_at = now;
            }
        }
        board.failed(fault, now, effects);
        match commit {
            Commit::No | Commit::Maybe => {
                self.runs.retain(|_, run| run.board != id || run.phase != Phase::Claimed);
            }
        }
    }

    /// A board's lane is overdue: the slots of claims that it has not answered go to others.
    pub(super) fn lend_slots(&mut self, id: BoardId) {
        for run in self.runs.values_mut() {
            if run.board == id && run.phase == Phase::Claimed {
                run.lent = true;
            }
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
