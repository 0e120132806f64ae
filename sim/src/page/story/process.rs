//! Processes: which dispatcher started each and must reap it, and what became of it. A record of a
//! process does not say whose it is, so this is put together from what dispatchers asked for.

use std::ops::Range;

use sexton::machine::verdict::ExitStatus;

use super::Story;
use crate::fault::Fault;
use crate::kernel::Uid;
use crate::trace::What;

/// What became of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nothing: it is alive, or a zombie, when the run ends.
    Not,
    /// Its dispatcher reaped it.
    Reaped(usize),
    /// Its parent, or pid 1, took it as soon as it had ended.
    AtOnce,
    /// It was a zombie until its dispatcher died; pid 1 took it then.
    WithDispatcher(usize),
    /// The records do not say whose it was.
    Untold,
}

/// A process. All numbers are of records.
#[derive(Clone, Debug)]
pub struct Process {
    pub uid: Uid,
    pub pid: i32,
    pub task: String,
    /// Which dispatcher started it, or took it in.
    pub seat: Option<usize>,
    /// Which dispatcher must reap it.
    reaper: Option<usize>,
    /// It is in the group of a worker, and not itself one.
    pub member: bool,
    /// That worker, if there is only one that it can be.
    pub leader: Option<Uid>,
    pub started: usize,
    pub ended: Option<(usize, ExitStatus)>,
    pub gone: Gone,
    pub faults: Vec<(usize, Fault)>,
}

impl Process {
    /// The records between which nobody had reaped it, although it had ended.
    pub fn zombie(&self, end: usize) -> Option<Range<usize>> {
        let (from, _) = self.ended?;
        match self.gone {
            Gone::Not => Some(from..end),
            Gone::Reaped(to) | Gone::WithDispatcher(to) => Some(from..to),
            Gone::AtOnce | Gone::Untold => None,
        }
    }

    /// The last record that it was there.
    pub fn last(&self, end: usize) -> usize {
        let ended = self.ended.map_or(end, |(at, _)| at);
        self.zombie(end).map_or(ended, |zombie| zombie.end)
    }

    /// A dispatcher has died: what it had to reap is left to pid 1.
    pub(super) fn left(&mut self, n: usize, seat: usize) {
        if self.reaper != Some(seat) {
            return;
        }
        self.reaper = None;
        if self.ended.is_some() && self.gone == Gone::Not {
            self.gone = Gone::WithDispatcher(n);
        }
    }
}

/// A start that was asked for and not yet seen.
pub(super) struct Start {
    pub(super) seat: usize,
    pub(super) spawn: Option<u64>,
    pub(super) task: String,
}

impl Story {
    /// Something happened to a process.
    pub(super) fn process(&mut self, n: usize, uid: Uid, what: &What) {
        if let What::Started { pid, task } = what {
            return self.started(n, uid, pid.0, task);
        }
        let acting = self.acting;
        let leader = self.processes.get(&uid).and_then(|p| p.leader);
        let leader = leader.and_then(|leader| self.processes.get(&leader)).cloned();
        let Some(process) = self.processes.get_mut(&uid) else { return };
        match what {
            What::Fault(fault) => process.faults.push((n, *fault)),
            What::Reaped => {
                process.gone = Gone::Reaped(n);
                process.seat = acting.or(process.seat);
            }
            What::Ended(status) => {
                process.ended = Some((n, *status));
                if process.member {
                    // Its parent is the worker, and once that has ended, whoever had to reap that.
                    let ended = leader.as_ref().filter(|leader| leader.ended.is_some());
                    process.reaper = ended.and_then(|leader| leader.reaper);
                }
                process.gone = match (process.reaper, process.member, leader) {
                    (Some(_), _, _) => Gone::Not,
                    (None, true, None) => Gone::Untold,
                    (None, ..) => Gone::AtOnce,
                };
            }
            What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Note(_)
            | What::Calm
            | What::Broken { .. } => {}
        }
    }

    fn started(&mut self, n: usize, uid: Uid, pid: i32, task: &str) {
        let start = self.starts.iter().position(|start| start.task == task);
        let start = start.map(|at| self.starts.remove(at));
        let member = start.is_none();
        let leader = if member { self.only_leader() } else { None };
        let leads = leader.and_then(|leader| self.processes.get(&leader));
        let seat = start.map(|start| start.seat);
        let process = Process {
            uid,
            pid,
            task: task.to_owned(),
            seat: seat.or(leads.and_then(|leader| leader.seat)),
            reaper: seat,
            member,
            leader,
            started: n,
            ended: None,
            gone: Gone::Not,
            faults: Vec::new(),
        };
        self.processes.insert(uid, process);
    }

    /// The one worker that is to start another process and has not done so, if it is one.
    fn only_leader(&self) -> Option<Uid> {
        let has_member = |uid: Uid| self.processes.values().any(|p| p.leader == Some(uid));
        let mut could = self.processes.values().filter(|process| {
            process.ended.is_none()
                && process.faults.iter().any(|(_, fault)| *fault == Fault::Leftovers)
                && !has_member(process.uid)
        });
        could.next().filter(|_| could.next().is_none()).map(|process| process.uid)
    }
}
