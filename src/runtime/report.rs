//! What happened, as log lines, and the words for it.

use std::collections::BTreeMap;

use tracing::{debug, error, info, warn};

use crate::machine::effect::{EndCause, Report};
use crate::machine::exchange::Refusal;
use crate::machine::fault::Blame;
use crate::machine::ids::{BoardId, Pid, SpawnId, TaskId};
use crate::machine::verdict::{ExitStatus, Verdict};

/// Said of a board that hangs.
pub const HANGS: &str = "does not answer; its disk may hang";

/// The words that the machine does not carry.
#[derive(Debug, Default)]
pub struct Names {
    /// Names of the boards, for log lines.
    pub boards: BTreeMap<BoardId, String>,
    /// What was last wrong with it, in words.
    pub faults: BTreeMap<BoardId, String>,
    /// Each attempt's board and task.
    pub runs: BTreeMap<SpawnId, (BoardId, TaskId)>,
    /// Why an attempt could not be started.
    pub errors: BTreeMap<SpawnId, String>,
}

impl Names {
    /// Drops the words for an attempt.
    pub fn forget(&mut self, spawn: SpawnId) {
        self.errors.remove(&spawn);
        self.runs.remove(&spawn);
    }

    fn board(&self, id: BoardId) -> &str {
        self.boards.get(&id).map_or("?", String::as_str)
    }

    fn run(&self, spawn: SpawnId) -> (&str, String) {
        self.runs
            .get(&spawn)
            .map_or(("?", spawn.0.to_string()), |(id, task)| (self.board(*id), task.to_string()))
    }
}

/// Why an adopted attempt waits.
const CANNOT_TELL: &str = "it cannot be told whether its worker, started by a dispatcher that is \
    dead, still lives; it is looked for until that is clear, and the task is not started again \
    before";

/// Writes a report to the log.
pub fn log(report: &Report, names: &Names) {
    match report {
        Report::Reaped { pids, orphans } => log_reaped(pids, *orphans),
        Report::ReapFailing(errno) => {
            error!(errno, "reaping fails: {}; it is tried again", errno_text(*errno));
        }
        Report::ReapRecovered => info!("reaping works again"),
        Report::BoardOpened(id) => debug!(board = names.board(*id), "opened"),
        Report::BoardSick(id, fault, _) => {
            let why = names.faults.get(id).map_or("unknown reason", String::as_str);
            warn!(board = names.board(*id), class = ?fault.class, "out of use: {why}");
        }
        Report::BoardHung(id) => {
            warn!(board = names.board(*id), "{HANGS}");
        }
        Report::BoardWell(id) => info!(board = names.board(*id), "in use again"),
        Report::Claimed(fence, id) => {
            debug!(board = names.board(*id), task = %fence.task, run = fence.run.0, "claimed");
        }
        Report::Adopted(fence, id) => {
            info!(
                board = names.board(*id), task = %fence.task, run = fence.run.0,
                "adopted from a dispatcher that is dead"
            );
        }
        Report::CannotTell(spawn) => {
            let (board, task) = names.run(*spawn);
            warn!(board, task, "{CANNOT_TELL}");
        }
        Report::Found(spawn, pid) => {
            let (board, task) = names.run(*spawn);
            info!(board, task, pid = pid.0, "its worker was found");
        }
        Report::ClaimRefused(task, id, refusal) => log_refusal(*task, names.board(*id), *refusal),
        Report::Promoted(task, id) => info!(board = names.board(*id), task = %task, "ready"),
        Report::Reclaimed(task, id) => {
            info!(board = names.board(*id), task = %task, "reclaimed: its claim had ended");
        }
        Report::Started(spawn, pid) => {
            let (board, task) = names.run(*spawn);
            info!(board, task, pid = pid.0, "started");
        }
        Report::NotStarted(spawn, blame, _) => log_not_started(*spawn, *blame, names),
        Report::Ending(spawn, cause) => {
            let (board, task) = names.run(*spawn);
            info!(board, task, "ending it: {}", because(*cause));
        }
        Report::Exited(spawn, status) => {
            let (board, task) = names.run(*spawn);
            info!(board, task, "{}", how(*status));
        }
        Report::Recorded(spawn, Verdict::Unknown) => {
            let (board, task) = names.run(*spawn);
            warn!(
                board,
                task,
                "recorded: {}; its work may be done again",
                meaning(Verdict::Unknown)
            );
        }
        Report::Recorded(spawn, verdict) => {
            let (board, task) = names.run(*spawn);
            info!(board, task, "recorded: {}", meaning(*verdict));
        }
        Report::NotOurs(spawn) => {
            let (board, task) = names.run(*spawn);
            info!(board, task, "its run had ended in the board already");
        }
        Report::HostRefuses(errno, _) => {
            warn!(errno, "the host starts no processes: {}; waiting", errno_text(*errno));
        }
        Report::ClockWentBack(by) => warn!("the monotonic clock went back by {by} ms; ignored"),
        Report::Unexpected(what) => debug!("{what} was not expected; ignored"),
    }
}

fn log_reaped(pids: &[Pid], orphans: u32) {
    if !pids.is_empty() {
        let list: Vec<String> = pids.iter().map(|pid| pid.0.to_string()).collect();
        info!("reaped {} zombie worker(s), pids=[{}]", pids.len(), list.join(", "));
    }
    if orphans > 0 {
        debug!("reaped {orphans} adopted orphan(s)");
    }
}

fn log_refusal(task: TaskId, board: &str, refusal: Refusal) {
    match refusal {
        Refusal::Rejected => warn!(board, task = %task, "the board rejects its claim"),
        Refusal::Superseded | Refusal::Full | Refusal::Locked | Refusal::Held(_) => {
            debug!(board, task = %task, ?refusal, "not claimed");
        }
    }
}

fn log_not_started(spawn: SpawnId, blame: Blame, names: &Names) {
    let (board, task) = names.run(spawn);
    let why = names.errors.get(&spawn).map_or("unknown reason", String::as_str);
    match blame {
        Blame::Task => warn!(board, task, "not started: {why}"),
        Blame::Host => warn!(board, task, "not started, the host is to blame: {why}"),
        Blame::Board => {
            warn!(board, task, "not started, the board's directories are to blame: {why}")
        }
    }
}

fn because(cause: EndCause) -> String {
    match cause {
        EndCause::Timeout { limit_s } => format!("max_runtime of {limit_s} s exceeded"),
        EndCause::Shutdown => "shutting down".to_owned(),
        EndCause::Superseded => "its task ended in another way".to_owned(),
        EndCause::Leftovers => "it left processes behind".to_owned(),
    }
}

fn how(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited with code {code}"),
        ExitStatus::Signal(signal) => format!("killed by signal {signal}"),
        ExitStatus::Unknown => "ended, exit status unknown".to_owned(),
    }
}

/// A verdict in a word or two.
#[must_use]
pub fn meaning(verdict: Verdict) -> String {
    match verdict {
        Verdict::Completed => "completed".to_owned(),
        Verdict::Crashed(status) => how(status),
        Verdict::Unknown => "ended, and how is unknown".to_owned(),
        Verdict::ProtocolViolation => "exited without completing its task".to_owned(),
        Verdict::RateLimited => "rate limited".to_owned(),
        Verdict::CredentialsRefused => "credentials refused".to_owned(),
        Verdict::TimedOut { elapsed_s, limit_s, .. } => {
            format!("timed out after {elapsed_s} s of {limit_s} s")
        }
        Verdict::SpawnFailed => "could not be started".to_owned(),
        Verdict::Released(_) => "given back".to_owned(),
    }
}

/// Returns the text for an errno.
#[must_use]
pub fn errno_text(errno: i32) -> &'static str {
    nix::errno::Errno::from_raw(errno).desc()
}
