//! What only a dispatcher knows of its boards, told to the commands of other processes by a small
//! file in the state folder: which boards are out of use, until when, and why.
//!
//! Each dispatcher writes a file of its own, `status.<pid>.json`, and readers merge those whose
//! writers live. With one file for all, the last writer would win: a dispatcher that is well, or
//! that ends, would hide what another one knows.
//!
//! The file is there only while there is something to tell. A thread of its own writes it, because
//! the state folder may fail or hang: then others are not told, and nothing else happens.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boards::Boards;
use super::clock;
use super::report::{Names, errno_text};
use super::spawn_thread::{SpawnThreads, SpawnThreadsError};
use super::threads::{Job, Threads};
use crate::machine::Dispatcher;
use crate::machine::fault::FaultClass;
use crate::machine::hold::{BoardHold, End};
use crate::machine::ids::{BoardId, Pid};
use crate::machine::time::{Mono, Now};
use crate::process::identity::{self, Alive};
use crate::regular;
use crate::root::{Environment, state_folder};

/// How long the end of a dispatcher waits for its file to be removed. If it is not, its readers
/// find its writer dead.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// A hold as it is told to other processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The board that it holds; `None`: all of them.
    pub board: Option<String>,
    /// Which hold.
    pub kind: Kind,
    /// Which sort of trouble, for a quarantine.
    pub class: Option<Class>,
    /// What happened, in words.
    pub reason: Option<String>,
    /// When it ends by itself, or is tried again, in seconds since 1970.
    pub until: Option<i64>,
    /// Who can end it: `itself`, or who must act.
    pub ends_by: String,
}

impl Told {
    /// Whether it has ended by itself, although its writer, who sleeps, has not taken it back. A
    /// quarantine does not end so: it is looked at.
    fn is_over(&self, now: i64) -> bool {
        match self.kind {
            Kind::FoldersFail | Kind::HostRefuses => self.until.is_some_and(|until| until < now),
            Kind::Quarantined | Kind::Hung | Kind::SpawnLanesStuck => false,
        }
    }
}

/// A [`BoardHold`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`BoardHold::Quarantined`]
    Quarantined,
    /// [`BoardHold::Hung`]
    Hung,
    /// [`BoardHold::SpawnLanesStuck`]
    SpawnLanesStuck,
    /// [`BoardHold::FoldersFail`]
    FoldersFail,
    /// [`BoardHold::HostRefuses`]
    HostRefuses,
}

/// A [`FaultClass`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// [`FaultClass::Content`]
    Content,
    /// [`FaultClass::Access`]
    Access,
    /// [`FaultClass::Busy`]
    Busy,
    /// [`FaultClass::Replaced`]
    Replaced,
}

/// One dispatcher's file.
#[derive(Debug, Serialize, Deserialize)]
struct Status {
    writer: Writer,
    /// Seconds since 1970.
    written_at: i64,
    holds: Vec<Told>,
}

/// Who wrote a file. Pids and start times mean something in one boot and one pid namespace only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Writer {
    pid: i32,
    /// In clock ticks since boot.
    start: u64,
    boot: String,
    pid_namespace: u64,
}

impl Writer {
    fn this_process() -> io::Result<Writer> {
        let pid = Pid(std::process::id().cast_signed());
        Ok(Writer {
            pid: pid.0,
            start: identity::stat(pid).map_err(io::Error::other)?.start,
            boot: identity::boot_id()?,
            pid_namespace: identity::pid_namespace()?,
        })
    }

    /// Whether it is alive; that of another boot or namespace cannot be told.
    fn alive(&self) -> Alive {
        let here = identity::boot_id().is_ok_and(|boot| boot == self.boot)
            && identity::pid_namespace().is_ok_and(|namespace| namespace == self.pid_namespace);
        if here {
            identity::alive(Pid(self.pid), Some(&self.start.to_string()))
        } else {
            Alive::CannotTell
        }
    }
}

/// What the living dispatchers of a root tell. What cannot be read tells nothing: a command must
/// not fail for it.
#[must_use]
pub fn read(root: &Path, env: &Environment) -> Vec<Told> {
    let Ok(folder) = state_folder(root, env) else { return Vec::new() };
    let alive =
        files(&folder).into_iter().filter(|(_, status)| status.writer.alive() == Alive::Yes);
    let mut holds = merge(alive.map(|(_, status)| status.holds));
    let now = clock::unix();
    holds.retain(|told| !told.is_over(now));
    holds
}

/// Holds of several dispatchers: of those that are alike the one that lasts longest.
fn merge(all: impl Iterator<Item = Vec<Told>>) -> Vec<Told> {
    let mut merged: BTreeMap<(Option<String>, Kind), Told> = BTreeMap::new();
    for told in all.flatten() {
        let key = (told.board.clone(), told.kind);
        if merged.get(&key).is_none_or(|known| known.until < told.until) {
            merged.insert(key, told);
        }
    }
    merged.into_values().collect()
}

/// The files in a state folder that can be understood.
fn files(folder: &Path) -> Vec<(PathBuf, Status)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("status.") && name.ends_with(".json")
    });
    named
        .filter_map(|path| {
            let status = serde_json::from_slice(&regular::read(&path).ok()?).ok()?;
            Some((path, status))
        })
        .collect()
}

/// What is compared to see whether there is anything new: clocks and words do not count. `None`
/// stands for the host.
type Standing = Vec<(Option<BoardId>, BoardHold)>;

/// The loop's end of the thread that writes the file. Dropped, it has the file removed.
#[derive(Debug)]
pub struct StatusWriter {
    last: Standing,
    threads: Threads<Contents>,
}

/// What the file is to hold.
struct Contents(Vec<Told>);

impl Job for Contents {
    type Key = ();

    fn key(&self) {}
}

impl StatusWriter {
    /// Starts the thread, which also removes the files of writers that died.
    pub fn start(root: PathBuf, env: Environment) -> io::Result<StatusWriter> {
        let file = Mutex::new(StatusFile { root, env, swept: false, trouble: None });
        let threads = Threads::new("status".to_owned(), 1, move |Contents(holds)| {
            file.lock().unwrap_or_else(PoisonError::into_inner).write(holds);
        });
        threads.ask(Contents(Vec::new()))?;
        Ok(StatusWriter { last: Standing::new(), threads })
    }

    /// Has the file written if what it is to tell has changed. Never waits for it.
    pub fn update(&mut self, machine: &Dispatcher, boards: &Boards, names: &Names) {
        let now = clock::now();
        self.tell(standing(machine, boards, now.mono), |standing| {
            standing.iter().map(|(board, hold)| told(*board, *hold, names, now)).collect()
        });
    }

    fn tell(&mut self, standing: Standing, words: impl FnOnce(&Standing) -> Vec<Told>) {
        if standing == self.last {
            return;
        }
        let told = words(&standing);
        self.last = standing;
        // Only the newest counts.
        let _there_is_a_thread = self.threads.ask_only(Contents(told));
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        let _there_is_a_thread = self.threads.ask_only(Contents(Vec::new()));
        self.threads.finish(SHUTDOWN);
    }
}

/// The thread's end.
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
            && let Ok(folder) = state_folder(&self.root, &self.env)
        {
            remove_dead(&folder);
        }
        self.swept = true;
        let Err(error) = write(&self.root, &self.env, holds) else { return self.trouble = None };
        if self.trouble.as_ref() != Some(&error) {
            tracing::warn!("other processes are not told which boards are out of use: {error}");
            self.trouble = Some(error);
        }
    }
}

/// Writes this process's file such that others see all of it or none, or removes it if there is
/// nothing to tell.
fn write(root: &Path, env: &Environment, holds: Vec<Told>) -> Result<(), String> {
    let folder = state_folder(root, env).map_err(|error| error.to_string())?;
    let name = format!("status.{}", std::process::id());
    let path = folder.join(format!("{name}.json"));
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
    let new = folder.join(format!("{name}.new"));
    let written = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .and_then(|()| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &path));
    written.map_err(cannot)
}

/// Removes what dispatchers left behind that were killed.
fn remove_dead(folder: &Path) {
    for (path, status) in files(folder) {
        if status.writer.alive() == Alive::No {
            let _read_by_nobody_anyway = fs::remove_file(path);
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
        let stuck = boards.spawns(board.id()).is_some_and(SpawnThreads::are_stuck);
        let directories =
            if stuck { Some(BoardHold::SpawnLanesStuck) } else { board.directory_hold(now) };
        standing.extend(directories.map(|hold| (id, hold)));
    }
    standing
}

/// A hold in words.
fn told(board: Option<BoardId>, hold: BoardHold, names: &Names, now: Now) -> Told {
    let (kind, class, reason) = match hold {
        BoardHold::Quarantined { class, .. } => {
            let reason = board.and_then(|board| names.faults.get(&board).cloned());
            (Kind::Quarantined, Some(class_name(class)), reason)
        }
        BoardHold::Hung => (Kind::Hung, None, None),
        BoardHold::SpawnLanesStuck => {
            (Kind::SpawnLanesStuck, None, Some(SpawnThreadsError::Stuck.to_string()))
        }
        BoardHold::FoldersFail { .. } => (Kind::FoldersFail, None, None),
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Long enough for anything on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(45);

    fn names() -> Names {
        let mut names = Names::default();
        names.boards.insert(BoardId(0), "beta".to_owned());
        names.faults.insert(BoardId(0), "cannot open".to_owned());
        names
    }

    fn quarantined(until: u64) -> BoardHold {
        BoardHold::Quarantined { class: FaultClass::Access, until: Mono(until) }
    }

    fn now() -> Now {
        Now { mono: Mono(500), unix: 1_000 }
    }

    #[test]
    fn every_hold_is_told_with_its_end_or_with_who_ends_it() {
        let until = Mono(3_501);
        for (board, hold, kind, end) in [
            (true, quarantined(3_501), Kind::Quarantined, Some(1_004)),
            (true, BoardHold::Hung, Kind::Hung, None),
            (true, BoardHold::SpawnLanesStuck, Kind::SpawnLanesStuck, None),
            (true, BoardHold::FoldersFail { until }, Kind::FoldersFail, Some(1_004)),
            (false, BoardHold::HostRefuses { errno: 11, until }, Kind::HostRefuses, Some(1_004)),
        ] {
            let told = told(board.then_some(BoardId(0)), hold, &names(), now());
            assert_eq!((told.kind, told.until), (kind, end));
            assert_eq!(told.ends_by, if end.is_some() { "itself" } else { "operator" });
            assert_eq!(told.board.as_deref(), board.then_some("beta"));
        }
        let told = told(Some(BoardId(0)), quarantined(0), &names(), now());
        assert_eq!(
            (told.class, told.reason.as_deref()),
            (Some(Class::Access), Some("cannot open"))
        );
    }

    #[test]
    fn what_several_tell_is_merged_and_the_longest_of_a_kind_stays() {
        let tell = |hold| vec![told(Some(BoardId(0)), hold, &names(), now())];
        let all = [tell(quarantined(1_500)), tell(BoardHold::Hung), tell(quarantined(9_500))];
        let merged = merge(all.into_iter());
        let short: Vec<_> = merged.iter().map(|told| (told.kind, told.until)).collect();
        assert_eq!(short, [(Kind::Quarantined, Some(1_009)), (Kind::Hung, None)]);
    }

    /// A root and its environment with a state folder, all in one folder.
    fn place() -> (tempfile::TempDir, PathBuf, Environment) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let state = dir.path().join("state");
        let env = Environment::of(&[("XDG_STATE_HOME", state.to_str().unwrap())]);
        (dir, root, env)
    }

    fn some() -> Vec<Told> {
        vec![told(Some(BoardId(0)), quarantined(9_500), &names(), now())]
    }

    #[test]
    fn the_file_is_there_only_while_there_is_something_to_tell() {
        let (_dir, root, env) = place();
        let folder = state_folder(&root, &env).unwrap();
        write(&root, &env, Vec::new()).unwrap();
        assert!(!folder.exists(), "nothing is made for nothing");
        write(&root, &env, some()).unwrap();
        assert_eq!(read(&root, &env), some());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        write(&root, &env, Vec::new()).unwrap();
        assert_eq!(read(&root, &env), []);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn the_dead_are_neither_believed_nor_kept_and_strangers_are_only_not_believed() {
        let (_dir, root, env) = place();
        let folder = state_folder(&root, &env).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let me = Writer::this_process().unwrap();
        let dead = Writer { start: me.start + 1, ..me.clone() };
        let other_boot = Writer { boot: "another".to_owned(), ..me.clone() };
        for (name, writer) in [("1", dead), ("2", other_boot)] {
            let status = Status { writer, written_at: 0, holds: some() };
            let text = serde_json::to_vec(&status).unwrap();
            fs::write(folder.join(format!("status.{name}.json")), text).unwrap();
        }
        fs::write(folder.join("status.3.json"), "{").unwrap();
        assert_eq!(read(&root, &env), []);
        remove_dead(&folder);
        assert!(!folder.join("status.1.json").exists());
        assert!(folder.join("status.2.json").exists() && folder.join("status.3.json").exists());
    }

    #[test]
    fn what_has_not_changed_is_not_written_and_the_end_removes_it() {
        let (_dir, root, env) = place();
        let file = state_folder(&root, &env).unwrap();
        let file = file.join(format!("status.{}.json", std::process::id()));
        let mut writer = StatusWriter::start(root, env).unwrap();
        let standing = vec![(Some(BoardId(0)), quarantined(9_500))];
        writer.tell(standing.clone(), |_| some());
        writer.threads.finish(PATIENCE);
        assert!(file.exists());
        writer.tell(standing, |_| panic!("the same again"));
        drop(writer);
        assert!(!file.exists());
    }

    #[test]
    fn a_wait_is_over_when_it_says_and_a_quarantine_when_its_writer_says() {
        let until = Mono(500);
        let over = |hold| told(Some(BoardId(0)), hold, &names(), now()).is_over(1_001);
        assert!(over(BoardHold::FoldersFail { until }));
        assert!(over(BoardHold::HostRefuses { errno: 11, until }));
        assert!(!over(BoardHold::FoldersFail { until: Mono(1_500) }));
        assert!(!over(quarantined(500)) && !over(BoardHold::Hung));
    }

    #[test]
    fn a_state_folder_that_hangs_delays_nothing() {
        let (_dir, root, env) = place();
        let folder = state_folder(&root, &env).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let new = folder.join(format!("status.{}.new", std::process::id()));
        // Nobody ever reads from it, so that whoever opens it to write waits.
        nix::unistd::mkfifo(&new, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut writer = StatusWriter::start(root, env).unwrap();
        for n in 0..3 {
            writer.tell(vec![(Some(BoardId(0)), quarantined(n))], |_| some());
            while n == 0 && writer.threads.waiting() > 0 {
                thread::yield_now();
            }
        }
        assert_eq!(writer.threads.waiting(), 1, "the thread hangs over the first");
        drop(writer);
        assert!(new.exists());
    }

    #[test]
    fn a_state_folder_that_fails_delays_nothing() {
        let (dir, root, env) = place();
        fs::write(dir.path().join("state"), "a file").unwrap();
        let mut writer = StatusWriter::start(root, env).unwrap();
        writer.tell(vec![(None, BoardHold::Hung)], |_| some());
        drop(writer);
    }
}
