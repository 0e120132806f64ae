//! What an exchange needs to know besides the request: things that the machine does not keep.

use super::token::Owner;
use crate::machine::ids::{Pid, SpawnId, WorkerId};
use crate::machine::policy::Policy;

/// Everything an exchange asks its caller.
pub struct Context<'a> {
    /// What the owner wants.
    pub policy: &'a Policy,
    /// The names of the configured workers.
    pub workers: &'a Workers,
    /// Who signs the claims.
    pub owner: &'a Owner,
    /// Why an attempt could not be started: the text for a failed spawn.
    pub spawn_error: &'a dyn Fn(SpawnId) -> Option<String>,
    /// The fingerprint of an attempt's process, as boards with `worker_started_at` store it.
    pub fingerprint: &'a dyn Fn(SpawnId) -> Option<String>,
    /// Which processes of this host are alive.
    pub liveness: &'a dyn Liveness,
}

/// Whether processes of this host live. "Cannot tell" is not "dead": it counts as alive.
pub trait Liveness {
    /// Whether the worker with this pid may be alive, or any process of the group that it leads or
    /// led. With a fingerprint a process that has another one is somebody else: then the worker,
    /// and any group that bears this number now, do not count.
    fn worker(&self, pid: Pid, fingerprint: Option<&str>) -> bool;

    /// Whether the dispatcher with this pid may be alive and be the very process that
    /// [`Owner::instance`] stands for.
    fn dispatcher(&self, pid: Pid, instance: &str) -> bool;
}

/// The configured workers by name. A [`WorkerId`] is an index into this list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers(Vec<String>);

impl Workers {
    /// Names are compared trimmed and in lower case.
    #[must_use]
    pub fn new<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Workers {
        Workers(names.into_iter().map(|name| normal(name.as_ref())).collect())
    }

    /// The worker that an assignee means.
    #[must_use]
    pub fn id(&self, assignee: &str) -> Option<WorkerId> {
        let assignee = normal(assignee);
        let index = self.0.iter().position(|name| *name == assignee)?;
        u16::try_from(index).ok().map(WorkerId)
    }

    /// The name of a worker.
    #[must_use]
    pub fn name(&self, worker: WorkerId) -> Option<&str> {
        self.0.get(usize::from(worker.0)).map(String::as_str)
    }
}

fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}
