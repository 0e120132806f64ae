//! Observes a board: what runs, what may run or be promoted, and when the next look is due.

use std::sync::Arc;

use rusqlite::Result;

use super::lease::{self, Lease};
use super::ready;
use super::tx::Tx;
use super::waiting::Waiting;
use crate::board::rows::task::TaskRow;
use crate::board::rows::workers::Workers;
use crate::board::sql;
use crate::machine::exchange::{Expired, Observation};
use crate::machine::policy::Policy;

/// Most ended claims and claims of the dead in one answer. Each is judged again when its task is reclaimed.
const EXPIRED: usize = 256;

/// What was seen before, so that the next look can be short.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// `PRAGMA data_version` of the last look: it changes with every commit of another connection.
    data_version: Option<i64>,
    /// When time alone changes a row, or a row must be judged again.
    due: Option<i64>,
    /// The policy and the workers by which the ready list was judged.
    judged_by: Option<Arc<(Policy, Workers)>>,
    /// The list that was last returned.
    listed: Option<Listed>,
    waiting: Waiting,
}

/// A ready list that was returned.
#[derive(Clone, Copy, Debug)]
struct Listed {
    more: bool,
    /// The earliest end of a hold among the tasks that were left out.
    due: Option<i64>,
}

/// What the request and the changes just made mean for the look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) fresh: bool,
    pub(super) want: u32,
    /// True if a change of this transaction may have made a task ready.
    pub(super) requeued: bool,
    /// True if the list last returned is used up.
    pub(super) relist: bool,
    /// `PRAGMA data_version` now.
    pub(super) data_version: i64,
}

impl Memory {
    /// True if a look now would show nothing new, as far as is known without one.
    pub(super) fn is_current(
        &self,
        data_version: i64,
        judged_by: (&Policy, &Workers),
        unix: i64,
    ) -> bool {
        self.data_version == Some(data_version)
            && self.judged_alike(judged_by)
            && self.waiting.is_swept()
            && self.due.is_none_or(|due| unix < due)
    }

    fn judged_alike(&self, (policy, workers): (&Policy, &Workers)) -> bool {
        self.judged_by.as_ref().is_some_and(|by| by.0 == *policy && by.1 == *workers)
    }
}

/// Looks at the board, and remembers what the next look can leave out.
pub(super) fn observe(tx: &Tx<'_>, memory: &mut Memory, look: Look) -> Result<Observation> {
    let mut observation = Observation::default();
    let again = running(tx, &mut observation)?;
    let changed = memory.data_version != Some(look.data_version);
    if wants_list(tx, memory, look, changed) {
        let (ready, due) = ready::ready(tx, look.want)?;
        memory.listed = Some(Listed { more: ready.more, due });
        observation.ready = Some(ready);
    }
    // Another failure limit can make tasks promotable without an event.
    let alike = memory.judged_alike((tx.context.policy, tx.context.workers));
    memory.waiting.follow(tx, look.fresh || !alike, changed)?;
    observation.promotable = memory.waiting.promotable(tx)?;
    let held = memory.listed.and_then(|listed| listed.due);
    observation.due = earliest(observation.due, held);
    memory.due = earliest(observation.due, again);
    memory.data_version = Some(look.data_version);
    if !alike {
        let by = (tx.context.policy.clone(), tx.context.workers.clone());
        memory.judged_by = Some(Arc::new(by));
    }
    Ok(observation)
}

/// Fills in what runs, and which claims have ended. Returns the second at which the processes of others
/// should be looked at again.
fn running(tx: &Tx<'_>, observation: &mut Observation) -> Result<Option<i64>> {
    let rows = sql::all(tx.conn, &tx.statements.running, [], TaskRow::read)?;
    observation.running = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let (mut again, mut listed) = (None, 0);
    for row in rows.into_iter().flatten() {
        if listed >= EXPIRED && lease::ours(tx, &row).is_none() {
            // The next look returns it, and is due.
            observation.due = earliest(observation.due, Some(tx.unix));
            continue;
        }
        match lease::judge(tx, &row)? {
            Lease::Ours { fence, adopted } => {
                observation.ours.push(fence);
                // They do not count towards the limit: otherwise claims not yet adopted would never be
                // listed.
                observation.orphans.extend(lease::orphan(tx, &row).filter(|_| adopted));
            }
            Lease::Orphan(orphan) => {
                listed += 1;
                observation.orphans.push(orphan);
            }
            Lease::Ended(by) => {
                listed += 1;
                observation.expired.push(Expired { task: row.id, run: row.current_run, by });
            }
            Lease::Held { due, look } => {
                observation.due = earliest(observation.due, due);
                again = earliest(again, look);
            }
        }
    }
    Ok(again)
}

/// Whether the ready list may have gained a task since it was returned.
fn wants_list(tx: &Tx<'_>, memory: &Memory, look: Look, changed: bool) -> bool {
    let Some(listed) = memory.listed else { return true };
    look.fresh
        || changed
        || look.requeued
        || !memory.judged_alike((tx.context.policy, tx.context.workers))
        || (listed.more && look.relist)
        || listed.due.is_some_and(|due| due <= tx.unix)
}

/// The earlier of two seconds, if there is one.
fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}
