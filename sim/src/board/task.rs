//! A task: where it stands, who works on it and why it cannot go on.

use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, RunId, SpawnId, TaskId};

use super::Instance;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as they are in the boards")]
pub enum Status {
    Triage,
    Todo,
    Scheduled,
    Ready,
    Running,
    Blocked,
    Done,
    Archived,
}

impl Status {
    /// As it stands in a board.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Triage => "triage",
            Status::Todo => "todo",
            Status::Scheduled => "scheduled",
            Status::Ready => "ready",
            Status::Running => "running",
            Status::Blocked => "blocked",
            Status::Done => "done",
            Status::Archived => "archived",
        }
    }

    /// True if nothing waits for such a task any more.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Status::Done | Status::Archived)
    }
}

/// A task, with what a real board would keep in its row and events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Its `tasks.id`.
    pub id: TaskId,
    /// Insertion order, like a rowid.
    pub order: i64,
    /// Its `tasks.status`.
    pub status: Status,
    /// Whose work it is.
    pub lane: Lane,
    /// Priority: larger runs first.
    pub priority: i64,
    /// Older runs first among equals.
    pub created_at: i64,
    /// When it was claimed for the first time.
    pub started_at: Option<i64>,
    /// Whether there is a body to hand to a worker.
    pub has_body: bool,
    /// Consecutive failures so far.
    pub failures: u32,
    /// Its own failure limit.
    pub max_retries: Option<u32>,
    /// Its own time limit.
    pub max_runtime_s: Option<u32>,
    /// Who works on it.
    pub claim: Claim,
    /// True if its events show that a person blocked it, or created it blocked, and that it was not
    /// unblocked since.
    pub held: bool,
    /// True if its events show that the breaker tripped for good, and that it was not unblocked
    /// since.
    pub sticky: bool,
    /// Why it was last blocked, and how often in a row for that.
    pub blocks: Option<(BlockKind, u32)>,
    /// The board refuses every run of it (a trigger can).
    pub refuses: bool,
}

/// The columns of a task that speak of its current run. All of them are empty in a free task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The dispatcher that the lock names.
    pub holder: Option<Holder>,
    /// The dispatcher that adopted the run, by its attempt.
    pub adopter: Option<(Instance, SpawnId)>,
    /// When it ends unless renewed.
    pub expires: Option<i64>,
    /// Pid of the worker's leader.
    pub pid: Option<Pid>,
    /// The run that the claim opened.
    pub run: Option<RunId>,
    /// When the worker last gave a sign of life.
    pub heartbeat: Option<i64>,
}

impl Claim {
    /// The dispatcher that sees to its run.
    #[must_use]
    pub fn owner(&self) -> Option<Holder> {
        let adopter = self.adopter.map(|(instance, spawn)| Holder::Sexton(instance, spawn));
        // Without the lock for which it was adopted it is no longer.
        self.holder.map(|holder| adopter.unwrap_or(holder))
    }
}

/// The claimer of a task, as the text of a lock names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A dispatcher of our kind, by this attempt.
    Sexton(Instance, SpawnId),
    /// A dispatcher of another kind on this host.
    Neighbour,
    /// Somebody on another host.
    Elsewhere,
}

/// Why a task cannot go on, as reported by its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKind {
    /// Other tasks must be done first.
    Dependency,
    /// A person must answer.
    NeedsInput,
    /// The worker lacks an ability.
    Capability,
    /// A condition that will pass without action.
    Transient,
}
