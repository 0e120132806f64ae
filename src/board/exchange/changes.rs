//! Applies the changes of a request, each by its verb, such that one that the board refuses does not
//! affect the others.

use std::collections::BTreeSet;

use rusqlite::{Connection, Error as Sql};

use super::claim::{self, Claim};
use super::context::Context;
use super::tx::Tx;
use super::{adopt, finish, promote, reclaim, renew, started};
use crate::board::error::{self, BoardError};
use crate::board::rows::inherited::Inherited;
use crate::board::rows::scratch::Scratch;
use crate::board::rows::spawn_facts::SpawnFacts;
use crate::board::rows::statements::Statements;
use crate::board::sql;
use crate::machine::exchange::{Change, Refusal, Request, Taken};
use crate::machine::ids::SpawnId;
use crate::machine::verdict::Verdict;

/// One attempt at a request.
pub(super) struct Round<'a> {
    pub(super) request: &'a Request,
    pub(super) context: &'a Context<'a>,
    /// False while another dispatcher holds the dispatch lock.
    pub(super) may_dispatch: bool,
    /// Changes that are known to roll back the whole transaction.
    pub(super) skip: &'a BTreeSet<usize>,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A statement failed, and not because of one change.
    Sql(Sql),
    /// The files are not what they were.
    Board(BoardError),
    /// This change made the board roll back everything, as a trigger can.
    RolledBack(usize),
}

impl From<Sql> for Trouble {
    fn from(error: Sql) -> Trouble {
        Trouble::Sql(error)
    }
}

/// What became of the changes.
pub(super) struct Applied {
    /// One entry for each change.
    pub(super) taken: Vec<Taken>,
    /// One entry for each claim that took.
    pub(super) facts: Vec<(SpawnId, SpawnFacts)>,
    /// One entry for each claim that was adopted.
    pub(super) inherited: Vec<(SpawnId, Inherited)>,
    /// Scratch workspaces that are no longer needed.
    pub(super) unneeded: Vec<Scratch>,
    /// True if a change that took may have made a task ready.
    pub(super) requeued: bool,
}

/// Applies the changes in their order.
pub(super) fn apply(
    conn: &Connection,
    statements: &mut Statements,
    round: &Round<'_>,
) -> Result<Applied, Trouble> {
    let changes = &round.request.changes;
    let mut taken = Vec::with_capacity(changes.len());
    let (mut facts, mut inherited) = (Vec::new(), Vec::new());
    for (index, change) in changes.iter().enumerate() {
        let tx = Tx { conn, statements, context: round.context, unix: round.request.unix };
        let outcome = one_change(&tx, round, index, *change)?;
        match (outcome, *change) {
            (Taken::Claimed { run, .. }, Change::Claim { spawn, task, .. }) => {
                facts.extend(tx.spawn_facts(task, run)?.map(|facts| (spawn, facts)));
            }
            (Taken::Claimed { .. }, Change::Adopt { spawn, orphan, .. }) => {
                inherited.extend(adopt::inherited(&tx, orphan)?.map(|found| (spawn, found)));
            }
            (_, _) => {}
        }
        taken.push(outcome);
        if makes_own_runs(change) && !statements.has_own_runs {
            *statements = Statements::read(conn)?;
        }
    }
    let unneeded = unneeded_after(conn, changes, &taken)?;
    let requeued = changes.iter().zip(&taken).any(|(change, taken)| requeues(change, *taken));
    Ok(Applied { taken, facts, inherited, unneeded, requeued })
}

/// Applies one change; if the board refuses it, the others are not affected.
fn one_change(
    tx: &Tx<'_>,
    round: &Round<'_>,
    index: usize,
    change: Change,
) -> Result<Taken, Trouble> {
    if round.skip.contains(&index) {
        return Ok(Taken::No(Refusal::Rejected));
    }
    if change.waits_for_others() && !round.may_dispatch {
        return Ok(Taken::No(Refusal::Locked));
    }
    sql::run(tx.conn, "SAVEPOINT one_change")?;
    match by_verb(tx, change) {
        Ok(taken) => {
            sql::run(tx.conn, "RELEASE one_change")?;
            Ok(taken)
        }
        Err(error) if !error::is_rejection(&error) => Err(error.into()),
        Err(_) if tx.conn.is_autocommit() => Err(Trouble::RolledBack(index)),
        Err(_) => {
            sql::run(tx.conn, "ROLLBACK TO one_change")?;
            sql::run(tx.conn, "RELEASE one_change")?;
            Ok(Taken::No(Refusal::Rejected))
        }
    }
}

fn by_verb(tx: &Tx<'_>, change: Change) -> rusqlite::Result<Taken> {
    match change {
        Change::Claim { spawn, task, worker, ttl_s, cap } => {
            claim::claim(tx, Claim { spawn, task, worker, ttl_s, cap })
        }
        Change::Adopt { spawn, orphan, ttl_s } => adopt::adopt(tx, spawn, orphan, ttl_s),
        Change::Started { fence, pid } => started::started(tx, fence, pid),
        Change::Renew { fence, ttl_s, heartbeat } => renew::renew(tx, fence, ttl_s, heartbeat),
        Change::Finish { fence, pid, verdict, failure_limit } => {
            finish::finish(tx, fence, pid, verdict, failure_limit)
        }
        Change::Promote { task, failure_limit } => promote::promote(tx, task, failure_limit),
        Change::Reclaim { expired, failure_limit } => reclaim::reclaim(tx, expired, failure_limit),
    }
}

/// True if the change may have created our own table, on which the statements depend.
fn makes_own_runs(change: &Change) -> bool {
    match change {
        Change::Adopt { .. } => true,
        Change::Finish { verdict, .. } => *verdict == Verdict::Unknown,
        Change::Claim { .. }
        | Change::Started { .. }
        | Change::Renew { .. }
        | Change::Promote { .. }
        | Change::Reclaim { .. } => false,
    }
}

/// True if the change, once taken, may have made a task ready.
fn requeues(change: &Change, taken: Taken) -> bool {
    taken == Taken::Yes
        && match change {
            Change::Promote { .. } | Change::Reclaim { .. } => true,
            Change::Finish { verdict, .. } => *verdict != Verdict::Completed,
            Change::Claim { .. }
            | Change::Adopt { .. }
            | Change::Started { .. }
            | Change::Renew { .. } => false,
        }
}

/// The scratch workspaces that these changes, all applied, leave without a use. A run that is no longer
/// ours counts too: its worker, or a person, may have completed the task.
fn unneeded_after(
    conn: &Connection,
    changes: &[Change],
    taken: &[Taken],
) -> rusqlite::Result<Vec<Scratch>> {
    let mut found = BTreeSet::new();
    for (change, taken) in changes.iter().zip(taken) {
        let Change::Finish { fence, verdict, .. } = change else { continue };
        let completed = *taken == Taken::Yes && *verdict == Verdict::Completed;
        if completed || *taken == Taken::No(Refusal::Superseded) {
            found.extend(Scratch::unneeded(conn, fence.task.as_str())?);
        }
    }
    Ok(found.into_iter().collect())
}
