//! One attempt on its own: *in this stage, this input, exactly these effects and this next stage*.

mod answers;
mod debts;
mod ends;
mod rows;
mod stops;
mod time;

use super::world::{fence, pid, report, task};
use crate::machine::attempt::{
    Attempt, Draining, End, Ending, Input, Lease, Limit, Preparing, Running, Stage, Why,
};
use crate::machine::effect::{Effect, EndCause, Report};
use crate::machine::escalation::{Escalation, Probes};
use crate::machine::event::{Group, Signal, SignalOutcome};
use crate::machine::exchange::Change;
use crate::machine::fault::Blame;
use crate::machine::ids::{Pid, SpawnId, WorkerId};
use crate::machine::policy::{Completion, Policy, WorkerPolicy};
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::{ExitStatus, Release, Verdict};

const SPAWN: SpawnId = SpawnId(1);
/// When making ready will have taken too long.
const DEADLINE: Mono = Mono(90_000);
const GRACE_MS: u64 = 10_000;
const LIMIT_S: u32 = 60;
/// When what happens in a test happens, unless it is about time. Everything before was at 0.
const NOW: Mono = Mono(2_500);
const FAILED: ExitStatus = ExitStatus::Code(3);

/// Every situation in which an input can meet an attempt.
#[derive(Clone, Copy, Debug)]
enum At {
    Claiming,
    Preparing,
    /// Called off because its spawn thread took too long.
    Cancelling,
    Running,
    /// Ended by a shutdown.
    Ending,
    /// Its leader failed, and its group lives.
    Draining,
    /// It failed, and `Spawn` is not answered.
    DrainingEarly,
    /// It failed, and its group is gone.
    Gone,
    /// It failed, and `Spawn` is not answered.
    GoneEarly,
}

impl At {
    const ALL: [At; 9] = [
        At::Claiming,
        At::Preparing,
        At::Cancelling,
        At::Running,
        At::Ending,
        At::Draining,
        At::DrainingEarly,
        At::Gone,
        At::GoneEarly,
    ];

    fn attempt(self) -> Attempt {
        self.limited(None)
    }

    /// An attempt with this limit in seconds.
    fn limited(self, limit_s: Option<u32>) -> Attempt {
        let before = |at: At| at.limited(limit_s);
        match self {
            At::Claiming => {
                let now = Now { mono: Mono(0), unix: 0 };
                Attempt::new(SPAWN, task("t1"), WorkerId(0), now, 900)
            }
            At::Preparing => {
                let mut attempt = before(At::Claiming);
                attempt.claimed(fence(1).run);
                attempt.gets(took(limit_s), Mono(0));
                attempt
            }
            At::Cancelling => before(At::Preparing).with(|it| it.wakes(DEADLINE)),
            At::Running => before(At::Preparing).with(|it| it.gets(ok(), Mono(0))),
            At::Ending => before(At::Running).with(|it| it.gets(Input::Stop, Mono(0))),
            At::Draining => before(At::Running).with(|it| it.fails(Group::Alive, Mono(0))),
            At::DrainingEarly => before(At::Preparing).with(|it| it.fails(Group::Alive, Mono(0))),
            At::Gone => before(At::Running).with(|it| it.fails(Group::Gone, Mono(0))),
            At::GoneEarly => before(At::Preparing).with(|it| it.fails(Group::Gone, Mono(0))),
        }
    }
}

/// What the tests do to an attempt. Each returns what it calls for.
trait Live: Sized {
    fn gets(&mut self, input: Input, now: Mono) -> Vec<Effect>;
    fn gets_with(&mut self, input: Input, now: Mono, worker: WorkerPolicy) -> Vec<Effect>;
    /// Its leader exits with this status.
    fn exits(
        &mut self,
        status: ExitStatus,
        group: Group,
        now: Mono,
        worker: WorkerPolicy,
    ) -> Vec<Effect>;
    /// Time passes up to `now`.
    fn wakes(&mut self, now: Mono) -> Vec<Effect>;
    fn end(&self) -> End;
    fn with(self, act: impl FnOnce(&mut Self) -> Vec<Effect>) -> Self;

    fn fails(&mut self, group: Group, now: Mono) -> Vec<Effect> {
        self.exits(FAILED, group, now, WorkerPolicy::default())
    }
}

impl Live for Attempt {
    fn gets(&mut self, input: Input, now: Mono) -> Vec<Effect> {
        self.gets_with(input, now, WorkerPolicy::default())
    }

    fn gets_with(&mut self, input: Input, now: Mono, worker: WorkerPolicy) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take_in(input, now, &policy(worker), &mut effects);
        effects
    }

    fn exits(
        &mut self,
        status: ExitStatus,
        group: Group,
        now: Mono,
        worker: WorkerPolicy,
    ) -> Vec<Effect> {
        let exit = self.exit(pid(1), status, group, now, &policy(worker));
        self.gets_with(Input::Exited(exit), now, worker)
    }

    fn wakes(&mut self, now: Mono) -> Vec<Effect> {
        match self.stage().alarm() {
            Some(at) if at <= now => self.gets(Input::Alarm, now),
            _ => vec![],
        }
    }

    fn end(&self) -> End {
        self.debt().end()
    }

    fn with(mut self, act: impl FnOnce(&mut Self) -> Vec<Effect>) -> Self {
        act(&mut self);
        self
    }
}

fn policy(worker: WorkerPolicy) -> Policy {
    Policy { workers: vec![worker], ..Policy::default() }
}

fn ok() -> Input {
    Input::SpawnOk(pid(1))
}

fn took(limit_s: Option<u32>) -> Input {
    Input::ClaimTook(Preparing { deadline: DEADLINE, limit_s, lost_at: None })
}

fn row(lost_at: Option<Mono>) -> Input {
    Input::Row { lost_at }
}

fn owed(verdict: Verdict, now: Mono) -> End {
    End::Owed { verdict, send_at: now }
}

fn unexpected(what: &'static str) -> Vec<Effect> {
    vec![report(Report::Unexpected(what))]
}

fn signal(signal: Signal) -> Effect {
    Effect::Signal { spawn: SPAWN, signal }
}

fn cancel() -> Effect {
    Effect::CancelSpawn { spawn: SPAWN }
}

fn started() -> Effect {
    report(Report::Started(SPAWN, pid(1)))
}

fn ending(cause: EndCause) -> Effect {
    report(Report::Ending(SPAWN, cause))
}

fn told_exit(status: ExitStatus) -> Effect {
    report(Report::Exited(SPAWN, status))
}

fn released(why: Release) -> Verdict {
    Verdict::Released(why)
}

fn crashed() -> Verdict {
    Verdict::Crashed(FAILED)
}

/// Its row is not ours any more since 0.
fn lost(at: At) -> Attempt {
    at.limited(Some(LIMIT_S)).with(|it| it.gets(row(Some(Mono(GRACE_MS))), Mono(0)))
}

/// An attempt that is being called off, by a shutdown or for a lost row.
fn called_off() -> [(Attempt, Why); 2] {
    let stopped = At::Preparing.attempt().with(|it| it.gets(Input::Stop, Mono(0)));
    let lost = lost(At::Preparing).with(|it| it.wakes(Mono(GRACE_MS)));
    [(stopped, Why::Shutdown), (lost, Why::Superseded)]
}
