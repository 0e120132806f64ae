//! Adopts the claim of a dead dispatcher. The claim's own token stays in its rows: the worker may be
//! alive, and its heartbeat needs that exact text.

use rusqlite::{Result, ToSql};

use super::lease::{self, Lease};
use super::tx::Tx;
use crate::board::rows::event;
use crate::board::rows::inherited::Inherited;
use crate::board::rows::own_runs;
use crate::machine::exchange::{Fence, Orphan, Refusal, Taken};
use crate::machine::ids::SpawnId;

/// Adopts a claim whose owner is dead. The check and the write share a transaction, so only one of
/// several dispatchers succeeds. A claim that this dispatcher has adopted already gets its new number:
/// the earlier answer was lost.
pub(super) fn adopt(tx: &Tx<'_>, spawn: SpawnId, orphan: Orphan, ttl_s: u32) -> Result<Taken> {
    let row = tx.task(orphan.task)?.filter(|row| row.current_run == Some(orphan.run));
    let Some(row) = row.filter(|row| row.status == "running") else {
        return Ok(Taken::No(Refusal::Superseded));
    };
    match lease::judge(tx, &row)? {
        Lease::Orphan(_) | Lease::Ours { adopted: true, .. } => {}
        Lease::Ours { adopted: false, .. } | Lease::Ended(_) | Lease::Held { .. } => {
            return Ok(Taken::No(Refusal::Superseded));
        }
    }
    let lock = row.claim_lock.as_deref().unwrap_or_default();
    own_runs::create(tx.conn)?;
    own_runs::set_owner(tx.conn, orphan.run, lock, &tx.context.owner.lock(spawn))?;
    let fence = Fence { task: orphan.task, run: orphan.run, spawn };
    let expires = tx.unix.saturating_add(i64::from(ttl_s));
    let values: [(&str, &dyn ToSql); 1] = [(":expires", &expires)];
    tx.on_both(&tx.statements.renew, fence, &values)?;
    Ok(Taken::Claimed { run: orphan.run, max_runtime_s: row.max_runtime_s })
}

/// What the rows of an adopted claim say about its worker.
pub(super) fn inherited(tx: &Tx<'_>, orphan: Orphan) -> Result<Option<Inherited>> {
    let Some(row) = tx.task(orphan.task)? else { return Ok(None) };
    let mut fingerprint = row.fingerprint().map(str::to_owned);
    if fingerprint.is_none() {
        // Boards without a column for it keep it here.
        let spawned = event::of_run(tx.conn, orphan.run, "spawned")?;
        let is_of_pid = spawned["pid"].as_i64() == row.worker_pid;
        fingerprint = spawned["started_at"].as_str().filter(|_| is_of_pid).map(str::to_owned);
    }
    Ok(Some(Inherited {
        task: orphan.task,
        run: orphan.run,
        pid: row.pid(),
        fingerprint,
        claimed_at: tx.run_start(orphan.task, Some(orphan.run))?,
        claim_lock: row.claim_lock.unwrap_or_default(),
    }))
}
