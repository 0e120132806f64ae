//! What goes wrong in a simulated world, on purpose. The docs of each fault name the part that must
//! handle it.

/// Defines the faults once, with their names and their part in the whole.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident $weight:literal $text:literal,)+) => {
        /// One sort of trouble.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Fault {
            /// All faults, in the order of their numbers.
            pub const ALL: [Fault; Fault::COUNT] = [$(Fault::$name),+];
            /// How many there are.
            pub const COUNT: usize = [$($text),+].len();

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => $text),+ }
            }

            /// How often it strikes where it can, in 256 cases.
            #[must_use]
            pub fn weight(self) -> u8 {
                match self { $(Fault::$name => $weight),+ }
            }
        }
    };
}

faults! {
    /// A file cannot be opened. The board's quarantine bears it.
    ConnectEio 24 "connect EIO",
    /// A file is not a database when it is opened. The quarantine handles it, until the file
    /// changes.
    CorruptHeader 10 "corrupt header",
    /// The header is overwritten while the board is open. The check before each exchange bears it.
    HeaderGoesBad 4 "header goes bad",
    /// Reading fails in an exchange. Nothing was written; what is owed is sent again.
    ReadEio 10 "read EIO",
    /// The commit fails, and nothing is in the file. The machine must not believe either.
    CommitEioBefore 10 "commit EIO, not written",
    /// The commit fails, but everything is in the file nevertheless. Fences and tokens bear it.
    CommitEioAfter 10 "commit EIO, written",
    /// Somebody holds the write lock for a moment. The retry bears it.
    BusyShort 12 "busy for a moment",
    /// Somebody holds it for seconds. The backoff bears it.
    BusyLong 6 "busy for seconds",
    /// Somebody holds it until the faults end. All other boards bear it.
    BusyForever 2 "busy forever",
    /// No space is left. Nothing is written; exits wait in memory.
    DiskFull 5 "disk full",
    /// The file became read-only. Exits wait in memory.
    ReadOnly 5 "read-only",
    /// An answer takes longer than its deadline. Its slots are lent; the late answer is settled.
    BoardHangs 6 "board hangs",
    /// An answer does not come before the faults end. All other boards bear it.
    BoardHangsForever 2 "board hangs forever",
    /// The path leads to another file, a copy, while the old one is open. The exchange is a maybe.
    FileReplaced 4 "file replaced",
    /// A board is removed, and restored later from a copy. What is owed to it waits.
    BoardRemoved 3 "board removed and restored",
    /// A board is listed only after a while.
    BoardAdded 60 "board added later",
    /// Another dispatcher holds the dispatch lock. Claims wait, recordings do not.
    DispatchLocked 14 "dispatch lock held",
    /// `waitid` fails. The reaping step is retried, immediately and then later.
    ReapError 16 "reap error",
    /// The reaping step is interrupted after a part of it. The rest is for the next.
    ReapInterrupted 12 "reap interrupted",
    /// The kernel refuses a process (EAGAIN). The host is charged, no task.
    ForkRefused 12 "fork refused",
    /// The program cannot be executed. The task is charged.
    ExecFails 8 "exec fails",
    /// The board's directories fail. The board is charged, no task.
    DirectoryFails 8 "directory fails",
    /// A spawn thread takes longer than its deadline before it creates the process. It is called
    /// off.
    SpawnHangs 6 "spawn hangs",
    /// It takes longer after it made the process. The run counts as alive.
    SpawnAnswerHangs 8 "spawn answer hangs",
    /// Nothing wakes the dispatcher for an exit. The tick is the backstop.
    LostWakeup 60 "lost wake-up",
    /// The notice of a board's change is lost. The tick is the backstop.
    LostNotice 24 "lost change notice",
    /// A notice comes before the change is visible. The recheck schedule handles it.
    WokenBeforeVisible 30 "woken before visible",
    /// An answer is delivered twice. The second one must be ignored.
    Duplicate 10 "duplicate event",
    /// The wall clock jumps ahead. Leases and cooldowns may end immediately.
    ClockAhead 6 "clock jumps ahead",
    /// The wall clock jumps back. Nothing may wait forever.
    ClockBack 6 "clock jumps back",
    /// The monotonic clock shows an earlier moment for one event. It is clamped.
    MonoBack 6 "monotonic clock goes back",
    /// The host is suspended: the wall clock runs on, the monotonic one does not.
    Suspended 4 "suspended",
    /// A dispatcher dies with all its threads, and another takes its place. Adoption handles it.
    Crash 5 "dispatcher crash",
    /// A dispatcher dies while a spawn thread creates a process: the child is created, and executes
    /// its program, only after that. The claim is not resolved before.
    DiesInSpawn 10 "dies in a spawn",
    /// The state directory of a dispatcher is lost when it dies. Only the board's rows and the kernel
    /// are left.
    RecordsLost 40 "records lost",
    /// The keeper dies and is not replaced for a while. Exits during that time end as unknown.
    KeeperDies 6 "keeper dies",
    /// The host hides the process of an adopted claim for a while. The dispatcher looks for it again.
    ProcessHidden 48 "process hidden",
    /// Looking for the process of an adopted claim takes long. Nothing else waits for the answer.
    FindHangs 16 "find hangs",
    /// The second dispatcher is in another pid namespace, perhaps as its pid 1. Only the lease decides
    /// between the two.
    Namespaces 80 "another pid namespace",
    /// A dispatcher is asked to stop, and sometimes asked again. Nothing of its own outlives it.
    Shutdown 6 "shutdown",
    /// Another dispatcher ticks between two effects of this one. Fences bear it.
    RivalTick 10 "rival tick between effects",
    /// A tick comes while the reaping step of the last one is under way. Draining is idempotent.
    NestedTick 16 "nested tick",
    /// A worker ignores TERM. It is killed.
    DeafWorker 40 "worker ignores TERM",
    /// A worker cannot be killed for a while (uninterruptible sleep). Its task is not run again.
    StuckWorker 8 "unkillable worker",
    /// A worker leaves processes behind in its group. The task waits for their end.
    Leftovers 70 "group outlives its leader",
    /// A foreign process gets the pid of a worker that is gone. Signals do not reach it.
    PidTaken 60 "pid taken by a stranger",
    /// A worker hangs: only a time limit or a person ends it.
    Slow 24 "slow worker",
    /// People and workers change a task under the dispatcher: archive, block, unblock, link, delete.
    Meddling 60 "people meddle",
    /// A dispatcher that knows no tokens claims tasks beside us.
    Neighbour 20 "client claims beside us",
    /// A board refuses every change to a task (a trigger can). The others do not suffer.
    Refusal 8 "board refuses a task",
    /// The configuration is read again: limits, deadlines and workers are not what they were. What
    /// runs may finish, what is new keeps to the new limits.
    Reload 12 "configuration changes",
}

/// Which faults are on in a run, and how often each has struck.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Faults {
    on: [bool; Fault::COUNT],
    /// Weights are multiplied by this and divided by 4.
    strength: u16,
    /// How often each has struck: counted when it does something, not when it might.
    pub fired: [u32; Fault::COUNT],
}

impl Faults {
    /// Every run has its own: some sorts are off, and all of them weigh more or less.
    #[must_use]
    pub fn swarm(mut byte: impl FnMut() -> u8) -> Faults {
        let strength = [0, 1, 2, 4, 4, 6, 8, 12][usize::from(byte() >> 5)];
        let mut on = [false; Fault::COUNT];
        for chunk in on.chunks_mut(8) {
            let bits = byte();
            for (n, on) in chunk.iter_mut().enumerate() {
                *on = bits & (1 << n) != 0;
            }
        }
        Faults { on, strength, fired: [0; Fault::COUNT] }
    }

    /// Returns the set without faults.
    #[must_use]
    pub fn none() -> Faults {
        Faults { on: [false; Fault::COUNT], strength: 0, fired: [0; Fault::COUNT] }
    }

    /// Its weight in this run, in 256 cases; 0 if it is off.
    #[must_use]
    pub fn weight(&self, fault: Fault) -> u8 {
        if !self.on[fault as usize] {
            return 0;
        }
        let weight = u16::from(fault.weight()) * self.strength / 4;
        u8::try_from(weight).unwrap_or(u8::MAX).min(160)
    }

    /// From now on nothing goes wrong any more.
    pub fn stop(&mut self) {
        self.on = [false; Fault::COUNT];
    }
}
