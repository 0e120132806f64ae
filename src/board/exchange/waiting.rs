//! The waiting tasks that may be promoted, found from the events that are new and, now and then, by a
//! sweep over all waiting tasks.

use std::collections::BTreeSet;

use rusqlite::{Result, params};

use super::promote;
use super::tx::Tx;
use crate::board::rows::task::TaskRow;
use crate::board::rows::value;
use crate::board::sql;
use crate::machine::ids::TaskId;

/// Most promotable tasks in one answer.
const PROMOTABLE: usize = 256;

/// Most events that are followed one by one. If there are more, a sweep looks at every task.
const EVENTS: u32 = 4096;

/// Seconds after which a board that has changed is swept again: some changes leave no event (a parent
/// deleted, a limit edited).
const SWEEP_S: i64 = 300;

/// What is known of the waiting tasks of a board.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// The newest event that was followed.
    cursor: Option<i64>,
    /// Tasks that may have become promotable.
    tasks: BTreeSet<TaskId>,
    /// Where the sweep goes on; `None` when it is complete.
    sweep: Option<Sweep>,
    swept_at: i64,
}

/// How far a sweep has come: first the blocked tasks, then the others.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    status: &'static str,
    after: i64,
}

const FROM_THE_START: Sweep = Sweep { status: "blocked", after: i64::MIN };

impl Waiting {
    /// True if no sweep is under way.
    pub(super) fn is_swept(&self) -> bool {
        self.sweep.is_none()
    }

    /// Notes the tasks that may have become promotable since the last look.
    pub(super) fn follow(&mut self, tx: &Tx<'_>, fresh: bool, changed: bool) -> Result<()> {
        let newest = "SELECT ifnull(max(id), 0) FROM task_events";
        let newest: i64 = sql::one(tx.conn, newest, [], |row| row.get(0))?.unwrap_or(0);
        let stale = changed && tx.unix.saturating_sub(self.swept_at) >= SWEEP_S;
        match self.cursor {
            // Times in rows may go back; the ids of events never do in one file.
            Some(cursor) if !fresh && !stale && cursor <= newest => {
                if self.follow_events(tx, cursor)? >= EVENTS {
                    self.sweep = Some(FROM_THE_START);
                }
            }
            _ => {
                self.sweep = Some(FROM_THE_START);
                self.swept_at = tx.unix;
            }
        }
        self.cursor = Some(newest);
        Ok(())
    }

    /// Notes the tasks of the events after `cursor`, and those that wait for them. Returns the number
    /// of events.
    fn follow_events(&mut self, tx: &Tx<'_>, cursor: i64) -> Result<u32> {
        // Only kinds that are frequent and certainly make no task promotable are left out.
        let query = format!(
            "SELECT task_id AS id FROM task_events WHERE id > ?1 AND kind NOT IN ('heartbeat', \
             'spawned', 'claimed', 'claim_extended', 'commented', 'respawn_guarded', 'attached', \
             'worker_registered', 'reprioritized') LIMIT {EVENTS}"
        );
        let tasks = sql::all(tx.conn, &query, [cursor], |row| value::task(row, "id"))?;
        let count = u32::try_from(tasks.len()).unwrap_or(EVENTS);
        for task in tasks.into_iter().flatten().collect::<BTreeSet<_>>() {
            self.tasks.insert(task);
            let query = "SELECT child_id AS id FROM task_links WHERE parent_id = ?1";
            let children = sql::all(tx.conn, query, [task.as_str()], |row| value::task(row, "id"))?;
            self.tasks.extend(children.into_iter().flatten());
        }
        Ok(count)
    }

    /// Returns the tasks that may be promoted, up to [`PROMOTABLE`]. A task that was returned stays
    /// noted until it is seen to have changed; the others come back with an event.
    pub(super) fn promotable(&mut self, tx: &Tx<'_>) -> Result<Vec<TaskId>> {
        let limit = tx.context.policy.failure_limit;
        let mut found = Vec::new();
        for task in std::mem::take(&mut self.tasks) {
            if found.len() >= PROMOTABLE {
                self.tasks.insert(task);
                continue;
            }
            if let Some(row) = tx.task(task)?
                && promote::may(tx, &row, limit)?
            {
                self.tasks.insert(task);
                found.push(task);
            }
        }
        while found.len() < PROMOTABLE
            && let Some(sweep) = self.sweep
        {
            self.sweep = self.go_on(tx, sweep, &mut found)?;
        }
        Ok(found)
    }

    /// Sweeps the rest of the waiting tasks of one status; SQLite itself leaves out those whose parents
    /// are not done. Returns where to go on.
    fn go_on(
        &mut self,
        tx: &Tx<'_>,
        sweep: Sweep,
        found: &mut Vec<TaskId>,
    ) -> Result<Option<Sweep>> {
        let mut statement = tx.conn.prepare_cached(&tx.statements.waiting)?;
        let mut rows = statement.query(params![sweep.status, sweep.after])?;
        while let Some(row) = rows.next()? {
            let after = row.get("row")?;
            let Some(row) = TaskRow::read(row)? else { continue };
            if promote::may(tx, &row, tx.context.policy.failure_limit)? && self.tasks.insert(row.id)
            {
                found.push(row.id);
                if found.len() >= PROMOTABLE {
                    return Ok(Some(Sweep { after, ..sweep }));
                }
            }
        }
        let rest = Sweep { status: "todo", after: i64::MIN };
        Ok((sweep.status == FROM_THE_START.status).then_some(rest))
    }
}
