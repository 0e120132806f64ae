//! What an exchange needs besides the request: things that the machine does not keep.

use crate::board::rows::claim_lock::Owner;
use crate::board::rows::workers::Workers;
use crate::machine::ids::{Pid, SpawnId};
use crate::machine::policy::Policy;

/// What an exchange asks its caller.
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
    /// led. A process with another fingerprint than this one is not the worker: then neither it
    /// nor a group with this number counts.
    fn worker(&self, pid: Pid, fingerprint: Option<&str>) -> bool;

    /// Whether the dispatcher with this pid may be alive and be the process that
    /// [`Owner::instance`] stands for.
    fn dispatcher(&self, pid: Pid, instance: &str) -> bool;
}
