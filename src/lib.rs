//! A dispatcher for task boards kept in SQLite, whose reaping depends on no board.
//!
//! This page is the architecture: the parts, what each of them must not know, why it is so, and how
//! to drive the machine from a program of your own. How to use the program is in the README.
//!
//! # The idea
//!
//! ```text
//!             events                                     effects
//!  clock  ──┐                                          ┌──▶ kernel          reap · signal                never blocks
//!  kernel ──┼──▶  Dispatcher::step(now, event) ────────┼──▶ board threads   connect · exchange           SQLite, one thread for each board
//!  threads ─┘          pure, no I/O, no clock          ├──▶ spawn threads   workspace · log · spawn      may take a minute
//!                                                      └──▶ report          log lines · counters
//! ```
//!
//! Everything that is decided is decided by one pure state machine. It takes one event at a time and
//! pushes effects into a buffer of the caller. [`machine::Dispatcher::step`] cannot fail: an EIO is
//! the payload of an event. Everything else in the crate carries out effects and reports what came
//! of them.
//!
//! The reason is the fault that the project started from: a dispatcher's reaper ran inside the pass
//! over a board, so a board that could not be opened kept zombies from being reaped. A fault of this
//! kind hides in the order of things, and the order of things in a program with threads, a kernel
//! and failing disks cannot be tested well. The order of effects of a pure machine can: the
//! simulator in `sim/` runs this very machine through 10,000 histories full of faults before a change
//! lands, and conformance tests tie the simulator's models to the real kernel and the real SQLite.
//!
//! # The map, and what each part must not know
//!
//! | module | what it does | what it must not know |
//! |---|---|---|
//! | [`machine`] | decides: when to reap, what to claim, when to try again, what a failure costs | no path, no clock, no SQL, no thread. `no_std`, no dependencies, no `unsafe` |
//! | `board` | SQLite: one transaction for each request; `board::card` is what the commands write | no event, no effect, no stage of an attempt, no clock |
//! | `process` | the kernel: spawn, reap, signal, process identity, workspaces, worker logs | no board, no SQL, no clock |
//! | `evidence` | what outlives a dispatcher: intent records, noted ends, the keeper, the search for workers | no board, no clock, and not what its findings mean |
//! | `config` | `sexton.toml`: limits, deadlines, command lines | no event, no effect, no thread |
//! | `root` | where the boards are | no machine, no SQL, no thread |
//! | `runtime` | the loop and its threads: one arm for each effect | no rule: it decides nothing about a task, a board or a worker |
//! | `cli` | the commands | no event, no effect |
//!
//! `regular`, which is private, reads small files that users write, without blocking on FIFOs and
//! devices. All parts but the machine are behind the feature `runtime`, which is on by default.
//!
//! * **The machine is closed.** `cargo check --no-default-features` compiles it alone as `no_std`, so
//!   the compiler proves that it does no I/O. Time comes in with each event. There is no randomness:
//!   jitter is a hash of the task's id, and a fencing token is a counter. Nothing is iterated in
//!   random order. So one history of events has one history of effects, and a failure can be
//!   replayed. [`machine::header`] judges the first 100 bytes of a database; it is handed bytes.
//! * **The board knows requests, not attempts.** It sees a [`machine::exchange::Request`]: changes,
//!   each with its own precondition, and how many ready tasks are wanted. It answers with the
//!   result of each change and a bounded observation. It uses the machine's pure rules (holds,
//!   plan, verdicts), so that the claiming transaction checks by the very rules that the plan was
//!   made by. The seconds in its rows come with the request.
//! * **The process part knows attempts by number.** It pairs a [`machine::ids::SpawnId`] with a pidfd
//!   and signals whole groups through it, never a bare number.
//! * **The runtime decides nothing about tasks.** The decisions that it makes concern only itself:
//!   when the next tick is due, how many threads a board gets, how long a listing, a reload of the
//!   configuration or its own shutdown may take, and that signals within 0.2 s are one request.
//!   Errors are classified where they occur (whose fault an errno is, which class a board's fault
//!   has); what follows from the class is the machine's decision.
//!
//! `tests/it/pages.rs` checks the imports behind this table. To read the code, start at
//! [`machine::Dispatcher::step`]; [`machine::event`] and [`machine::effect`] are its whole vocabulary.
//!
//! # Decisions, and why
//!
//! * **Reaping is an effect of its own, and the first of each tick.** [`machine::effect::Effect::Reap`]
//!   has no input from any board, so nothing that a board does can delay it. Between ticks, an exit
//!   is an event that the machine answers with the same effect, for the children that the kernel
//!   named. A tick asks all children and is the backstop.
//! * **One kind of request for each board.** All changes of a pass go into one transaction, and its
//!   answer brings the next observation. One commit for each pass, and no window between a write and
//!   the look that follows it.
//! * **A failed commit may have been a commit.** EIO or BUSY at COMMIT does not mean that nothing was
//!   written. The machine then observes again before it starts anything.
//! * **An exit waits until its board has taken it**, in memory and in a record that outlives this
//!   dispatcher, and is applied once: each write is guarded by status, run id and owner.
//! * **Intent is recorded before action.** An intent record says that a process is about to be
//!   started; the process itself writes its pid there before it executes its program. So the next
//!   dispatcher knows of each worker, and a record without a pid proves that no program was executed.
//! * **Missing evidence proves nothing.** A row without a pid, a process that is not shown, another
//!   pid namespace: in each case the worker may be alive, and the task waits. [`machine::adoption`] is
//!   the table of what follows from record, process and exit.
//! * **Threads may answer in any order, late, or never.** Each answer carries the number of its
//!   question, and each question to a thread has a deadline. A board that hangs holds up no other board.
//! * **Nothing is charged to a task that the host or a disk caused.** A failed spawn carries its
//!   [`machine::fault::Blame`].
//! * **A connection stays open for as long as the daemon runs.** That keeps other processes from
//!   deleting the WAL when they close theirs. The header is read through SQLite's own descriptor:
//!   closing any other descriptor of the file would drop this process's locks.
//! * **Workers get a session of their own**, an empty signal mask, default dispositions and the
//!   descriptors 0 to 2 only.
//!
//! An attempt's life:
//!
//! ```text
//! Claiming ─▶ Preparing ─▶ Running ─▶ Ending ─▶ Draining ─▶ Gone ─▶ (recorded, forgotten)
//!        │        └─▶ Cancelling ─┘│
//!        └─▶ Finding ─▶────────────┘
//! ```
//!
//! *Finding*: the claim of a dead dispatcher was adopted, and its worker is being looked for.
//!
//! *Draining*: the leader is reaped, other processes of its group are alive. A completed task is
//! recorded at once. Every verdict that would make the task ready again waits until the whole group
//! is gone, and so does the slot.
//!
//! # Driving the machine yourself
//!
//! With `default-features = false` the crate is the machine alone, and can be embedded in a program
//! that has boards and workers of another kind. That program performs effects and reports events;
//! each [`machine::effect::Effect`] names the events that answer it. The loop below is a whole one.
//! Its world is one board with two tasks, and workers that exit with code 0 as soon as they started.
//!
//! ```
//! use std::collections::VecDeque;
//!
//! use sexton::machine::Dispatcher;
//! use sexton::machine::effect::Effect;
//! use sexton::machine::event::{Event, Group};
//! use sexton::machine::exchange::{Answer, Change, Fence, Observation, Ready, Request, Taken};
//! use sexton::machine::hold::{Candidate, Lane};
//! use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
//! use sexton::machine::policy::{Policy, WorkerPolicy};
//! use sexton::machine::time::{Mono, Now};
//! use sexton::machine::verdict::{ExitStatus, Verdict};
//!
//! /// A board of our own kind: each task is in one of three lists.
//! struct Board {
//!     ready: Vec<Candidate>,
//!     running: Vec<Fence>,
//!     done: Vec<TaskId>,
//! }
//!
//! impl Board {
//!     /// One transaction: the changes, then a look.
//!     fn exchange(&mut self, request: &Request) -> Answer {
//!         let taken = request.changes.iter().map(|change| self.change(change)).collect();
//!         let observation = Observation {
//!             running: self.running.len() as u32,
//!             ready: Some(Ready { tasks: self.ready.clone(), more: false }),
//!             ours: self.running.clone(),
//!             ..Observation::default()
//!         };
//!         Answer { taken, observation: Some(observation) }
//!     }
//!
//!     fn change(&mut self, change: &Change) -> Taken {
//!         match *change {
//!             Change::Claim { spawn, task, .. } => {
//!                 let run = RunId(spawn.0 as i64);
//!                 self.ready.retain(|candidate| candidate.task != task);
//!                 self.running.push(Fence { task, run, spawn });
//!                 Taken::Claimed { run, max_runtime_s: None }
//!             }
//!             Change::Finish { fence, verdict, .. } => {
//!                 assert_eq!(verdict, Verdict::Completed);
//!                 self.running.retain(|other| *other != fence);
//!                 self.done.push(fence.task);
//!                 Taken::Yes
//!             }
//!             _ => Taken::Yes,
//!         }
//!     }
//! }
//!
//! fn task(id: &str) -> Candidate {
//!     Candidate {
//!         task: TaskId::new(id).unwrap(),
//!         lane: Lane::Worker(WorkerId(0)),
//!         priority: 0,
//!         created_at: 0,
//!         order: 0,
//!         has_body: true,
//!         failures: 0,
//!         last_end: None,
//!     }
//! }
//!
//! let board = BoardId(1);
//! let mut rows = Board { ready: vec![task("t_1"), task("t_2")], running: vec![], done: vec![] };
//! let mut zombies: Vec<(SpawnId, Pid)> = Vec::new();
//! let mut wake_at = None;
//!
//! let policy = Policy { workers: vec![WorkerPolicy::default()], ..Policy::default() };
//! let mut machine = Dispatcher::new(policy);
//! let mut now = Now { mono: Mono(0), unix: 1_700_000_000 };
//! let mut events = VecDeque::from([Event::Tick]);
//! let mut effects = Vec::new();
//!
//! while rows.done.len() < 2 {
//!     // When there is nothing to report, time passes until the machine wants to be woken.
//!     let event = events.pop_front().unwrap_or_else(|| {
//!         now.mono = wake_at.take().expect("the machine waits for an answer or for a moment");
//!         Event::Wake
//!     });
//!     machine.step(now, event, &mut effects);
//!     for effect in effects.drain(..) {
//!         match effect {
//!             // Asking all children is always right; `whom` may make it cheaper.
//!             Effect::Reap { seq, .. } => {
//!                 events.extend(zombies.drain(..).map(|(spawn, pid)| Event::ChildExited {
//!                     spawn,
//!                     pid,
//!                     status: ExitStatus::Code(0),
//!                     group: Group::Gone,
//!                 }));
//!                 events.push_back(Event::Reaped { seq });
//!             }
//!             Effect::ListBoards => {
//!                 events.extend([Event::BoardAdded { board }, Event::BoardsListed]);
//!             }
//!             Effect::Connect { board, seq, .. } => {
//!                 events.push_back(Event::Connected { board, seq });
//!             }
//!             Effect::Exchange { board, seq, request } => {
//!                 let answer = Box::new(rows.exchange(&request));
//!                 events.push_back(Event::Exchanged { board, seq, answer });
//!             }
//!             Effect::Spawn { spawn, .. } => {
//!                 let pid = Pid(100 + spawn.0 as i32);
//!                 zombies.push((spawn, pid));
//!                 events.extend([Event::SpawnOk { spawn, pid }, Event::KernelReady]);
//!             }
//!             Effect::WakeAt(at) => wake_at = Some(at),
//!             Effect::Report(report) => println!("{report:?}"),
//!             // Workers that exit on their own are not signalled, and nothing is kept for them.
//!             Effect::Signal { .. }
//!             | Effect::Find { .. }
//!             | Effect::Note { .. }
//!             | Effect::SyncNotes
//!             | Effect::CancelSpawn { .. }
//!             | Effect::Disconnect { .. }
//!             | Effect::Forget { .. } => {}
//!         }
//!     }
//! }
//! assert!(zombies.is_empty() && rows.running.is_empty());
//! assert_eq!(rows.done.iter().map(TaskId::as_str).collect::<Vec<_>>(), ["t_1", "t_2"]);
//! ```
//!
//! The simulator's world is the same loop with everything that can go wrong, in
//! `sim/src/world.rs`; `Daemon` in `runtime` is the real one.
#![cfg_attr(not(any(test, feature = "runtime")), no_std)]

extern crate alloc;

#[cfg(feature = "runtime")]
pub mod board;
#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod evidence;
#[forbid(unsafe_code)]
pub mod machine;
#[cfg(feature = "runtime")]
pub mod process;
#[cfg(feature = "runtime")]
mod regular;
#[cfg(feature = "runtime")]
pub mod root;
#[cfg(feature = "runtime")]
pub mod runtime;
