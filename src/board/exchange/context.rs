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

/// Which processes are alive. "Cannot tell" is not "dead".
pub trait Liveness {
    /// Whether the worker with this pid is alive, or any process of the group that it leads or led. A
    /// process with another fingerprint is not the worker: neither it nor a group with this number
    /// counts.
    fn worker(&self, pid: Pid, fingerprint: Option<&str>) -> Worker;

    /// Whether the worker that this dispatcher started for this attempt is alive, according to the
    /// dispatcher's own records: the board may not have the pid.
    fn attempt(&self, pid: Pid, instance: &str, attempt: SpawnId) -> Worker;

    /// Whether the dispatcher with this pid and this instance, as in its locks, is alive.
    fn dispatcher(&self, pid: Pid, instance: &str) -> Dispatcher;
}

/// What is known about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// It is alive, or the host does not show enough to tell.
    MayLive,
    /// None of its processes is left.
    Gone,
    /// Its pid belongs to another pid namespace or host: the processes here prove nothing.
    Elsewhere,
}

/// What is known about a dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatcher {
    /// It is alive.
    Lives,
    /// It has ended.
    Dead {
        /// Its records of its attempts exist here.
        recorded: bool,
    },
    /// It belongs to another pid namespace or host, or the host does not show it.
    CannotTell,
}
