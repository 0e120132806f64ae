//! Spawn threads: workspace, worker log and spawn of a worker. Each of the three can take a minute on
//! a bad disk, so a few threads of each board do them, and none of them is waited for.
//!
//! A thread that hangs, in a directory or because the program lies on a disk that hangs, is replaced
//! by another, up to a bound; after that the board's directories count as failing. The threads live
//! as long as the program: the children of a thread that ends fall to the main thread, which would
//! take them for orphans.

use std::collections::BTreeMap;
use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cleaner::Cleaner;
use super::evidence::EvidenceThreads;
use super::post::{Message, Post};
use super::threads::Threads;
use super::worker;
use crate::board::SpawnFacts;
use crate::config::Config;
use crate::evidence::keeper::tag::Tag;
use crate::evidence::records::{Intent, Slot};
use crate::machine::fault::Blame;
use crate::machine::ids::{SpawnId, WorkerId};
use crate::process::children::Children;
use crate::process::workspace::{self, Kind, Workspace};
use crate::process::{identity, logfile, spawn};
use crate::root::{BoardPaths, Metadata};

/// Spawn threads of a board while none hangs.
const THREADS: usize = 2;
/// Most spawn threads of a board that may hang at the same time.
const STUCK: usize = 8;

/// One worker to be started.
#[derive(Debug)]
pub struct Job {
    /// The attempt.
    pub spawn: SpawnId,
    /// Who is to run it.
    pub worker: WorkerId,
    /// Which task it is, and what its worker gets to know of it.
    pub facts: Arc<SpawnFacts>,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Whether it may still be called off.
    pub gate: Arc<Gate>,
}

/// The point of no return of one spawn: passed once, by the thread or by the caller
/// that calls it off.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    const THREAD: u8 = 1;
    const CALLER: u8 = 2;

    /// The thread is about to make the process. False if it was called off.
    fn pass(&self) -> bool {
        self.take(Gate::THREAD)
    }

    /// Calls the spawn off. False if it is too late.
    fn call_off(&self) -> bool {
        self.take(Gate::CALLER)
    }

    fn take(&self, who: u8) -> bool {
        self.0.compare_exchange(0, who, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What the spawn threads of all boards share with the loop.
#[derive(Clone, Debug)]
pub struct Spawning {
    children: Children,
    post: Post,
    evidence: EvidenceThreads,
}

impl Spawning {
    /// Children are registered in `children`, answers go to `post`, and `evidence` records what is
    /// started.
    pub fn new(children: Children, post: Post, evidence: EvidenceThreads) -> Spawning {
        Spawning { children, post, evidence }
    }
}

/// What distinguishes each worker from other processes with its pid; known before its exit can be seen.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints(Arc<Mutex<BTreeMap<SpawnId, String>>>);

impl Fingerprints {
    /// That of one worker.
    pub fn get(&self, spawn: SpawnId) -> Option<String> {
        self.all().get(&spawn).cloned()
    }

    /// Drops that of one worker.
    pub fn forget(&self, spawn: SpawnId) {
        self.all().remove(&spawn);
    }

    /// Stores the fingerprint of one worker.
    pub fn note(&self, spawn: SpawnId, fingerprint: String) {
        self.all().insert(spawn, fingerprint);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<SpawnId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spawn threads of one board.
#[derive(Debug)]
pub struct SpawnThreads {
    /// Never dropped, so that they do not end.
    threads: ManuallyDrop<Threads<SpawnId, Job>>,
    cleaner: Cleaner,
}

/// What each of them works with.
#[derive(Debug)]
struct Spawner {
    board: BoardPaths,
    spawning: Spawning,
    cleaner: Cleaner,
}

impl SpawnThreads {
    /// No thread yet: they are started when there is work.
    #[must_use]
    pub fn new(board: BoardPaths, spawning: Spawning) -> SpawnThreads {
        let name = format!("spawn-{}", board.slug);
        let cleaner = Cleaner::new(board.slug.to_string(), board.workspaces.clone());
        let spawner = Spawner { board, spawning, cleaner: cleaner.clone() };
        let post = spawner.spawning.post.clone();
        let start = move |job: Job| spawner.start(&job);
        let threads = Threads::new(name, THREADS, start, move |message: Option<Message>| {
            message.into_iter().for_each(|message| post.send(message));
        });
        SpawnThreads { threads: ManuallyDrop::new(threads), cleaner }
    }

    /// Hands in a job; the answer comes by post.
    pub fn ask(&self, job: Job) -> Result<(), SpawnThreadsError> {
        if self.are_stuck() {
            return Err(SpawnThreadsError::Stuck);
        }
        self.threads.ask(job.spawn, job).map_err(SpawnThreadsError::NoThread)
    }

    /// The thread that removes what the board's completed tasks no longer need.
    #[must_use]
    pub fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    /// Whether the most threads that may hang do hang, so that no further one is started.
    #[must_use]
    pub fn are_stuck(&self) -> bool {
        self.threads.stuck() >= STUCK
    }

    /// Calls a spawn off. False if it is too late. A thread that has it counts as stuck until it
    /// returns, in both cases: a program can hang when it is executed, too.
    pub fn call_off(&self, spawn: SpawnId, gate: &Gate) -> bool {
        let in_time = gate.call_off();
        if in_time {
            self.threads.withdraw(&spawn);
        }
        let _tried_again_with_the_next_job = self.threads.replace(&spawn);
        in_time
    }
}

/// A job that could not be handed in.
#[derive(Debug, thiserror::Error)]
pub enum SpawnThreadsError {
    /// The claim's row, or its board, is gone.
    #[error("its claim is gone; its row, or its board, was removed right after the claim")]
    NoClaim,
    /// Too many threads hang.
    #[error("{STUCK} spawns hang in the board's directories; check the disk they are on")]
    Stuck,
    /// The host refused a thread.
    #[error("cannot start a thread: {0}")]
    NoThread(#[source] io::Error),
}

impl SpawnThreadsError {
    /// Returns who is charged, and the errno.
    #[must_use]
    pub fn blame(&self) -> (Blame, i32) {
        match self {
            SpawnThreadsError::NoClaim | SpawnThreadsError::Stuck => (Blame::Board, 0),
            SpawnThreadsError::NoThread(error) => {
                (Blame::Host, error.raw_os_error().unwrap_or_default())
            }
        }
    }
}

impl Spawner {
    /// Starts one worker. Returns what to send to the loop; nothing if it was called off meanwhile.
    fn start(&self, job: &Job) -> Option<Message> {
        match self.prepare(job) {
            Ok(command) => {
                let intent = self.intent(job);
                let slot = self.spawning.evidence.intend(job.spawn, &intent);
                if !job.gate.pass() {
                    self.spawning.evidence.withdraw(job.spawn);
                    return None;
                }
                Some(match slot {
                    Ok(slot) => self.make(job.spawn, &command, &intent, slot),
                    Err(error) => Failed::host(&error.to_string()).message(job.spawn),
                })
            }
            Err(failed) => job.gate.pass().then(|| failed.message(job.spawn)),
        }
    }

    /// Returns the intent, which is written before the process is created.
    fn intent(&self, job: &Job) -> Intent {
        let SpawnFacts { task, run, .. } = *job.facts;
        Intent { board: self.board.slug.to_string(), task, run }
    }

    /// All that may take long: the workspace and the log file.
    fn prepare(&self, job: &Job) -> Result<spawn::Command, Failed> {
        let facts = &job.facts;
        let command = job.config.commands.get(usize::from(job.worker.0)).ok_or_else(|| {
            Failed::task("its worker is no longer configured; add it to sexton.toml")
        })?;
        let workspace = self.workspace(facts)?;
        let log = logfile::open(&self.board.logs, facts.task.as_str(), job.config.logs)
            .map_err(|e| Failed { blame: e.blame(), errno: e.errno(), text: e.to_string() })?;
        let path = &workspace.path;
        let branch = workspace.branch.as_deref();
        Ok(spawn::Command {
            argv: worker::argv(command, &self.board, facts, path),
            env: worker::environment(command, &self.board, facts, path, branch),
            cwd: path.clone(),
            log,
        })
    }

    fn workspace(&self, facts: &SpawnFacts) -> Result<Workspace, Failed> {
        let kind = Kind::parse(&facts.workspace_kind).ok_or_else(|| {
            Failed::task("workspace: its kind is unknown here; set scratch, dir or worktree")
        })?;
        // Only worktrees need to know it, and it is a file to be read.
        let default_workdir = match kind {
            Kind::Worktree => Metadata::read(&self.board).default_workdir,
            Kind::Scratch | Kind::Dir => None,
        };
        self.cleaner.withdraw(facts.task);
        workspace::prepare(&workspace::Request {
            task: facts.task.as_str(),
            kind,
            path: given(facts.workspace_path.as_deref()).map(Path::new),
            branch: given(facts.branch_name.as_deref()),
            root: &self.board.workspaces,
            default_workdir: given(default_workdir.as_deref()).map(Path::new),
        })
        .map_err(|error| Failed {
            blame: error.blame(),
            errno: error.errno(),
            text: format!("workspace: {error}"),
        })
    }

    /// Creates the process. It is announced first, so that its exit is seen even if this thread is
    /// held up. The process itself writes its pid and sends its pidfd before it executes its program.
    fn make(
        &self,
        spawn: SpawnId,
        command: &spawn::Command,
        intent: &Intent,
        slot: Option<Slot>,
    ) -> Message {
        let Spawning { children, evidence, .. } = &self.spawning;
        let tag = evidence.tag(spawn, intent);
        let message = tag.as_ref().map(Tag::keep_message);
        // Before there is a process, since its end drops the tag.
        tag.into_iter().for_each(|tag| evidence.keeper().expect(spawn, tag));
        let keeper = evidence.keeper().get();
        let record = slot.zip(evidence.records());
        let left = spawn::Evidence {
            record: record.map(|(slot, records)| spawn::Record {
                file: records.file(),
                offset: slot.pid_offset,
            }),
            keeper: keeper
                .as_ref()
                .zip(message.as_ref())
                .map(|(keeper, message)| spawn::Handover { socket: keeper.socket(), message }),
        };
        match spawn::spawn(command, left, children.birth(spawn)) {
            Ok(spawned) => {
                let fingerprint = identity::fingerprint(spawned.pid);
                let mut start = None;
                // If it is not reaped now, it was not when the fingerprint was read, so the pid was its
                // own. The note exists before the exit is seen, and is dropped after that.
                spawned.unless_reaped(|| {
                    start = identity::start_of_fingerprint(&fingerprint);
                    evidence.fingerprints().note(spawn, fingerprint);
                });
                let (pid, handed_over) = (spawned.pid, spawned.handed_over);
                // Registers the child.
                drop(spawned);
                if let Some(start) = start {
                    evidence.started(spawn, start);
                }
                if !handed_over {
                    evidence.keeper().hand_over(spawn, children);
                }
                Message::Spawned(spawn, pid)
            }
            Err(error) => {
                Failed { blame: error.blame(), errno: error.errno(), text: error.to_string() }
                    .message(spawn)
            }
        }
    }
}

/// A spawn that came to nothing.
struct Failed {
    blame: Blame,
    errno: i32,
    text: String,
}

impl Failed {
    fn task(text: &str) -> Failed {
        Failed { blame: Blame::Task, errno: 0, text: text.to_owned() }
    }

    fn host(text: &str) -> Failed {
        Failed { blame: Blame::Host, errno: 0, text: text.to_owned() }
    }

    fn message(self, spawn: SpawnId) -> Message {
        Message::SpawnFailed(spawn, self.blame, self.errno, self.text)
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::evidence::tests::no_evidence;
    use super::super::post::{Inbox, post};
    use super::*;
    use crate::machine::ids::{RunId, TaskId};
    use crate::root::Environment;

    fn spawn_threads(root: &Path) -> (SpawnThreads, Inbox) {
        let slug = "default".parse().unwrap();
        let board = BoardPaths::new(root, slug, &Environment::default());
        let (post, inbox) = post().unwrap();
        let (_host, evidence) = no_evidence(root, &post);
        let spawning = Spawning::new(Children::new().unwrap(), post, evidence);
        (SpawnThreads::new(board, spawning), inbox)
    }

    fn job(n: u64, gate: &Arc<Gate>) -> Job {
        let task = TaskId::new(&format!("t_{n}")).unwrap();
        let facts = SpawnFacts {
            task,
            run: RunId(1),
            title: String::new(),
            body: None,
            assignee: "shell".to_owned(),
            claim_lock: "lock".to_owned(),
            workspace_kind: "scratch".to_owned(),
            workspace_path: None,
            branch_name: None,
            tenant: None,
        };
        let (worker, facts, config) = (WorkerId(0), Arc::new(facts), Arc::default());
        Job { spawn: SpawnId(n), worker, facts, config, gate: Arc::clone(gate) }
    }

    /// A job that a thread has taken and does not come back from.
    fn hanging(spawns: &SpawnThreads, n: u64, past_the_gate: bool) -> Arc<Gate> {
        let gate = Arc::<Gate>::default();
        spawns.threads.hang(SpawnId(n));
        assert!(!past_the_gate || gate.pass());
        gate
    }

    #[test]
    fn a_board_is_stuck_when_as_many_spawns_hang_as_may() {
        // In a directory, or when their program is executed.
        for past_the_gate in [false, true] {
            let (spawns, _inbox) = spawn_threads(Path::new("/nonexistent"));
            for n in 1..=8 {
                let gate = hanging(&spawns, n, past_the_gate);
                assert!(!spawns.are_stuck(), "after {n}");
                assert_eq!(spawns.call_off(SpawnId(n), &gate), !past_the_gate);
                // It was called off already.
                assert!(!spawns.call_off(SpawnId(n), &gate));
            }
            assert!(spawns.are_stuck());
            let refused = spawns.ask(job(9, &Arc::default()));
            assert!(matches!(refused, Err(SpawnThreadsError::Stuck)));
            // One returns, and counts no more.
            spawns.threads.return_from(&SpawnId(5));
            assert!(!spawns.are_stuck());
        }
    }

    #[test]
    fn what_waits_behind_spawns_that_hang_gets_a_thread() {
        let (spawns, inbox) = spawn_threads(Path::new("/nonexistent"));
        let gates = [1, 2].map(|n| hanging(&spawns, n, true));
        spawns.ask(job(3, &Arc::default())).unwrap();
        assert_eq!(spawns.threads.keys(), [SpawnId(3)], "no thread is there to take it");
        assert!(!spawns.call_off(SpawnId(1), &gates[0]));
        // It comes to nothing, for want of a worker; but a thread took it.
        let message = inbox.next_within(60_000);
        assert!(matches!(message, Some(Message::SpawnFailed(SpawnId(3), ..))), "{message:?}");
        spawns.threads.wait_for(&SpawnId(3));
        assert_eq!(spawns.threads.stuck(), 1);
    }

    #[test]
    fn a_spawn_that_has_returned_or_has_not_begun_is_not_stuck() {
        let (spawns, _inbox) = spawn_threads(Path::new("/nonexistent"));
        let _hang = [8, 9].map(|n| hanging(&spawns, n, true));
        let gate = Arc::default();
        spawns.ask(job(1, &gate)).unwrap();
        assert!(spawns.call_off(SpawnId(1), &gate), "it waits");
        assert_eq!(spawns.threads.waiting(), 0);
        let gate = hanging(&spawns, 2, true);
        spawns.threads.return_from(&SpawnId(2));
        assert!(!spawns.call_off(SpawnId(2), &gate), "it is done");
        assert_eq!(spawns.threads.stuck(), 0);
    }
}
