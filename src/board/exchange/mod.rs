//! One exchange: everything that the machine asks of a board, in one transaction. One file for each
//! verb.
//!
//! Nothing here knows the machine's stages, reads a clock, or looks at a process: times come with
//! the request, and the [`Context`] answers which processes live.

mod account;
mod adopt;
mod changes;
mod claim;
mod context;
mod ending;
mod finish;
mod lease;
mod observe;
mod promote;
mod ready;
mod reclaim;
mod renew;
mod started;
mod tx;
mod waiting;

use std::collections::BTreeSet;

use rusqlite::{Connection, Result};

use crate::board::error::{self, BoardError, ExchangeError};
use crate::board::file::{DispatchLock, LiveFile};
use crate::board::rows::inherited::Inherited;
use crate::board::rows::scratch::Scratch;
use crate::board::rows::spawn_facts::SpawnFacts;
use crate::board::rows::statements::{self, Statements};
use crate::board::sql;
use crate::board::transaction::{self, Failed, Kind};
use crate::machine::exchange::{Answer, Change, Request};
use crate::machine::fault::Commit;
use crate::machine::ids::SpawnId;
use changes::{Applied, Round, Trouble};
pub use context::{Context, Dispatcher, Liveness, Worker};
use observe::{Look, Memory};
use tx::Tx;

/// What came of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The answer that the machine gets.
    pub answer: Answer,
    /// For the spawn threads: one entry for each claim that took.
    pub facts: Vec<(SpawnId, SpawnFacts)>,
    /// For the search for workers: one entry for each claim that was adopted.
    pub inherited: Vec<(SpawnId, Inherited)>,
    /// For the cleaner: scratch workspaces that are no longer needed.
    pub unneeded: Vec<Scratch>,
}

/// A board that is open for exchanges.
pub struct Board {
    file: LiveFile,
    statements: Statements,
    memory: Memory,
    dispatch: DispatchLock,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("path", &self.file.path()).finish_non_exhaustive()
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
                inherited: Vec::new(),
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
            // A transaction waits longer for a rival.
            Err(error) if error::is_busy(&error) => return Ok(false),
            Err(error) => return Err(self.file.failed("looking for changes", &error)),
        };
        let judged_by = (context.policy, context.workers);
        Ok(self.memory.is_current(version, judged_by, request.unix))
    }

    /// Runs the transaction, and repeats it without a change that made the board roll back all of them.
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

    /// One transaction: the changes, then the observation, then the commit.
    fn attempt(&mut self, round: &Round<'_>) -> Result<Exchanged, Failed<Trouble>> {
        let kind = if round.request.changes.is_empty() { Kind::Read } else { Kind::Write };
        let mut memory = self.memory.clone();
        let (file, statements) = (&self.file, &mut self.statements);
        let exchanged = transaction::run(file.conn(), kind, || {
            let exchanged = inside(file.conn(), statements, &mut memory, round)?;
            // What is written depends on what was read, and that counts only if it was read from this
            // board.
            if kind == Kind::Write {
                file.wal_shm_in_place().map_err(Trouble::Board)?;
            }
            Ok(exchanged)
        })?;
        self.memory = memory;
        Ok(exchanged)
    }
}

/// What one attempt does inside its transaction.
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
    let applied = changes::apply(conn, statements, round)?;
    let Applied { taken, facts, inherited, unneeded, requeued } = applied;
    let tx = Tx { conn, statements, context, unix: request.unix };
    let look = Look {
        fresh: request.fresh,
        want: request.want,
        requeued,
        relist: request.relist,
        data_version,
    };
    let observation = Some(observe::observe(&tx, memory, look)?);
    Ok(Exchanged { answer: Answer { taken, observation }, facts, inherited, unneeded })
}

/// True if the request has a change that only one dispatcher at a time should make.
fn dispatches(request: &Request) -> bool {
    request.changes.iter().any(Change::waits_for_others)
}

/// Changes with every commit of another connection.
fn data_version(conn: &Connection) -> Result<i64> {
    Ok(sql::one(conn, "PRAGMA data_version", [], |row| row.get(0))?.unwrap_or(0))
}
