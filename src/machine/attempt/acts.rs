//! What the arms of the stage table do besides naming the next stage.

use alloc::vec::Vec;

use super::super::effect::{Effect, EndCause, Report};
use super::super::escalation::{Escalation, Probes};
use super::super::event::Signal;
use super::super::fault::Blame;
use super::super::ids::{Pid, SpawnId};
use super::super::policy::WorkerPolicy;
use super::super::time::Mono;
use super::super::verdict::{Release, Verdict};
use super::debt::Debt;
use super::stage::{
    Cancelling, Draining, Ending, Exit, Input, Limit, Looking, Preparing, Running, Stage, Why,
};

/// What an arm works with.
pub struct Acts<'a> {
    pub id: SpawnId,
    pub now: Mono,
    pub worker: WorkerPolicy,
    pub debt: &'a mut Debt,
    pub effects: &'a mut Vec<Effect>,
}

impl Acts<'_> {
    /// Whether a moment has come.
    pub fn is_due(&self, at: Option<Mono>) -> bool {
        at.is_some_and(|at| self.now >= at)
    }

    /// The board is owed this end.
    pub fn owe(&mut self, verdict: Verdict, next: Stage) -> Stage {
        self.debt.owe(verdict, self.now);
        next
    }

    /// The process exists, and its time begins.
    pub fn started(&mut self, pid: Pid, limit_s: Option<u32>, lost_at: Option<Mono>) -> Running {
        self.began(pid);
        let limit = limit_s.map(|limit_s| Limit { began: self.now, limit_s });
        Running { limit, lost_at }
    }

    /// Looks for the process of an adopted attempt.
    pub fn find(&mut self, it: Looking) -> Looking {
        self.effects.push(Effect::Find { spawn: self.id });
        Looking { again_at: None, ..it }
    }

    /// It could not be told whether there is one.
    pub fn look_later(&mut self, it: Looking) -> Looking {
        if it.is_first() {
            self.report(Report::CannotTell(self.id));
        }
        it.later(self.now)
    }

    /// An adopted process runs. Its time began when it started.
    pub fn found(&mut self, pid: Pid, age_ms: u64, it: Looking) -> Running {
        self.is_there(pid);
        let began = self.now.before(age_ms);
        Running { limit: it.limit_s.map(|limit_s| Limit { began, limit_s }), lost_at: it.lost_at }
    }

    /// There is a process of an adopted attempt, or was until now.
    pub fn is_there(&mut self, pid: Pid) {
        self.debt.began(pid);
        self.report(Report::Found(self.id, pid));
    }

    /// An adopted process has ended, and others of its group live: they are ended, unless they may stay.
    pub fn left_behind(&mut self, verdict: Verdict) -> Stage {
        if !verdict.may_requeue() {
            self.debt.owe(verdict, self.now);
            if self.worker.keep_leftovers {
                return Stage::Gone { answered: true };
            }
        }
        let escalation = self.end(EndCause::Leftovers);
        let probes = Probes::after_signal(self.now);
        Stage::Draining(Draining { verdict, escalation, probes, answered: true })
    }

    /// Leaves an adopted attempt to the next dispatcher: its claim stays as it is.
    pub fn leave(&mut self, next: Stage) -> Stage {
        self.debt.settle();
        next
    }

    /// The process exists although it was called off: it is ended.
    pub fn started_in_vain(&mut self, pid: Pid, why: Why) -> Ending {
        self.began(pid);
        self.term(why)
    }

    fn began(&mut self, pid: Pid) {
        self.debt.began(pid);
        self.report(Report::Started(self.id, pid));
    }

    /// Charges the spawn that failed, and owes its verdict.
    pub fn not_started(&mut self, blame: Blame, errno: i32, next: Stage) -> Stage {
        self.report(Report::NotStarted(self.id, blame, errno));
        let verdict = match blame {
            Blame::Task => Verdict::SpawnFailed,
            Blame::Host | Blame::Board => Verdict::Released(Release::HostRefused),
        };
        self.owe(verdict, next)
    }

    /// The leader ended, and nothing of its group is left.
    pub fn exited(&mut self, exit: Exit, next: Stage) -> Stage {
        self.report_exit(exit);
        self.owe(exit.verdict, next)
    }

    /// The leader ended, and others of its group live: they are ended. What may make the task ready
    /// again is not recorded before that.
    pub fn left_over(&mut self, exit: Exit, begun: Option<Escalation>, answered: bool) -> Draining {
        self.report_exit(exit);
        if !exit.verdict.may_requeue() {
            self.debt.owe(exit.verdict, self.now);
        }
        let (escalation, probes) = match begun {
            Some(escalation) => (escalation, Probes::at_once(self.now)),
            None => (self.end(EndCause::Leftovers), Probes::after_signal(self.now)),
        };
        Draining { verdict: exit.verdict, escalation, probes, answered }
    }

    fn report_exit(&mut self, exit: Exit) {
        if self.debt.pid().is_none() {
            // Reported here, since the spawn thread's answer comes too late to report it in order.
            self.began(exit.pid);
        }
        self.report(Report::Exited(self.id, exit.status));
    }

    /// Asks the group to end.
    pub fn term(&mut self, why: Why) -> Ending {
        Ending { why, escalation: self.end(why.cause()) }
    }

    fn end(&mut self, cause: EndCause) -> Escalation {
        self.report(Report::Ending(self.id, cause));
        self.signal(Signal::Term);
        Escalation::begin(self.now, self.worker.kill_after_ms)
    }

    /// Kills the group of a worker that was not asked to end.
    pub fn kill_running(&mut self) -> Ending {
        self.report(Report::Ending(self.id, EndCause::Shutdown));
        Ending { why: Why::Shutdown, escalation: self.send_kill() }
    }

    /// Sends SIGKILL to a group that is already being ended.
    pub fn kill(&mut self, leader: Ending) -> Ending {
        Ending { escalation: self.send_kill(), ..leader }
    }

    fn send_kill(&mut self) -> Escalation {
        self.signal(Signal::Kill);
        Escalation::killed_at(self.now)
    }

    /// Kills what is left of the group.
    pub fn kill_rest(&mut self, group: Draining) -> Draining {
        Draining { escalation: self.send_kill(), probes: group.probes.killed(self.now), ..group }
    }

    /// Looks whether anything of the group is left.
    pub fn probe(&mut self, group: Draining) -> Draining {
        self.signal(Signal::Probe);
        Draining { probes: group.probes.sent(self.now), ..group }
    }

    /// Calls the spawn off, if its process is not being made yet.
    pub fn call_off(&mut self, job: Preparing, why: Option<Why>) -> Cancelling {
        self.effects.push(Effect::CancelSpawn { spawn: self.id });
        Cancelling { why, limit_s: job.limit_s, lost_at: job.lost_at }
    }

    /// An answer that fits no question. It changes nothing.
    pub fn unexpected(&mut self, input: Input, next: Stage) -> Stage {
        self.report(Report::Unexpected(input.name()));
        next
    }

    fn signal(&mut self, signal: Signal) {
        self.effects.push(Effect::Signal { spawn: self.id, signal });
    }

    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }
}
