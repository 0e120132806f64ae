//! What the search for the worker of an adopted claim starts from.

use super::claim_lock::signer;
use crate::machine::ids::{Pid, RunId, SpawnId, TaskId};

/// An adopted claim, as its rows describe it. The dead dispatcher filed its records under this lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The claimed task.
    pub task: TaskId,
    /// The run that the claim opened.
    pub run: RunId,
    /// The pid of its worker, if one was recorded.
    pub pid: Option<Pid>,
    /// The fingerprint that distinguishes that process from others with its pid, if one was recorded.
    pub fingerprint: Option<String>,
    /// `tasks.claim_lock`, byte for byte.
    pub claim_lock: String,
    /// When the claim was made, in seconds since 1970.
    pub claimed_at: Option<i64>,
}

impl Inherited {
    /// Returns the pid and instance of the dispatcher that made the claim, and its number of the
    /// attempt. `None` if it was not a sexton.
    #[must_use]
    pub fn dispatcher(&self) -> Option<(Pid, &str, SpawnId)> {
        signer(&self.claim_lock)
    }
}
