//! The writer, for the dispatcher. A thread of its own writes, because the state directory may fail
//! or hang: then other processes know less, and nothing else happens.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Class, Kind, Status, Told, Writer, files};
use crate::machine::Dispatcher;
use crate::machine::fault::FaultClass;
use crate::machine::hold::{BoardHold, End};
use crate::machine::ids::BoardId;
use crate::machine::time::{Mono, Now};
use crate::process::identity::Alive;
use crate::root::{Environment, state_directory};
use crate::runtime::boards::Boards;
use crate::runtime::clock;
use crate::runtime::report::{Names, errno_text};
use crate::runtime::spawn_thread::{SpawnThreads, SpawnThreadsError};
use crate::runtime::threads::Threads;

/// How long the end of a dispatcher waits for its file to be removed. If it is not, its readers
/// find its writer dead.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// What is compared to see whether there is anything new: clocks and words do not count. `None`
/// stands for the host.
type Standing = Vec<(Option<BoardId>, BoardHold)>;

/// The loop's end of the thread that writes the file. Dropped, it has the file removed.
#[derive(Debug)]
pub struct StatusWriter {
    last: Standing,
    /// A job is what the file is to hold.
    pub(super) threads: Threads<(), Vec<Told>>,
}

impl StatusWriter {
    /// Starts the thread, which also removes the files of writers that died.
    pub fn start(root: PathBuf, env: Environment) -> io::Result<StatusWriter> {
        let file = Mutex::new(StatusFile { root, env, swept: false, trouble: None });
        let write = move |holds| file.lock().unwrap_or_else(PoisonError::into_inner).write(holds);
        let threads = Threads::new("status".to_owned(), 1, write, |()| ());
        threads.ask((), Vec::new())?;
        Ok(StatusWriter { last: Standing::new(), threads })
    }

    /// Has the file written if what it is to tell has changed. Never waits for it.
    pub fn update(&mut self, machine: &Dispatcher, boards: &Boards, names: &Names) {
        let now = clock::now();
        self.tell(standing(machine, boards, now.mono), |standing| {
            standing.iter().map(|(board, hold)| told(*board, *hold, names, now)).collect()
        });
    }

    pub(super) fn tell(&mut self, standing: Standing, words: impl FnOnce(&Standing) -> Vec<Told>) {
        if standing == self.last {
            return;
        }
        let told = words(&standing);
        self.last = standing;
        // Only the newest counts.
        let _there_is_a_thread = self.threads.ask_only((), told);
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        let _there_is_a_thread = self.threads.ask_only((), Vec::new());
        self.threads.finish(SHUTDOWN);
    }
}

/// What runs on the writer thread.
struct StatusFile {
    root: PathBuf,
    env: Environment,
    /// Whether files of dead writers were removed.
    swept: bool,
    /// What went wrong last time.
    trouble: Option<String>,
}

impl StatusFile {
    fn write(&mut self, holds: Vec<Told>) {
        if !self.swept
            && let Ok(directory) = state_directory(&self.root, &self.env)
        {
            remove_dead(&directory);
        }
        self.swept = true;
        let Err(error) = write(&self.root, &self.env, holds) else { return self.trouble = None };
        if self.trouble.as_ref() != Some(&error) {
            tracing::warn!("other processes cannot see which boards are out of use: {error}");
            self.trouble = Some(error);
        }
    }
}

/// Writes this process's file such that others see all of it or none, or removes it if there is
/// nothing to tell.
pub(super) fn write(root: &Path, env: &Environment, holds: Vec<Told>) -> Result<(), String> {
    let directory = state_directory(root, env).map_err(|error| error.to_string())?;
    let name = format!("status.{}", std::process::id());
    let path = directory.join(format!("{name}.json"));
    let cannot = |error: io::Error| format!("cannot write {}: {error}", path.display());
    if holds.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot(error)),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let writer = Writer::this_process().map_err(cannot)?;
    let status = Status { writer, written_at: clock::unix(), holds };
    let text = serde_json::to_vec_pretty(&status).map_err(|error| cannot(error.into()))?;
    let new = directory.join(format!("{name}.new"));
    let written = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .and_then(|()| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &path));
    written.map_err(cannot)
}

/// Removes what dispatchers left behind that were killed.
pub(super) fn remove_dead(directory: &Path) {
    for (path, status) in files(directory) {
        if status.writer.alive() == Alive::No {
            let _skipped_by_readers_anyway = fs::remove_file(path);
        }
    }
}

/// What there is to tell now.
fn standing(machine: &Dispatcher, boards: &Boards, now: Mono) -> Standing {
    let mut standing = Standing::new();
    standing.extend(machine.host_hold(now).map(|hold| (None, hold)));
    for board in machine.boards().filter(|board| board.is_listed()) {
        let id = Some(board.id());
        standing.extend(board.file_hold().map(|hold| (id, hold)));
        standing.extend(board.worker_hold().map(|hold| (id, hold)));
        let stuck = boards.spawns(board.id()).is_some_and(SpawnThreads::are_stuck);
        let directories =
            if stuck { Some(BoardHold::SpawnThreadsStuck) } else { board.directory_hold(now) };
        standing.extend(directories.map(|hold| (id, hold)));
    }
    standing
}

/// A hold in words.
pub(super) fn told(board: Option<BoardId>, hold: BoardHold, names: &Names, now: Now) -> Told {
    let (kind, class, reason) = match hold {
        BoardHold::Quarantined { class, .. } => {
            let reason = board.and_then(|board| names.faults.get(&board).cloned());
            (Kind::Quarantined, Some(class_name(class)), reason)
        }
        BoardHold::Hung => (Kind::Hung, None, None),
        BoardHold::SpawnThreadsStuck => {
            (Kind::SpawnThreadsStuck, None, Some(SpawnThreadsError::Stuck.to_string()))
        }
        BoardHold::WorkersUnclear { count, task } => {
            let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            (Kind::WorkersUnclear, None, Some(format!("{task}{others}")))
        }
        BoardHold::DirectoriesFail { .. } => (Kind::DirectoriesFail, None, None),
        BoardHold::HostRefuses { errno, .. } => {
            (Kind::HostRefuses, None, Some(errno_text(errno).to_owned()))
        }
    };
    let (until, ends_by) = match hold.end(now) {
        End::At(unix) => (Some(unix), "itself"),
        End::Owner(owner) => (None, owner.name()),
    };
    let board = board.map(|id| names.boards.get(&id).cloned().unwrap_or_default());
    Told { board, kind, class, reason, until, ends_by: ends_by.to_owned() }
}

fn class_name(class: FaultClass) -> Class {
    match class {
        FaultClass::Content => Class::Content,
        FaultClass::Access => Class::Access,
        FaultClass::Busy => Class::Busy,
        FaultClass::Replaced => Class::Replaced,
    }
}
