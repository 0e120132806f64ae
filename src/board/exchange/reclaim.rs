//! Reclaims the tasks of others whose claim has ended by the rules: rows 14 and 16.

use rusqlite::Result;

use super::ending::Ending;
use super::finish;
use super::lease::{self, Lease};
use super::tx::Tx;
use crate::board::rows::history;
use crate::machine::exchange::{Expired, LeaseEnd, Refusal, Taken};
use crate::machine::verdict::{ExitStatus, Verdict};

/// Reclaims a task, if its claim is still the same and still ended.
pub(super) fn reclaim(tx: &Tx<'_>, expired: Expired, failure_limit: u32) -> Result<Taken> {
    let row = tx.task(expired.task)?.filter(|row| row.status == "running");
    let Some(row) = row.filter(|row| row.current_run == expired.run) else {
        return Ok(Taken::No(Refusal::Superseded));
    };
    if lease::judge(tx, &row)? != Lease::Ended(expired.by) {
        return Ok(Taken::No(Refusal::Superseded));
    }
    let run = row.current_run;
    let retry = history::retry_status(tx.conn, run)?;
    let ending = Ending { row: &row, run, pid: row.worker_pid, retry };
    match expired.by {
        LeaseEnd::Expired | LeaseEnd::Neglected => {
            let lock = row.claim_lock.as_deref().unwrap_or("None");
            finish::reclaimed(tx, ending, &format!("stale_lock={lock}"), false)?;
        }
        LeaseEnd::WorkerGone => {
            finish::failed(tx, ending, Verdict::Crashed(ExitStatus::Unknown), failure_limit)?;
        }
    }
    Ok(Taken::Yes)
}
