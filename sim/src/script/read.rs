//! From words to events.

use sexton::machine::adoption::{Evidence, Process, Record};
use sexton::machine::event::{Event, Group, Signal, SignalOutcome};
use sexton::machine::exchange::{Expired, LeaseEnd, Orphan, Refusal};
use sexton::machine::fault::{Blame, Commit, Fault, FaultClass};
use sexton::machine::hold::Hold;
use sexton::machine::hold::{Candidate, Lane, LastEnd};
use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::{Completion, Policy};
use sexton::machine::verdict::ExitStatus;

use super::Stage;

/// What a board shows, and what it refuses.
#[derive(Default)]
pub struct Seen {
    pub ready: Option<Vec<Candidate>>,
    pub more: bool,
    pub promotable: Vec<TaskId>,
    pub expired: Vec<Expired>,
    pub orphans: Vec<Orphan>,
    pub others: u32,
    pub lost: Vec<TaskId>,
    pub due: Option<i64>,
    pub refused: Vec<(TaskId, Refusal)>,
    pub limits: Vec<(TaskId, u32)>,
    pub unchanged: bool,
}

impl Stage {
    pub(super) fn event(&mut self, words: &[&str], seen: &str) -> Option<Event> {
        let seq = |board: BoardId| self.asked.get(&board).copied().unwrap_or_default();
        if !seen.is_empty() && words.first() != Some(&"exchanged") {
            return None;
        }
        Some(match words {
            ["tick"] => Event::Tick,
            ["wake"] => Event::Wake,
            ["kernel-ready"] => Event::KernelReady,
            ["exited", spawn, "pid", pid, how @ ..] => {
                let (how, group) = match how {
                    [how @ .., "others-live"] => (how, Group::Alive),
                    how => (how, Group::Gone),
                };
                let (spawn, pid, status) = (attempt(spawn)?, self::pid(pid)?, status(how)?);
                Event::ChildExited { spawn, pid, status, group }
            }
            ["orphan", pid] => Event::OrphanReaped { pid: self::pid(pid)? },
            ["reaped"] => Event::Reaped { seq: self.reap },
            ["reap-failed", errno] => {
                Event::ReapFailed { seq: self.reap, errno: errno.parse().ok()? }
            }
            ["boards-listed"] => Event::BoardsListed,
            ["board-added", board] => Event::BoardAdded { board: id(board)? },
            ["board-removed", board] => Event::BoardRemoved { board: id(board)? },
            ["board-changed", board] => Event::BoardChanged { board: id(board)? },
            ["connected", board] => {
                let board = id(board)?;
                Event::Connected { board, seq: seq(board) }
            }
            ["connect-failed", board, class, same @ ..] => {
                let board = id(board)?;
                let unchanged = match same {
                    [] => false,
                    ["same-file"] => true,
                    _ => return None,
                };
                let fault = Fault { class: self::class(class)?, unchanged };
                Event::ConnectFailed { board, seq: seq(board), fault }
            }
            ["exchanged", board] => {
                let board = id(board)?;
                let (seq, seen) = (seq(board), self::seen(seen)?);
                Event::Exchanged { board, seq, answer: Box::new(self.answer(board, seen)?) }
            }
            ["exchange-failed", board, class, kept @ ..] => {
                let board = id(board)?;
                let fault = Fault { class: self::class(class)?, unchanged: false };
                let seq = seq(board);
                let commit = match kept {
                    [] => Commit::No,
                    ["perhaps-written"] => Commit::Maybe,
                    ["written-unseen"] => {
                        self.write(board, &Seen::default());
                        Commit::Maybe
                    }
                    _ => return None,
                };
                Event::ExchangeFailed { board, seq, fault, commit }
            }
            ["spawn-ok", spawn, "pid", pid] => {
                Event::SpawnOk { spawn: attempt(spawn)?, pid: self::pid(pid)? }
            }
            ["spawn-failed", spawn, blame, errno] => {
                let blame = match *blame {
                    "task" => Blame::Task,
                    "host" => Blame::Host,
                    "board" => Blame::Board,
                    _ => return None,
                };
                Event::SpawnFailed { spawn: attempt(spawn)?, blame, errno: errno.parse().ok()? }
            }
            ["spawn-cancelled", spawn] => Event::SpawnCancelled { spawn: attempt(spawn)? },
            ["found", spawn, how @ ..] => {
                Event::Found { spawn: attempt(spawn)?, evidence: evidence(how)? }
            }
            ["signalled", spawn, signal, outcome] => Event::Signalled {
                spawn: attempt(spawn)?,
                signal: self::signal(signal)?,
                outcome: self::outcome(outcome)?,
            },
            ["policy", settings @ ..] => {
                self::settings(&mut self.policy, settings)?;
                Event::PolicyChanged(Box::new(self.policy.clone()))
            }
            ["drain", seconds] => Event::Drain { grace_ms: millis(seconds)? },
            ["abort"] => Event::Abort,
            _ => return None,
        })
    }
}

/// The answer to a search for the worker of an adopted attempt.
fn evidence(words: &[&str]) -> Option<Evidence> {
    let (record, process) = match words {
        ["running", "pid", pid, "for", seconds] => {
            let (pid, age_ms) = (self::pid(pid)?, millis(seconds)?);
            (Record::Started, Process::Held { pid, age_ms })
        }
        ["gone"] => (Record::Started, Process::None(Group::Gone)),
        ["gone", "others-live"] => (Record::Started, Process::None(Group::Alive)),
        ["never-started"] => (Record::Intent, Process::None(Group::Gone)),
        ["executing"] => (Record::Intent, Process::Executing),
        ["hidden"] => (Record::Started, Process::Hidden),
        _ => return None,
    };
    Some(Evidence { record, process, noted: None })
}

/// Seconds with up to three decimals, as milliseconds.
pub fn millis(word: &str) -> Option<u64> {
    let (whole, part) = word.split_once('.').unwrap_or((word, "0"));
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let part: u64 = digits.then(|| format!("{part:0<3}").parse().ok())??;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

/// Applies pairs of a setting and its value.
pub fn settings(policy: &mut Policy, words: &[&str]) -> Option<()> {
    for pair in words.chunks(2) {
        let [setting, value] = pair else { return None };
        let number = || value.parse().ok();
        match *setting {
            "max-workers" => policy.max_workers = number()?,
            "max-in-progress" => policy.max_in_progress = number()?,
            "failure-limit" => policy.failure_limit = number()?,
            "lease" => policy.claim_ttl_s = number()?,
            "cooldown" => policy.cooldown_s = number()?,
            "default" => policy.default_worker = yes(value, "yes", "no")?.then_some(WorkerId(0)),
            _ => {
                let worker = policy.workers.first_mut()?;
                match *setting {
                    "runtime" if *value == "none" => worker.max_runtime_s = None,
                    "runtime" => worker.max_runtime_s = Some(number()?),
                    "kill-after" => worker.kill_after_ms = millis(value)?,
                    "completion" => {
                        let board = yes(value, "board", "exit-status")?;
                        worker.completion =
                            if board { Completion::Board } else { Completion::ExitStatus };
                    }
                    "leftovers" => worker.keep_leftovers = yes(value, "keep", "end")?,
                    "body" => worker.needs_body = yes(value, "needed", "optional")?,
                    _ => return None,
                }
            }
        }
    }
    Some(())
}

fn yes(value: &str, yes: &str, no: &str) -> Option<bool> {
    (value == yes || value == no).then_some(value == yes)
}

fn seen(text: &str) -> Option<Seen> {
    let mut seen = Seen::default();
    for clause in text.split(',').filter(|clause| !clause.trim().is_empty()) {
        let words: Vec<&str> = clause.split_whitespace().collect();
        match words.as_slice() {
            ["ready", tasks @ ..] => {
                let tasks = tasks.iter().enumerate().map(|(n, task)| candidate(n, task));
                seen.ready = Some(tasks.collect::<Option<_>>()?);
            }
            ["more"] => seen.more = true,
            ["promotable", tasks @ ..] => seen.promotable = self::tasks(tasks)?,
            [how @ ("expired" | "abandoned"), tasks @ ..] => {
                let by = if *how == "expired" { LeaseEnd::Expired } else { LeaseEnd::WorkerGone };
                let tasks = self::tasks(tasks)?.into_iter();
                seen.expired.extend(tasks.map(|task| Expired { task, run: None, by }));
            }
            ["orphans", tasks @ ..] => {
                // Runs of other dispatchers are numbered from 1001.
                let orphans = self::tasks(tasks)?.into_iter().zip(1_001..);
                seen.orphans.extend(orphans.map(|(task, run)| Orphan {
                    task,
                    run: RunId(run),
                    worker: WorkerId(0),
                }));
            }
            ["others", number] => seen.others = number.parse().ok()?,
            ["lost", tasks @ ..] => seen.lost = self::tasks(tasks)?,
            ["due", second] => seen.due = Some(second.parse().ok()?),
            ["refused", task, why] => seen.refused.push((TaskId::new(task)?, refusal(why)?)),
            ["limit", task, seconds] => {
                seen.limits.push((TaskId::new(task)?, seconds.parse().ok()?));
            }
            ["unchanged"] => seen.unchanged = true,
            _ => return None,
        }
    }
    Some(seen)
}

fn candidate(n: usize, word: &str) -> Option<Candidate> {
    let mut words = word.split(':');
    let mut candidate = Candidate {
        task: TaskId::new(words.next()?)?,
        lane: Lane::Worker(WorkerId(0)),
        priority: 0,
        created_at: 0,
        order: i64::try_from(n).ok()?,
        has_body: true,
        failures: 0,
        last_end: None,
    };
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let end = |rate_limited| Some(LastEnd { at: value.parse().ok()?, rate_limited });
        match name {
            "failures" => candidate.failures = value.parse().ok()?,
            "priority" => candidate.priority = value.parse().ok()?,
            "ended" => candidate.last_end = Some(end(false)?),
            "rate-limited" => candidate.last_end = Some(end(true)?),
            "no-body" => candidate.has_body = false,
            "unassigned" => candidate.lane = Lane::Unassigned,
            "foreign" => candidate.lane = Lane::Foreign,
            _ => return None,
        }
    }
    Some(candidate)
}

fn refusal(word: &str) -> Option<Refusal> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    Some(match name {
        "superseded" => Refusal::Superseded,
        "full" => Refusal::Full,
        "locked" => Refusal::Locked,
        "rejected" => Refusal::Rejected,
        "cooldown" => Refusal::Held(Hold::Cooldown { until: value.parse().ok()? }),
        "backoff" => Refusal::Held(Hold::Backoff { until: value.parse().ok()? }),
        "foreign" => Refusal::Held(Hold::ForeignLane),
        "unassigned" => Refusal::Held(Hold::Unassigned),
        "needs-body" => Refusal::Held(Hold::NeedsBody),
        "review" => Refusal::Held(Hold::Review),
        _ => return None,
    })
}

fn status(words: &[&str]) -> Option<ExitStatus> {
    match words {
        ["code", code] => code.parse().ok().map(ExitStatus::Code),
        ["signal", signal] => signal.parse().ok().map(ExitStatus::Signal),
        ["unknown"] => Some(ExitStatus::Unknown),
        _ => None,
    }
}

fn signal(word: &str) -> Option<Signal> {
    match word {
        "probe" => Some(Signal::Probe),
        "term" => Some(Signal::Term),
        "kill" => Some(Signal::Kill),
        _ => None,
    }
}

fn outcome(word: &str) -> Option<SignalOutcome> {
    match word {
        "delivered" => Some(SignalOutcome::Delivered),
        "gone" => Some(SignalOutcome::Gone),
        "refused" => Some(SignalOutcome::Refused),
        _ => None,
    }
}

fn class(word: &str) -> Option<FaultClass> {
    match word {
        "content" => Some(FaultClass::Content),
        "access" => Some(FaultClass::Access),
        "busy" => Some(FaultClass::Busy),
        "replaced" => Some(FaultClass::Replaced),
        _ => None,
    }
}

fn tasks(words: &[&str]) -> Option<Vec<TaskId>> {
    words.iter().map(|word| TaskId::new(word)).collect()
}

fn id(word: &str) -> Option<BoardId> {
    word.parse().ok().map(BoardId)
}

fn attempt(word: &str) -> Option<SpawnId> {
    word.parse().ok().map(SpawnId)
}

fn pid(word: &str) -> Option<Pid> {
    word.parse().ok().map(Pid)
}
