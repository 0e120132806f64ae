//! The ready list: the tasks that may run now, in the board's order.

use rusqlite::types::Value as Cell;
use rusqlite::{Result, Rows, Statement, params};

use super::tx::Tx;
use crate::board::rows::task::TaskRow;
use crate::board::rows::value;
use crate::board::sql;
use crate::machine::exchange::Ready;
use crate::machine::hold::{self, Candidate, End};
use crate::machine::ids::WorkerId;

/// The first `want` tasks that may run now, and when the next of the held tasks in front of them may.
///
/// As a rule few tasks are held, so reading a few more than are wanted is enough. Where it is not, more
/// are read.
pub(super) fn ready(tx: &Tx<'_>, want: u32) -> Result<(Ready, Option<i64>)> {
    let lanes = lanes(tx)?;
    let mut depth = u64::from(want) + 64;
    loop {
        if let Some(found) = ready_within(tx, &lanes, want as usize, depth)? {
            return Ok(found);
        }
        depth = depth.saturating_mul(32);
    }
}

/// The same, reading at most `depth` tasks of each assignee; `None` if those are not enough.
fn ready_within(
    tx: &Tx<'_>,
    lanes: &[Cell],
    want: usize,
    depth: u64,
) -> Result<Option<(Ready, Option<i64>)>> {
    let mut statements = lanes
        .iter()
        .map(|_| tx.conn.prepare(&tx.statements.ready_of))
        .collect::<Result<Vec<_>>>()?;
    let mut queues = Vec::new();
    for (statement, lane) in statements.iter_mut().zip(lanes) {
        queues.push(Queue::start(statement, lane, depth)?);
    }
    let (mut list, mut due) = (Ready::default(), None);
    while let Some(rowid) = pop(&mut queues)? {
        // The rest of a queue that was cut off may come before the heads of the others.
        if queues.iter().any(|queue| queue.left == 0 && queue.head.is_none()) {
            return Ok(None);
        }
        let Some(candidate) = candidate(tx, rowid)? else { continue };
        match hold::on(&candidate, tx.context.policy, tx.unix).map(hold::Hold::end) {
            Some(End::At(second)) => due = due.or(Some(second)).map(|due| due.min(second)),
            Some(End::Owner(_)) => {}
            None if list.tasks.len() < want => list.tasks.push(candidate),
            None => {
                list.more = true;
                break;
            }
        }
    }
    Ok(Some((list, due)))
}

/// The ready tasks of one assignee, in order; the head is already read.
struct Queue<'a> {
    rows: Rows<'a>,
    head: Option<Head>,
    /// How many more rows it may return.
    left: u64,
}

/// Sorts like the board: priority first, then age, then insertion.
type Head = (std::cmp::Reverse<i64>, i64, i64);

impl<'a> Queue<'a> {
    fn start(statement: &'a mut Statement<'_>, lane: &Cell, depth: u64) -> Result<Queue<'a>> {
        let limit = i64::try_from(depth).unwrap_or(i64::MAX);
        let mut queue =
            Queue { rows: statement.query(params![lane, limit])?, head: None, left: depth };
        queue.advance()?;
        Ok(queue)
    }

    fn advance(&mut self) -> Result<()> {
        self.head = match self.rows.next()? {
            Some(row) => {
                self.left = self.left.saturating_sub(1);
                let priority = std::cmp::Reverse(value::order(row, "priority")?);
                Some((priority, value::order(row, "created_at")?, row.get("row")?))
            }
            None => None,
        };
        Ok(())
    }
}

/// Takes the first of all heads.
fn pop(queues: &mut [Queue<'_>]) -> Result<Option<i64>> {
    let first = queues.iter_mut().filter(|q| q.head.is_some()).min_by_key(|q| q.head);
    let Some(queue) = first else { return Ok(None) };
    let rowid = queue.head.map(|(_, _, rowid)| rowid);
    queue.advance()?;
    Ok(rowid)
}

fn candidate(tx: &Tx<'_>, rowid: i64) -> Result<Option<Candidate>> {
    let row = sql::one(tx.conn, &tx.statements.task_at, [rowid], TaskRow::read)?.flatten();
    row.map(|row| tx.candidate(&row)).transpose()
}

/// The assignees whose tasks we can run, each as the board spells it.
fn lanes(tx: &Tx<'_>) -> Result<Vec<Cell>> {
    let workers = tx.context.workers;
    let policy = tx.context.policy;
    let enabled = |worker: WorkerId| policy.worker(worker).enabled;
    let unassigned = policy.default_worker.is_some_and(enabled);
    let names = sql::all(tx.conn, tx.statements.assignees, [], |row| {
        // A name that is not text names no worker.
        Ok(row.get_ref("name")?.as_str().ok().map(str::to_owned))
    })?;
    let mut lanes: Vec<Cell> = names
        .into_iter()
        .flatten()
        .filter(|name| match name.trim() {
            "" => unassigned,
            _ => workers.id(name).is_some_and(enabled),
        })
        .map(Cell::Text)
        .collect();
    if unassigned {
        lanes.push(Cell::Null);
    }
    Ok(lanes)
}
