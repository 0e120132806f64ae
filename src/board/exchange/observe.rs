//! Looking at a board: the ready tasks that free slots can use, and whatever else has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::types::Value as Cell;
use rusqlite::{Result, Rows, Statement, params};

use super::lease::{self, Lease};
use super::promote;
use super::tx::Tx;
use crate::board::rows::task::TaskRow;
use crate::board::rows::value;
use crate::board::rows::workers::Workers;
use crate::board::sql;
use crate::machine::exchange::{Expired, Observation, Ready};
use crate::machine::hold::{self, Candidate, End};
use crate::machine::ids::{TaskId, WorkerId};
use crate::machine::policy::Policy;

/// Most tasks that are named as promotable at once.
const PROMOTABLE: usize = 256;

/// Most claims that are named as ended at once: each is judged again, and written, when it is freed.
const EXPIRED: usize = 256;

/// Most events that are followed one by one. More of them are followed by looking at every task.
const EVENTS: u32 = 4096;

/// Seconds after which every waiting task is looked at again if the board has changed: some changes
/// leave no event (a parent deleted, a limit edited).
const SWEEP_S: i64 = 300;

/// What was seen before, so that the next look can be short.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// `PRAGMA data_version` of the last look: it changes with every commit of somebody else.
    pub(super) data_version: Option<i64>,
    /// When something changes by itself, or must be looked at again.
    pub(super) due: Option<i64>,
    /// By what the ready list was judged.
    judged_by: Option<Arc<(Policy, Workers)>>,
    /// The list that was last given.
    given: Option<Given>,
    /// The newest event that was followed.
    cursor: Option<i64>,
    /// Waiting tasks that may have become promotable.
    waiting: BTreeSet<TaskId>,
    /// Where the look at every waiting task goes on; `None` if it has been through.
    sweep: Option<Sweep>,
    swept_at: i64,
}

/// A ready list as it was given.
#[derive(Clone, Copy, Debug)]
struct Given {
    more: bool,
    /// When the next of the held tasks in view comes free.
    due: Option<i64>,
}

/// How far the look at every waiting task has come: first the blocked ones, then the others.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    status: &'static str,
    after: i64,
}

const FROM_THE_START: Sweep = Sweep { status: "blocked", after: i64::MIN };

/// What the request and the changes just made mean for the look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) fresh: bool,
    pub(super) want: u32,
    /// True if something was written here that can make a task ready.
    pub(super) requeued: bool,
    /// True if the list last given is used up.
    pub(super) relist: bool,
    /// `PRAGMA data_version` now.
    pub(super) data_version: i64,
}

impl Memory {
    /// True if a look now would show nothing new, as far as can be told without one.
    pub(super) fn is_current(
        &self,
        data_version: i64,
        pass_by: (&Policy, &Workers),
        unix: i64,
    ) -> bool {
        self.data_version == Some(data_version)
            && self.judged_alike(pass_by)
            && self.sweep.is_none()
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
        let (ready, due) = ready(tx, look.want)?;
        memory.given = Some(Given { more: ready.more, due });
        observation.ready = Some(ready);
    }
    // Another failure limit can free tasks of which no event speaks.
    let alike = memory.judged_alike((tx.context.policy, tx.context.workers));
    follow(tx, memory, look.fresh || !alike, changed)?;
    observation.promotable = promotable(tx, memory)?;
    let held = memory.given.and_then(|given| given.due);
    observation.due = earliest(observation.due, held);
    memory.due = earliest(observation.due, again);
    memory.data_version = Some(look.data_version);
    if !alike {
        let by = (tx.context.policy.clone(), tx.context.workers.clone());
        memory.judged_by = Some(Arc::new(by));
    }
    Ok(observation)
}

/// Fills in who runs, and which claims have ended. Gives the second at which the processes of
/// others should be looked at again.
fn running(tx: &Tx<'_>, observation: &mut Observation) -> Result<Option<i64>> {
    let rows = sql::all(tx.conn, &tx.statements.running, [], TaskRow::read)?;
    observation.running = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let mut again = None;
    for row in rows.into_iter().flatten() {
        if observation.expired.len() >= EXPIRED && lease::ours(tx, &row).is_none() {
            // The next look tells of it, and is due.
            observation.due = earliest(observation.due, Some(tx.unix));
            continue;
        }
        match lease::judge(tx, &row)? {
            Lease::Ours(fence) => observation.ours.push(fence),
            Lease::Ended(by) => {
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

/// Whether the ready list may have changed for the better since it was given.
fn wants_list(tx: &Tx<'_>, memory: &Memory, look: Look, changed: bool) -> bool {
    let Some(given) = memory.given else { return true };
    look.fresh
        || changed
        || look.requeued
        || !memory.judged_alike((tx.context.policy, tx.context.workers))
        || (given.more && look.relist)
        || given.due.is_some_and(|due| due <= tx.unix)
}

/// The first `want` tasks that may run now, and when the next of those in front of them may.
///
/// As a rule few tasks are held, so that looking at a few more than are wanted is enough. Where it
/// is not, the look is repeated further down.
fn ready(tx: &Tx<'_>, want: u32) -> Result<(Ready, Option<i64>)> {
    let lanes = lanes(tx)?;
    let mut depth = u64::from(want) + 64;
    loop {
        if let Some(found) = ready_within(tx, &lanes, want as usize, depth)? {
            return Ok(found);
        }
        depth = depth.saturating_mul(32);
    }
}

/// The same, looking at no more than `depth` tasks of each assignee; `None` if those do not tell.
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
        // Whatever becomes of this one, none of another queue may pass what is further down here.
        if queues.iter().any(|queue| queue.left == 0 && queue.head.is_none()) {
            return Ok(None);
        }
        let Some(candidate) = candidate(tx, rowid)? else { continue };
        match hold::on(&candidate, tx.context.policy, tx.unix).map(hold::Hold::end) {
            Some(End::At(second)) => due = earliest(due, Some(second)),
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
    /// How many more rows it would give if there were as many.
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

/// The assignees whose tasks we can run, each as it is spelled in the board.
fn lanes(tx: &Tx<'_>) -> Result<Vec<Cell>> {
    let workers = tx.context.workers;
    let policy = tx.context.policy;
    let enabled = |worker: WorkerId| policy.worker(worker).enabled;
    let nobody = policy.default_worker.is_some_and(enabled);
    let names = sql::all(tx.conn, tx.statements.assignees, [], |row| {
        // A name that is no text is nobody's, here.
        Ok(row.get_ref("name")?.as_str().ok().map(str::to_owned))
    })?;
    let mut lanes: Vec<Cell> = names
        .into_iter()
        .flatten()
        .filter(|name| match name.trim() {
            "" => nobody,
            _ => workers.id(name).is_some_and(enabled),
        })
        .map(Cell::Text)
        .collect();
    if nobody {
        lanes.push(Cell::Null);
    }
    Ok(lanes)
}

/// Finds out which waiting tasks may have become promotable since the last look.
fn follow(tx: &Tx<'_>, memory: &mut Memory, fresh: bool, changed: bool) -> Result<()> {
    let newest = "SELECT ifnull(max(id), 0) FROM task_events";
    let newest: i64 = sql::one(tx.conn, newest, [], |row| row.get(0))?.unwrap_or(0);
    let stale = changed && tx.unix.saturating_sub(memory.swept_at) >= SWEEP_S;
    match memory.cursor {
        // The clock of a row may have gone back, the ids of events never do in one file.
        Some(cursor) if !fresh && !stale && cursor <= newest => {
            if follow_events(tx, memory, cursor)? >= EVENTS {
                memory.sweep = Some(FROM_THE_START);
            }
        }
        _ => {
            memory.sweep = Some(FROM_THE_START);
            memory.swept_at = tx.unix;
        }
    }
    memory.cursor = Some(newest);
    Ok(())
}

/// The tasks that events speak of, and those that wait for them. Gives the number of events.
fn follow_events(tx: &Tx<'_>, memory: &mut Memory, cursor: i64) -> Result<u32> {
    // Left out are only kinds that happen often and certainly free nobody.
    let query = format!(
        "SELECT task_id AS id FROM task_events WHERE id > ?1 AND kind NOT IN ('heartbeat', \
         'spawned', 'claimed', 'claim_extended', 'commented', 'respawn_guarded', 'attached', \
         'worker_registered', 'reprioritized') LIMIT {EVENTS}"
    );
    let tasks = sql::all(tx.conn, &query, [cursor], |row| value::task(row, "id"))?;
    let count = u32::try_from(tasks.len()).unwrap_or(EVENTS);
    for task in tasks.into_iter().flatten().collect::<BTreeSet<_>>() {
        memory.waiting.insert(task);
        let query = "SELECT child_id AS id FROM task_links WHERE parent_id = ?1";
        let children = sql::all(tx.conn, query, [task.as_str()], |row| value::task(row, "id"))?;
        memory.waiting.extend(children.into_iter().flatten());
    }
    Ok(count)
}

/// Those of the waiting tasks that may be promoted, as many as are told at once. A task that was
/// told stays in mind until it is seen to have changed; the others come back with an event.
fn promotable(tx: &Tx<'_>, memory: &mut Memory) -> Result<Vec<TaskId>> {
    let limit = tx.context.policy.failure_limit;
    let mut found = Vec::new();
    for task in std::mem::take(&mut memory.waiting) {
        if found.len() >= PROMOTABLE {
            memory.waiting.insert(task);
            continue;
        }
        if let Some(row) = tx.task(task)?
            && promote::may(tx, &row, limit)?
        {
            memory.waiting.insert(task);
            found.push(task);
        }
    }
    while found.len() < PROMOTABLE
        && let Some(sweep) = memory.sweep
    {
        memory.sweep = go_on(tx, sweep, memory, &mut found)?;
    }
    Ok(found)
}

/// Looks at the rest of the waiting tasks of one status, of which SQLite itself leaves out those
/// whose parents are not done. Gives where to go on.
fn go_on(
    tx: &Tx<'_>,
    sweep: Sweep,
    memory: &mut Memory,
    found: &mut Vec<TaskId>,
) -> Result<Option<Sweep>> {
    let mut statement = tx.conn.prepare_cached(&tx.statements.waiting)?;
    let mut rows = statement.query(params![sweep.status, sweep.after])?;
    while let Some(row) = rows.next()? {
        let after = row.get("row")?;
        let Some(row) = TaskRow::read(row)? else { continue };
        if promote::may(tx, &row, tx.context.policy.failure_limit)? && memory.waiting.insert(row.id)
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

/// The earlier of two seconds, of which neither need exist.
fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}
