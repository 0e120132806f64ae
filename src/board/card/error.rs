//! Why a verb did nothing.

use std::io;
use std::path::PathBuf;

/// Why a command wrote nothing. Each message is one line, and names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The board has no task with this id.
    #[error("there is no task `{0}` on this board; `sexton list --archived` shows all there are")]
    NoTask(String),
    /// The task is in a status in which this cannot be done.
    #[error("{task} is {status}; only a task that is {allowed} can be {done}")]
    Status {
        /// The task's id.
        task: String,
        /// The status that it has now.
        status: String,
        /// What it would have to be.
        allowed: &'static str,
        /// What was to be done to it, as a participle.
        done: &'static str,
    },
    /// A worker spoke for a run that is no longer its task's.
    #[error("run {run} of {task} is over: another attempt took its place, so this one must stop")]
    Superseded {
        /// The task's id.
        task: String,
        /// The run that the caller belongs to.
        run: i64,
    },
    /// A task would wait for itself.
    #[error("{0} cannot wait for itself; give two different tasks")]
    SelfLink(String),
    /// Tasks would wait for each other.
    #[error("{child} cannot wait for {parent}, because {parent} already waits for {child}")]
    Cycle {
        /// Would have to be done first.
        parent: String,
        /// The task that would wait for the other.
        child: String,
    },
    /// A text that must say something is blank.
    #[error("the {0} is blank; give some text")]
    Blank(&'static str),
    /// The file cannot be a board, or not be used as one.
    #[error("{path} {problem}")]
    NotABoard {
        /// Path of the database file.
        path: PathBuf,
        /// What is the matter with it, and what to do.
        problem: &'static str,
    },
    /// The file system refused.
    #[error("cannot use {path}: {source}")]
    File {
        /// The path that was opened.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel returned no randomness.
    #[error("cannot make an id: {0}")]
    Random(io::Error),
    /// SQLite refused the statement.
    #[error("the board refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
