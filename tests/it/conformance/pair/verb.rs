//! What workers, people and other dispatchers do, on both boards. On the real one with the project's
//! own verbs where it has them, else with the client's statements.

use rusqlite::{Params, params};
use sexton::board::card::{self, BlockKind as RealKind, Complete, NewTask, Unblock};
use sexton::board::sql;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, RunId, TaskId, WorkerId};
use sexton_sim::board::{self as model, BlockKind, Holder, ModelBoard, Status};

use super::real::Real;
use super::{lock, name};

/// Stays in every board in which tasks are deleted, so that the newest event stays.
pub const ANCHOR: &str = "t_anchor";

/// One verb with its arguments.
#[derive(Clone, Debug)]
pub enum Verb {
    Create(model::NewTask),
    Complete(TaskId, Option<RunId>, bool),
    Block(TaskId, Option<RunId>, bool, Option<BlockKind>),
    Heartbeat(TaskId, RunId),
    Archive(TaskId),
    Unblock(TaskId),
    Promote(TaskId, bool),
    Reopen(TaskId, Status),
    Reclaim(TaskId),
    Schedule(TaskId),
    Assign(TaskId, Lane),
    Prioritise(TaskId, i64),
    Edit(TaskId, bool),
    Comment(TaskId),
    Link(TaskId, TaskId),
    Unlink(TaskId, TaskId),
    Delete(TaskId),
    Refuse(TaskId, bool),
    Claim(TaskId, Holder, Option<Pid>),
    Disown(TaskId),
    PromoteAll,
}

impl Verb {
    pub fn create(id: TaskId) -> Verb {
        Verb::Create(model::NewTask::new(id, Lane::Worker(WorkerId(0))))
    }

    pub fn on_model(&self, board: &mut ModelBoard, now: i64) -> bool {
        match *self {
            Verb::Create(ref new) => board.create(new, now),
            Verb::Complete(task, own_run, told) => {
                board.complete(task, model::Complete { own_run, told, failure_limit: 2 }, now)
            }
            Verb::Block(task, own_run, told, kind) => {
                board.block(task, model::Block { own_run, told, kind }, now)
            }
            Verb::Heartbeat(task, run) => board.heartbeat(task, run, now),
            Verb::Archive(task) => board.archive(task, now),
            Verb::Unblock(task) => board.unblock(task, now),
            Verb::Promote(task, force) => board.promote(task, force),
            Verb::Reopen(task, to) => board.reopen(task, to, now),
            Verb::Reclaim(task) => board.reclaim(task, now),
            Verb::Schedule(task) => board.schedule(task, now),
            Verb::Assign(task, lane) => board.assign(task, lane),
            Verb::Prioritise(task, priority) => board.prioritise(task, priority),
            Verb::Edit(task, has_body) => board.edit(task, has_body),
            Verb::Comment(task) => board.comment(task),
            Verb::Link(parent, child) => board.link(parent, child),
            Verb::Unlink(parent, child) => board.unlink(parent, child),
            Verb::Delete(task) => board.delete(task),
            Verb::Refuse(task, refuses) => board.refuse(task, refuses),
            Verb::Claim(task, by, pid) => board.claim(task, by, pid, now).is_some(),
            Verb::Disown(task) => board.disown(task),
            Verb::PromoteAll => {
                board.promote_all(2);
                true
            }
        }
    }

    /// In one transaction, of which nothing is left if the verb was refused.
    pub fn on_real(&self, real: &Real, now: i64) -> bool {
        sql::run(&real.rival, "BEGIN IMMEDIATE").expect("a transaction");
        let verbs = Verbs { real, now };
        let done = self.inside(&verbs);
        // A task is sent back by a claim that is refused.
        let keep = done || matches!(self, Verb::Claim(..));
        sql::run(&real.rival, if keep { "COMMIT" } else { "ROLLBACK" }).expect("its end");
        done
    }

    fn inside(&self, on: &Verbs<'_>) -> bool {
        match *self {
            Verb::Create(ref new) => on.create(new),
            Verb::Complete(task, own_run, told) => on.complete(task, own_run, told),
            Verb::Block(task, own_run, told, kind) => on.block(task, own_run, told, kind),
            Verb::Heartbeat(task, run) => on.heartbeat(task, run),
            Verb::Archive(task) => on.take_back(task, "archived", "reclaimed", ARCHIVE),
            Verb::Unblock(task) => on.unblock(task),
            Verb::Promote(task, force) => on.promote(task, force),
            Verb::Reopen(task, to) => on.reopen(task, to),
            Verb::Reclaim(task) => on.reclaim(task),
            Verb::Schedule(task) => on.take_back(task, "scheduled", "scheduled", SCHEDULE),
            Verb::Assign(task, lane) => on.assign(task, lane),
            Verb::Prioritise(task, priority) => on.prioritise(task, priority),
            Verb::Edit(task, has_body) => on.edit(task, has_body),
            Verb::Comment(task) => on.comment(task),
            Verb::Link(parent, child) => on.link(parent, child),
            Verb::Unlink(parent, child) => on.unlink(parent, child),
            Verb::Delete(task) => on.delete(task),
            Verb::Refuse(task, refuses) => on.refuse(task, refuses),
            Verb::Claim(task, by, pid) => on.claim(task, by, pid),
            Verb::Disown(task) => on.disown(task),
            Verb::PromoteAll => on.promote_all(),
        }
    }
}

const ARCHIVE: &str = "status <> 'archived'";
const SCHEDULE: &str = "status IN ('todo', 'ready', 'running', 'blocked')";
const RECLAIM: &str =
    "status = 'running' OR (status IN ('ready', 'blocked') AND claim_lock IS NOT NULL)";
const PARENTS_DONE: &str = "NOT EXISTS (SELECT 1 FROM task_links l JOIN tasks p \
    ON p.id = l.parent_id WHERE l.child_id = tasks.id AND p.status NOT IN ('done', 'archived'))";
const PARENTS_ALL_DONE: &str = "NOT EXISTS (SELECT 1 FROM task_links l JOIN tasks p \
    ON p.id = l.parent_id WHERE l.child_id = tasks.id AND p.status <> 'done')";
const FREE: &str = "claim_lock = NULL, claim_expires = NULL, worker_pid = NULL";

struct Verbs<'a> {
    real: &'a Real,
    now: i64,
}

impl Verbs<'_> {
    fn execute(&self, statement: &str, values: impl Params) -> usize {
        self.real.rival.execute(statement, values).expect(statement)
    }

    /// True if the task is there and meets a condition.
    fn is(&self, task: TaskId, condition: &str) -> bool {
        let query = format!("SELECT 1 FROM tasks WHERE id = ?1 AND ({condition})");
        sql::one(&self.real.rival, &query, [task.as_str()], |_| Ok(())).expect(&query).is_some()
    }

    fn event(&self, task: TaskId, kind: &str) {
        let insert = "INSERT INTO task_events (task_id, kind, created_at) VALUES (?1, ?2, ?3)";
        self.execute(insert, params![task.as_str(), kind, self.now]);
    }

    fn end_run(&self, task: TaskId, outcome: &str) {
        let update = format!(
            "UPDATE task_runs SET status = ?2, outcome = ?2, ended_at = ?3, {FREE} WHERE \
             ended_at IS NULL AND id = (SELECT current_run_id FROM tasks WHERE id = ?1)"
        );
        self.execute(&update, params![task.as_str(), outcome, self.now]);
        self.execute("UPDATE tasks SET current_run_id = NULL WHERE id = ?1", [task.as_str()]);
    }

    fn take_back(&self, task: TaskId, to: &str, outcome: &str, condition: &str) -> bool {
        if !self.is(task, condition) {
            return false;
        }
        self.end_run(task, outcome);
        let update = format!("UPDATE tasks SET status = ?2, {FREE} WHERE id = ?1");
        self.execute(&update, [task.as_str(), to]);
        self.event(task, if to == "ready" { "reclaimed" } else { to });
        true
    }

    fn create(&self, new: &model::NewTask) -> bool {
        if self.is(new.id, "true") {
            return false;
        }
        let card = NewTask {
            title: "a title".to_owned(),
            body: new.has_body.then(|| "a body".to_owned()),
            assignee: Some(name(new.lane).to_owned()).filter(|_| new.lane != Lane::Unassigned),
            parents: new.parents.iter().map(TaskId::to_string).collect(),
            priority: new.priority,
            triage: new.triage,
            blocked: new.blocked,
            max_runtime_seconds: new.max_runtime_s.map(i64::from),
            max_retries: new.max_retries.map(i64::from),
            ..NewTask::default()
        };
        let (conn, columns) = (&self.real.rival, &self.real.columns);
        let Ok(card::Created::New(id)) = card::create(conn, columns, self.now, &card) else {
            return false;
        };
        // The id is a random one.
        for column in ["tasks SET id", "task_links SET child_id", "task_events SET task_id"] {
            let (_, key) = column.split_once(" SET ").expect("a column");
            let update = format!("UPDATE {column} = ?1 WHERE {key} = ?2");
            self.execute(&update, [new.id.as_str(), &id]);
        }
        true
    }

    fn complete(&self, task: TaskId, own_run: Option<RunId>, told: bool) -> bool {
        let with = Complete {
            summary: told.then(|| "a summary".to_owned()),
            own_run: own_run.map(|run| run.0),
            failure_limit: 2,
            ..Complete::default()
        };
        let (conn, columns) = (&self.real.rival, &self.real.columns);
        card::complete(conn, columns, self.now, task.as_str(), &with).is_ok()
    }

    fn block(
        &self,
        task: TaskId,
        own_run: Option<RunId>,
        told: bool,
        kind: Option<BlockKind>,
    ) -> bool {
        let with = card::Block {
            reason: told.then(|| "a reason".to_owned()),
            kind: kind.map(|kind| match kind {
                BlockKind::Dependency => RealKind::Dependency,
                BlockKind::NeedsInput => RealKind::NeedsInput,
                BlockKind::Capability => RealKind::Capability,
                BlockKind::Transient => RealKind::Transient,
            }),
            author: "somebody".to_owned(),
            own_run: own_run.map(|run| run.0),
        };
        let (conn, columns) = (&self.real.rival, &self.real.columns);
        card::block(conn, columns, self.now, task.as_str(), &with).is_ok()
    }

    fn unblock(&self, task: TaskId) -> bool {
        let (conn, columns) = (&self.real.rival, &self.real.columns);
        card::unblock(conn, columns, self.now, task.as_str(), &Unblock::default()).is_ok()
    }

    fn comment(&self, task: TaskId) -> bool {
        let (conn, columns) = (&self.real.rival, &self.real.columns);
        card::comment(conn, columns, self.now, task.as_str(), "somebody", "a remark").is_ok()
    }

    fn link(&self, parent: TaskId, child: TaskId) -> bool {
        let (conn, columns) = (&self.real.rival, &self.real.columns);
        card::link(conn, columns, self.now, parent.as_str(), child.as_str()).is_ok()
    }

    fn heartbeat(&self, task: TaskId, run: RunId) -> bool {
        if !self.is(task, &format!("status = 'running' AND current_run_id = {}", run.0)) {
            return false;
        }
        let beat = "last_heartbeat_at = ?2, claim_expires = ?2 + 900";
        let update = format!("UPDATE tasks SET {beat} WHERE id = ?1");
        self.execute(&update, params![task.as_str(), self.now]);
        let update = format!("UPDATE task_runs SET {beat} WHERE id = ?1");
        self.execute(&update, params![run.0, self.now]);
        self.event(task, "heartbeat");
        true
    }

    fn promote(&self, task: TaskId, force: bool) -> bool {
        let parents = if force { "true" } else { PARENTS_DONE };
        if !self.is(task, &format!("status IN ('todo', 'blocked') AND {parents}")) {
            return false;
        }
        self.execute("UPDATE tasks SET status = 'ready' WHERE id = ?1", [task.as_str()]);
        self.event(task, "promoted_manual");
        true
    }

    fn reopen(&self, task: TaskId, to: Status) -> bool {
        let condition = match to {
            Status::Ready => PARENTS_ALL_DONE,
            Status::Todo | Status::Triage => "true",
            Status::Scheduled
            | Status::Running
            | Status::Blocked
            | Status::Done
            | Status::Archived => "false",
        };
        if !self.is(task, condition) {
            return false;
        }
        let was_done = self.is(task, "status = 'done'");
        if self.is(task, "status = 'running'") {
            self.end_run(task, "reclaimed");
        }
        let update = format!("UPDATE tasks SET status = ?2, {FREE} WHERE id = ?1");
        self.execute(&update, [task.as_str(), to.as_str()]);
        self.event(task, "status");
        if was_done {
            self.send_back_children(task);
        }
        true
    }

    fn send_back_children(&self, task: TaskId) {
        let of_it = "SELECT child_id FROM task_links WHERE parent_id = ?1";
        let events = format!(
            "INSERT INTO task_events (task_id, kind, created_at) SELECT id, 'status', ?2 \
             FROM tasks WHERE status = 'ready' AND id IN ({of_it})"
        );
        self.execute(&events, params![task.as_str(), self.now]);
        let update =
            format!("UPDATE tasks SET status = 'todo' WHERE status = 'ready' AND id IN ({of_it})");
        self.execute(&update, [task.as_str()]);
    }

    fn reclaim(&self, task: TaskId) -> bool {
        self.take_back(task, "ready", "reclaimed", RECLAIM) && {
            let update = "UPDATE tasks SET consecutive_failures = 0, last_failure_error = NULL \
                          WHERE id = ?1";
            self.execute(update, [task.as_str()]) == 1
        }
    }

    fn assign(&self, task: TaskId, lane: Lane) -> bool {
        if !self.is(task, "NOT (status = 'running' AND claim_lock IS NOT NULL)") {
            return false;
        }
        let to = Some(name(lane)).filter(|_| lane != Lane::Unassigned);
        self.execute(
            "UPDATE tasks SET consecutive_failures = 0 WHERE id = ?1 AND assignee IS NOT ?2",
            params![task.as_str(), to],
        );
        let update = "UPDATE tasks SET assignee = ?2 WHERE id = ?1";
        self.execute(update, params![task.as_str(), to]);
        self.event(task, "assigned");
        true
    }

    fn prioritise(&self, task: TaskId, priority: i64) -> bool {
        let update = "UPDATE tasks SET priority = ?2 WHERE id = ?1";
        let is_there = self.execute(update, params![task.as_str(), priority]) == 1;
        if is_there {
            self.event(task, "reprioritized");
        }
        is_there
    }

    fn edit(&self, task: TaskId, has_body: bool) -> bool {
        let body = has_body.then_some("a body");
        let update = "UPDATE tasks SET body = ?2 WHERE id = ?1";
        let is_there = self.execute(update, params![task.as_str(), body]) == 1;
        if is_there {
            self.event(task, "edited");
        }
        is_there
    }

    fn unlink(&self, parent: TaskId, child: TaskId) -> bool {
        let delete = "DELETE FROM task_links WHERE parent_id = ?1 AND child_id = ?2";
        let was_there = self.execute(delete, [parent.as_str(), child.as_str()]) == 1;
        if was_there {
            self.event(child, "unlinked");
        }
        was_there
    }

    fn delete(&self, task: TaskId) -> bool {
        let id = [task.as_str()];
        self.execute(&format!("DROP TRIGGER IF EXISTS no_{task}"), []);
        for table in ["task_comments", "task_events", "task_runs"] {
            self.execute(&format!("DELETE FROM {table} WHERE task_id = ?1"), id);
        }
        self.execute("DELETE FROM task_links WHERE parent_id = ?1 OR child_id = ?1", id);
        self.execute("DELETE FROM tasks WHERE id = ?1", id) == 1
    }

    /// Only dispatchers of our kind are refused.
    fn refuse(&self, task: TaskId, refuses: bool) -> bool {
        if !self.is(task, "true") {
            return false;
        }
        self.execute(&format!("DROP TRIGGER IF EXISTS no_{task}"), []);
        if refuses {
            let trigger = format!(
                "CREATE TRIGGER no_{task} BEFORE INSERT ON task_runs WHEN NEW.task_id = '{task}' \
                 AND NEW.claim_lock LIKE 'vm:7%' BEGIN SELECT RAISE(ABORT, 'no'); END"
            );
            self.execute(&trigger, []);
        }
        // A trigger that was not there and is not to be changes nothing.
        self.execute("UPDATE tasks SET tenant = 'x' WHERE id = ?1", [task.as_str()]) == 1
    }

    fn claim(&self, task: TaskId, by: Holder, pid: Option<Pid>) -> bool {
        if !self.is(task, "status = 'ready' AND claim_lock IS NULL") {
            return false;
        }
        if !self.is(task, PARENTS_DONE) {
            self.execute("UPDATE tasks SET status = 'todo' WHERE id = ?1", [task.as_str()]);
            self.event(task, "claim_rejected");
            return false;
        }
        let leaked = format!(
            "UPDATE task_runs SET status = 'reclaimed', outcome = 'reclaimed', ended_at = ?2, \
             {FREE} WHERE task_id = ?1 AND ended_at IS NULL"
        );
        self.execute(&leaked, params![task.as_str(), self.now]);
        let pid = pid.map(|pid| pid.0);
        let values = params![task.as_str(), lock(by), self.now, pid];
        let insert = "INSERT INTO task_runs (task_id, status, claim_lock, claim_expires, \
                      worker_pid, started_at) VALUES (?1, 'running', ?2, ?3 + 900, ?4, ?3)";
        self.execute(insert, values);
        let update = "UPDATE tasks SET status = 'running', claim_lock = ?2, \
                      claim_expires = ?3 + 900, worker_pid = ?4, \
                      started_at = ifnull(started_at, ?3), \
                      current_run_id = (SELECT max(id) FROM task_runs) WHERE id = ?1";
        self.execute(update, values);
        self.event(task, "claimed");
        true
    }

    fn disown(&self, task: TaskId) -> bool {
        let update = "UPDATE tasks SET claim_lock = NULL, claim_expires = NULL \
                      WHERE id = ?1 AND status = 'running' AND claim_lock IS NOT NULL";
        self.execute(update, [task.as_str()]) == 1
    }

    fn promote_all(&self) -> bool {
        let due = "SELECT id FROM tasks WHERE (status = 'todo' OR (status = 'blocked' \
                   AND consecutive_failures < max(ifnull(max_retries, 2), 1))) AND";
        let query = format!("{due} {PARENTS_DONE}");
        let ids = sql::all(&self.real.rival, &query, [], |row| row.get::<_, String>("id"));
        for id in ids.expect(&query) {
            let task = TaskId::new(&id).expect("a task id");
            if self.is(task, "status = 'blocked'") && self.is_held(task) {
                continue;
            }
            self.execute("UPDATE tasks SET status = 'ready' WHERE id = ?1", [&id]);
            self.event(task, "promoted");
        }
        true
    }

    fn is_held(&self, task: TaskId) -> bool {
        let newest = |kinds: &str| {
            let query = format!(
                "SELECT kind || ifnull(payload, '') AS said FROM task_events WHERE task_id = ?1 \
                 AND kind IN ({kinds}) ORDER BY id DESC LIMIT 1"
            );
            let said = sql::one(&self.real.rival, &query, [task.as_str()], |row| {
                row.get::<_, String>("said")
            });
            said.expect(&query).unwrap_or_default()
        };
        newest("'blocked', 'unblocked'").starts_with("blocked")
            || newest("'gave_up', 'unblocked'").contains("\"sticky\": true")
    }
}
