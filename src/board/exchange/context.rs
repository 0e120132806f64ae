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

/// Which processes live. "Cannot tell" is not "dead".
pub trait Liveness {
    /// Whether the worker with this pid lives, or any process of the group that it leads or led. A
    /// process with another fingerprint than this one is not the worker: then neither it nor a group
    /// with this number counts.
    fn worker(&self, pid: Pid, fingerprint: Option<&str>) -> Worker;

    /// Whether the worker lives that this dispatcher started for this attempt, by the dispatcher's own
    /// records: its board may not have the pid.
    fn attempt(&self, pid: Pid, instance: &str, attempt: SpawnId) -> Worker;

    /// Whether the dispatcher lives that has this pid and is this
    /// instance, as its locks have it.
    fn dispatcher(&self, pid: Pid, instance: &str) -> Dispatcher;
}

/// What can be said of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// It lives, or the host does not show enough to say.
    MayLive,
    /// Nothing of it is left.
    Gone,
    /// Its pid is of another pid namespace or host: nothing follows from processes here.
    Elsewhere,
}

/// What can be said of a dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatcher {
    /// It lives.
    Lives,
    /// It has ended.
    Dead {
        /// The records that it kept of its attempts are here.
        recorded: bool,
    },
    /// It is of another pid namespace or host, or the host does not show it.
    CannotTell,
}
