//! Compares what the board says of runs with what their workers wrote.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use sexton::board::sql;

use crate::body::Log;
use crate::scene::Scene;

/// A run, as the board has it.
#[derive(Debug)]
pub struct Run {
    pub id: i64,
    pub task: String,
    pub ended: bool,
    pub outcome: Option<String>,
    pub error: Option<String>,
    /// The outcome in our own table.
    pub unknown: bool,
}

impl Run {
    pub fn all(scene: &Scene) -> Vec<Run> {
        let conn = Connection::open(scene.db()).unwrap();
        let query = "SELECT id, task_id, ended_at NOT NULL, outcome, error, \
                     EXISTS (SELECT 1 FROM sexton_runs r WHERE r.run_id = id \
                             AND r.outcome = 'unknown') \
                     FROM task_runs ORDER BY id";
        let runs = sql::all(&conn, query, [], |row| {
            Ok(Run {
                id: row.get(0)?,
                task: row.get(1)?,
                ended: row.get(2)?,
                outcome: row.get(3)?,
                error: row.get(4)?,
                unknown: row.get(5)?,
            })
        });
        runs.unwrap()
    }

    fn says(&self, outcome: &str, error: &str) -> bool {
        self.outcome.as_deref() == Some(outcome)
            && self.error.as_deref().unwrap_or_default().ends_with(error)
    }

    /// Returns whether it says that a worker ended like this.
    fn says_ended(&self, code: i32) -> bool {
        match code {
            0 => self.says("completed", ""),
            9 => self.says("crashed", "killed by signal 9"),
            75 => self.says("rate_limited", "requeued without counting a failure"),
            code => self.says("crashed", &format!("exited with code {code}")),
        }
    }

    fn says_unknown(&self) -> bool {
        let says = "how the worker ended is unknown: it ended while no dispatcher lived";
        self.unknown && self.says("reclaimed", says)
    }
}

/// Returns the errors in the runs of a board on which nothing runs, in words.
pub fn faults(scene: &Scene) -> Vec<String> {
    let runs = Run::all(scene);
    let logs: BTreeMap<String, Log> = scene
        .rows("SELECT id FROM tasks")
        .into_iter()
        .map(|task| (task.clone(), Log::of(&scene.bodies(), &task)))
        .collect();
    let mut faults: Vec<String> =
        runs.iter().filter_map(|run| fault(run, &logs[&run.task])).collect();
    let known: BTreeSet<i64> = runs.iter().map(|run| run.id).collect();
    for (task, log) in &logs {
        let each: BTreeSet<i64> = log.began.iter().map(|(run, _)| *run).collect();
        if log.overlaps > 0 || each.len() != log.began.len() || !each.is_subset(&known) {
            faults.push(format!("{task} had two workers: {log:?}"));
        }
    }
    faults
}

fn fault(run: &Run, log: &Log) -> Option<String> {
    let began = log.began.iter().any(|(id, _)| *id == run.id);
    let is_true = match log.ended.get(&run.id) {
        Some(code) => run.says_ended(*code) || run.says_unknown(),
        // In these tests workers end only by themselves.
        None => !began && run.says("reclaimed", "sexton: not started"),
    };
    let is_right = run.ended && is_true && (run.unknown == run.says_unknown());
    (!is_right).then(|| format!("{run:?}, and its worker wrote {log:?}"))
}

/// Returns the runs whose end is unknown.
pub fn unknown(scene: &Scene) -> BTreeSet<i64> {
    Run::all(scene).into_iter().filter(|run| run.unknown).map(|run| run.id).collect()
}

/// Returns the tasks that began again after an exit with code 0.
pub fn done_again(scene: &Scene) -> Vec<String> {
    let mut tasks = scene.rows("SELECT id FROM tasks");
    tasks.retain(|task| {
        let log = Log::of(&scene.bodies(), task);
        let done = log.began.iter().position(|(run, _)| log.ended.get(run) == Some(&0));
        done.is_some_and(|at| at + 1 < log.began.len())
    });
    tasks
}
