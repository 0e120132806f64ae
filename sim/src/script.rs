//! Scripts: one event a line, and the machine's answer beneath it.
//!
//! ```text
//! at 0 tick
//! at 0 board-added 1
//! at 1 connect-failed 1 content
//! at 9 exited 1 pid 100 code 0
//! ```
//!
//! `at` gives milliseconds. Answers carry the number of the newest question; `exchanged` takes every
//! change and may list what is ready. Lines that begin with `#` are kept as they are.

use std::collections::BTreeMap;
use std::fmt::Write;

use sexton::machine::Dispatcher;
use sexton::machine::effect::Effect;
use sexton::machine::event::{Commit, Event, Fault, FaultClass, Group};
use sexton::machine::exchange::{
    Answer, Candidate, Change, Fence, Lane, Observation, Ready, Taken,
};
use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::now::{Mono, Now};
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton::machine::verdict::ExitStatus;

/// What the lines of an answer begin with.
const ANSWER: &str = "    ";

/// Plays a script, or a transcript without its answers, and gives it back with what the machine answered to each line.
///
/// # Errors
/// The line that is not understood.
pub fn play(script: &str) -> Result<String, String> {
    let mut stage = Stage::new();
    let mut transcript = String::new();
    for (number, line) in script.lines().enumerate().filter(|(_, line)| !line.starts_with(ANSWER)) {
        let _to_a_string = writeln!(transcript, "{line}");
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let effects = stage.line(line).ok_or(format!("{}: not understood: {line}", number + 1))?;
        for effect in effects {
            let _to_a_string = writeln!(transcript, "{ANSWER}{effect:?}");
        }
    }
    Ok(transcript)
}

struct Stage {
    machine: Dispatcher,
    /// The newest question to each board, and to the kernel.
    asked: BTreeMap<BoardId, u64>,
    reap: u64,
    /// The changes that each board was sent.
    sent: BTreeMap<BoardId, Vec<Change>>,
    /// Claims that took.
    ours: BTreeMap<BoardId, Vec<Fence>>,
}

impl Stage {
    fn new() -> Stage {
        let policy = Policy {
            max_workers: 2,
            max_in_progress: 2,
            workers: vec![WorkerPolicy::default()],
            ..Policy::default()
        };
        Stage {
            machine: Dispatcher::new(policy),
            asked: BTreeMap::new(),
            reap: 0,
            sent: BTreeMap::new(),
            ours: BTreeMap::new(),
        }
    }

    fn line(&mut self, line: &str) -> Option<Vec<Effect>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["at", at, rest @ ..] = words.as_slice() else { return None };
        let mono: u64 = at.parse().ok()?;
        let unix = i64::try_from(mono / 1000).ok()?;
        let event = self.event(rest)?;
        let mut effects = Vec::new();
        self.machine.step(Now { mono: Mono(mono), unix }, event, &mut effects);
        for effect in &effects {
            self.remember(effect);
        }
        Some(effects)
    }

    fn remember(&mut self, effect: &Effect) {
        match effect {
            Effect::Reap { seq } => self.reap = *seq,
            Effect::Connect { board, seq, .. } => {
                self.asked.insert(*board, *seq);
            }
            Effect::Exchange { board, seq, request } => {
                self.asked.insert(*board, *seq);
                self.sent.insert(*board, request.changes.clone());
            }
            Effect::Signal { .. }
            | Effect::ListBoards
            | Effect::Disconnect { .. }
            | Effect::Spawn { .. }
            | Effect::CancelSpawn { .. }
            | Effect::Forget { .. }
            | Effect::WakeAt(_)
            | Effect::Report(_) => {}
        }
    }

    fn event(&mut self, words: &[&str]) -> Option<Event> {
        let seq = |board: BoardId| self.asked.get(&board).copied().unwrap_or_default();
        Some(match words {
            ["tick"] => Event::Tick,
            ["wake"] => Event::Wake,
            ["kernel-ready"] => Event::KernelReady,
            ["reaped"] => Event::Reaped { seq: self.reap },
            ["reap-failed", errno] => {
                Event::ReapFailed { seq: self.reap, errno: errno.parse().ok()? }
            }
            ["exited", spawn, "pid", pid, "code", code] => Event::ChildExited {
                spawn: SpawnId(spawn.parse().ok()?),
                pid: Pid(pid.parse().ok()?),
                status: ExitStatus::Code(code.parse().ok()?),
                group: Group::Gone,
            },
            ["boards-listed"] => Event::BoardsListed,
            ["board-added", board] => Event::BoardAdded { board: id(board)? },
            ["connected", board] => {
                let board = id(board)?;
                Event::Connected { board, seq: seq(board) }
            }
            ["connect-failed", board, class] => {
                let board = id(board)?;
                Event::ConnectFailed { board, seq: seq(board), fault: fault(class)? }
            }
            ["exchange-failed", board, class] => {
                let board = id(board)?;
                let (fault, commit) = (fault(class)?, Commit::Maybe);
                Event::ExchangeFailed { board, seq: seq(board), fault, commit }
            }
            ["exchanged", board, ready @ ..] => {
                let board = id(board)?;
                let seq = seq(board);
                Event::Exchanged { board, seq, answer: Box::new(self.answer(board, ready)?) }
            }
            ["spawn-ok", spawn, "pid", pid] => {
                Event::SpawnOk { spawn: SpawnId(spawn.parse().ok()?), pid: Pid(pid.parse().ok()?) }
            }
            _ => return None,
        })
    }

    fn answer(&mut self, board: BoardId, ready: &[&str]) -> Option<Answer> {
        let mut taken = Vec::new();
        let ours = self.ours.entry(board).or_default();
        for change in self.sent.remove(&board).unwrap_or_default() {
            taken.push(match change {
                Change::Claim { spawn, task, .. } => {
                    let run = RunId(i64::try_from(spawn.0).ok()?);
                    ours.push(Fence { task, run, spawn });
                    Taken::Claimed { run, max_runtime_s: None }
                }
                Change::Finish { fence, .. } => {
                    ours.retain(|known| *known != fence);
                    Taken::Yes
                }
                Change::Started { .. }
                | Change::Renew { .. }
                | Change::Promote { .. }
                | Change::Free { .. } => Taken::Yes,
            });
        }
        let tasks = ready.iter().enumerate().map(|(n, task)| candidate(n, task));
        let observation = Observation {
            running: u32::try_from(ours.len()).ok()?,
            ready: Some(Ready { tasks: tasks.collect::<Option<_>>()?, more: false }),
            ours: ours.clone(),
            ..Observation::default()
        };
        Some(Answer { taken, observation: Some(observation) })
    }
}

fn id(word: &str) -> Option<BoardId> {
    word.parse().ok().map(BoardId)
}

fn fault(word: &str) -> Option<Fault> {
    let class = match word {
        "content" => FaultClass::Content,
        "access" => FaultClass::Access,
        "busy" => FaultClass::Busy,
        "replaced" => FaultClass::Replaced,
        _ => return None,
    };
    Some(Fault { class, unchanged: false })
}

fn candidate(n: usize, task: &str) -> Option<Candidate> {
    Some(Candidate {
        task: TaskId::new(task)?,
        lane: Lane::Worker(WorkerId(0)),
        priority: 0,
        created_at: 0,
        order: i64::try_from(n).ok()?,
        has_body: true,
        failures: 0,
        last_end: None,
    })
}
