//! One exchange: everything that the machine wants of a board, in one transaction. One file per verb.
//!
//! Nothing here knows the machine's stages, reads a clock, or looks at a process by itself: times come
//! with the request, and what lives is asked of the [`Context`].

mod account;
mod claim;
mod context;
mod ending;
mod finish;
mod lease;
mod observe;
mod promote;
mod reclaim;
mod renew;
mod started;
mod tx;

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, Error as Sql, Result};

use crate::board::error::{self, BoardError, ExchangeError};
use crate::board::file::{DispatchLock, LiveFile};
use crate::board::rows::scratch::Scratch;
use crate::board::rows::spawn_facts::SpawnFacts;
use crate::board::rows::statements::{self, Statements};
use crate::board::sql;
use crate::board::transaction::{self, Failed, Kind};
use crate::machine::exchange::{Answer, Change, Observation, Refusal, Request, Taken};
use crate::machine::fault::Commit;
use crate::machine::ids::SpawnId;
use crate::machine::verdict::Verdict;
use claim::Claim;
pub use context::{Context, Liveness};
use observe::{Look, Memory};
use tx::Tx;

/// What came of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// For the machine.
    pub answer: Answer,
    /// For the spawn lanes: one entry for each claim that took.
    pub facts: Vec<(SpawnId, SpawnFacts)>,
    /// For the cleaner: scratch workspaces that nobody needs any more.
    pub unneeded: Vec<Scratch>,
}

/// One open board.
pub struct Board {
    file: LiveFile,
    statements: Statements,
    memory: Memory,
    dispatch: DispatchLock,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Board {
    pub(in crate::board) fn new(file: LiveFile, statements: Statements) -> Board {
        Board { file, statements, memory: Memory::default(), dispatch: DispatchLock::default() }
    }

    /// The one connection, for reading. Only [`Board::exchange`] writes.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.file.conn()
    }

    /// Its path, absolute, links in it not resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// One exchange as described in [`machine::exchange`](crate::machine::exchange).
    pub fn exchange(
        &mut self,
        request: &Request,
        context: &Context<'_>,
    ) -> Result<Exchanged, ExchangeError> {
        let before = |error: BoardError| self.file.distrust(error).commit(Commit::No);
        self.file.is_sound().map_err(before)?;
        if self.is_unchanged(request, context).map_err(before)? {
            return Ok(Exchanged {
                answer: Answer { taken: Vec::new(), observation: None },
                facts: Vec::new(),
                unneeded: Vec::new(),
            });
        }
        let may_dispatch = !dispatches(request) || self.dispatch.try_take(self.file.path());
        let exchanged = self.transact(request, context, may_dispatch);
        self.dispatch.release();
        let exchanged = exchanged?;
        let written = if request.changes.is_empty() { Commit::No } else { Commit::Maybe };
        self.file.is_in_place().map_err(|error| self.file.distrust(error).commit(written))?;
        if written == Commit::Maybe {
            self.file.committed();
        }
        Ok(exchanged)
    }

    /// True if there is nothing to write and nothing to see. Costs the same on every board.
    fn is_unchanged(&self, request: &Request, context: &Context<'_>) -> Result<bool, BoardError> {
        if !request.changes.is_empty() || request.fresh || request.relist {
            return Ok(false);
        }
        let version = match data_version(self.file.conn()) {
            Ok(version) => version,
            // A transaction waits longer for whoever is in the way.
            Err(error) if error::is_busy(&error) => return Ok(false),
            Err(error) => return Err(self.file.failed("looking for changes", &error)),
        };
        let judged_by = (context.policy, context.workers);
        Ok(self.memory.is_current(version, judged_by, request.unix))
    }

    /// Runs the transaction, again without any change that made the board roll back all of them.
    fn transact(
        &mut self,
        request: &Request,
        context: &Context<'_>,
        may_dispatch: bool,
    ) -> Result<Exchanged, ExchangeError> {
        let mut skip = BTreeSet::new();
        loop {
            let round = Round { request, context, may_dispatch, skip: &skip };
            match self.attempt(&round) {
                Ok(exchanged) => return Ok(exchanged),
                Err(Failed { error: Trouble::RolledBack(index), .. }) => {
                    skip.insert(index);
                }
                Err(Failed { error: Trouble::Board(error), commit }) => {
                    return Err(self.file.distrust(error).commit(commit));
                }
                Err(Failed { error: Trouble::Sql(error), commit }) => {
                    return Err(self.file.failed("exchanging", &error).commit(commit));
                }
            }
        }
    }

    /// One transaction: changes, then a look, then the commit.
    fn attempt(&mut self, round: &Round<'_>) -> Result<Exchanged, Failed<Trouble>> {
        let kind = if round.request.changes.is_empty() { Kind::Read } else { Kind::Write };
        let mut memory = self.memory.clone();
        let (file, statements) = (&self.file, &mut self.statements);
        let exchanged = transaction::run(file.conn(), kind, || {
            let exchanged = inside(file.conn(), statements, &mut memory, round)?;
            // What is written counts on what was read, and that only if it was read from this board.
            if kind == Kind::Write {
                file.wal_shm_in_place().map_err(Trouble::Board)?;
            }
            Ok(exchanged)
        })?;
        self.memory = memory;
        Ok(exchanged)
    }
}

/// What one attempt works on.
struct Round<'a> {
    request: &'a Request,
    context: &'a Context<'a>,
    /// False while another dispatcher is at work.
    may_dispatch: bool,
    /// Changes that are known to end the whole transaction.
    skip: &'a BTreeSet<usize>,
}

/// Why an attempt came to nothing.
#[derive(Debug)]
enum Trouble {
    /// The board is in trouble.
    Sql(Sql),
    /// It is not the board that it was.
    Board(BoardError),
    /// This change made the board roll everything back (a trigger can).
    RolledBack(usize),
}

impl From<Sql> for Trouble {
    fn from(error: Sql) -> Trouble {
        Trouble::Sql(error)
    }
}

fn inside(
    conn: &Connection,
    statements: &mut Statements,
    memory: &mut Memory,
    round: &Round<'_>,
) -> Result<Exchanged, Trouble> {
    let Round { request, context, .. } = *round;
    // Another process may add columns at any time. This is also the first read of the transaction,
    // after which the version of the data is that of its snapshot.
    if statements::version(conn)? != statements.version {
        *statements = Statements::read(conn)?;
    }
    let data_version = data_version(conn)?;
    let tx = Tx { conn, statements, context, unix: request.unix };
    let mut taken = Vec::with_capacity(request.changes.len());
    let mut facts = Vec::new();
    for (index, change) in request.changes.iter().enumerate() {
        let outcome = one_change(&tx, round, index, *change)?;
        if let (Taken::Claimed { run, .. }, Change::Claim { spawn, task, .. }) = (outcome, *change)
        {
            facts.extend(tx.spawn_facts(task, run)?.map(|facts| (spawn, facts)));
        }
        taken.push(outcome);
    }
    let unneeded = unneeded_after(conn, &request.changes, &taken)?;
    let look = Look {
        fresh: request.fresh,
        want: request.want,
        requeued: request.changes.iter().zip(&taken).any(|(c, t)| requeues(c, *t)),
        relist: request.relist,
        data_version,
    };
    let observation: Observation = observe::observe(&tx, memory, look)?;
    Ok(Exchanged { answer: Answer { taken, observation: Some(observation) }, facts, unneeded })
}

/// Applies one change such that the others do not suffer if the board refuses it.
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
    match apply(tx, change) {
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

fn apply(tx: &Tx<'_>, change: Change) -> Result<Taken> {
    match change {
        Change::Claim { spawn, task, worker, ttl_s, cap } => {
            claim::claim(tx, Claim { spawn, task, worker, ttl_s, cap })
        }
        Change::Started { fence, pid } => started::started(tx, fence, pid),
        Change::Renew { fence, ttl_s, heartbeat } => renew::renew(tx, fence, ttl_s, heartbeat),
        Change::Finish { fence, pid, verdict, failure_limit } => {
            finish::finish(tx, fence, pid, verdict, failure_limit)
        }
        Change::Promote { task, failure_limit } => promote::promote(tx, task, failure_limit),
        Change::Free { expired, failure_limit } => reclaim::reclaim(tx, expired, failure_limit),
    }
}

/// True if the request holds something that only one dispatcher at a time should do.
fn dispatches(request: &Request) -> bool {
    request.changes.iter().any(Change::waits_for_others)
}

/// True if the change, having taken, may have put something on the ready list.
fn requeues(change: &Change, taken: Taken) -> bool {
    taken == Taken::Yes
        && match change {
            Change::Promote { .. } | Change::Free { .. } => true,
            Change::Finish { verdict, .. } => *verdict != Verdict::Completed,
            Change::Claim { .. } | Change::Started { .. } | Change::Renew { .. } => false,
        }
}

/// Changes with every commit of another connection.
fn data_version(conn: &Connection) -> Result<i64> {
    Ok(sql::one(conn, "PRAGMA data_version", [], |row| row.get(0))?.unwrap_or(0))
}

/// The scratch workspaces that these changes, all applied, leave without a use. A run that is no longer
/// ours counts too: its worker, or a person, may have completed the task.
fn unneeded_after(conn: &Connection, changes: &[Change], taken: &[Taken]) -> Result<Vec<Scratch>> {
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
