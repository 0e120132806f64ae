//! Removes the scratch workspaces of completed tasks: one thread for each board. A directory can hold
//! any number of files, and its disk can hang; then directories stay, and nothing else happens. It
//! is not a spawn thread, so that a removal that hangs keeps no worker from starting.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::threads::Threads;
use crate::board::Scratch;
use crate::machine::ids::TaskId;
use crate::process::workspace::{self, WorkspaceError};

/// Queue limit. A longer queue means a hung disk; further directories are kept.
const WAITING: usize = 4096;

/// The end of the loop, and that of the spawn threads.
#[derive(Clone, Debug)]
pub struct Cleaner {
    threads: Arc<Threads<TaskId, Scratch>>,
}

impl Cleaner {
    /// No thread yet: it is started when there is something to remove. `root` is the board's
    /// directory of scratch workspaces.
    #[must_use]
    pub fn new(board: String, root: PathBuf) -> Cleaner {
        let name = format!("clean-{board}");
        let clean = move |scratch: Scratch| clean(&board, &root, &scratch);
        Cleaner { threads: Arc::new(Threads::new(name, 1, clean, |()| ())) }
    }

    /// Asks for a directory to be removed.
    pub fn ask(&self, scratch: Scratch) {
        if self.threads.waiting() < WAITING {
            let _tried_again_next_time = self.threads.leave(scratch.task, scratch);
        }
    }

    /// The task runs again: its directory is not to be removed. Waits for a removal that is under
    /// way, so that it does not take what the next attempt puts there; for spawn threads only.
    pub fn withdraw(&self, task: TaskId) {
        self.threads.withdraw(&task);
        self.threads.wait_for(&task);
    }

    /// Waits until nothing is left to be removed, but not longer than this.
    pub fn finish(&self, millis: u64) {
        self.threads.finish(Duration::from_millis(millis));
    }
}

fn clean(board: &str, root: &Path, scratch: &Scratch) {
    let task = scratch.task.as_str();
    match remove(scratch, root) {
        Ok(_) => {}
        // Not ours to remove.
        Err(error @ WorkspaceError::Request(_)) => {
            tracing::debug!(board, task, "its workspace stays: {error}");
        }
        Err(error) => tracing::warn!(board, task, "its workspace stays: {error}"),
    }
}

/// Removes a scratch workspace. False if it was not there.
pub fn remove(scratch: &Scratch, root: &Path) -> Result<bool, WorkspaceError> {
    let path = scratch.path.as_deref().filter(|path| !path.is_empty()).map(Path::new);
    workspace::clean_scratch(scratch.task.as_str(), path, root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, thread};

    fn task(id: &str) -> TaskId {
        TaskId::new(id).unwrap()
    }

    fn scratch(id: &str) -> Scratch {
        Scratch { task: task(id), path: None }
    }

    #[test]
    fn what_is_asked_for_is_removed_before_the_end() {
        let root = tempfile::tempdir().unwrap();
        let cleaner = Cleaner::new("default".to_owned(), root.path().to_owned());
        cleaner.finish(60_000);
        for id in ["t_1", "t_2", "t_3"] {
            fs::create_dir_all(root.path().join(id).join("a/b")).unwrap();
        }
        cleaner.ask(scratch("t_1"));
        cleaner.ask(scratch("t_0"));
        cleaner.ask(scratch("t_2"));
        cleaner.finish(60_000);
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [root.path().join("t_3")]);
    }

    #[test]
    fn the_directory_of_a_task_that_runs_again_stays() {
        let root = tempfile::tempdir().unwrap();
        let cleaner = Cleaner::new("default".to_owned(), root.path().to_owned());
        // While the thread is at another directory, these wait.
        cleaner.threads.hang(task("t_0"));
        cleaner.ask(scratch("t_1"));
        cleaner.ask(scratch("t_2"));
        cleaner.withdraw(task("t_1"));
        assert_eq!(cleaner.threads.keys(), [task("t_2")]);
        // A removal that is under way is waited for.
        let spawn_thread = cleaner.clone();
        let waits = thread::spawn(move || spawn_thread.withdraw(task("t_0")));
        cleaner.withdraw(task("t_3"));
        assert!(!waits.is_finished());
        cleaner.threads.return_from(&task("t_0"));
        waits.join().unwrap();
    }
}
