//! One attempt, from the claim to the recorded end:
//!
//! ```text
//! Claimed ─▶ Preparing ─▶ Spawning ─▶ Running ─▶ Terminating ─▶ Draining ─▶ Exited ─▶ (recorded, gone)
//! ```
//!
//! Each phase says what may still be alive, and so what the attempt uses: a host slot while any
//! process of it may live, a slot of its board until its end is recorded there.

mod canonical;

use alloc::vec::Vec;

use super::effect::{Effect, EndCause, Report};
use super::escalation::Escalation;
use super::event::{Group, Signal, SignalOutcome};
use super::exchange::Fence;
use super::fault::Blame;
use super::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use super::policy::WorkerPolicy;
use super::time::{Mono, Now};
use super::verdict::{ExitStatus, Release, Verdict};

/// One attempt of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The attempt's number, which is also its claim's token.
    pub spawn: SpawnId,
    /// The board of its task.
    pub board: BoardId,
    /// Its task.
    pub task: TaskId,
    /// Who runs it.
    pub worker: WorkerId,
    /// Its row, once the claim took.
    pub run: Option<RunId>,
    /// Its leader, once known.
    pub pid: Option<Pid>,
    /// Where it stands.
    pub phase: Phase,
    /// What is owed to the board about its end.
    pub finish: Finish,
    /// True while the board does not have the pid.
    pub pid_owed: bool,
    /// When its lease is to be renewed.
    pub renew_at: Mono,
    /// The second by which it is to be renewed at the latest: it stands in its row as a date, and a
    /// host that slept, or whose clock was set, has less of it left than it has run.
    pub renew_by: i64,
    /// When what is owed may be sent again, after the board rejected it.
    pub retry_at: Mono,
    /// True once its reserved slot was given to others, because its claim is not answered.
    pub lent: bool,
    /// True while no answer to `Spawn` is outstanding.
    answered: bool,
    /// When its process was made.
    began: Mono,
    /// Seconds it may run.
    limit_s: Option<u32>,
    /// When to end it because its task has ended otherwise.
    superseded_at: Option<Mono>,
    /// Why we are ending it, if we are.
    cause: Option<EndCause>,
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A slot is reserved and the claim asked for.
    Claimed,
    /// Its lane makes ready; can still be called off.
    Preparing {
        /// When it will have taken too long.
        deadline: Mono,
    },
    /// Calling off was asked for, and may have come too late: a process may exist.
    Spawning,
    /// Its process runs.
    Running,
    /// Its process runs, and we are ending it.
    Terminating(Escalation),
    /// Its leader is reaped, others of its group live; we are ending those.
    Draining(Escalation, Verdict),
    /// Nothing of it is alive.
    Exited,
}

/// What is owed to the board about the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// Nothing yet.
    No,
    /// This verdict.
    Owed(Verdict),
    /// Nothing any more: the board took it, or the run was no longer ours.
    Settled,
}

impl Run {
    /// An attempt whose claim is about to be asked for.
    #[must_use]
    pub fn new(spawn: SpawnId, board: BoardId, task: TaskId, worker: WorkerId, now: Mono) -> Run {
        Run {
            spawn,
            board,
            task,
            worker,
            run: None,
            pid: None,
            phase: Phase::Claimed,
            finish: Finish::No,
            pid_owed: false,
            renew_at: now,
            renew_by: i64::MAX,
            retry_at: now,
            lent: false,
            answered: true,
            began: now,
            limit_s: None,
            superseded_at: None,
            cause: None,
        }
    }

    /// What proves that the run is ours, once it is.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.run.map(|run| Fence { task: self.task, run, spawn: self.spawn })
    }

    /// Whether it uses up a slot of the host: a process of it may be alive, or soon.
    #[must_use]
    pub fn uses_host_slot(&self) -> bool {
        match self.phase {
            Phase::Claimed => !self.lent,
            Phase::Preparing { .. }
            | Phase::Spawning
            | Phase::Running
            | Phase::Terminating(_)
            | Phase::Draining(..) => true,
            Phase::Exited => false,
        }
    }

    /// Whether everything is over: nothing alive, nothing owed, no answer outstanding.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Exited && self.finish == Finish::Settled && self.answered
    }

    /// Whether nothing of it is alive, and the next exchange with its board records that.
    #[must_use]
    pub fn ends_with_next_exchange(&self, now: Mono) -> bool {
        let owed = matches!(self.finish, Finish::Owed(_));
        self.phase == Phase::Exited && owed && self.run.is_some() && now >= self.retry_at
    }

    /// A lease of so many seconds, now asked for, begins: rows carry the second of their request. It
    /// is renewed when a third of it is over, by whichever clock.
    pub fn lease_begins(&mut self, now: Now, ttl_s: u32) {
        let third_ms = u64::from(ttl_s.max(1)) * 1000 / 3;
        self.renew_at = now.mono.after(third_ms);
        self.renew_by = now.unix_at(self.renew_at).saturating_add(1);
    }

    /// Whether its lease needs renewing at `now`.
    #[must_use]
    pub fn renew_due(&self, now: Now) -> bool {
        self.needs_lease() && (now.mono >= self.renew_at || self.lease_is_short(now.unix))
    }

    /// Whether by the wall clock, which stands in its row, more than a third of its lease is over.
    #[must_use]
    pub fn lease_is_short(&self, unix: i64) -> bool {
        unix >= self.renew_by
    }

    fn needs_lease(&self) -> bool {
        self.run.is_some() && self.finish == Finish::No && self.phase != Phase::Exited
    }

    /// The claim took: make ready and spawn.
    pub fn claimed(
        &mut self,
        run: RunId,
        limit_s: Option<u32>,
        deadline: Mono,
        effects: &mut Vec<Effect>,
    ) {
        self.run = Some(run);
        self.limit_s = limit_s;
        self.lent = false;
        self.answered = false;
        self.phase = Phase::Preparing { deadline };
        effects.push(Effect::Spawn {
            spawn: self.spawn,
            board: self.board,
            task: self.task,
            run,
            worker: self.worker,
        });
    }

    /// The claim took, but there is no use for it: give it back.
    pub fn claimed_in_vain(&mut self, run: RunId, why: Release) {
        self.run = Some(run);
        self.ended(Verdict::Released(why));
    }

    /// Whether its lane still owes an answer to `Spawn`.
    #[must_use]
    pub fn awaits_lane(&self) -> bool {
        !self.answered
    }

    /// The lane made a process.
    pub fn spawn_ok(
        &mut self,
        pid: Pid,
        now: Mono,
        worker: WorkerPolicy,
        effects: &mut Vec<Effect>,
    ) {
        match self.phase {
            Phase::Preparing { .. } | Phase::Spawning if !self.answered => {
                self.answered = true;
                self.pid = Some(pid);
                self.pid_owed = true;
                self.began = now;
                self.phase = Phase::Running;
                effects.push(Effect::Report(Report::Started(self.spawn, pid)));
                if let Some(cause) = self.cause {
                    self.end(cause, now, worker, effects);
                }
            }
            // It had exited, and been reaped, before its lane's answer was read.
            Phase::Draining(..) | Phase::Exited if !self.answered => self.answered = true,
            Phase::Claimed
            | Phase::Preparing { .. }
            | Phase::Spawning
            | Phase::Running
            | Phase::Terminating(_)
            | Phase::Draining(..)
            | Phase::Exited => unexpected("SpawnOk", effects),
        }
    }

    /// The lane could not make a process.
    pub fn spawn_failed(&mut self, blame: Blame, errno: i32, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Preparing { .. } | Phase::Spawning if !self.answered => {
                self.answered = true;
                effects.push(Effect::Report(Report::NotStarted(self.spawn, blame, errno)));
                self.ended(match blame {
                    Blame::Task => Verdict::SpawnFailed,
                    Blame::Host | Blame::Board => Verdict::Released(Release::HostRefused),
                });
            }
            // Its process has been reaped, so there was one; but no other answer will come.
            Phase::Draining(..) | Phase::Exited if !self.answered => {
                self.answered = true;
                unexpected("SpawnFailed", effects);
            }
            Phase::Claimed
            | Phase::Preparing { .. }
            | Phase::Spawning
            | Phase::Running
            | Phase::Terminating(_)
            | Phase::Draining(..)
            | Phase::Exited => unexpected("SpawnFailed", effects),
        }
    }

    /// The lane had not begun to make a process, and will not.
    pub fn spawn_cancelled(&mut self, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Spawning if !self.answered => {
                self.answered = true;
                self.ended(Verdict::Released(match self.cause {
                    Some(EndCause::Shutdown) => Release::Shutdown,
                    Some(EndCause::Superseded) => Release::Superseded,
                    Some(EndCause::Timeout { .. } | EndCause::Leftovers) | None => {
                        Release::NotStarted
                    }
                }));
            }
            Phase::Claimed
            | Phase::Preparing { .. }
            | Phase::Spawning
            | Phase::Running
            | Phase::Terminating(_)
            | Phase::Draining(..)
            | Phase::Exited => unexpected("SpawnCancelled", effects),
        }
    }

    /// Its leader exited and was reaped.
    pub fn exited(
        &mut self,
        pid: Pid,
        status: ExitStatus,
        group: Group,
        now: Mono,
        worker: WorkerPolicy,
        effects: &mut Vec<Effect>,
    ) {
        let escalation = match &self.phase {
            Phase::Running => None,
            // The lane's answer is still on its way; for the promise the child counts all the same.
            Phase::Preparing { .. } | Phase::Spawning if !self.answered => None,
            Phase::Terminating(escalation) => Some(*escalation),
            Phase::Claimed
            | Phase::Preparing { .. }
            | Phase::Spawning
            | Phase::Draining(..)
            | Phase::Exited => return unexpected("ChildExited", effects),
        };
        if self.pid.is_none() {
            (self.pid, self.pid_owed, self.began) = (Some(pid), true, now);
            // Told here, as the lane's answer comes too late to tell it in order.
            effects.push(Effect::Report(Report::Started(self.spawn, pid)));
        }
        effects.push(Effect::Report(Report::Exited(self.spawn, status)));
        let verdict = self.verdict(status, escalation, now, worker);
        let keep = worker.keep_leftovers && verdict == Verdict::Completed;
        if group == Group::Gone || keep {
            return self.ended(verdict);
        }
        if !verdict.may_requeue() {
            self.finish = Finish::Owed(verdict);
        }
        let escalation = escalation.unwrap_or_else(|| {
            effects.push(Effect::Report(Report::Ending(self.spawn, EndCause::Leftovers)));
            effects.push(Effect::Signal { spawn: self.spawn, signal: Signal::Term });
            Escalation::begin(now, worker.kill_after_ms)
        });
        self.phase = Phase::Draining(escalation, verdict);
    }

    /// What an exit means, given that we may have caused it.
    fn verdict(
        &self,
        status: ExitStatus,
        escalation: Option<Escalation>,
        now: Mono,
        worker: WorkerPolicy,
    ) -> Verdict {
        match self.cause.filter(|_| escalation.is_some()) {
            Some(EndCause::Timeout { limit_s }) => Verdict::TimedOut {
                elapsed_s: u32::try_from(now.since(self.began) / 1000).unwrap_or(u32::MAX),
                limit_s,
                killed: escalation.is_some_and(|e| e.killed),
            },
            Some(EndCause::Shutdown) => Verdict::Released(Release::Shutdown),
            Some(EndCause::Superseded) => Verdict::Released(Release::Superseded),
            Some(EndCause::Leftovers) | None => Verdict::of(status, worker.completion),
        }
    }

    /// Nothing of it is alive any more.
    fn ended(&mut self, verdict: Verdict) {
        self.phase = Phase::Exited;
        if self.finish == Finish::No {
            self.finish = Finish::Owed(verdict);
        }
    }

    /// A signal, or a look, came back.
    pub fn signalled(&mut self, outcome: SignalOutcome, effects: &mut Vec<Effect>) {
        match (&self.phase, outcome) {
            (Phase::Draining(_, verdict), SignalOutcome::Gone) => self.ended(*verdict),
            (Phase::Draining(..), SignalOutcome::Delivered | SignalOutcome::Refused) => {}
            // While the leader is not reaped, only its exit says that it is gone.
            (Phase::Running | Phase::Terminating(_) | Phase::Exited, _) => {}
            (Phase::Claimed | Phase::Preparing { .. } | Phase::Spawning, _) => {
                unexpected("Signalled", effects);
            }
        }
    }

    /// Its row is no longer ours (`lost`), or is again: a worker that ended its own task may take
    /// its leave, for a while.
    pub fn seen_lost(&mut self, lost: bool, now: Mono, grace_ms: u64) {
        if !lost {
            self.superseded_at = None;
            // Called off for that alone, it may stay if its process comes all the same.
            if self.phase == Phase::Spawning && self.cause == Some(EndCause::Superseded) {
                self.cause = None;
            }
        } else if self.superseded_at.is_none() {
            self.superseded_at = Some(now.after(grace_ms));
        }
    }

    /// Ends it, if there is anything to end.
    pub fn end(
        &mut self,
        cause: EndCause,
        now: Mono,
        worker: WorkerPolicy,
        effects: &mut Vec<Effect>,
    ) {
        match self.phase {
            Phase::Preparing { .. } => {
                self.cause = Some(cause);
                self.phase = Phase::Spawning;
                effects.push(Effect::CancelSpawn { spawn: self.spawn });
            }
            // What to do with its process, should there be one.
            Phase::Spawning => self.cause = Some(cause),
            Phase::Running => {
                self.cause = Some(cause);
                self.phase = Phase::Terminating(Escalation::begin(now, worker.kill_after_ms));
                effects.push(Effect::Report(Report::Ending(self.spawn, cause)));
                effects.push(Effect::Signal { spawn: self.spawn, signal: Signal::Term });
            }
            Phase::Claimed | Phase::Terminating(_) | Phase::Draining(..) | Phase::Exited => {}
        }
    }

    /// Ends it without further patience.
    pub fn kill(&mut self, now: Mono, worker: WorkerPolicy, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Running {
            self.cause = Some(EndCause::Shutdown);
            self.phase = Phase::Terminating(Escalation::at_once(now));
            effects.push(Effect::Report(Report::Ending(self.spawn, EndCause::Shutdown)));
        } else {
            self.end(EndCause::Shutdown, now, worker, effects);
        }
        if let Phase::Terminating(escalation) | Phase::Draining(escalation, _) = &mut self.phase {
            escalation.hurry(now);
        }
    }

    /// Does what its clocks call for.
    pub fn act_on_time(&mut self, now: Mono, worker: WorkerPolicy, effects: &mut Vec<Effect>) {
        let out_of_time = due(self.out_of_time_at(), now);
        match &mut self.phase {
            // A lane that takes this long may hang: give up the spawn if that is still possible.
            Phase::Preparing { deadline } if now >= *deadline => {
                self.phase = Phase::Spawning;
                effects.push(Effect::CancelSpawn { spawn: self.spawn });
            }
            Phase::Preparing { .. } | Phase::Running if due(self.superseded_at, now) => {
                self.end(EndCause::Superseded, now, worker, effects);
            }
            Phase::Running if out_of_time => {
                let limit_s = self.limit_s.unwrap_or_default();
                self.end(EndCause::Timeout { limit_s }, now, worker, effects);
            }
            Phase::Terminating(escalation) => {
                if let Some(signal) = escalation.due(now, false) {
                    effects.push(Effect::Signal { spawn: self.spawn, signal });
                }
            }
            Phase::Draining(escalation, _) => {
                if let Some(signal) = escalation.due(now, true) {
                    effects.push(Effect::Signal { spawn: self.spawn, signal });
                }
            }
            Phase::Claimed
            | Phase::Preparing { .. }
            | Phase::Spawning
            | Phase::Running
            | Phase::Exited => {}
        }
    }

    /// When [`act_on_time`](Run::act_on_time) has something to do.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        match &self.phase {
            Phase::Preparing { deadline } => earlier(Some(*deadline), self.superseded_at),
            Phase::Running => earlier(self.superseded_at, self.out_of_time_at()),
            Phase::Terminating(escalation) => Some(escalation.next(false)),
            Phase::Draining(escalation, _) => Some(escalation.next(true)),
            Phase::Claimed | Phase::Spawning | Phase::Exited => None,
        }
    }

    /// When something of it is to be sent to its board, other than at once.
    #[must_use]
    pub fn next_change(&self) -> Option<Mono> {
        match self.finish {
            Finish::Owed(_) => Some(self.retry_at),
            Finish::No if self.needs_lease() => Some(self.renew_at),
            Finish::No | Finish::Settled => None,
        }
    }

    fn out_of_time_at(&self) -> Option<Mono> {
        self.limit_s.map(|limit| self.began.after(u64::from(limit) * 1000))
    }
}

fn due(at: Option<Mono>, now: Mono) -> bool {
    at.is_some_and(|at| now >= at)
}

/// The earlier of two moments that may not exist.
#[must_use]
pub fn earlier(a: Option<Mono>, b: Option<Mono>) -> Option<Mono> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn unexpected(what: &'static str, effects: &mut Vec<Effect>) {
    effects.push(Effect::Report(Report::Unexpected(what)));
}
