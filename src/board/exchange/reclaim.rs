//! Ending the claims of others that have ended by the rules: rows 14 and 16.

use rusqlite::Result;

use super::finish::{self, Ending};
use super::lease::{self, Lease};
use super::tx::Pass;
use crate::machine::exchange::{Expired, LeaseEnd, Refusal, Taken};
use crate::machine::verdict::{ExitStatus, Verdict};

/// Puts the task of an ended claim back, if the claim is still the same and still ended.
pub(super) fn free(pass: &Pass<'_>, expired: Expired, failure_limit: u32) -> Result<Taken> {
    let row = pass.task(expired.task)?.filter(|row| row.status == "running");
    let Some(row) = row.filter(|row| row.current_run == expired.run) else {
        return Ok(Taken::No(Refusal::Superseded));
    };
    if lease::judge(pass, &row)? != Lease::Ended(expired.by) {
        return Ok(Taken::No(Refusal::Superseded));
    }
    let run = row.current_run;
    let retry = finish::retry_status(pass, run)?;
    let ending = Ending { row: &row, run, pid: row.worker_pid, retry };
    match expired.by {
        LeaseEnd::Expired => {
            let lock = row.claim_lock.as_deref().unwrap_or("None");
            finish::reclaimed(pass, ending, &format!("stale_lock={lock}"), false)?;
        }
        LeaseEnd::WorkerGone => {
            finish::failed(pass, ending, Verdict::Crashed(ExitStatus::Unknown), failure_limit)?;
        }
    }
    Ok(Taken::Yes)
}
