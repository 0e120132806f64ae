//! Boards that are damaged, altered or full of wrong values: a clear finding, or correct work; never
//! a panic, a loop, or a write to a file that failed its checks.
//!
//! An input is not a database but a small program: which real board, and what is done to it.

// By its path, because an ordinary test takes this file in by its own.
#[path = "board_file/damage.rs"]
mod damage;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use arbitrary::Unstructured;
use rusqlite::{Connection, OpenFlags, params};
use sexton::board::{
    Board, BoardError, Context, Dispatcher as Holder, Liveness, Owner, Worker, Workers, card, sql,
};
use sexton::machine::Dispatcher;
use sexton::machine::adoption::{Evidence, Process, Record};
use sexton::machine::effect::Effect;
use sexton::machine::event::{Event, Group, SignalOutcome};
use sexton::machine::exchange::{Change, Request, Taken};
use sexton::machine::fault::{Blame, Fault, FaultClass};
use sexton::machine::ids::{BoardId, Pid, SpawnId, WorkerId};
use sexton::machine::policy::{Completion, Policy, WorkerPolicy};
use sexton::machine::time::{Mono, Now};
use sexton::machine::verdict::ExitStatus;
use tempfile::TempDir;

use damage::{Made, make};

/// The wall clock at the start.
const EPOCH: i64 = 1_795_500_000;
const BOARD: BoardId = BoardId(1);
const CAP: u32 = 4;

/// Most workers (a board may make tasks without end), most times that the clock moves on, and most
/// exchanges between two of those.
const MOST_SPAWNS: usize = 16;
const MOST_WAKES: usize = 8;
const MOST_AT_ONCE: usize = 60;

/// Makes the board that `data` stands for, opens it, and works with it for a while.
pub fn check(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (_directory, path) = place();
    // Bytes that have run out read as zeroes.
    let Ok(made) = make(&mut u, &path) else { return };
    let before = Files::of(&path);
    let opened = Board::open(&path);
    if let Err(error) = &opened {
        is_clear(error, &path);
        assert_eq!(Files::of(&path), before, "written to although refused: {error}");
    }
    let refused = opened.is_err();
    drop(opened);
    let command = card::open(&path).map(drop);
    assert!(refused || command.is_ok(), "refused for a command only: {command:?}");
    assert_eq!(Files::of(&path).board, before.board, "written to by looking");
    if !refused {
        work(&mut u, &path, made);
    }
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.expect("a directory");
    let path = directory.path().join("kanban.db");
    (directory, path)
}

/// The bytes of a board.
#[derive(PartialEq, Eq)]
struct Files {
    board: Vec<u8>,
    journal: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = |file: &Option<Vec<u8>>| file.as_ref().map(Vec::len);
        write!(f, "{} bytes, {:?}, {:?}", self.board.len(), size(&self.journal), size(&self.log))
    }
}

impl Files {
    fn of(path: &Path) -> Files {
        // SQLite makes an empty log when it opens a board for reading.
        let beside = |suffix| fs::read(beside(path, suffix)).ok().filter(|file| !file.is_empty());
        Files {
            board: fs::read(path).expect("the board"),
            journal: beside("-journal"),
            log: beside("-wal"),
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Names the file, what is wrong with it, and what to do.
fn is_clear(error: &BoardError, path: &Path) {
    assert_eq!(error.path, path);
    assert!(!error.finding.trim().is_empty(), "no finding: {error:?}");
    assert!(!error.tried.is_empty() && !error.remedy.is_empty(), "{error:?}");
}

// ---- what is done to the file -------------------------------------------------------------------

fn owner() -> Owner {
    Owner::new("vm", Pid(77), "boot.1.1.1")
}

/// A host without processes.
struct Nobody;

impl Liveness for Nobody {
    fn worker(&self, _: Pid, _: Option<&str>) -> Worker {
        Worker::Gone
    }

    fn attempt(&self, _: Pid, _: &str, _: SpawnId) -> Worker {
        Worker::Gone
    }

    fn dispatcher(&self, _: Pid, _: &str) -> Holder {
        Holder::CannotTell
    }
}

/// The machine with one real board, and workers that end as soon as they begin.
struct Work<'a, 'b> {
    u: &'a mut Unstructured<'b>,
    path: &'a Path,
    machine: Dispatcher,
    policy: Policy,
    workers: Workers,
    owner: Owner,
    board: Option<Board>,
    mono: u64,
    wake: Option<u64>,
    at_once: usize,
    spawns: usize,
    made: Made,
    /// True if no trigger undoes what is written, and every index agrees with its table.
    sound: bool,
    events: VecDeque<Event>,
}

fn work(u: &mut Unstructured<'_>, path: &Path, made: Made) {
    let worker = WorkerPolicy {
        completion: if u.ratio(1, 4).unwrap_or(false) {
            Completion::Board
        } else {
            Completion::ExitStatus
        },
        ..WorkerPolicy::default()
    };
    let policy = Policy {
        max_in_progress: CAP,
        default_worker: Some(WorkerId(0)),
        workers: vec![worker; 2],
        ..Policy::default()
    };
    let sound = made != Made::Bytes && is_sound(path);
    let mut work = Work {
        u,
        path,
        machine: Dispatcher::new(policy.clone()),
        policy,
        workers: Workers::new(["shell", "critic"]),
        owner: owner(),
        board: None,
        mono: 1_000,
        wake: None,
        at_once: 0,
        spawns: 0,
        made,
        sound,
        events: VecDeque::new(),
    };
    work.events.extend([Event::BoardAdded { board: BOARD }, Event::BoardsListed, Event::Tick]);
    for _ in 0..MOST_WAKES {
        work.go_on();
        let soon = |at: &u64| at.saturating_sub(work.mono) < 10_000_000;
        let Some(at) = work.wake.filter(soon).filter(|_| work.spawns < MOST_SPAWNS) else { break };
        work.pass(at.saturating_sub(work.mono).max(1));
        work.events.push_back(Event::Wake);
    }
    work.board = None;
    if sound {
        assert!(is_sound(path), "it was sound, and after our work it is not");
    }
}

/// Whether SQLite finds nothing at all to say against a board without triggers.
fn is_sound(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let text = |conn: &Connection, query: &str| {
        sql::one(conn, query, [], |row| row.get::<_, String>(0)).ok().flatten()
    };
    Connection::open_with_flags(path, flags).is_ok_and(|conn| {
        let odd = "SELECT 'trigger' FROM sqlite_schema WHERE type IN ('trigger', 'view')";
        text(&conn, "PRAGMA integrity_check(1)").as_deref() == Some("ok")
            && text(&conn, odd).is_none()
    })
}

impl Work<'_, '_> {
    fn unix(&self) -> i64 {
        EPOCH + i64::try_from(self.mono / 1000).unwrap_or(0)
    }

    fn pass(&mut self, millis: u64) {
        self.mono += millis;
        self.at_once = 0;
    }

    /// Lets the machine and the board have it out until both are quiet.
    fn go_on(&mut self) {
        while let Some(event) = self.events.pop_front().filter(|_| self.spawns < MOST_SPAWNS) {
            if event == Event::Wake {
                self.wake = None;
            }
            let now = Now { mono: Mono(self.mono), unix: self.unix() };
            let mut effects = Vec::new();
            self.machine.step(now, event, &mut effects);
            effects.into_iter().for_each(|effect| self.perform(effect));
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Reap { seq, whom: _ } => self.events.push_back(Event::Reaped { seq }),
            Effect::ListBoards => self.events.push_back(Event::BoardsListed),
            Effect::Connect { board, seq, .. } => {
                self.board = None;
                let event = match Board::open(self.path) {
                    Ok(open) => {
                        self.board = Some(open);
                        Event::Connected { board, seq }
                    }
                    Err(error) => {
                        is_clear(&error, self.path);
                        assert_ne!(self.made, Made::Rows, "refused for its rows: {error}");
                        Event::ConnectFailed { board, seq, fault: fault(error.class) }
                    }
                };
                self.events.push_back(event);
            }
            Effect::Disconnect { .. } => self.board = None,
            Effect::Exchange { board, seq, request } => self.exchange(board, seq, &request),
            Effect::Spawn { spawn, .. } => self.live_and_die(spawn),
            Effect::Signal { spawn, signal } => {
                let outcome = SignalOutcome::Gone;
                self.events.push_back(Event::Signalled { spawn, signal, outcome });
            }
            Effect::WakeAt(Mono(at)) => self.wake = Some(at),
            Effect::Find { spawn } => {
                let evidence = Evidence {
                    record: Record::Intent,
                    process: Process::None(Group::Gone),
                    noted: None,
                };
                self.events.push_back(Event::Found { spawn, evidence });
            }
            Effect::CancelSpawn { .. }
            | Effect::Note { .. }
            | Effect::SyncNotes
            | Effect::Forget { .. }
            | Effect::Report(_) => {}
        }
    }

    /// Runs a worker, whose every step takes ten milliseconds.
    fn live_and_die(&mut self, spawn: SpawnId) {
        self.pass(10);
        self.spawns += 1;
        let pid = Pid(i32::try_from(spawn.0 % 1000).unwrap_or(0) + 5_000);
        let code = match self.u.int_in_range(0..=7).unwrap_or(0) {
            0..=2 => Some(0),
            3 => Some(1),
            4 => Some(75),
            5 => Some(78),
            6 => Some(255),
            _ => None,
        };
        match code {
            Some(code) => self.events.extend([
                Event::SpawnOk { spawn, pid },
                Event::ChildExited {
                    spawn,
                    pid,
                    status: ExitStatus::Code(code),
                    group: Group::Gone,
                },
            ]),
            None => {
                self.events.push_back(Event::SpawnFailed { spawn, blame: Blame::Task, errno: 2 });
            }
        }
    }

    fn exchange(&mut self, board: BoardId, seq: u64, request: &Request) {
        self.at_once += 1;
        assert!(self.at_once < MOST_AT_ONCE, "it goes round in circles: {request:?}");
        let Some(open) = &mut self.board else { panic!("an exchange with a board that is shut") };
        let running_before = running(open);
        let context = Context {
            policy: &self.policy,
            workers: &self.workers,
            owner: &self.owner,
            spawn_error: &|_| Some("no such program".to_owned()),
            fingerprint: &|spawn| Some(format!("boot:1|{}", spawn.0)),
            liveness: &Nobody,
        };
        let event = match open.exchange(request, &context) {
            Ok(exchanged) => {
                let answer = exchanged.answer;
                if !request.changes.is_empty() {
                    assert_eq!(answer.taken.len(), request.changes.len(), "{request:?}");
                }
                if self.sound {
                    let claims = |c: &Change| matches!(c, Change::Claim { .. });
                    let most = running_before.max(Some(i64::from(CAP)));
                    if request.changes.iter().any(claims) {
                        assert!(running(open) <= most, "more running than allowed: {request:?}");
                    }
                    for (change, taken) in request.changes.iter().zip(&answer.taken) {
                        is_written(open, &self.owner, *change, *taken);
                    }
                }
                Event::Exchanged { board, seq, answer: Box::new(answer) }
            }
            Err(failed) => {
                let (error, commit) = (failed.error, failed.commit);
                is_clear(&error, self.path);
                let of_rows = self.made == Made::Rows && error.class == FaultClass::Content;
                assert!(!of_rows, "out of use for its rows: {error}");
                Event::ExchangeFailed { board, seq, fault: fault(error.class), commit }
            }
        };
        self.events.push_back(event);
    }
}

fn fault(class: FaultClass) -> Fault {
    Fault { class, unchanged: false }
}

fn running(board: &Board) -> Option<i64> {
    let query = "SELECT count(*) FROM tasks WHERE status = 'running'";
    sql::one(board.connection(), query, [], |row| row.get(0)).ok().flatten()
}

/// What took is in the board, and what is over no longer is.
fn is_written(board: &Board, owner: &Owner, change: Change, taken: Taken) {
    let holds = |lock: String, run: i64, task: &str| {
        let query = "SELECT count(*) FROM tasks WHERE id = ?1 AND status = 'running' \
                     AND claim_lock = ?2 AND current_run_id = ?3";
        let count = sql::one(board.connection(), query, params![task, lock, run], |row| {
            row.get::<_, i64>(0)
        });
        count.expect("a count") == Some(1)
    };
    match (change, taken) {
        (Change::Claim { spawn, task, .. }, Taken::Claimed { run, .. }) => {
            assert!(
                holds(owner.lock(spawn), run.0, task.as_str()),
                "claimed, but not in the board"
            );
        }
        (Change::Finish { fence, .. }, Taken::Yes) => {
            let held = holds(owner.lock(fence.spawn), fence.run.0, fence.task.as_str());
            assert!(!held, "ended, but still in the board: {fence:?}");
        }
        _ => {}
    }
}
