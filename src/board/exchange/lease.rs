//! Whether a running task's claim still holds.

use rusqlite::Result;

use super::context::{Dispatcher, Worker};
use super::tx::Tx;
use crate::board::rows::claim_lock::{Holder, Token};
use crate::board::rows::event;
use crate::board::rows::task::{TaskRow, UNVERIFIED};
use crate::machine::exchange::{Fence, LeaseEnd, Orphan};
use crate::machine::hold::Lane;
use crate::machine::ids::{Pid, WorkerId};

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
    Ours {
        /// Proof of that.
        fence: Fence,
        /// Another dispatcher made it, and died.
        adopted: bool,
    },
    /// A claim of a dispatcher that is dead.
    Orphan(Orphan),
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
    let spawn = tx.context.owner.parse(row.owner()?)?;
    Some(Fence { task: row.id, run: row.current_run?, spawn })
}

/// A claim that this dispatcher has adopted, or may adopt. Its worker is as the configuration has it
/// now.
pub(super) fn orphan(tx: &Tx<'_>, row: &TaskRow) -> Option<Orphan> {
    let worker = match row.lane(tx.context.workers) {
        Lane::Worker(worker) => worker,
        Lane::Unassigned | Lane::Foreign => {
            let default = tx.context.policy.default_worker;
            let default = default.filter(|_| row.lane(tx.context.workers) == Lane::Unassigned);
            // It has been ours since it was configured.
            default.or(row.adopter.as_ref().map(|_| WorkerId(u16::MAX)))?
        }
    };
    Some(Orphan { task: row.id, run: row.current_run?, worker })
}

/// Judges the claim of a running task.
pub(super) fn judge(tx: &Tx<'_>, row: &TaskRow) -> Result<Lease> {
    if let Some(fence) = ours(tx, row) {
        return Ok(Lease::Ours { fence, adopted: row.adopter.is_some() });
    }
    let start = tx.run_start(row.id, row.current_run)?.or(row.started_at);
    let start = start.filter(|start| *start <= tx.unix.saturating_add(AHEAD_S)).unwrap_or(0);
    let (Some(owner), Some(expires)) = (row.owner(), row.claim_expires) else {
        return without_end(tx, row, start);
    };
    let holder = Holder::of(owner);
    match holder.and_then(|holder| Some((holder.pid, holder.sexton?))) {
        Some((pid, token)) => of_a_sexton(tx, row, pid, token, expires),
        None => of_a_client(tx, row, owner, expires, start),
    }
}

/// A claim of a sexton. One that lives reaps its workers itself, and knows how they ended.
fn of_a_sexton(
    tx: &Tx<'_>,
    row: &TaskRow,
    pid: Pid,
    token: Token<'_>,
    expires: i64,
) -> Result<Lease> {
    let unix = tx.unix;
    let look = Some(unix.saturating_add(LOOK_AGAIN_S));
    let over = expires < unix;
    let dispatcher = tx.context.liveness.dispatcher(pid, token.instance);
    Ok(match (dispatcher, orphan(tx, row)) {
        // One that was adopted before has its records with the dispatcher that made it.
        (Dispatcher::Dead { recorded }, Some(orphan))
            if over || recorded || row.pid().is_some() || row.adopter.is_some() =>
        {
            Lease::Orphan(orphan)
        }
        // Only the end of its lease shows that no process will come of it.
        (Dispatcher::Dead { .. }, Some(_)) => held_to(expires),
        // Not a worker of ours: another dispatcher may adopt it.
        (Dispatcher::Dead { .. }, None) if !over => Lease::Held { due: due(expires), look },
        (Dispatcher::Dead { .. }, None) if lives_on(tx, row, row.pid())? => {
            Lease::Held { due: None, look }
        }
        (Dispatcher::Dead { .. }, None) => Lease::Ended(LeaseEnd::Expired),
        (Dispatcher::Lives, _) => {
            // It renews its claims unless its board was out of reach.
            let patience = expires.saturating_add(i64::from(tx.context.policy.claim_ttl_s));
            if unix <= patience {
                Lease::Held { due: due(patience), look }
            } else if lives_on(tx, row, row.pid())? || has_worker(tx, pid, token) {
                Lease::Held { due: None, look }
            } else {
                Lease::Ended(LeaseEnd::Neglected)
            }
        }
        // No pid of it means anything here.
        (Dispatcher::CannotTell, _) if over => Lease::Ended(LeaseEnd::Expired),
        (Dispatcher::CannotTell, _) => Lease::Held { due: due(expires), look },
    })
}

/// Whether the records of a dispatcher that lives show a worker that may live.
fn has_worker(tx: &Tx<'_>, pid: Pid, token: Token<'_>) -> bool {
    tx.context.liveness.attempt(pid, token.instance, token.spawn) == Worker::MayLive
}

fn due(expires: i64) -> Option<i64> {
    Some(expires.saturating_add(1))
}

fn held_to(expires: i64) -> Lease {
    Lease::Held { due: due(expires), look: None }
}

/// A claim of another tool, which tests hosts by name.
fn of_a_client(tx: &Tx<'_>, row: &TaskRow, lock: &str, expires: i64, start: i64) -> Result<Lease> {
    let unix = tx.unix;
    let look = Some(unix.saturating_add(LOOK_AGAIN_S));
    let pid = row.pid().filter(|_| is_local(tx, lock));
    if expires < unix {
        return Ok(if lives_on(tx, row, pid)? {
            Lease::Held { due: None, look }
        } else {
            Lease::Ended(LeaseEnd::Expired)
        });
    }
    let Some(pid) = pid else { return Ok(held_to(expires)) };
    let visible_at = start.saturating_add(GRACE_S);
    Ok(match tx.context.liveness.worker(pid, row.fingerprint()) {
        Worker::MayLive => Lease::Held { due: due(expires), look },
        Worker::Elsewhere => held_to(expires),
        Worker::Gone if unix < visible_at => held_to(expires.min(visible_at.saturating_sub(1))),
        Worker::Gone => Lease::Ended(LeaseEnd::WorkerGone),
    })
}

/// A running task whose claim lacks its holder or its end: no rule of the client would end it.
fn without_end(tx: &Tx<'_>, row: &TaskRow, start: i64) -> Result<Lease> {
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
    let may_live = |pid, fingerprint| liveness.worker(pid, fingerprint) == Worker::MayLive;
    let Some(pid) = pid.filter(|pid| may_live(*pid, row.fingerprint())) else {
        return Ok(false);
    };
    let Some(run) = row.current_run.filter(|_| row.fingerprint().is_none()) else {
        return Ok(true);
    };
    let spawned = event::of_run(tx.conn, run, "spawned")?;
    let fingerprint = spawned["started_at"].as_str().filter(|text| *text != UNVERIFIED);
    let stored = fingerprint.filter(|_| spawned["pid"] == pid.0);
    Ok(stored.is_none() || may_live(pid, stored))
}

/// Whether a lock was taken on this host, tested as all tools do.
pub(super) fn is_local(tx: &Tx<'_>, lock: &str) -> bool {
    lock.strip_prefix(tx.context.owner.host()).is_some_and(|rest| rest.starts_with(':'))
}
