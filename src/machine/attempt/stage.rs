//! The stages of an attempt, and what can happen to it. Every stage carries its own data and no
//! other. The stage decides whether a process may be alive, and so whether the attempt uses a slot
//! of the host: it does until it is `Gone`. An exit may overtake the answer of the spawn thread;
//! while that answer is outstanding, `answered` is false.

use super::super::adoption::Finding;
use super::super::effect::EndCause;
use super::super::escalation::{Escalation, Probes};
use super::super::event::SignalOutcome;
use super::super::fault::Blame;
use super::super::ids::Pid;
use super::super::renamer::Renamer;
use super::super::time::{Mono, earlier};
use super::super::verdict::{ExitStatus, Release, Verdict};

/// The stage of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The claim is requested, and a slot is reserved.
    Claiming {
        /// The slot was lent to others, since the claim is not answered.
        lent: bool,
    },
    /// It was adopted from a dead dispatcher, and its process is being looked for.
    Finding(Looking),
    /// A spawn thread prepares the workspace and starts the process.
    Preparing(Preparing),
    /// It was called off, perhaps too late: a process may exist.
    Cancelling(Cancelling),
    /// The process runs within its limits.
    Running(Running),
    /// The process runs, and we are ending it.
    Ending(Ending),
    /// The leader is reaped, others of its group live; we are ending those.
    Draining(Draining),
    /// Nothing of it is alive.
    Gone {
        /// The spawn thread has answered.
        answered: bool,
    },
}

/// An adopted attempt whose process is being looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Looking {
    /// When to look again; `None` while an answer is outstanding.
    pub again_at: Option<Mono>,
    /// Milliseconds to wait after the next search without a result.
    pub wait_ms: u64,
    /// Seconds for which the process may run.
    pub limit_s: Option<u32>,
    /// When the process is ended because its row is lost.
    pub lost_at: Option<Mono>,
}

/// A spawn that is being made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preparing {
    /// When it will have taken too long.
    pub deadline: Mono,
    /// Seconds that the process may run.
    pub limit_s: Option<u32>,
    /// When it is called off because its row is lost.
    pub lost_at: Option<Mono>,
}

/// A spawn that was called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cancelling {
    /// Why a process that starts nevertheless is ended; `None` if the spawn thread only took too
    /// long, so that the process may stay.
    pub why: Option<Why>,
    /// Seconds that such a process may run.
    pub limit_s: Option<u32>,
    /// When it is ended because its row is lost.
    pub lost_at: Option<Mono>,
}

/// A process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Running {
    /// Its max_runtime, if it has one.
    pub limit: Option<Limit>,
    /// When it is ended because its row is lost.
    pub lost_at: Option<Mono>,
}

/// A process that is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// What its verdict will be based on.
    pub why: Why,
    /// Which signals were sent so far.
    pub escalation: Escalation,
}

/// Why a process is being ended, with what its verdict needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It exceeded its limit.
    OutOfTime(Limit),
    /// We are shutting down.
    Shutdown,
    /// The row is no longer ours.
    Superseded,
}

/// How long a process may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// When the process started.
    pub began: Mono,
    /// Seconds from then on.
    pub limit_s: u32,
}

/// A group that has lost its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Draining {
    /// What the end of the leader means.
    pub verdict: Verdict,
    /// Which signals were sent to the group so far.
    pub escalation: Escalation,
    /// When it is probed.
    pub probes: Probes,
    /// The spawn is answered.
    pub answered: bool,
}

/// What can happen to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The claim was written: a spawn thread prepares the process.
    ClaimTook(Preparing),
    /// The claim of a dead dispatcher was adopted.
    Adopted(Looking),
    /// The answer to a search for the worker of an adopted attempt.
    Found(Finding),
    /// The claim was written, but the attempt cannot be started.
    ClaimInVain(Release),
    /// The claim is not answered: its slot is lent to others.
    Lend,
    /// The process exists.
    SpawnOk(Pid),
    /// No process was started: who is charged, and the errno.
    SpawnFailed(Blame, i32),
    /// No process will be started.
    SpawnCancelled,
    /// The leader was reaped.
    Exited(Exit),
    /// A signal or a probe came back.
    Signalled(SignalOutcome),
    /// The row is no longer ours, or is again.
    Row {
        /// When that is the end of it.
        lost_at: Option<Mono>,
    },
    /// The grace of a shutdown is over.
    Stop,
    /// Everything must end immediately, by SIGKILL.
    Kill,
    /// The requested alarm time has come.
    Alarm,
}

/// How a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Pid of the leader.
    pub pid: Pid,
    /// Exit status of the leader.
    pub status: ExitStatus,
    /// What that status means for the task.
    pub verdict: Verdict,
    /// Nothing of its group is alive that may not live on.
    pub alone: bool,
}

impl Cancelling {
    /// Returns the verdict of an attempt that got no process.
    pub fn verdict(self, now: Mono) -> Verdict {
        let not_started = Verdict::Released(Release::NotStarted);
        self.why.map_or(not_started, |why| why.verdict(now, false))
    }
}

impl Why {
    /// Returns the verdict of a process that ended at `now`, with or without a KILL.
    #[must_use]
    pub fn verdict(self, now: Mono, killed: bool) -> Verdict {
        match self {
            Why::OutOfTime(Limit { began, limit_s }) => {
                let elapsed_s = u32::try_from(now.since(began) / 1000).unwrap_or(u32::MAX);
                Verdict::TimedOut { elapsed_s, limit_s, killed }
            }
            Why::Shutdown => Verdict::Released(Release::Shutdown),
            Why::Superseded => Verdict::Released(Release::Superseded),
        }
    }

    /// As it is reported.
    #[must_use]
    pub fn cause(self) -> EndCause {
        match self {
            Why::OutOfTime(Limit { limit_s, .. }) => EndCause::Timeout { limit_s },
            Why::Shutdown => EndCause::Shutdown,
            Why::Superseded => EndCause::Superseded,
        }
    }
}

impl Looking {
    /// Milliseconds between the first two searches.
    const FIRST_MS: u64 = 10;
    /// Maximum milliseconds between two searches.
    const MOST_MS: u64 = 1_000;

    /// Returns the state of an attempt that was just adopted.
    #[must_use]
    pub fn new(limit_s: Option<u32>) -> Looking {
        Looking { again_at: None, wait_ms: Looking::FIRST_MS, limit_s, lost_at: None }
    }

    /// Whether no search has ended without a result yet.
    pub fn is_first(self) -> bool {
        self.wait_ms == Looking::FIRST_MS
    }

    /// Schedules another search after one without a result, at growing intervals.
    pub fn later(self, now: Mono) -> Looking {
        let wait_ms = (self.wait_ms * 2).min(Looking::MOST_MS);
        Looking { again_at: Some(now.after(self.wait_ms)), wait_ms, ..self }
    }
}

impl Draining {
    /// The spawn thread has answered.
    pub fn answered(self) -> Draining {
        Draining { answered: true, ..self }
    }
}

impl Limit {
    /// When the time is over.
    fn ends(self) -> Mono {
        self.began.after(u64::from(self.limit_s) * 1000)
    }
}

impl Stage {
    /// Whether it uses up a slot of the host: a process may be alive, or soon.
    #[must_use]
    pub fn uses_host_slot(self) -> bool {
        !matches!(self, Stage::Claiming { lent: true } | Stage::Gone { .. })
    }

    /// Whether the spawn thread still owes an answer.
    #[must_use]
    pub fn awaits_spawn(self) -> bool {
        match self {
            Stage::Preparing(_) | Stage::Cancelling(_) => true,
            Stage::Draining(Draining { answered, .. }) | Stage::Gone { answered } => !answered,
            Stage::Claiming { .. } | Stage::Finding(_) | Stage::Running(_) | Stage::Ending(_) => {
                false
            }
        }
    }

    /// Whether a search could not tell if its worker is alive or gone.
    #[must_use]
    pub fn is_unclear(self) -> bool {
        matches!(self, Stage::Finding(it) if !it.is_first())
    }

    /// Whether its row is taken for lost.
    #[must_use]
    pub fn is_lost(self) -> bool {
        match self {
            Stage::Finding(Looking { lost_at, .. })
            | Stage::Preparing(Preparing { lost_at, .. })
            | Stage::Cancelling(Cancelling { lost_at, .. })
            | Stage::Running(Running { lost_at, .. }) => lost_at.is_some(),
            Stage::Claiming { .. } | Stage::Ending(_) | Stage::Draining(_) | Stage::Gone { .. } => {
                false
            }
        }
    }

    /// Returns when it next needs an alarm.
    #[must_use]
    pub fn alarm(self) -> Option<Mono> {
        match self {
            Stage::Finding(it) => it.again_at,
            Stage::Preparing(it) => earlier(Some(it.deadline), it.lost_at),
            Stage::Running(it) => earlier(it.limit.map(Limit::ends), it.lost_at),
            Stage::Ending(it) => Some(it.escalation.next()),
            Stage::Draining(it) => Some(it.escalation.next().min(it.probes.next())),
            Stage::Claiming { .. } | Stage::Cancelling(_) | Stage::Gone { .. } => None,
        }
    }

    /// Rewrites the moments of the stage.
    pub fn rename(&mut self, to: &impl Renamer) {
        match self {
            Stage::Finding(it) => {
                it.again_at.iter_mut().for_each(|at| to.deadline(at));
                it.lost_at.iter_mut().for_each(|at| to.deadline(at));
            }
            Stage::Preparing(it) => {
                to.deadline(&mut it.deadline);
                it.lost_at.iter_mut().for_each(|at| to.deadline(at));
            }
            Stage::Cancelling(it) => it.lost_at.iter_mut().for_each(|at| to.deadline(at)),
            Stage::Running(it) => {
                it.limit.iter_mut().for_each(|limit| to.moment(&mut limit.began));
                it.lost_at.iter_mut().for_each(|at| to.deadline(at));
            }
            Stage::Ending(it) => {
                if let Why::OutOfTime(limit) = &mut it.why {
                    to.moment(&mut limit.began);
                }
                it.escalation.rename(to);
            }
            Stage::Draining(it) => {
                it.escalation.rename(to);
                it.probes.rename(to);
            }
            Stage::Claiming { .. } | Stage::Gone { .. } => {}
        }
    }
}

impl Input {
    /// By which name an answer that fits no question is reported.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Input::ClaimTook(_) | Input::Adopted(_) | Input::ClaimInVain(_) => "Claimed",
            Input::Found(_) => "Found",
            Input::Lend => "Lend",
            Input::SpawnOk(_) => "SpawnOk",
            Input::SpawnFailed(..) => "SpawnFailed",
            Input::SpawnCancelled => "SpawnCancelled",
            Input::Exited(_) => "ChildExited",
            Input::Signalled(_) => "Signalled",
            Input::Row { .. } => "Row",
            Input::Stop => "Drain",
            Input::Kill => "Abort",
            Input::Alarm => "Wake",
        }
    }
}
