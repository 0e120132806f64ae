//! From what the machine asks for to lines that a person can read. Nothing of it is left out.

use std::fmt;

use sexton::machine::effect::{Effect, EndCause, Report};
use sexton::machine::event::Signal;
use sexton::machine::exchange::{Change, Fence, LeaseEnd, Orphan, Refusal, Request};
use sexton::machine::fault::{Blame, FaultClass};
use sexton::machine::hold::Hold;
use sexton::machine::time::Mono;
use sexton::machine::verdict::{ExitStatus, Release, Verdict};

/// One effect; each change of an exchange has a line of its own.
pub fn effect(effect: &Effect) -> String {
    let (verb, text) = match effect {
        Effect::Reap { seq, whom: _ } => ("reap", format!("#{seq}")),
        Effect::Signal { spawn, signal } => {
            ("signal", format!("attempt {} {}", spawn.0, self::signal(*signal)))
        }
        Effect::ListBoards => ("list", "boards".to_owned()),
        Effect::Connect { board, seq, if_changed } => {
            let how = if *if_changed { ", only if the file has changed" } else { "" };
            ("connect", format!("board {} #{seq}{how}", board.0))
        }
        Effect::Exchange { board, seq, request } => {
            ("exchange", format!("board {} #{seq}{}", board.0, self::request(request)))
        }
        Effect::Disconnect { board } => ("disconnect", format!("board {}", board.0)),
        Effect::Spawn { spawn, board, task, run, worker } => {
            let (spawn, run, board, worker) = (spawn.0, run.0, board.0, worker.0);
            let text = format!("attempt {spawn}: {task} run {run}, board {board}, worker {worker}");
            ("spawn", text)
        }
        Effect::CancelSpawn { spawn } => ("cancel", format!("the spawn of attempt {}", spawn.0)),
        Effect::Find { spawn } => ("find", format!("the worker of attempt {}", spawn.0)),
        Effect::Note { spawn, verdict } => {
            ("note", format!("attempt {}: {}", spawn.0, self::verdict(*verdict)))
        }
        Effect::SyncNotes => ("sync", "what was noted".to_owned()),
        Effect::Forget { spawn } => ("forget", format!("attempt {}", spawn.0)),
        Effect::WakeAt(at) => ("wake", format!("at {}", Seconds(*at))),
        Effect::Report(report) => ("report", self::report(report)),
    };
    format!("{verb:<10} {text}")
}

fn request(request: &Request) -> String {
    let Request { changes, fresh, relist, want, unix } = request;
    let everything = if *fresh { ", look at everything" } else { "" };
    let relist = if *relist { ", list again" } else { "" };
    let mut text = format!("{everything}{relist}, want {want}, wall clock {unix}");
    for change in changes {
        text.push_str("\n           - ");
        text.push_str(&self::change(change));
    }
    text
}

fn change(change: &Change) -> String {
    match change {
        Change::Claim { spawn, task, worker, ttl_s, cap } => {
            let (spawn, worker) = (spawn.0, worker.0);
            format!("claim {task} as attempt {spawn}, worker {worker}, lease {ttl_s} s, cap {cap}")
        }
        Change::Adopt { spawn, orphan, ttl_s } => {
            let Orphan { task, run, worker } = orphan;
            let (spawn, run, worker) = (spawn.0, run.0, worker.0);
            format!("adopt {task} run {run} as attempt {spawn}, worker {worker}, lease {ttl_s} s")
        }
        Change::Started { fence, pid } => format!("started {}: pid {}", self::fence(*fence), pid.0),
        Change::Renew { fence, ttl_s, heartbeat } => {
            let heartbeat = if *heartbeat { ", heartbeat" } else { "" };
            format!("renew {}: lease {ttl_s} s{heartbeat}", self::fence(*fence))
        }
        Change::Finish { fence, pid, verdict, failure_limit } => {
            let pid = pid.map_or("no pid".to_owned(), |pid| format!("pid {}", pid.0));
            let (fence, verdict) = (self::fence(*fence), self::verdict(*verdict));
            format!("finish {fence}: {verdict}, {pid}, failure limit {failure_limit}")
        }
        Change::Promote { task, failure_limit } => {
            format!("promote {task}, failure limit {failure_limit}")
        }
        Change::Reclaim { expired, failure_limit } => {
            let why = match expired.by {
                LeaseEnd::Expired => "its lease is over",
                LeaseEnd::Neglected => "its dispatcher lives, and does not renew it",
                LeaseEnd::WorkerGone => "its worker is gone",
            };
            let run = expired.run.map_or(String::new(), |run| format!(" run {}", run.0));
            format!("free {}{run}: {why}, failure limit {failure_limit}", expired.task)
        }
    }
}

fn fence(fence: Fence) -> String {
    format!("{} run {} token {}", fence.task, fence.run.0, fence.spawn.0)
}

fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Completed => "completed".to_owned(),
        Verdict::Crashed(status) => format!("crashed({})", self::status(status)),
        Verdict::Unknown => "unknown".to_owned(),
        Verdict::ProtocolViolation => "protocol violation".to_owned(),
        Verdict::RateLimited => "rate limited".to_owned(),
        Verdict::CredentialsRefused => "credentials refused".to_owned(),
        Verdict::TimedOut { elapsed_s, limit_s, killed } => {
            let killed = if killed { ", killed" } else { "" };
            format!("timed out({elapsed_s} s of {limit_s} s{killed})")
        }
        Verdict::SpawnFailed => "spawn failed".to_owned(),
        Verdict::Released(why) => format!(
            "released({})",
            match why {
                Release::Shutdown => "shutdown",
                Release::HostRefused => "host refused",
                Release::NotStarted => "not started",
                Release::Superseded => "superseded",
            }
        ),
    }
}

fn status(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("code {code}"),
        ExitStatus::Signal(signal) => format!("signal {signal}"),
        ExitStatus::Unknown => "unknown".to_owned(),
    }
}

fn signal(signal: Signal) -> &'static str {
    match signal {
        Signal::Probe => "probe",
        Signal::Term => "TERM",
        Signal::Kill => "KILL",
    }
}

fn report(report: &Report) -> String {
    match report {
        Report::Reaped { pids, orphans } => {
            let pids = pids.iter().map(|pid| format!(" {}", pid.0)).collect::<String>();
            format!("reaped pids{pids}, orphans {orphans}")
        }
        Report::ReapFailing(errno) => format!("reaping fails, error {errno}"),
        Report::ReapRecovered => "reaping works again".to_owned(),
        Report::BoardOpened(board) => format!("board {} is open", board.0),
        Report::BoardSick(board, fault, until) => {
            let class = match fault.class {
                FaultClass::Content => "bad content",
                FaultClass::Access => "no access",
                FaultClass::Busy => "busy",
                FaultClass::Replaced => "replaced",
            };
            let same = if fault.unchanged { ", the same file" } else { "" };
            format!("board {} is out of use until {}: {class}{same}", board.0, Seconds(*until))
        }
        Report::BoardHung(board) => format!("board {} does not answer", board.0),
        Report::BoardWell(board) => format!("board {} takes changes again", board.0),
        Report::Claimed(fence, board) => {
            format!("claimed {} of board {}", self::fence(*fence), board.0)
        }
        Report::Adopted(fence, board) => {
            format!("adopted {}, board {}", self::fence(*fence), board.0)
        }
        Report::CannotTell(spawn) => {
            format!("it cannot be told whether the worker of attempt {} lives", spawn.0)
        }
        Report::Found(spawn, pid) => format!("found attempt {}: pid {}", spawn.0, pid.0),
        Report::ClaimRefused(task, board, why) => {
            format!("board {} refused the claim of {task}: {}", board.0, refusal(*why))
        }
        Report::Promoted(task, board) => format!("promoted {task} of board {}", board.0),
        Report::Reclaimed(task, board) => format!("freed {task} of board {}", board.0),
        Report::Started(spawn, pid) => format!("attempt {} runs as pid {}", spawn.0, pid.0),
        Report::NotStarted(spawn, blame, errno) => {
            let whose = match blame {
                Blame::Task => "task",
                Blame::Host => "host",
                Blame::Board => "board",
            };
            format!("attempt {} was not started: error {errno} of the {whose}", spawn.0)
        }
        Report::Ending(spawn, cause) => format!("ending attempt {}: {}", spawn.0, ending(*cause)),
        Report::Exited(spawn, status) => {
            format!("attempt {} exited: {}", spawn.0, self::status(*status))
        }
        Report::Recorded(spawn, verdict) => {
            format!("attempt {} is recorded: {}", spawn.0, self::verdict(*verdict))
        }
        Report::NotOurs(spawn) => format!("attempt {} was no longer ours", spawn.0),
        Report::HostRefuses(errno, until) => {
            format!(
                "the host starts no processes, error {errno}; waiting until {}",
                Seconds(*until)
            )
        }
        Report::ClockWentBack(ms) => format!("the clock went back by {}", Seconds(Mono(*ms))),
        Report::Unexpected(what) => format!("unexpected: {what}"),
    }
}

fn ending(cause: EndCause) -> String {
    match cause {
        EndCause::Timeout { limit_s } => format!("its {limit_s} s are over"),
        EndCause::Shutdown => "shutdown".to_owned(),
        EndCause::Superseded => "its run is no longer ours".to_owned(),
        EndCause::Leftovers => "what it left behind".to_owned(),
    }
}

fn refusal(why: Refusal) -> String {
    match why {
        Refusal::Superseded => "superseded".to_owned(),
        Refusal::Full => "full".to_owned(),
        Refusal::Locked => "locked".to_owned(),
        Refusal::Rejected => "rejected".to_owned(),
        Refusal::Held(hold) => match hold {
            Hold::ForeignLane => "somebody else's".to_owned(),
            Hold::Unassigned => "nobody's".to_owned(),
            Hold::NeedsBody => "needs a body".to_owned(),
            Hold::Cooldown { until } => format!("cools down until {until}"),
            Hold::Backoff { until } => format!("waits until {until}"),
            Hold::Review => "waits for a reviewer".to_owned(),
        },
    }
}

/// A moment as scripts write it.
struct Seconds(Mono);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.0 / 1000, self.0.0 % 1000);
        let text = format!("{seconds}.{millis:03}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
