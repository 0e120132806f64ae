//! Renews the lease of a claim.

use rusqlite::{Result, ToSql};

use super::tx::Tx;
use crate::machine::exchange::{Fence, Refusal, Taken};

/// Renews a lease, and writes the heartbeat of a worker that has none of its own.
pub(super) fn renew(tx: &Tx<'_>, fence: Fence, ttl_s: u32, heartbeat: bool) -> Result<Taken> {
    if tx.fenced(fence)?.is_none() {
        return Ok(Taken::No(Refusal::Superseded));
    }
    let expires = tx.unix.saturating_add(i64::from(ttl_s));
    let values: [(&str, &dyn ToSql); 2] = [(":expires", &expires), (":heartbeat", &tx.unix)];
    let statements = &tx.statements;
    let renew = if heartbeat { &statements.renew_with_heartbeat } else { &statements.renew };
    tx.on_both(renew, fence, &values)?;
    Ok(Taken::Yes)
}
