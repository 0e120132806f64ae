//! What the search for the worker of an adopted claim begins with.

use super::claim_lock::signer;
use crate::machine::ids::{Pid, RunId, SpawnId, TaskId};

/// An adopted claim, as its rows describe it. Under its lock the dead dispatcher kept its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The claimed task.
    pub task: TaskId,
    /// The run that the claim opened.
    pub run: RunId,
    /// The pid of its worker, if one was recorded.
    pub pid: Option<Pid>,
    /// What distinguishes that process from others with its pid, if that was recorded.
    pub fingerprint: Option<String>,
    /// `tasks.claim_lock`, byte for byte.
    pub claim_lock: String,
    /// When the claim was made, in seconds since 1970.
    pub claimed_at: Option<i64>,
}

impl Inherited {
    /// Returns the pid and instance of the dispatcher that made the claim, and the attempt's number in
    /// its life. `None` if it was no sexton.
    #[must_use]
    pub fn dispatcher(&self) -> Option<(Pid, &str, SpawnId)> {
        signer(&self.claim_lock)
    }
}
