//! How the tasks stand, what came of them in the end, and which claims do not hold.

use std::collections::BTreeMap;
use std::process::Output;

use serde::Serialize;
use serde_json::{Value, json};

use super::observer::Seen;
use super::script::State;
use super::stage::{Stage, Task};
use crate::board::card::{self, Card, Opened};
use crate::cli::failure::Failure;

#[derive(Debug, Serialize)]
pub struct Findings<'a> {
    /// What `sexton run` printed.
    pub sexton: Value,
    pub observer: Seen,
    pub tasks: Vec<Standing<'a>>,
    /// SHA-256 of each damaged file after the damage, if that was done, and at the end.
    pub damaged: BTreeMap<&'static str, [Option<String>; 2]>,
    /// Claims that do not hold.
    pub failed: Vec<String>,
}

/// How a task stands.
#[derive(Debug, Serialize)]
pub struct Standing<'a> {
    #[serde(flatten)]
    pub task: &'a Task,
    pub state: State,
    /// How its last worker ended, if that was not well or not recorded.
    pub exit: String,
    pub attempts: usize,
}

impl Standing<'_> {
    /// In a few words.
    pub fn result(&self) -> String {
        let separator = if self.exit.is_empty() { "" } else { ": " };
        self.word() + separator + &self.exit
    }

    pub fn word(&self) -> String {
        json!(self.state).as_str().unwrap_or_default().replace('_', " ")
    }
}

impl Findings<'_> {
    pub fn gather<'a>(
        stage: &'a Stage,
        output: &Output,
        observer: Seen,
        damaged: BTreeMap<&'static str, [Option<String>; 2]>,
    ) -> Result<Findings<'a>, Failure> {
        let sexton: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| Failure::Refused(format!("`sexton run` failed: {}", output.status)))?;
        let mut tasks = look(stage);
        for exit in sexton["unrecorded"].as_array().into_iter().flatten() {
            for lost in tasks.iter_mut().filter(|lost| exit["task"] == *lost.task.id) {
                lost.exit = exit["verdict"].as_str().unwrap_or_default().to_owned();
            }
        }
        let mut failed: Vec<String> = Vec::new();
        let mut claim = |holds: bool, text: &str| failed.extend((!holds).then(|| text.to_owned()));
        claim(output.status.code() == Some(1), "`sexton run` did not end with code 1.");
        claim(sexton["spawned"] == sexton["reaped"], "Not every worker was reaped.");
        claim(observer.left == Some(0), "Processes are left.");
        claim(observer.looks > 0, "No list of children in /proc could be read.");
        for (board, [after, at_the_end]) in &damaged {
            let is_unchanged = after.is_some() && after == at_the_end;
            claim(is_unchanged, &format!("The file of `{board}` is not as the damage left it."));
        }
        for Standing { task, state, exit, attempts } in &tasks {
            let is_named = *state != State::NotRecorded || !exit.is_empty();
            let is_right = (*state, *attempts) == task.must_end && is_named;
            let Task { board, title, .. } = task;
            claim(is_right, &format!("`{title}` of `{board}` did not end as it must."));
        }
        Ok(Findings { sexton, observer, tasks, damaged, failed })
    }
}

/// How each task stands now.
pub fn look(stage: &Stage) -> Vec<Standing<'_>> {
    let boards = stage.tasks.chunk_by(|a, b| a.board == b.board);
    let standings = boards.flat_map(|tasks| {
        let db = tasks.first().and_then(|task| stage.db(task.board).ok());
        let opened = db.and_then(|db| card::open_for_reading(&db).ok());
        tasks.iter().map(move |task| standing(stage, opened.as_ref(), task))
    });
    standings.collect()
}

fn standing<'a>(stage: &Stage, opened: Option<&Opened>, task: &'a Task) -> Standing<'a> {
    let read = |opened: &Opened| card::show(&opened.conn, &opened.columns, &task.id).ok();
    let Some(Card { task: row, runs, .. }) = opened.and_then(read) else {
        // The board cannot be read. A worker leaves a sign.
        let has_run = stage.cue(&task.title).exists();
        let state = if has_run { State::NotRecorded } else { State::NotStarted };
        return Standing { task, state, exit: String::new(), attempts: usize::from(has_run) };
    };
    let outcome = runs.last().and_then(|run| run.outcome.as_deref());
    let state = match (row.status.as_str(), outcome) {
        ("done", _) => State::Done,
        ("running", _) => State::Running,
        ("blocked", Some(_)) => State::GaveUp,
        ("ready", Some("rate_limited")) => State::Resting,
        _ => State::Waiting,
    };
    let error = row.last_failure_error.filter(|_| state == State::GaveUp).unwrap_or_default();
    // The pid is dropped, since it differs from run to run.
    let exit = error.trim_start_matches("pid ").trim_start_matches(|c: char| c.is_ascii_digit());
    Standing { task, state, exit: exit.trim().to_owned(), attempts: runs.len() }
}
