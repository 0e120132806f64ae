//! The statements of an exchange, for one version of a board's schema.
//!
//! SQL of an exchange that depends on which columns or indexes a board has is chosen here and nowhere
//! else. (A command writes one row for a person; it leaves out columns with `card::fields`.)

use rusqlite::{Connection, Result};

use super::columns::{Columns, TASK_CLAIM};
use super::ready_list;
use super::spawn_facts::SpawnFacts;
use super::task::TaskRow;
use crate::board::sql;

/// The statements for one `schema_version`.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) version: i64,
    /// Whether our own table about runs exists.
    pub(crate) has_own_runs: bool,

    /// One task by its id, for [`TaskRow::read`].
    pub(crate) task: String,
    /// One task by its rowid, for [`TaskRow::read`].
    pub(crate) task_at: String,
    /// The running tasks, for [`TaskRow::read`].
    pub(crate) running: String,
    /// The tasks of a status, after a rowid, whose parents are all done, for [`TaskRow::read`].
    pub(crate) waiting: String,
    /// One task by its id, for [`SpawnFacts::read`].
    pub(crate) spawn_facts: String,
    /// The ready tasks of one assignee, in the board's order, up to a limit.
    pub(crate) ready_of: String,
    /// The assignees, each once.
    pub(crate) assignees: &'static str,

    /// Opens a run for a task.
    pub(crate) open_run: String,
    /// Closes the runs of a task that a lost claim left open.
    pub(crate) close_leaked_runs: String,
    /// Closes a run that is open.
    pub(crate) close_run: String,
    /// Claims a task for a run.
    pub(crate) take: String,
    /// Ends a task as done.
    pub(crate) complete: String,
    /// Takes the claim off a task and puts it into another status.
    pub(crate) requeue: String,
    /// The same, and clears the heartbeat.
    pub(crate) requeue_and_clear_heartbeat: String,

    /// Stores `:pid` and `:fingerprint` of a worker.
    pub(crate) store_pid: OnBoth,
    /// Sets the end of a lease to `:expires`.
    pub(crate) renew: OnBoth,
    /// The same, and the heartbeat to `:heartbeat`.
    pub(crate) renew_with_heartbeat: OnBoth,
}

/// An update of a task and the same update of its run; each takes an `:id`. A column that only one of
/// the two tables has is set there only.
#[derive(Debug)]
pub(crate) struct OnBoth {
    pub(crate) task: String,
    pub(crate) run: String,
}

impl Statements {
    pub(crate) fn read(conn: &Connection) -> Result<Statements> {
        // Before the columns: a schema that changes in between then shows at the next look.
        let version = version(conn)?;
        let columns = &Columns::read(conn)?;
        let list = TaskRow::list(columns);
        let ready_list = ready_list::statements(conn)?;
        Ok(Statements {
            version,
            has_own_runs: columns.has_own_runs(),
            task: format!("SELECT {list} FROM tasks WHERE id = ?1"),
            task_at: format!("SELECT {list} FROM tasks WHERE rowid = ?1"),
            running: format!("SELECT {list} FROM tasks WHERE status = 'running'"),
            waiting: format!(
                "SELECT {list} FROM tasks t WHERE status = ?1 AND rowid > ?2 AND NOT EXISTS (\
                   SELECT 1 FROM task_links l JOIN tasks p ON p.id = l.parent_id \
                    WHERE l.child_id = t.id AND p.status NOT IN ('done', 'archived')) \
                 ORDER BY rowid"
            ),
            spawn_facts: format!("SELECT {} FROM tasks WHERE id = ?1", SpawnFacts::list(columns)),
            ready_of: ready_list.ready_of,
            assignees: ready_list.assignees,
            open_run: open_run(columns),
            close_leaked_runs: close_leaked_runs(columns),
            close_run: close_run(columns),
            take: take(columns),
            complete: complete(columns),
            requeue: requeue(columns, &[]),
            requeue_and_clear_heartbeat: requeue(columns, &["last_heartbeat_at"]),
            store_pid: on_both(
                columns,
                &[("worker_pid", ":pid"), ("worker_started_at", ":fingerprint")],
            ),
            renew: on_both(columns, &[("claim_expires", ":expires")]),
            renew_with_heartbeat: on_both(
                columns,
                &[("claim_expires", ":expires"), ("last_heartbeat_at", ":heartbeat")],
            ),
        })
    }
}

/// `PRAGMA schema_version`, which changes with every change of the schema.
pub(crate) fn version(conn: &Connection) -> Result<i64> {
    Ok(sql::one(conn, "PRAGMA schema_version", [], |row| row.get(0))?.unwrap_or(0))
}

/// The run takes its assignee, step and time limit from its task.
fn open_run(columns: &Columns) -> String {
    let (mut into, mut from) = (String::new(), String::new());
    for (task_column, run_column) in
        [("current_step_key", "step_key"), ("max_runtime_seconds", "max_runtime_seconds")]
    {
        if columns.has_in("tasks", task_column) && columns.has_in("task_runs", run_column) {
            into += &format!("{run_column}, ");
            from += &format!("{task_column}, ");
        }
    }
    format!(
        "INSERT INTO task_runs (task_id, profile, {into}status, claim_lock, claim_expires, \
         started_at) SELECT id, assignee, {from}'running', ?2, ?3, ?4 FROM tasks WHERE id = ?1"
    )
}

fn close_leaked_runs(columns: &Columns) -> String {
    format!(
        "UPDATE task_runs SET status = 'reclaimed', outcome = 'reclaimed', \
         summary = ifnull(summary, 'invariant recovery on re-claim'), ended_at = ?2, {} \
         WHERE task_id = ?1 AND status = 'running' AND ended_at IS NULL",
        nulls(columns, "task_runs", columns.claim_of_ended_run())
    )
}

fn close_run(columns: &Columns) -> String {
    format!(
        "UPDATE task_runs SET status = ?2, outcome = ?3, summary = ?4, error = ?5, metadata = ?6, \
         ended_at = ?7, {} WHERE id = ?1 AND ended_at IS NULL",
        nulls(columns, "task_runs", columns.claim_of_ended_run())
    )
}

/// Pid, fingerprint and heartbeat of an earlier attempt are cleared, so that they do not count for
/// this one.
fn take(columns: &Columns) -> String {
    let earlier = ["worker_pid", "worker_started_at", "last_heartbeat_at"];
    format!(
        "UPDATE tasks SET status = 'running', {}, claim_lock = ?2, claim_expires = ?3, \
         started_at = ifnull(started_at, ?4), current_run_id = ?5 WHERE id = ?1",
        nulls(columns, "tasks", &earlier)
    )
}

fn complete(columns: &Columns) -> String {
    let recurrences =
        if columns.has("tasks.block_recurrences") { ", block_recurrences = 0" } else { "" };
    let mut cleared = TASK_CLAIM.to_vec();
    cleared.extend(["current_run_id", "last_failure_error", "block_kind"]);
    format!(
        "UPDATE tasks SET status = 'done', completed_at = ?2, consecutive_failures = 0, \
         {}{recurrences} WHERE id = ?1",
        nulls(columns, "tasks", &cleared)
    )
}

fn requeue(columns: &Columns, also: &[&'static str]) -> String {
    let mut cleared = TASK_CLAIM.to_vec();
    cleared.push("current_run_id");
    cleared.extend(also);
    format!("UPDATE tasks SET status = ?2, {} WHERE id = ?1", nulls(columns, "tasks", &cleared))
}

fn on_both(columns: &Columns, set: &[(&str, &str)]) -> OnBoth {
    let update = |table: &str| {
        let there = set.iter().filter(|(column, _)| columns.has_in(table, column));
        let set: Vec<_> = there.map(|(column, value)| format!("{column} = {value}")).collect();
        format!("UPDATE {table} SET {} WHERE id = :id", set.join(", "))
    };
    OnBoth { task: update("tasks"), run: update("task_runs") }
}

/// Assignments of NULL to those of these columns that the table has.
fn nulls(columns: &Columns, table: &str, names: &[&str]) -> String {
    let there = names.iter().filter(|name| columns.has_in(table, name));
    there.map(|name| format!("{name} = NULL")).collect::<Vec<_>>().join(", ")
}
