//! Looks for the worker of an adopted claim. Only fetches: what the findings mean is decided by
//! [`machine::adoption`](crate::machine::adoption).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::keeper::client::Keeper;
use super::records::{Foreign, Found as Recorded};
use crate::machine::adoption::{Evidence, Process, Record};
use crate::machine::event::Group;
use crate::machine::ids::{Pid, SpawnId};
use crate::machine::verdict::Verdict;
use crate::process::children::Adopted;
use crate::process::environment::{self, Bears};
use crate::process::identity::{self, Domain, Instance, LookError};
use crate::process::pidfd::{self, Reach, Stage};

/// An adopted claim, by what its rows say.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Its lock text, which its worker has in its environment.
    pub lock: &'a str,
    /// The pid of the dispatcher that made it.
    pub dispatcher: Pid,
    /// Which process that was, as its lock has it.
    pub instance: &'a str,
    /// The number of the attempt in the life of that dispatcher.
    pub attempt: SpawnId,
    /// The pid of its worker, if that was recorded in the board.
    pub pid: Option<Pid>,
    /// When that worker started, in ticks since boot, if that was.
    pub start: Option<u64>,
    /// Its worker started at this tick since boot, or later.
    pub since: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// For the machine.
    pub evidence: Evidence,
    /// The worker, if it is held: alive, or ended so that its group or its exit can be asked for.
    pub held: Option<Adopted>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The state directory, with the records.
    pub state: Option<&'a Path>,
    /// Where pids have the meaning that they have for this process.
    pub here: &'a Domain,
    /// The keeper, if one is there.
    pub keeper: Option<Arc<Keeper>>,
    /// A keeper that does not answer is asked again later.
    pub is_patient: bool,
}

/// What is known of a worker before it is looked for.
#[derive(Clone, Copy)]
struct Known {
    record: Record,
    leader: Option<Leader>,
    /// Its end was noted.
    is_noted: bool,
    /// Its dispatcher lives, or a child of it has not executed its program.
    is_executing: bool,
}

/// What is known of a leader before it is looked at.
#[derive(Clone, Copy)]
struct Leader {
    pid: Pid,
    start: Option<u64>,
}

impl Search<'_> {
    /// Looks for a worker once.
    #[must_use]
    pub fn look(&self, claim: &Claim<'_>) -> Found {
        let file = record_name(claim.dispatcher, claim.instance);
        // Before the record is read: what a child writes after that is missing in it.
        let is_executing = self.state.is_some_and(|state| Foreign::may_execute(state, &file));
        let foreign = self.state.and_then(|state| Foreign::open(state, &file).ok().flatten());
        let recorded = foreign.and_then(|foreign| foreign.read(claim.attempt).ok());
        let noted = recorded.as_ref().and_then(end);
        let leader = leader(claim, recorded.as_ref());
        let record = record(recorded.as_ref(), leader);
        let evidence = |process| Evidence { record, process, noted };
        if !self.is_here(claim.instance) {
            // Its domain has ended, or it would not have been adopted.
            return Found { evidence: evidence(Process::None(Group::Gone)), held: None };
        }
        let known = Known { record, leader, is_noted: noted.is_some(), is_executing };
        let (process, held) = self.process(claim, known);
        Found { evidence: evidence(process), held }
    }

    fn is_here(&self, instance: &str) -> bool {
        Instance::parse(instance).is_some_and(|instance| instance.domain == *self.here)
    }

    fn process(&self, claim: &Claim<'_>, known: Known) -> (Process, Option<Adopted>) {
        let Known { record, leader, is_noted, is_executing } = known;
        match self.keeper.as_ref().map(|keeper| keeper.get(claim.lock)) {
            Some(Ok(Some(pidfd))) => return kept(pidfd, leader, is_noted),
            // What it holds may be all that tells how the worker ended.
            Some(Err(_)) if self.is_patient && !is_noted => return (Process::Hidden, None),
            Some(Ok(None) | Err(_)) | None => {}
        }
        let Some(leader) = leader else {
            return match record {
                _ if is_executing => (Process::Executing, None),
                // The record is sound: a process that had executed its program would be in it.
                Record::NoIntent | Record::Intent => (Process::None(Group::Gone), None),
                Record::Lost | Record::Started => unrecorded(claim),
            };
        };
        match hold(claim, leader, is_executing) {
            // Its end may have been noted although its parent never reaped it.
            Look::Same(pidfd) => kept(pidfd, Some(leader), is_noted),
            Look::Hidden => (Process::Hidden, None),
            Look::Executing => (Process::Executing, None),
            // A number is given again only when no group has it.
            Look::Replaced => (Process::None(Group::Gone), None),
            Look::Gone => (left_behind(leader.pid), None),
        }
    }
}

/// The name of the record file of a dispatcher.
#[must_use]
pub fn record_name(pid: Pid, instance: &str) -> String {
    // What a lifeline shows does not belong to the name.
    format!("{}.{}", pid.0, instance.trim_end_matches('+'))
}

/// The end that was noted in a record.
fn end(recorded: &Recorded) -> Option<Verdict> {
    match recorded {
        Recorded::Intent { end, .. } | Recorded::Started { end, .. } => *end,
        Recorded::NoIntent | Recorded::Damaged => None,
    }
}

/// What was written down in the record comes first: it has the start time on every board.
fn leader(claim: &Claim<'_>, recorded: Option<&Recorded>) -> Option<Leader> {
    let by_row = claim.pid.map(|pid| Leader { pid, start: claim.start });
    match recorded {
        Some(Recorded::Started { pid, start, .. }) => {
            let start = start.or(by_row.filter(|row| row.pid == *pid).and_then(|row| row.start));
            Some(Leader { pid: *pid, start })
        }
        Some(Recorded::NoIntent | Recorded::Intent { .. } | Recorded::Damaged) | None => by_row,
    }
}

fn record(recorded: Option<&Recorded>, leader: Option<Leader>) -> Record {
    match (recorded, leader) {
        (_, Some(_)) => Record::Started,
        (Some(Recorded::NoIntent), None) => Record::NoIntent,
        (Some(Recorded::Intent { .. }), None) => Record::Intent,
        (Some(Recorded::Started { .. } | Recorded::Damaged) | None, None) => Record::Lost,
    }
}

/// A process that a keeper has held since its birth is the worker, alive or not.
fn kept(pidfd: OwnedFd, leader: Option<Leader>, is_noted: bool) -> (Process, Option<Adopted>) {
    let Some(pid) = leader.map(|leader| leader.pid).or_else(|| pidfd::pid(pidfd.as_fd())) else {
        // It has been reaped, and its pid is written down nowhere: the records are lost.
        return (Process::None(Group::Gone), None);
    };
    let leader = Leader { pid, start: leader.and_then(|leader| leader.start) };
    if !is_noted {
        return held(pidfd, leader);
    }
    match pidfd::send(pidfd.as_fd(), 0, Reach::Group) {
        Err(nix::errno::Errno::ESRCH) => (Process::None(Group::Gone), None),
        _ => {
            let held = Adopted { pid, pidfd, start: leader.start, reaped: true };
            (Process::None(Group::Alive), Some(held))
        }
    }
}

fn held(pidfd: OwnedFd, leader: Leader) -> (Process, Option<Adopted>) {
    let Leader { pid, start } = leader;
    let start = start.or_else(|| identity::stat(pid).ok().map(|stat| stat.start));
    let age_ms = start.and_then(age_ms).unwrap_or(0);
    (Process::Held { pid, age_ms }, Some(Adopted { pid, pidfd, start, reaped: false }))
}

/// For how many milliseconds a process has existed.
fn age_ms(start: u64) -> Option<u64> {
    let ticks = identity::ticks_now()?.saturating_sub(start);
    Some(ticks.saturating_mul(1000) / identity::ticks_per_second()?)
}

/// There is no pid anywhere, and the records are lost: only what the processes themselves show is left.
fn unrecorded(claim: &Claim<'_>) -> (Process, Option<Adopted>) {
    match environment::search(claim.lock, claim.since) {
        Ok(Some(pid)) => match hold(claim, Leader { pid, start: None }, false) {
            Look::Same(pidfd) => held(pidfd, Leader { pid, start: None }),
            Look::Executing | Look::Hidden | Look::Replaced | Look::Gone => (Process::Hidden, None),
        },
        Ok(None) => (Process::None(Group::Gone), None),
        Err(_) => (Process::Hidden, None),
    }
}

/// What a pid turns out to be.
enum Look {
    Same(OwnedFd),
    /// It may be the worker, which has not executed its program.
    Executing,
    Hidden,
    /// Another process has the number.
    Replaced,
    Gone,
}

/// Opens the process with a leader's pid, and makes sure that it is that one.
fn hold(claim: &Claim<'_>, leader: Leader, is_executing: bool) -> Look {
    let pidfd = match pidfd::open(leader.pid) {
        Ok(pidfd) => pidfd,
        Err(nix::errno::Errno::ESRCH) => return Look::Gone,
        Err(_) => return Look::Hidden,
    };
    // The number may have changed hands before, and cannot any more.
    let stat = match identity::stat(leader.pid) {
        Ok(stat) => stat,
        Err(LookError::Gone(_)) if pidfd::stage(pidfd.as_fd()) == Ok(Stage::Reaped) => {
            return Look::Gone;
        }
        Err(_) => return Look::Hidden,
    };
    match leader.start {
        Some(start) if start == stat.start => return Look::Same(pidfd),
        Some(_) => return Look::Replaced,
        None => {}
    }
    match environment::bears(leader.pid, claim.lock) {
        Bears::It => Look::Same(pidfd),
        Bears::Another if is_executing => Look::Executing,
        Bears::Another => Look::Gone,
        Bears::CannotTell => Look::Hidden,
    }
}

/// The group of a leader that is gone, and by which it can no longer be reached. Its number may be a
/// stranger's by now, so that nothing is ever sent to it: what is there is waited for.
fn left_behind(group: Pid) -> Process {
    if identity::is_empty_group(group) { Process::None(Group::Gone) } else { Process::Hidden }
}
