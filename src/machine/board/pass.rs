//! A pass: what one exchange with a board is to carry, and what its answer means.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::super::attempt::{Attempt, Input, Lease, Looking, Preparing, Stage};
use super::super::effect::{Effect, Report};
use super::super::exchange::{Answer, Change, Fence, Observation, Orphan, Refusal, Request, Taken};
use super::super::fault::{Commit, Fault};
use super::super::ids::{RunId, SpawnId, TaskId};
use super::super::plan::{self, Slots};
use super::super::time::Mono;
use super::super::turn::{Mode, Shared, Turn};
use super::super::verdict::{Release, Verdict};
use super::attempts::FLUSH_MS;
use super::{Board, link};

/// Milliseconds after which what the board's own rules rejected is sent again.
const REJECTED_MS: u64 = 30_000;

/// What an exchange is to carry, and whether any of it cannot wait.
struct Changes {
    list: Vec<Change>,
    urgent: bool,
}

impl Board {
    /// Begins a pass if the board is idle and there is a reason for one. Returns whether it did.
    pub(in super::super) fn begin_pass(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.file.is_idle() {
            return false;
        }
        let mut changes = self.owed_changes(turn);
        self.add_adoptions(turn, &mut changes);
        self.add_claims(turn, &mut changes);
        self.add_moves(turn, &mut changes);
        let (free, lookahead) = (self.slots(turn).free(), turn.shared.policy.lookahead);
        let relist = free > 0 && self.view.wants_list(lookahead / 4);
        if !(changes.urgent || relist || self.attention.wants_look()) {
            return false;
        }
        if !changes.urgent {
            // A look alone must not cause a write: only pids are left here, and they wait for
            // another change.
            changes.list.clear();
        }
        let request = Request {
            changes: changes.list.clone(),
            fresh: self.attention.wants_everything(),
            relist,
            want: free.saturating_add(lookahead),
            unix: turn.now.unix,
        };
        self.sent(&changes, relist, turn);
        self.file.take_in(link::Input::Send(changes.list), self.id, turn);
        turn.effects.push(Effect::Exchange { board: self.id, seq: self.file.seq(), request });
        true
    }

    /// What is owed to the board about runs that it knows.
    fn owed_changes(&self, turn: &Turn<'_>) -> Changes {
        let policy = &turn.shared.policy;
        let (mut list, mut urgent) = self.attempts.owed_changes(turn.now, policy);
        let (verdict, failure_limit) =
            (Verdict::Released(Release::NotStarted), policy.failure_limit);
        for fence in self.view.strays() {
            list.push(Change::Finish { fence: *fence, pid: None, verdict, failure_limit });
            urgent = true;
        }
        Changes { list, urgent }
    }

    /// Adopts the claims of dead dispatchers, before anything new is claimed. Their workers may
    /// already run, so they use slots even beyond the limits.
    fn add_adoptions(&mut self, turn: &mut Turn<'_>, changes: &mut Changes) {
        if turn.shared.mode != Mode::Running || !self.listed {
            return;
        }
        let ttl_s = turn.shared.policy.claim_ttl_s;
        for orphan in self.view.orphans().to_vec() {
            let Orphan { task, worker, .. } = orphan;
            if self.attempts.has_task(task) {
                continue;
            }
            let spawn = turn.shared.new_attempt();
            self.attempts.insert(Attempt::new(spawn, task, worker, turn.now, ttl_s), turn);
            changes.list.push(Change::Adopt { spawn, orphan, ttl_s });
            changes.urgent = true;
        }
    }

    /// Claims as many ready tasks as fit, and reserves their slots.
    fn add_claims(&mut self, turn: &mut Turn<'_>, changes: &mut Changes) {
        let slots = self.slots(turn);
        let policy = &turn.shared.policy;
        let busy = |task| self.attempts.has_task(task);
        let claims = plan::claims(self.view.ready(), slots, policy, turn.now.unix, busy);
        let (ttl_s, cap) = (policy.claim_ttl_s, policy.max_in_progress);
        for (task, worker) in claims {
            let spawn = turn.shared.new_attempt();
            turn.shared.served = Some(self.id);
            self.attempts.insert(Attempt::new(spawn, task, worker, turn.now, ttl_s), turn);
            changes.list.push(Change::Claim { spawn, task, worker, ttl_s, cap });
            changes.urgent = true;
        }
    }

    /// Puts right what others left behind.
    fn add_moves(&self, turn: &Turn<'_>, changes: &mut Changes) {
        if self.view.takes_new_work() && turn.shared.mode == Mode::Running {
            let before = changes.list.len();
            changes.list.extend(self.view.moves(turn.shared.policy.failure_limit, turn.now.mono));
            changes.urgent |= changes.list.len() > before;
        }
    }

    /// How many more tasks of this board may be started now.
    fn slots(&self, turn: &Turn<'_>) -> Slots {
        let (shared, now) = (&*turn.shared, turn.now.mono);
        let refuses = shared.host.refuses_until(now).is_some();
        let host = if refuses { 0 } else { shared.free_slots() };
        Slots { host, board: self.own_slots(shared, now) }
    }

    /// Returns how many more tasks the board itself allows now, regardless of the host.
    pub(super) fn own_slots(&self, shared: &Shared, now: Mono) -> u32 {
        let waits = !self.view.takes_new_work()
            || self.directories.until(now).is_some()
            || !self.listed
            || (shared.once && self.view.has_claimed());
        if shared.mode != Mode::Running || waits {
            return 0;
        }
        // What is recorded by this very exchange makes room in it: the end comes before the claims.
        let used = self.attempts.in_progress(now).saturating_add(self.view.others());
        shared.policy.max_in_progress.saturating_sub(used)
    }

    /// Notes that these changes are on their way.
    fn sent(&mut self, changes: &Changes, relist: bool, turn: &mut Turn<'_>) {
        self.attention.looks(turn.now.mono);
        if relist {
            self.view.list_asked();
        }
        if changes.urgent {
            self.attempts.flushed();
        }
        for change in &changes.list {
            if let Change::Renew { fence, ttl_s, .. } = *change {
                // Rows carry the second of their request.
                let lease = Lease::begin(turn.now, ttl_s);
                self.attempts.update(fence.spawn, turn, |a| a.debt_mut().renew(lease));
            }
        }
    }

    /// An exchange was committed.
    pub(in super::super) fn exchanged(&mut self, seq: u64, answer: Answer, turn: &mut Turn<'_>) {
        if !self.file.awaits_exchange(seq) {
            return turn.unexpected("Exchanged");
        }
        let changes = self.file.take_changes();
        if !changes.is_empty() {
            self.attention.wrote(turn.now.mono);
        }
        let was_sick = self.file.is_sick();
        self.file.take_in(link::Input::Exchanged, self.id, turn);
        self.view.end_turns(turn.now.mono);
        if was_sick {
            self.came_back(turn);
        }
        self.view.strays_sent();
        let (mut locked, mut asked) = (false, false);
        for (n, change) in changes.into_iter().enumerate() {
            // An answer that lacks a change is as good as "not written".
            let taken = answer.taken.get(n).copied().unwrap_or(Taken::No(Refusal::Superseded));
            // A board that is full although it looked otherwise is in use by others, too.
            locked |= matches!(taken, Taken::No(Refusal::Locked | Refusal::Full));
            asked |= change.waits_for_others();
            self.settle(change, taken, turn);
        }
        self.view.note_lock(locked, asked, self.id, turn.now.mono);
        if let Some(observation) = answer.observation {
            self.observe(observation, turn);
        }
        self.attempts.forget_over(turn);
    }

    fn came_back(&mut self, turn: &Turn<'_>) {
        #[cfg(feature = "sabotage")]
        if turn.shared.hasty {
            return;
        }
        self.view.came_back(turn.now.mono, turn.shared.policy.claim_ttl_s);
    }

    fn settle(&mut self, change: Change, taken: Taken, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        match change {
            Change::Claim { spawn, .. } => match taken {
                Taken::Claimed { run, max_runtime_s } => {
                    self.claimed(spawn, run, max_runtime_s, turn);
                }
                Taken::Yes => self.claim_refused(spawn, Refusal::Superseded, turn),
                Taken::No(refusal) => self.claim_refused(spawn, refusal, turn),
            },
            Change::Adopt { spawn, orphan, .. } => self.adopt_answered(spawn, orphan, taken, turn),
            Change::Started { fence, .. } => {
                self.attempts.update(fence.spawn, turn, |a| a.debt_mut().pid_taken());
            }
            // Its lease has begun when this was sent.
            Change::Renew { .. } => {}
            Change::Finish { fence, verdict, .. } if self.is_of_an_attempt(fence) => {
                self.finished(fence, taken, verdict, turn);
            }
            // A stray: nothing is owed for it.
            Change::Finish { fence, .. } => self.view.note_refusal(fence.task, taken, now),
            Change::Promote { task, .. } => {
                let report = self.view.promoted(task, taken, self.id, now);
                turn.effects.extend(report.map(Effect::Report));
            }
            Change::Reclaim { expired, .. } => {
                let report = self.view.reclaimed(expired, taken, self.id, now);
                turn.effects.extend(report.map(Effect::Report));
            }
        }
    }

    /// Whether an attempt at this board has exactly this fence. Its token alone proves nothing: any
    /// row may bear any text.
    fn is_of_an_attempt(&self, fence: Fence) -> bool {
        self.attempts.get(fence.spawn).is_some_and(|attempt| attempt.fence() == Some(fence))
    }

    fn claimed(
        &mut self,
        spawn: SpawnId,
        row: RunId,
        max_runtime_s: Option<u32>,
        turn: &mut Turn<'_>,
    ) {
        let Some(attempt) = self.attempts.get(spawn).filter(|a| is_claiming(a)) else {
            return turn.unexpected("Claimed");
        };
        let (task, worker) = (attempt.task(), attempt.worker());
        let input = self.judge_claim(attempt, max_runtime_s, turn);
        self.attempts.update(spawn, turn, |attempt| attempt.claimed(row));
        self.attempts.take_in(spawn, input, turn);
        if let Input::ClaimTook(_) = input {
            let board = self.id;
            turn.effects.push(Effect::Spawn { spawn, board, task, run: row, worker });
        }
        turn.report(Report::Claimed(Fence { task, run: row, spawn }, self.id));
        self.view.claimed(task);
    }

    fn adopt_answered(
        &mut self,
        spawn: SpawnId,
        orphan: Orphan,
        taken: Taken,
        turn: &mut Turn<'_>,
    ) {
        self.view.adopted(orphan, taken, turn.now.mono);
        let (Taken::Claimed { run, max_runtime_s }, Some(attempt)) =
            (taken, self.attempts.get(spawn).filter(|a| is_claiming(a)))
        else {
            self.attempts.remove(spawn, turn);
            return;
        };
        let limit_s = max_runtime_s.or(turn.shared.policy.worker(attempt.worker()).max_runtime_s);
        self.attempts.update(spawn, turn, |attempt| attempt.claimed(run));
        let fence = Fence { task: orphan.task, run, spawn };
        turn.report(Report::Adopted(fence, self.id));
        self.attempts.take_in(spawn, Input::Adopted(Looking::new(limit_s)), turn);
    }

    /// What is to become of a claim that took.
    fn judge_claim(&self, attempt: &Attempt, max_runtime_s: Option<u32>, turn: &Turn<'_>) -> Input {
        let policy = &turn.shared.policy;
        let worker = policy.worker(attempt.worker());
        // A row that was written late carries the time of the request: others may take its lease
        // for ended.
        let late = attempt.debt().lease_is_short(turn.now.unix);
        match turn.shared.mode {
            Mode::Draining { .. } | Mode::Aborting => Input::ClaimInVain(Release::Shutdown),
            // Its answer took so long that little of its lease is left, or that its slot was lent
            // and is still in use; or the owner has lowered a limit or removed the worker meanwhile.
            Mode::Running if late || self.is_full_without(attempt, turn) || !worker.enabled => {
                Input::ClaimInVain(Release::NotStarted)
            }
            Mode::Running => Input::ClaimTook(Preparing {
                deadline: turn.now.mono.after(policy.spawn_deadline_ms),
                limit_s: max_runtime_s.or(worker.max_runtime_s),
                lost_at: None,
            }),
        }
    }

    /// Whether the other attempts leave no slot for this one, on the host or on its board.
    fn is_full_without(&self, attempt: &Attempt, turn: &Turn<'_>) -> bool {
        let own = u32::from(attempt.stage().uses_host_slot());
        let policy = &turn.shared.policy;
        turn.shared.host.used() - own >= policy.max_workers
            || self.attempts.slots() - own >= policy.max_in_progress
    }

    fn claim_refused(&mut self, spawn: SpawnId, refusal: Refusal, turn: &mut Turn<'_>) {
        let Some(attempt) = self.attempts.remove(spawn, turn) else { return };
        match refusal {
            Refusal::Locked => {}
            Refusal::Full => self.view.is_full(turn.shared.policy.max_in_progress),
            Refusal::Superseded | Refusal::Held(_) | Refusal::Rejected => {
                let task: TaskId = attempt.task();
                self.view.claim_refused(task, refusal, turn.now.mono);
                turn.report(Report::ClaimRefused(task, self.id, refusal));
            }
        }
    }

    fn finished(&mut self, fence: Fence, taken: Taken, verdict: Verdict, turn: &mut Turn<'_>) {
        let (spawn, now) = (fence.spawn, turn.now.mono);
        match taken {
            Taken::Yes | Taken::Claimed { .. } => {
                self.attempts.update(spawn, turn, |a| a.debt_mut().settle());
                turn.report(Report::Recorded(spawn, verdict));
            }
            Taken::No(Refusal::Rejected) => {
                let at = now.after(REJECTED_MS);
                self.attempts.update(spawn, turn, |a| a.debt_mut().put_off(at));
            }
            Taken::No(Refusal::Locked | Refusal::Full | Refusal::Held(_)) => {
                let at = now.after(FLUSH_MS);
                self.attempts.update(spawn, turn, |a| a.debt_mut().put_off(at));
            }
            Taken::No(Refusal::Superseded) => {
                self.attempts.update(spawn, turn, |a| a.debt_mut().settle());
                turn.report(Report::NotOurs(spawn));
            }
        }
    }

    /// Takes in what was seen: runs of ours that are no longer in the board have been ended by
    /// others; claims of ours without an attempt are put back.
    fn observe(&mut self, observation: Observation, turn: &mut Turn<'_>) {
        let grace_ms = turn.shared.policy.ended_grace_ms;
        self.attempts.compare(&observation.ours, grace_ms, turn);
        // A stray is of no board's attempt: this may be the file of another board, moved here, and
        // its worker may be alive.
        // The same holds for a claim that we adopted in an exchange whose answer was lost: it is
        // adopted again.
        let adopted: BTreeSet<RunId> =
            observation.orphans.iter().map(|orphan| orphan.run).collect();
        let is_stray = |fence: &&Fence| {
            !turn.shared.owners.contains_key(&fence.spawn) && !adopted.contains(&fence.run)
        };
        let strays = observation.ours.iter().filter(is_stray).copied().collect();
        let is_new = |orphan: &&Orphan| !self.attempts.has_run(orphan.task, orphan.run);
        let orphans = observation.orphans.iter().filter(is_new).copied().collect();
        let due = observation.due;
        self.view.observed(observation, strays, orphans);
        self.attention.rows_change(due, turn.now);
    }

    /// An exchange failed. Claims that were in it are dropped: if they took after all, the next
    /// observation shows them as strays. Everything else stays owed, and is safe to send again.
    pub(in super::super) fn exchange_failed(
        &mut self,
        seq: u64,
        fault: Fault,
        commit: Commit,
        turn: &mut Turn<'_>,
    ) {
        if !self.file.awaits_exchange(seq) {
            return turn.unexpected("ExchangeFailed");
        }
        let changes = self.file.take_changes();
        for change in &changes {
            if let Change::Renew { fence, .. } = change {
                let now = turn.now.mono;
                self.attempts.update(fence.spawn, turn, |a| a.debt_mut().renew_again(now));
            }
        }
        if changes.iter().any(|change| matches!(change, Change::Finish { .. })) {
            turn.effects.push(Effect::SyncNotes);
        }
        self.fail(link::Input::ExchangeFailed(fault), turn);
        match commit {
            Commit::No | Commit::Maybe => self.attempts.drop_claiming(turn),
        }
    }
}

fn is_claiming(attempt: &Attempt) -> bool {
    matches!(attempt.stage(), Stage::Claiming { .. })
}
