//! Scripts: one event a line, and the machine's answers beneath it.
//!
//! ```text
//! # A worker that exits is reaped and recorded.
//! at 0 board-added 1
//! at 0.001 connected 1
//! at 0.002 exchanged 1, ready t_1
//! at 0.003 exchanged 1
//! at 0.004 spawn-ok 1 pid 101
//! at 9 exited 1 pid 101 code 0
//! ```
//!
//! `at` is in seconds on the monotonic clock. The wall clock begins at 0 together with it.
//!
//! | line | meaning |
//! |---|---|
//! | `# …` | kept as it is |
//! | `policy SETTING…` | only before the first event: what the owner wants |
//! | `wall clock +N` | from here on the wall clock is N seconds further ahead (`-N`: back) |
//! | `given board B[, running TASK…]` | it was opened, and these tasks run, attempt N as pid 100 + N |
//! | `at SECONDS EVENT` | something happens |
//!
//! | event | meaning |
//! |---|---|
//! | `tick` `wake` `kernel-ready` | as named |
//! | `exited ATTEMPT pid N HOW [others-live]` | HOW: `code N`, `signal N`, `unknown` |
//! | `orphan N` | a process that we never started was reaped; N is its pid |
//! | `reaped` `reap-failed ERROR` | the end of a reaping step |
//! | `boards-listed` `board-added B` `board-removed B` `board-changed B` | as named |
//! | `connected B` `connect-failed B FAULT [same-file]` | FAULT: `content` `access` `busy` `replaced` |
//! | `exchanged B[, SEEN]…` | committed, see below |
//! | `exchange-failed B FAULT [KEPT]` | KEPT: `perhaps-written` (but not) or `written-unseen` |
//! | `spawn-ok ATTEMPT pid N` `spawn-cancelled ATTEMPT` | as named |
//! | `spawn-failed ATTEMPT BLAME ERROR` | BLAME: `task` `host` `board` |
//! | `signalled ATTEMPT SIGNAL OUTCOME` | `probe` `term` `kill`; `delivered` `gone` `refused` |
//! | `policy SETTING…` | the owner wants something else from now on |
//! | `drain SECONDS` `abort` | shut down |
//!
//! Answers carry the number of the newest question. The board of a script takes each claim, and each
//! other change whose fence is in it; attempt N has run 10·N. What it does besides is SEEN:
//!
//! | seen | meaning |
//! |---|---|
//! | `ready TASK…` | the head of the ready list; without it the list is no better than before |
//! | `more` | and there are more behind them |
//! | `promotable TASK…` | they wait, and their parents are done |
//! | `expired TASK…` `abandoned TASK…` | claims of others: lease over, or worker and dispatcher gone |
//! | `others N` | that many tasks are run by others |
//! | `lost TASK…` | it was ours, and another process has ended its run |
//! | `due SECOND` | then time alone changes something |
//! | `refused TASK WHY` | `superseded` `full` `locked` `rejected`, or a hold |
//! | `limit TASK SECONDS` | the task's own limit, reported with its claim |
//! | `unchanged` | it is as it was, and not looked at |
//!
//! A ready TASK may carry more facts, as in `t_1:failures=3:ended=10`: `failures=N`,
//! `ended=SECOND`, `rate-limited=SECOND`, `priority=N`, `no-body`, `unassigned`, `foreign`. Holds
//! are `cooldown=SECOND`, `backoff=SECOND`, `foreign`, `unassigned`, `needs-body` and `review`.
//!
//! Settings, with their defaults: `max-workers 2`, `max-in-progress 2`, `failure-limit 2`, `lease
//! 900`, `cooldown 300`, and of the one worker `runtime none`, `kill-after 5`, `completion
//! exit-status` (or `board`), `leftovers end` (or `keep`), `body optional` (or `needed`), `default
//! no` (or `yes`: it takes unassigned tasks). Times are seconds.

mod read;
mod tell;

use std::collections::BTreeMap;
use std::fmt::Write;

use sexton::machine::Dispatcher;
use sexton::machine::effect::Effect;
use sexton::machine::exchange::{Answer, Change, Fence, Observation, Ready, Refusal, Taken};
use sexton::machine::ids::{BoardId, RunId};
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton::machine::time::{Mono, Now};

use self::read::Seen;

/// What the lines of an answer begin with.
pub const ANSWER: &str = "    ";

/// Plays a script, or a transcript without its answers. Returns it with the machine's answers after
/// each line.
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
        for effect in &effects {
            for told in tell::effect(effect).lines() {
                let _to_a_string = writeln!(transcript, "{ANSWER}{told}");
            }
        }
    }
    Ok(transcript)
}

struct Stage {
    machine: Dispatcher,
    policy: Policy,
    begun: bool,
    /// When the last event came, in milliseconds.
    at: u64,
    /// How far the wall clock is ahead of the monotonic one, in seconds.
    wall: i64,
    /// The newest question to each board, and to the kernel.
    asked: BTreeMap<BoardId, u64>,
    reap: u64,
    /// The changes that each board was sent.
    sent: BTreeMap<BoardId, Vec<Change>>,
    /// Running rows that carry a claim of ours.
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
            machine: Dispatcher::new(policy.clone()),
            policy,
            begun: false,
            at: 0,
            wall: 0,
            asked: BTreeMap::new(),
            reap: 0,
            sent: BTreeMap::new(),
            ours: BTreeMap::new(),
        }
    }

    fn line(&mut self, line: &str) -> Option<Vec<Effect>> {
        let (head, seen) = line.split_once(',').unwrap_or((line, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["policy", settings @ ..] if !self.begun => {
                read::settings(&mut self.policy, settings)?;
                self.machine = Dispatcher::new(self.policy.clone());
                Some(Vec::new())
            }
            ["wall", "clock", by] => {
                self.wall = self.wall.checked_add(by.parse().ok()?)?;
                Some(Vec::new())
            }
            ["given", "board", board] => self.given(board, seen),
            ["at", at, event @ ..] => self.happens(read::millis(at)?, event, seen),
            _ => None,
        }
    }

    /// What every script would otherwise begin with.
    fn given(&mut self, board: &str, running: &str) -> Option<Vec<Effect>> {
        let tasks = match running.trim() {
            "" => "",
            running => running.strip_prefix("running ")?,
        };
        let at = self.at;
        self.happens(at, &["board-added", board], "")?;
        self.happens(at, &["boards-listed"], "")?;
        self.happens(at, &["connected", board], "")?;
        self.happens(at, &["exchanged", board], &format!("ready {tasks}"))?;
        if tasks.is_empty() {
            return Some(Vec::new());
        }
        for effect in self.happens(at, &["exchanged", board], "")? {
            if let Effect::Spawn { spawn, .. } = effect {
                let (attempt, pid) = (spawn.0.to_string(), (spawn.0 + 100).to_string());
                self.happens(at, &["spawn-ok", &attempt, "pid", &pid], "")?;
            }
        }
        self.happens(at + 5, &["wake"], "")?;
        self.happens(at + 5, &["exchanged", board], "")?;
        Some(Vec::new())
    }

    fn happens(&mut self, at: u64, words: &[&str], seen: &str) -> Option<Vec<Effect>> {
        (self.begun, self.at) = (true, at);
        let unix = i64::try_from(at / 1000).ok()?.checked_add(self.wall)?;
        let event = self.event(words, seen)?;
        let mut effects = Vec::new();
        self.machine.step(Now { mono: Mono(at), unix }, event, &mut effects);
        for effect in &effects {
            self.remember(effect);
        }
        Some(effects)
    }

    fn remember(&mut self, effect: &Effect) {
        match effect {
            Effect::Reap { seq, whom: _ } => self.reap = *seq,
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
            | Effect::Find { .. }
            | Effect::Note { .. }
            | Effect::SyncNotes
            | Effect::Forget { .. }
            | Effect::WakeAt(_)
            | Effect::Report(_) => {}
        }
    }

    /// Writes what was sent into the board, and returns the result of each change.
    fn write(&mut self, board: BoardId, seen: &Seen) -> Vec<Taken> {
        let ours = self.ours.entry(board).or_default();
        ours.retain(|fence| !seen.lost.contains(&fence.task));
        let sent = self.sent.remove(&board).unwrap_or_default();
        sent.iter().map(|change| write(ours, change, seen)).collect()
    }

    fn answer(&mut self, board: BoardId, seen: Seen) -> Option<Answer> {
        let taken = self.write(board, &seen);
        let ours = self.ours.get(&board).cloned().unwrap_or_default();
        let observation = Observation {
            running: u32::try_from(ours.len()).ok()?.checked_add(seen.others)?,
            ready: seen.ready.map(|tasks| Ready { tasks, more: seen.more }),
            promotable: seen.promotable,
            expired: seen.expired,
            orphans: seen.orphans,
            ours,
            due: seen.due,
        };
        Some(Answer { taken, observation: (!seen.unchanged).then_some(observation) })
    }
}

fn write(ours: &mut Vec<Fence>, change: &Change, seen: &Seen) -> Taken {
    let refused = |task| seen.refused.iter().find(|(of, _)| *of == task).map(|(_, why)| *why);
    match change {
        Change::Claim { spawn, task, .. } => {
            if let Some(why) = refused(*task) {
                return Taken::No(why);
            }
            let run = RunId(i64::try_from(spawn.0).unwrap_or_default().saturating_mul(10));
            ours.push(Fence { task: *task, run, spawn: *spawn });
            let limit = seen.limits.iter().find(|(of, _)| of == task);
            Taken::Claimed { run, max_runtime_s: limit.map(|(_, seconds)| *seconds) }
        }
        Change::Adopt { spawn, orphan, .. } => {
            if let Some(why) = refused(orphan.task) {
                return Taken::No(why);
            }
            ours.push(Fence { task: orphan.task, run: orphan.run, spawn: *spawn });
            let limit = seen.limits.iter().find(|(of, _)| *of == orphan.task);
            Taken::Claimed { run: orphan.run, max_runtime_s: limit.map(|(_, seconds)| *seconds) }
        }
        Change::Started { fence, .. }
        | Change::Renew { fence, .. }
        | Change::Finish { fence, .. } => {
            if let Some(why) = refused(fence.task) {
                return Taken::No(why);
            }
            if !ours.contains(fence) {
                return Taken::No(Refusal::Superseded);
            }
            if matches!(change, Change::Finish { .. }) {
                ours.retain(|known| known != fence);
            }
            Taken::Yes
        }
        Change::Promote { task, .. } => refused(*task).map_or(Taken::Yes, Taken::No),
        Change::Reclaim { expired, .. } => refused(expired.task).map_or(Taken::Yes, Taken::No),
    }
}
