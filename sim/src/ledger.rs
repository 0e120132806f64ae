//! What an outsider would have written down: every spawn, exit, reap, signal, claim and write,
//! recorded by the world and never by the machine. All promises are judged by it.

use std::collections::BTreeMap;

use sexton::machine::event::Signal;
use sexton::machine::fault::Blame;
use sexton::machine::ids::{BoardId, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::Completion;
use sexton::machine::verdict::{ExitStatus, Verdict};

use crate::board::Instance;
use crate::kernel::Uid;

/// One attempt of one dispatcher.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The board of the task.
    pub board: BoardId,
    /// The claimed task.
    pub task: TaskId,
    /// The configured worker.
    pub worker: WorkerId,
    /// Its claim is, or was, in the board.
    pub claimed: bool,
    /// Its process, once there is one.
    pub process: Option<Uid>,
    /// Exit status of the leader, once it ended.
    pub status: Option<ExitStatus>,
    /// True once the leader is reaped.
    pub reaped: bool,
    /// The last signal that one of our dispatchers sent to it, TERM or KILL.
    pub signalled: Option<Signal>,
    /// The dispatcher that sent that signal.
    pub signaller: Option<Instance>,
    /// Why its process could not be made.
    pub failed: Option<Blame>,
    /// How often its end was recorded.
    pub recorded: u32,
    /// A dispatcher has made its task ready again.
    pub freed: bool,
    /// It ended, and no evidence of how was left.
    pub lost: bool,
}

/// A worker's lifetime, and the attempt that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// The dispatcher that started it.
    pub of: Instance,
    /// The number that the attempt has there.
    pub spawn: SpawnId,
    /// When it began, in milliseconds.
    pub began: u64,
    /// When it ended, if it did.
    pub ended: Option<u64>,
}

/// What an attempt number of a dispatcher refers to.
#[derive(Clone, Debug)]
enum Entry {
    Own(Attempt),
    /// It was adopted: the dispatcher that made the claim, and the number that the attempt has there.
    Adopted(Instance, SpawnId),
}

/// Something that an outsider saw, for the promises to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A tick was handed in. Had anything ended by then, and did the tick begin with reaping?
    Tick {
        /// The zombies of that moment.
        zombies: usize,
        /// Reaping was the first thing asked for.
        reaps_first: bool,
    },
    /// A reaping step ended well. How many of those that had ended when its tick began are left?
    Reaped {
        /// Number of zombies that are left.
        left: usize,
    },
    /// A reaping step failed.
    ReapFailed,
    /// The newest reaping step of some dispatcher failed, and it has not begun another for this long.
    ReapWaits {
        /// Milliseconds since the failure.
        ms: u64,
    },
    /// At a tick, a sound board with an open connection and nothing under way was not looked at.
    PassedOver(BoardId),
    /// A claim was written.
    Claimed {
        /// Rows that run there now.
        running: u32,
        /// Most rows that may run.
        cap: u32,
    },
    /// The claim of another dispatcher was ended by the rules.
    Reclaimed {
        /// Its worker is alive.
        living: bool,
        /// Its dispatcher is dead, and there is evidence of how its worker ended.
        told: bool,
        /// Its board came back so recently that the dispatcher could not renew it or record an end.
        hasty: bool,
    },
    /// The claim of another dispatcher was adopted.
    Adopted {
        /// Its dispatcher is alive.
        living: bool,
    },
    /// At a tick, the claim of a dead dispatcher had not been adopted for this long.
    LeftAlone {
        /// Milliseconds since it could first have been adopted.
        ms: u64,
        /// Milliseconds within which it must be adopted.
        most_ms: u64,
    },
    /// A dispatcher found that an adopted worker had exceeded its time limit.
    RanOut {
        /// Seconds that it ran, according to the dispatcher.
        said_s: u64,
        /// Seconds that it ran.
        true_s: u64,
    },
    /// A write on a run took.
    Wrote {
        /// It was the writer's at that moment.
        ours: bool,
    },
    /// Something was written to a file that had failed its checks.
    WroteSick(BoardId),
    /// A process was made.
    Spawned {
        /// Workers of this dispatcher that are alive or have left something alive, this one included.
        live: u32,
        /// How many may be.
        max_workers: u32,
        /// Those of the same board.
        live_there: u32,
        /// How many of those may be.
        max_in_progress: u32,
        /// Its claim is in the board, or was.
        claimed: bool,
        /// Its worker was in the configuration when it was asked for.
        configured: bool,
        /// A process of another worker of the same task is alive.
        twin: bool,
    },
    /// A group was signalled.
    Signalled {
        /// The signal that was sent.
        signal: Signal,
        /// It was the one of that attempt.
        own: bool,
        /// It had been asked to end before, or everything is being killed.
        asked: bool,
    },
    /// The end of a run was recorded.
    Recorded {
        /// The verdict that was recorded.
        verdict: Verdict,
        /// By a worker of this kind.
        completion: Completion,
        /// Of this attempt, if it is known; as it was before.
        attempt: Option<Attempt>,
        /// Consecutive failures before and after.
        failures: (u32, u32),
        /// Neither its row nor a record shows that it had a worker.
        unrecorded: bool,
        /// It was adopted, and a process of its worker is alive.
        adopted_living: bool,
        /// The task is blocked now.
        blocked: bool,
        /// Number of unknown ends in a row, including this one, and how many of them block the task.
        unknown: (u32, u32),
    },
    /// A request was sent to a board.
    Asked {
        /// The board that was asked.
        board: BoardId,
        /// Something was under way there.
        busy: bool,
        /// Its connection is open, or this is to open it.
        open: bool,
    },
    /// A wake-up was requested, this many milliseconds from now.
    WakeAt(i64),
    /// A dispatcher that was asked to stop has ended.
    Retired {
        /// Workers of its own that it left alive.
        left: usize,
    },
    /// A process that no dispatcher had spawned was reaped.
    Orphan,
}

/// What is owed when the faults have stopped and everything has had its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Tasks that could run, or run still: board, task, and why it waits.
    pub tasks: Vec<(BoardId, TaskId, String)>,
    /// Ready tasks that wait without a reason that ends.
    pub held: Vec<(BoardId, TaskId)>,
    /// Runs that a dispatcher still keeps.
    pub kept: Vec<(Instance, SpawnId)>,
    /// Processes that are still alive.
    pub alive: Vec<Uid>,
    /// Zombies of living dispatchers.
    pub zombies: Vec<Uid>,
    /// Exits reaped by a dispatcher that is still alive, whose run is open in its board.
    pub open: Vec<(BoardId, TaskId)>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What the last event brought. Emptied before each.
    pub news: Vec<News>,
    /// Every attempt, by dispatcher and number.
    attempts: BTreeMap<Instance, Vec<Option<Entry>>>,
    /// All workers that were ever started.
    lives: BTreeMap<Uid, Life>,
    /// Processes ever made, and reaped by dispatchers or by pid 1.
    pub spawned: u64,
    /// Number of reaped workers; see `spawned`.
    pub reaped: u64,
    /// Dispatchers whose newest reaping step failed, and since when they have not begun another.
    pub reap_failing: BTreeMap<Instance, u64>,
    /// What is left at the end of the run.
    pub remains: Remains,
    /// Workers that ignored TERM and are alive at the end.
    pub deaf_left: Vec<Uid>,
}

impl Ledger {
    /// Writes something down for the promises.
    pub fn note(&mut self, news: News) {
        self.news.push(news);
    }

    /// A claim was asked for.
    pub fn attempt(&mut self, of: Instance, spawn: SpawnId, attempt: Attempt) {
        let entry = self.entry(of, spawn);
        *entry = entry.take().or(Some(Entry::Own(attempt)));
    }

    /// Registers that an attempt was adopted, and has this number there from now on.
    pub fn adopt(&mut self, of: Instance, spawn: SpawnId, from: (Instance, SpawnId)) {
        let (maker, number) = self.resolve(from.0, from.1);
        // An adoption whose answer was lost is repeated under a new number.
        let same = |entry: &Option<Entry>| matches!(entry, Some(Entry::Adopted(a, b)) if (*a, *b) == (maker, number));
        let entries = self.attempts.entry(of).or_default().iter_mut();
        entries.filter(|entry| same(entry)).for_each(|entry| *entry = None);
        *self.entry(of, spawn) = Some(Entry::Adopted(maker, number));
    }

    fn entry(&mut self, of: Instance, spawn: SpawnId) -> &mut Option<Entry> {
        let place = usize::try_from(spawn.0).unwrap_or_default();
        let entries = self.attempts.entry(of).or_default();
        if entries.len() <= place {
            entries.resize(place + 1, None);
        }
        &mut entries[place]
    }

    /// Returns the dispatcher that made the claim of this attempt, and its number there.
    #[must_use]
    pub fn resolve(&self, of: Instance, spawn: SpawnId) -> (Instance, SpawnId) {
        let place = usize::try_from(spawn.0).unwrap_or_default();
        match self.attempts.get(&of).and_then(|entries| entries.get(place)) {
            Some(Some(Entry::Adopted(maker, number))) => (*maker, *number),
            Some(Some(Entry::Own(_)) | None) | None => (of, spawn),
        }
    }

    /// Returns the attempt with this number.
    #[must_use]
    pub fn get(&self, of: Instance, spawn: SpawnId) -> Option<&Attempt> {
        let (of, spawn) = self.resolve(of, spawn);
        match self.attempts.get(&of)?.get(usize::try_from(spawn.0).ok()?)? {
            Some(Entry::Own(attempt)) => Some(attempt),
            Some(Entry::Adopted(..)) | None => None,
        }
    }

    /// An attempt, to be written on.
    pub fn get_mut(&mut self, of: Instance, spawn: SpawnId) -> Option<&mut Attempt> {
        let (of, spawn) = self.resolve(of, spawn);
        match self.attempts.get_mut(&of)?.get_mut(usize::try_from(spawn.0).ok()?)? {
            Some(Entry::Own(attempt)) => Some(attempt),
            Some(Entry::Adopted(..)) | None => None,
        }
    }

    /// Returns all attempts of a dispatcher, including those that it has adopted.
    pub fn of(&self, instance: Instance) -> impl Iterator<Item = (SpawnId, &Attempt)> {
        let entries = self.attempts.get(&instance).into_iter().flatten();
        (0..).map(SpawnId).zip(entries).filter_map(|(id, entry)| match entry.as_ref()? {
            Entry::Own(attempt) => Some((id, attempt)),
            Entry::Adopted(of, spawn) => Some((id, self.get(*of, *spawn)?)),
        })
    }

    /// Registers that a worker started.
    pub fn born(&mut self, uid: Uid, (of, spawn): (Instance, SpawnId), began: u64) {
        self.lives.insert(uid, Life { of, spawn, began, ended: None });
        if let Some(attempt) = self.get_mut(of, spawn) {
            attempt.process = Some(uid);
        }
    }

    /// Registers that a worker ended.
    pub fn ended(&mut self, uid: Uid, status: ExitStatus, at: u64) {
        let Some(life) = self.lives.get_mut(&uid) else { return };
        life.ended = Some(at);
        let (of, spawn) = (life.of, life.spawn);
        if let Some(attempt) = self.get_mut(of, spawn) {
            attempt.status = Some(status);
        }
    }

    /// Returns whose worker this process is, or was.
    #[must_use]
    pub fn life(&self, uid: Uid) -> Option<Life> {
        self.lives.get(&uid).copied()
    }
}

impl Attempt {
    /// One whose claim was only just asked for.
    #[must_use]
    pub fn new(board: BoardId, task: TaskId, worker: WorkerId) -> Attempt {
        Attempt {
            board,
            task,
            worker,
            claimed: false,
            process: None,
            status: None,
            reaped: false,
            signalled: None,
            signaller: None,
            failed: None,
            recorded: 0,
            freed: false,
            lost: false,
        }
    }
}
