//! Whether a running task's claim still holds.

use rusqlite::Result;

use super::tx::Tx;
use crate::board::rows::claim_lock::Holder;
use crate::board::rows::event;
use crate::board::rows::task::{TaskRow, UNVERIFIED};
use crate::machine::exchange::{Fence, LeaseEnd};
use crate::machine::ids::Pid;

/// Seconds within which a new worker may not be visible yet.
const GRACE_S: i64 = 30;

/// Seconds for which a claim with neither lock nor end is respected.
const ORPHAN_S: i64 = 900;

/// Seconds until a process of another dispatcher is looked at again.
const LOOK_AGAIN_S: i64 = 30;

/// Start times further ahead than this do not count.
const AHEAD_S: i64 = 86_400;

/// The state of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// It is a claim of this dispatcher.
    Ours(Fence),
    /// It has ended by the rules.
    Ended(LeaseEnd),
    /// Another dispatcher's, and valid.
    Held {
        /// When it ends if nothing is written.
        due: Option<i64>,
        /// When its worker should be looked at again, since an exit writes nothing.
        look: Option<i64>,
    },
}

/// The run of ours that a running task is claimed for, if it is.
pub(super) fn ours(tx: &Tx<'_>, row: &TaskRow) -> Option<Fence> {
    let spawn = tx.context.owner.parse(row.claim_lock.as_deref()?)?;
    Some(Fence { task: row.id, run: row.current_run?, spawn })
}

/// Judges the claim of a running task.
pub(super) fn judge(tx: &Tx<'_>, row: &TaskRow) -> Result<Lease> {
    if let Some(fence) = ours(tx, row) {
        return Ok(Lease::Ours(fence));
    }
    let lock = row.claim_lock.as_deref();
    let start = tx.run_start(row.id, row.current_run)?.or(row.started_at);
    let start = start.filter(|start| *start <= tx.unix.saturating_add(AHEAD_S)).unwrap_or(0);
    Ok(match (lock, row.claim_expires) {
        (Some(lock), Some(expires)) => claimed(tx, row, lock, expires, start)?,
        (_, _) => orphan(tx, row, start)?,
    })
}

fn claimed(tx: &Tx<'_>, row: &TaskRow, lock: &str, expires: i64, start: i64) -> Result<Lease> {
    let unix = tx.unix;
    let due = Some(expires.saturating_add(1));
    let look = Some(unix.saturating_add(LOOK_AGAIN_S));
    let holder = Holder::of(lock);
    let local = is_local(tx, lock);
    let pid = row.pid().filter(|_| local);
    if expires < unix {
        return Ok(if lives_on(tx, row, pid)? {
            Lease::Held { due: None, look }
        } else {
            Lease::Ended(LeaseEnd::Expired)
        });
    }
    let Some(pid) = pid else { return Ok(Lease::Held { due, look: None }) };
    let alive = tx.context.liveness.worker(pid, row.fingerprint());
    // A sexton that lives reaps its workers itself and knows how they ended.
    let attended = holder.is_some_and(|holder| {
        let sexton = holder.sexton;
        sexton.is_some_and(|s| tx.context.liveness.dispatcher(holder.pid, s.instance))
    });
    let visible_at = start.saturating_add(GRACE_S);
    Ok(if alive || attended {
        Lease::Held { due, look }
    } else if unix < visible_at {
        Lease::Held { due: due.map(|due| due.min(visible_at)), look: None }
    } else {
        Lease::Ended(LeaseEnd::WorkerGone)
    })
}

/// A running task whose claim lacks its holder or its end: no rule of the client would end it.
fn orphan(tx: &Tx<'_>, row: &TaskRow, start: i64) -> Result<Lease> {
    let unix = tx.unix;
    let end = start.saturating_add(ORPHAN_S);
    let here = row.claim_lock.as_deref().is_none_or(|lock| is_local(tx, lock));
    let pid = row.pid().filter(|_| here);
    Ok(if unix < end {
        Lease::Held { due: Some(end), look: None }
    } else if lives_on(tx, row, pid)? {
        Lease::Held { due: None, look: Some(unix.saturating_add(LOOK_AGAIN_S)) }
    } else {
        Lease::Ended(LeaseEnd::Expired)
    })
}

/// Whether the worker of an expired claim may be alive. Nothing else would end such a claim, so where
/// the row has no fingerprint the one in its `spawned` event counts: the pid may belong to another
/// process by now. Only few claims get that far.
fn lives_on(tx: &Tx<'_>, row: &TaskRow, pid: Option<Pid>) -> Result<bool> {
    let liveness = tx.context.liveness;
    let Some(pid) = pid.filter(|pid| liveness.worker(*pid, row.fingerprint())) else {
        return Ok(false);
    };
    let Some(run) = row.current_run.filter(|_| row.fingerprint().is_none()) else {
        return Ok(true);
    };
    let spawned = event::of_run(tx.conn, run, "spawned")?;
    let fingerprint = spawned["started_at"].as_str().filter(|text| *text != UNVERIFIED);
    let stored = fingerprint.filter(|_| spawned["pid"] == pid.0);
    Ok(stored.is_none() || liveness.worker(pid, stored))
}

/// Whether a lock was taken on this host, tested as all tools do.
pub(super) fn is_local(tx: &Tx<'_>, lock: &str) -> bool {
    lock.strip_prefix(tx.context.owner.host()).is_some_and(|rest| rest.starts_with(':'))
}
