//! Requests to boards take effect, or fail to.

use sexton::machine::event::Event;
use sexton::machine::exchange::{Answer, Change, Expired, Fence, LeaseEnd, Request, Taken};
use sexton::machine::fault::{Commit, Fault as Trouble, FaultClass};
use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId};
use sexton::machine::policy::Policy;
use sexton::machine::verdict::Verdict;

use super::domain::Alive;
use super::seat::{CLOCK_BACK_MS, Conn};
use super::{FINE, Item, World};
use crate::board::{Env, Holder, Instance, Memory, ModelBoard, Outcome, Status};
use crate::fault::Fault;
use crate::ledger::News;
use crate::sometimes::Sometimes;
use crate::trace::{What, Who};

impl World {
    /// A board's file is checked and opened.
    pub(super) fn connect_lands(&mut self, seat: usize, id: BoardId, seq: u64, if_changed: bool) {
        let n = id.0 as usize;
        if self.fires(Fault::CorruptHeader, Who::Board(id)) {
            self.corrupt(n);
        }
        let board = &self.boards[n];
        let mark = (board.file, board.stamp);
        let refused = self.seats[seat].refused.get(&id) == Some(&mark);
        let failed = if !board.present {
            Some((FaultClass::Access, false))
        } else if board.corrupt {
            Some((FaultClass::Content, if_changed && refused))
        } else if board.busy_until > self.moment {
            Some((FaultClass::Busy, false))
        } else if self.fires(Fault::ConnectEio, Who::Board(id)) {
            Some((FaultClass::Access, false))
        } else {
            None
        };
        let instance = self.seats[seat].instance;
        self.boards[n].model.forget(instance);
        self.seats[seat].refused.remove(&id);
        let sick = failed.is_some_and(|(class, _)| class == FaultClass::Content);
        if sick {
            self.seats[seat].refused.insert(id, mark);
        }
        match self.sabotage_check(failed) {
            Some((class, unchanged)) => {
                self.seats[seat].conns.remove(&id);
                let fault = Trouble { class, unchanged };
                self.answer(seat, Event::ConnectFailed { board: id, seq, fault });
            }
            None => {
                let conn = Conn { file: self.boards[n].file, memory: Memory::default(), sick };
                self.seats[seat].conns.insert(id, conn);
                self.answer(seat, Event::Connected { board: id, seq });
            }
        }
    }

    pub(super) fn disconnect(&mut self, seat: usize, id: BoardId) {
        self.seats[seat].conns.remove(&id);
        self.seats[seat].well.remove(&id);
        let knows = self.seats[seat].machine.iter().flat_map(|machine| machine.boards());
        if !knows.into_iter().any(|board| board.id() == id) {
            // It was removed, and counts as new when it comes back.
            self.seats[seat].failed.remove(&id);
            self.seats[seat].back.remove(&id);
        }
        let instance = self.seats[seat].instance;
        if let Some(board) = self.boards.get_mut(id.0 as usize) {
            board.model.forget(instance);
        }
    }

    /// An exchange takes effect, wholly or not at all.
    pub(super) fn exchange_lands(
        &mut self,
        seat: usize,
        id: BoardId,
        seq: u64,
        request: Request,
        policy: &Policy,
    ) {
        let n = id.0 as usize;
        let fail = |class, commit| {
            let fault = Trouble { class, unchanged: false };
            Event::ExchangeFailed { board: id, seq, fault, commit }
        };
        if let Some(class) = self.what_is_wrong(seat, id, &request) {
            return self.answer(seat, fail(class, Commit::No));
        }
        let writes = !request.changes.is_empty();
        let struck = self.strike(&FAULTS, Who::Board(id));
        match struck {
            Some(Fault::ReadEio) => {
                return self.answer(seat, fail(FaultClass::Access, Commit::No));
            }
            Some(Fault::CommitEioBefore) if writes => {
                self.reach(Sometimes::ACommitWasAMaybe);
                return self.answer(seat, fail(FaultClass::Access, Commit::Maybe));
            }
            Some(Fault::CommitEioAfter) if writes => {
                self.reach(Sometimes::ACommitWasAMaybe);
                self.apply(seat, n, &request, policy, false);
                return self.answer(seat, fail(FaultClass::Access, Commit::Maybe));
            }
            Some(Fault::FileReplaced) => {
                // Replaced while the exchange ran: what it wrote is in the file that is gone.
                self.replace_file(n);
                let commit = if writes { Commit::Maybe } else { Commit::No };
                return self.answer(seat, fail(FaultClass::Replaced, commit));
            }
            Some(Fault::Refusal) => self.refuse_a_task(n),
            Some(_) | None => {}
        }
        let locked = struck == Some(Fault::DispatchLocked);
        let answer = self.apply(seat, n, &request, policy, locked);
        self.spread_trouble(n, struck);
        let answer = self.sabotage_answer(seat, &request, answer);
        self.answer(seat, Event::Exchanged { board: id, seq, answer: Box::new(answer) });
    }

    /// What keeps an exchange from taking effect at all.
    fn what_is_wrong(&mut self, seat: usize, id: BoardId, request: &Request) -> Option<FaultClass> {
        let board = &self.boards[id.0 as usize];
        let Some(conn) = self.seats[seat].conns.get(&id) else { return Some(FaultClass::Access) };
        if !board.present || conn.file != board.file {
            return Some(FaultClass::Replaced);
        }
        if board.corrupt && !conn.sick {
            return Some(FaultClass::Content);
        }
        let until = |moment: u64| moment > self.moment;
        if until(board.busy_until) {
            return Some(FaultClass::Busy);
        }
        let writes = !request.changes.is_empty();
        (writes && (until(board.full_until) || until(board.read_only_until)))
            .then_some(FaultClass::Access)
    }

    /// Trouble that begins with this exchange and lasts.
    fn spread_trouble(&mut self, n: usize, struck: Option<Fault>) {
        let until = |moment: u64, millis: u64| moment.saturating_add(millis * FINE);
        let (short, long) = (self.millis(), 1_000 + 40 * self.millis());
        let moment = self.moment;
        let board = &mut self.boards[n];
        match struck {
            Some(Fault::BusyShort) => board.busy_until = until(moment, short),
            Some(Fault::BusyLong) => board.busy_until = until(moment, long),
            Some(Fault::BusyForever) => board.busy_until = u64::MAX,
            Some(Fault::DiskFull) => board.full_until = until(moment, long),
            Some(Fault::ReadOnly) => board.read_only_until = until(moment, long),
            Some(Fault::HeaderGoesBad) => self.corrupt(n),
            Some(Fault::BoardRemoved) => self.remove(n),
            _ => {}
        }
    }

    /// Lets the model do what the request asks for, and writes down what took.
    fn apply(
        &mut self,
        seat: usize,
        n: usize,
        request: &Request,
        policy: &Policy,
        contended: bool,
    ) -> Answer {
        let instance = self.seats[seat].instance;
        let mut conns = std::mem::take(&mut self.seats[seat].conns);
        let id = self.boards[n].id;
        let Some(conn) = conns.get_mut(&id) else {
            return Answer { taken: Vec::new(), observation: None };
        };
        let before: Vec<Before> = request
            .changes
            .iter()
            .map(|change| Before::of(&self.boards[n].model, change))
            .collect();
        let mut landing = request.clone();
        self.sabotage_request(&mut landing);
        let blind = self.sabotage_liveness();
        let model = &mut self.boards[n].model;
        let mut answer = {
            let liveness = Alive {
                kernel: &self.kernel,
                estate: &self.estate,
                ledger: &self.ledger,
                seats: &self.seats,
                places: &self.places,
                here: self.seats[seat].domain,
                blind,
            };
            let env = Env { policy, liveness: &liveness, contended };
            model.exchange(instance, &mut conn.memory, &landing, &env)
        };
        let sick = conn.sick;
        self.seats[seat].conns = conns;
        self.sabotage_fences(seat, n, request, &mut answer);
        let wrote = !request.changes.is_empty();
        if wrote && sick {
            self.ledger.note(News::WroteSick(id));
        }
        let pairs = request.changes.iter().zip(answer.taken.iter()).zip(&before);
        for ((change, taken), before) in pairs {
            self.write_down(seat, n, *change, *taken, before, policy.max_in_progress);
        }
        self.judge();
        self.ledger.news.clear();
        if wrote {
            self.notice(n, None);
        }
        answer
    }

    fn write_down(
        &mut self,
        seat: usize,
        n: usize,
        change: Change,
        taken: Taken,
        before: &Before,
        cap: u32,
    ) {
        let of = self.seats[seat].instance;
        let model = &self.boards[n].model;
        match (change, taken) {
            (Change::Claim { spawn, .. }, Taken::Claimed { .. }) => {
                let running = count_running(model);
                let again = before.holder == Some(Holder::Sexton(of, spawn));
                if let Some(attempt) = self.ledger.get_mut(of, spawn) {
                    attempt.claimed = true;
                }
                if !again {
                    self.ledger.note(News::Claimed { running, cap });
                    self.ledger.note(News::Wrote { ours: before.status == Some(Status::Ready) });
                }
            }
            (Change::Started { fence, .. } | Change::Renew { fence, .. }, Taken::Yes) => {
                self.ledger.note(News::Wrote { ours: before.is(of, fence) });
            }
            (Change::Finish { fence, verdict, .. }, Taken::Yes) => {
                let task = self.boards[n].model.task(fence.task);
                let after = task.map_or(0, |task| task.failures);
                if task.is_some_and(|task| task.status == Status::Blocked) {
                    self.reach(Sometimes::TheBreakerTripped);
                }
                self.ledger.note(News::Wrote { ours: before.is(of, fence) });
                self.note_finish(of, n, fence, verdict, before, after);
            }
            (Change::Adopt { spawn, .. }, Taken::Claimed { .. }) => {
                self.note_adoption(of, spawn, before);
            }
            (Change::Reclaim { expired, .. }, Taken::Yes) => {
                self.note_reclaim(seat, n, expired, before);
            }
            _ => {}
        }
    }

    fn note_adoption(&mut self, of: Instance, spawn: SpawnId, before: &Before) {
        let Some(Holder::Sexton(owner, number)) = before.holder else { return };
        let living = owner != of && self.dead_since(owner).is_none();
        self.ledger.note(News::Adopted { living });
        self.adopted(of, spawn, (owner, number), before.pid);
    }

    /// The claim of another dispatcher was ended by the rules.
    fn note_reclaim(&mut self, seat: usize, n: usize, expired: Expired, before: &Before) {
        let Some(Holder::Sexton(owner, number)) = before.holder else { return };
        let key = self.ledger.resolve(owner, number);
        let domain = self.seats[seat].domain;
        if self.domain_of(key.0) != domain {
            return self.reach(Sometimes::AClaimElsewhereEnded);
        }
        let attempt = self.ledger.get(key.0, key.1);
        let living = attempt.and_then(|a| a.process).is_some_and(|leader| self.may_live(leader));
        let ended = attempt.is_some_and(|a| a.status.is_some() && !a.lost);
        let told = ended && self.dead_since(owner).is_some();
        if let Some(attempt) = self.ledger.get_mut(key.0, key.1) {
            attempt.freed = true;
        }
        let back = self.seats[seat].back.get(&self.boards[n].id);
        let hasty = expired.by == LeaseEnd::Neglected
            && back.is_some_and(|turn| self.moment / FINE + CLOCK_BACK_MS < turn.surely);
        if expired.by == LeaseEnd::Neglected {
            self.reach(Sometimes::ANeglectedClaimEnded);
        }
        self.ledger.note(News::Reclaimed { living, told, hasty });
    }

    fn note_finish(
        &mut self,
        of: Instance,
        n: usize,
        fence: Fence,
        verdict: Verdict,
        before: &Before,
        failures: u32,
    ) {
        let spawn = fence.spawn;
        let attempt = self.ledger.get(of, spawn).cloned();
        let completion = attempt
            .as_ref()
            .map(|attempt| self.policy.worker(attempt.worker).completion)
            .unwrap_or(sexton::machine::policy::Completion::ExitStatus);
        if let Some(attempt) = self.ledger.get_mut(of, spawn) {
            attempt.recorded += 1;
            attempt.freed |= verdict.may_requeue();
        }
        let is_adopted = self.ledger.resolve(of, spawn) != (of, spawn);
        let leader = attempt.as_ref().and_then(|attempt| attempt.process);
        let living = leader.is_some_and(|leader| self.may_live(leader));
        let maker = self.ledger.resolve(of, spawn).0;
        let unrecorded = before.pid.is_none() && !self.estate.has_records_of(maker);
        let adopted_living = is_adopted && living && verdict.may_requeue();
        let task = self.boards[n].model.task(fence.task);
        let blocked = task.is_some_and(|task| task.status == Status::Blocked);
        let limit = task.and_then(|task| task.max_retries).unwrap_or(UNKNOWN_LIMIT).max(1);
        let unknown = (unknown_streak(&self.boards[n].model, fence.task), limit);
        match verdict {
            Verdict::RateLimited => self.reach(Sometimes::ATaskCooledDown),
            Verdict::TimedOut { .. } => self.reach(Sometimes::AWorkerRanOutOfTime),
            Verdict::ProtocolViolation => self.reach(Sometimes::AWorkerBrokeProtocol),
            Verdict::Unknown => {
                self.reach(Sometimes::AnEndWasUnknown);
                if blocked {
                    self.reach(Sometimes::UnknownEndsBlocked);
                }
            }
            _ => {}
        }
        self.ledger.note(News::Recorded {
            verdict,
            completion,
            attempt,
            failures: (before.failures, failures),
            unrecorded,
            adopted_living,
            blocked,
            unknown,
        });
    }

    /// A board changed: the dispatchers that watch its directory get a notice.
    pub(super) fn notice(&mut self, n: usize, early: Option<u64>) {
        let board = self.boards[n].id;
        for seat in 0..self.seats.len() {
            if self.seats[seat].machine.is_none() {
                continue;
            }
            if self.fires(Fault::LostNotice, Who::Dispatcher(seat)) {
                continue;
            }
            let of = self.seats[seat].instance;
            let wait = early.unwrap_or(0);
            self.after(wait, Item::Tell(seat, of, Event::BoardChanged { board }));
        }
    }

    fn refuse_a_task(&mut self, n: usize) {
        let tasks: Vec<TaskId> = self.boards[n].model.tasks().iter().map(|task| task.id).collect();
        if !tasks.is_empty() {
            let task = self.entropy.one_of(&tasks);
            self.boards[n].model.refuse(task, true);
        }
    }

    pub(super) fn corrupt(&mut self, n: usize) {
        self.boards[n].corrupt = true;
        self.boards[n].stamp += 1;
        let id = self.boards[n].id;
        self.tell(Who::Board(id), || What::Overwritten);
        let wait = 40 * self.millis();
        self.after(wait, Item::Repair(n));
    }

    pub(super) fn repair(&mut self, n: usize) {
        if !self.boards[n].corrupt {
            return;
        }
        self.boards[n].corrupt = false;
        self.replace_file(n);
        self.notice(n, None);
    }

    /// Puts a copy in the place of the file: the content is the same, the file another.
    pub(super) fn replace_file(&mut self, n: usize) {
        self.boards[n].file += 1;
        self.boards[n].stamp += 1;
        let id = self.boards[n].id;
        self.tell(Who::Board(id), || What::Replaced);
        for seat in 0..self.seats.len() {
            let instance = self.seats[seat].instance;
            self.boards[n].model.forget(instance);
        }
    }

    /// The file goes; a copy of it comes back later.
    fn remove(&mut self, n: usize) {
        self.boards[n].present = false;
        let id = self.boards[n].id;
        self.tell(Who::Board(id), || What::Removed);
        self.notice(n, None);
        let wait = 20 * self.millis();
        self.after(wait, Item::Restore(n));
    }

    pub(super) fn restore(&mut self, n: usize) {
        if self.boards[n].present {
            return;
        }
        self.boards[n].present = true;
        self.replace_file(n);
        self.notice(n, None);
    }
}

/// What can strike an exchange that takes effect, or is about to.
const FAULTS: [Fault; 13] = [
    Fault::ReadEio,
    Fault::CommitEioBefore,
    Fault::CommitEioAfter,
    Fault::FileReplaced,
    Fault::BusyShort,
    Fault::BusyLong,
    Fault::BusyForever,
    Fault::DiskFull,
    Fault::ReadOnly,
    Fault::HeaderGoesBad,
    Fault::BoardRemoved,
    Fault::DispatchLocked,
    Fault::Refusal,
];

/// Number of unknown ends in a row that block a task without a limit of its own.
const UNKNOWN_LIMIT: u32 = 3;

/// Returns the number of unknown ends in a row of a task, including the newest run. Rate limits are
/// skipped.
fn unknown_streak(model: &ModelBoard, task: TaskId) -> u32 {
    let runs = model.runs().iter().rev().filter(|run| run.task == task);
    let ends = runs.filter_map(|run| run.end).filter(|end| end.outcome != Outcome::RateLimited);
    let streak = ends.take_while(|end| end.outcome == Outcome::Unknown).count();
    u32::try_from(streak).unwrap_or(u32::MAX)
}

/// Whose a task was before a change.
struct Before {
    status: Option<Status>,
    holder: Option<Holder>,
    run: Option<RunId>,
    pid: Option<Pid>,
    failures: u32,
}

impl Before {
    fn of(model: &ModelBoard, change: &Change) -> Before {
        let task = match change {
            Change::Claim { task, .. } | Change::Promote { task, .. } => *task,
            Change::Started { fence, .. }
            | Change::Renew { fence, .. }
            | Change::Finish { fence, .. } => fence.task,
            Change::Reclaim { expired, .. } => expired.task,
            Change::Adopt { orphan, .. } => orphan.task,
        };
        let task = model.task(task);
        Before {
            status: task.map(|task| task.status),
            holder: task.and_then(|task| task.claim.owner()),
            run: task.and_then(|task| task.claim.run),
            pid: task.and_then(|task| task.claim.pid),
            failures: task.map_or(0, |task| task.failures),
        }
    }

    fn is(&self, of: Instance, fence: Fence) -> bool {
        self.status == Some(Status::Running)
            && self.holder == Some(Holder::Sexton(of, fence.spawn))
            && self.run == Some(fence.run)
    }
}

fn count_running(model: &ModelBoard) -> u32 {
    let running = model.tasks().iter().filter(|task| task.status == Status::Running).count();
    u32::try_from(running).unwrap_or(u32::MAX)
}
