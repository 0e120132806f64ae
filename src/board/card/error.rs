//! Why a verb did nothing.

use std::io;
use std::path::PathBuf;

/// A verb that wrote nothing, and why. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// No such task.
    #[error("there is no task `{0}` on this board; `sexton list --archived` shows all there are")]
    NoTask(String),
    /// The task is in a status in which this cannot be done.
    #[error("{task} is {status}; only a task that is {allowed} can be {done}")]
    Status {
        /// Which task.
        task: String,
        /// What it is.
        status: String,
        /// What it would have to be.
        allowed: &'static str,
        /// What was to be done to it, as a participle.
        done: &'static str,
    },
    /// A worker spoke for a run that is no longer its task's.
    #[error("run {run} of {task} is over: another attempt took its place, so this one must stop")]
    Superseded {
        /// Which task.
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
        /// Would wait.
        child: String,
    },
    /// A text that must say something is blank.
    #[error("the {0} is blank; give some text")]
    Blank(&'static str),
    /// The file cannot be a board, or not be used as one.
    #[error("{path} {problem}")]
    NotABoard {
        /// The database file.
        path: PathBuf,
        /// What is the matter with it, and what to do.
        problem: &'static str,
    },
    /// The file system refused.
    #[error("cannot use {path}: {source}")]
    File {
        /// What was used.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel gives no randomness.
    #[error("cannot make an id: {0}")]
    Random(io::Error),
    /// SQLite refused.
    #[error("the board refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
