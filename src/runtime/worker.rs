//! What a worker is given: its command line and its environment.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::board::SpawnFacts;
use crate::config::{Facts, WorkerCommand};
use crate::process::spawn;
use crate::root::{BoardPaths, Environment};

/// Variables of ours that say something of another task, or that would make a worker refuse its
/// work; they are not handed on.
const NOT_INHERITED: [&str; 8] = [
    "HERMES_TUI",
    "HERMES_TENANT",
    "HERMES_KANBAN_BRANCH",
    "HERMES_KANBAN_GOAL_MODE",
    "HERMES_KANBAN_GOAL_MAX_TURNS",
    "HERMES_DELEGATED_CHILD_CONTEXT",
    "SEXTON_BODY",
    "SEXTON_BRANCH",
];

/// Our directories that a worker may look for in its turn, and from another directory than we did.
const DIRECTORIES: [&str; 3] = ["SEXTON_ROOT", "HERMES_KANBAN_HOME", "HERMES_HOME"];

/// The longest string that the kernel takes in an environment, in bytes, with room for the name.
const LONGEST: usize = 128 * 1024 - 64;

/// Returns the worker's command line, with its placeholders replaced.
#[must_use]
pub fn argv(
    command: &WorkerCommand,
    board: &BoardPaths,
    facts: &SpawnFacts,
    workspace: &Path,
) -> Vec<OsString> {
    command.argv(&Facts {
        task_id: facts.task.as_str(),
        title: &facts.title,
        body: facts.body.as_deref().unwrap_or_default(),
        workspace: workspace.as_os_str(),
        board: board.slug.as_str(),
        run_id: facts.run.0,
    })
}

/// The environment: ours, with what is known of the task.
#[must_use]
pub fn environment(
    command: &WorkerCommand,
    board: &BoardPaths,
    facts: &SpawnFacts,
    workspace: &Path,
    branch: Option<&str>,
) -> Vec<(OsString, OsString)> {
    let run = facts.run.0.to_string();
    let mut set: Vec<(&str, &OsStr)> = vec![
        ("SEXTON_TASK_ID", facts.task.as_str().as_ref()),
        ("SEXTON_TITLE", facts.title.as_ref()),
        ("SEXTON_WORKSPACE", workspace.as_os_str()),
        ("SEXTON_BOARD", board.slug.as_str().as_ref()),
        ("SEXTON_RUN_ID", run.as_ref()),
        ("HERMES_PROFILE", facts.assignee.as_ref()),
        ("HERMES_KANBAN_TASK", facts.task.as_str().as_ref()),
        ("HERMES_KANBAN_RUN_ID", run.as_ref()),
        ("HERMES_KANBAN_CLAIM_LOCK", facts.claim_lock.as_ref()),
        ("HERMES_KANBAN_DB", board.db.as_os_str()),
        ("HERMES_KANBAN_BOARD", board.slug.as_str().as_ref()),
        ("HERMES_KANBAN_WORKSPACES_ROOT", board.workspaces.as_os_str()),
        ("HERMES_KANBAN_WORKSPACE", workspace.as_os_str()),
        ("TERMINAL_CWD", workspace.as_os_str()),
    ];
    let optional = [
        ("SEXTON_BODY", facts.body.as_deref().filter(|body| body.len() < LONGEST)),
        ("HERMES_KANBAN_BRANCH", branch),
        ("HERMES_TENANT", facts.tenant.as_deref()),
    ];
    set.extend(optional.iter().filter_map(|(name, value)| Some((*name, OsStr::new((*value)?)))));
    set.extend(command.env.iter().map(|(name, value)| (name.as_str(), OsStr::new(value))));
    let given = |name: &OsStr| {
        NOT_INHERITED.iter().any(|n| *n == name) || set.iter().any(|(n, _)| OsStr::new(n) == name)
    };
    let mut all: Vec<(OsString, OsString)> =
        spawn::own_environment().filter(|(name, _)| !given(name)).collect();
    let ours = Environment::of_this_process();
    for (name, value) in &mut all {
        let directory = DIRECTORIES.into_iter().find(|directory| *directory == name);
        if let Some(path) = directory.and_then(|directory| ours.path(directory)) {
            *value = path.into();
        }
    }
    all.extend(set.iter().map(|(name, value)| (OsString::from(name), without_nul(value))));
    all
}

/// A value that the kernel takes: text from a board may hold zero bytes.
fn without_nul(value: &OsStr) -> OsString {
    match value.to_str() {
        Some(text) if text.contains('\0') => text.replace('\0', "\u{fffd}").into(),
        _ => value.to_owned(),
    }
}
