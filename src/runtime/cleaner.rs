//! The lane that removes the scratch workspaces of completed tasks: one thread for each board. A
//! folder can hold any number of files, and its disk can hang; then folders stay, and nothing else
//! happens. It is no spawn lane, so that a removal that hangs keeps no worker from starting.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::board::Scratch;
use crate::machine::ids::TaskId;
use crate::process::workspace::{self, WorkspaceError};

/// Folders that wait, at the most: with more, their disk hangs, and what is beyond stays.
const WAITING: usize = 4096;

/// The loop's end, and that of the spawn lanes.
#[derive(Clone, Debug)]
pub struct Cleaner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    board: String,
    /// The board's folder of scratch workspaces.
    root: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Scratch>,
    /// Whose folder is being removed.
    now: Option<TaskId>,
    /// Whether there is a thread.
    served: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.now.is_none()
    }
}

impl Cleaner {
    /// No thread yet: it is started when there is something to remove.
    #[must_use]
    pub fn new(board: String, root: PathBuf) -> Cleaner {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Cleaner { shared: Arc::new(Shared { board, root, state, changed }) }
    }

    /// Asks for a folder to be removed.
    pub fn ask(&self, scratch: Scratch) {
        let mut state = self.shared.state();
        if state.waiting.len() >= WAITING {
            return;
        }
        state.waiting.push_back(scratch);
        if !state.served {
            let shared = Arc::clone(&self.shared);
            let name = format!("clean-{}", self.shared.board);
            // Refused, the next time tries again.
            state.served = thread::Builder::new().name(name).spawn(move || shared.serve()).is_ok();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The task runs again: its folder is not to be removed. Waits for a removal that is under way,
    /// so that it does not take what is put there anew; to be called by lanes only.
    pub fn withdraw(&self, task: TaskId) {
        let mut state = self.shared.state();
        state.waiting.retain(|scratch| scratch.task != task);
        while state.now == Some(task) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until nothing is left to be removed, but not longer than this.
    pub fn finish(&self, millis: u64) {
        let state = self.shared.state();
        let patience = Duration::from_millis(millis);
        let _done_or_not =
            self.shared.changed.wait_timeout_while(state, patience, |s| s.served && !s.is_idle());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        loop {
            let scratch = self.next();
            self.remove(&scratch);
            self.state().now = None;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Scratch {
        let mut state = self.state();
        loop {
            if let Some(scratch) = state.waiting.pop_front() {
                state.now = Some(scratch.task);
                return scratch;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn remove(&self, scratch: &Scratch) {
        let (board, task) = (self.board.as_str(), scratch.task.as_str());
        match remove(scratch, &self.root) {
            Ok(_) => {}
            // Not ours to remove.
            Err(error @ WorkspaceError::Request(_)) => {
                tracing::debug!(board, task, "its workspace stays: {error}");
            }
            Err(error) => tracing::warn!(board, task, "its workspace stays: {error}"),
        }
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
    use std::fs;

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
    fn the_folder_of_a_task_that_runs_again_stays() {
        let root = tempfile::tempdir().unwrap();
        let cleaner = Cleaner::new("default".to_owned(), root.path().to_owned());
        // As if the lane were at work on another folder, so that these wait.
        cleaner.shared.state().served = true;
        cleaner.ask(scratch("t_1"));
        cleaner.ask(scratch("t_2"));
        cleaner.withdraw(task("t_1"));
        let waiting: Vec<_> = cleaner.shared.state().waiting.iter().map(|s| s.task).collect();
        assert_eq!(waiting, [task("t_2")]);
        // Under way: it is waited for.
        cleaner.shared.state().now = Some(task("t_2"));
        let lane = cleaner.clone();
        let waits = thread::spawn(move || lane.withdraw(task("t_2")));
        cleaner.withdraw(task("t_3"));
        assert!(!waits.is_finished());
        cleaner.shared.state().now = None;
        cleaner.shared.changed.notify_all();
        waits.join().unwrap();
    }
}
