//! A host's process table, as far as a dispatcher can see it: zombies, orphans, groups that outlive
//! their leader, processes that no signal ends, and so few pids that they are soon reused.
//!
//! Left out: only workers start processes, which stay in their group, and wait for them
//! immediately. If others did, or a worker did not wait, a dispatcher would adopt more orphans, but
//! see no other difference.

use sexton::machine::event::{Group, Signal, SignalOutcome};
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::ExitStatus;

use crate::board::Instance;

/// A process, by what never comes back: its place in the order of all that ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// The number of SIGTERM.
pub const TERM: i32 = 15;
/// The number of SIGKILL.
pub const KILL: i32 = 9;

/// A process, or a zombie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Number that is never reused.
    pub uid: Uid,
    /// Number that may be reused once it is reaped.
    pub pid: Pid,
    /// The worker whose group it is in: itself, if it is one.
    pub leader: Uid,
    /// The number of that group.
    pub group: Pid,
    /// The dispatcher that must reap it. `None`: its parent or pid 1, which does so immediately.
    pub parent: Option<Instance>,
    /// The attempt that it belongs to, if it is a worker: by the dispatcher that started it, running
    /// or dead.
    pub worker: Option<(Instance, SpawnId)>,
    /// How it ended, once it has.
    pub zombie: Option<ExitStatus>,
    /// True once its dispatcher got a hint that it ended.
    pub hinted: bool,
    /// It does not end by TERM.
    pub deaf: bool,
    /// No signal ends it while this lasts.
    pub stuck: bool,
    /// The number of the signal that ends it when it goes on: the strongest that came meanwhile.
    pub doomed: Option<i32>,
}

impl Process {
    /// True while it runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.zombie.is_none()
    }
}

/// The process table of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    table: Vec<Process>,
    next_uid: u32,
    last_pid: i32,
    pids: i32,
    /// Numbers are given again as soon as they are free, not only when all others were.
    eager: bool,
}

impl Kernel {
    /// A host with pids 2 to `pids`.
    #[must_use]
    pub fn new(pids: i32) -> Kernel {
        Kernel { table: Vec::new(), next_uid: 0, last_pid: 1, pids, eager: false }
    }

    /// Returns an empty table whose pids are reused immediately.
    #[must_use]
    pub fn eager(self) -> Kernel {
        Kernel { eager: true, ..self }
    }

    /// Every process, oldest first; zombies too.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.table
    }

    /// A process that was not reaped yet.
    #[must_use]
    pub fn get(&self, uid: Uid) -> Option<&Process> {
        self.table.iter().find(|process| process.uid == uid)
    }

    fn get_mut(&mut self, uid: Uid) -> Option<&mut Process> {
        self.table.iter_mut().find(|process| process.uid == uid)
    }

    /// The worker with this number, alive or not, that a dispatcher must still reap.
    #[must_use]
    pub fn by_pid(&self, pid: Pid) -> Option<&Process> {
        self.table.iter().find(|process| process.pid == pid)
    }

    /// Whether anything of a worker's group is alive, the worker included.
    #[must_use]
    pub fn group_alive(&self, leader: Uid) -> bool {
        self.table.iter().any(|process| process.leader == leader && process.is_alive())
    }

    /// Whether there may be a process or a group with this number.
    #[must_use]
    pub fn pid_alive(&self, pid: Pid) -> bool {
        self.table.iter().any(|p| p.is_alive() && (p.pid == pid || p.group == pid))
    }

    /// Starts a worker. Returns `None` without a free pid.
    pub fn spawn(&mut self, parent: Instance, spawn: SpawnId) -> Option<Uid> {
        let (uid, pid) = self.allot()?;
        self.table.push(Process {
            uid,
            pid,
            leader: uid,
            group: pid,
            parent: Some(parent),
            worker: Some((parent, spawn)),
            zombie: None,
            hinted: false,
            deaf: false,
            stuck: false,
            doomed: None,
        });
        Some(uid)
    }

    /// A worker starts a process in its group; Returns `None` if it is gone, or without a free pid.
    pub fn fork(&mut self, leader: Uid) -> Option<Uid> {
        let worker = self.get(leader).filter(|worker| worker.is_alive())?;
        let (group, deaf) = (worker.group, worker.deaf);
        let (uid, pid) = self.allot()?;
        self.table.push(Process {
            uid,
            pid,
            leader,
            group,
            parent: None,
            worker: None,
            zombie: None,
            hinted: false,
            deaf,
            stuck: false,
            doomed: None,
        });
        Some(uid)
    }

    /// Starts a foreign process with this pid, if it is free.
    pub fn stranger(&mut self, pid: Pid) -> Option<Uid> {
        if self.table.iter().any(|p| p.pid == pid || p.group == pid) {
            return None;
        }
        let uid = Uid(self.next_uid);
        self.next_uid += 1;
        self.table.push(Process {
            uid,
            pid,
            leader: uid,
            group: pid,
            parent: None,
            worker: None,
            zombie: None,
            hinted: false,
            deaf: false,
            stuck: false,
            doomed: None,
        });
        Some(uid)
    }

    /// The next number that is neither a process's nor a living group's.
    fn allot(&mut self) -> Option<(Uid, Pid)> {
        if self.eager {
            self.last_pid = 1;
        }
        for _ in 2..=self.pids {
            self.last_pid = if self.last_pid >= self.pids { 2 } else { self.last_pid + 1 };
            let pid = Pid(self.last_pid);
            if !self.table.iter().any(|p| p.pid == pid || p.group == pid) {
                let uid = Uid(self.next_uid);
                self.next_uid += 1;
                return Some((uid, pid));
            }
        }
        None
    }

    /// From now on a process does not end by TERM, or by nothing at all.
    pub fn harden(&mut self, uid: Uid, deaf: bool, stuck: bool) {
        if let Some(process) = self.get_mut(uid) {
            process.deaf |= deaf;
            process.stuck |= stuck;
        }
    }

    /// A stuck process goes on. The number of the signal that now ends it, if one came meanwhile.
    pub fn release(&mut self, uid: Uid) -> Option<i32> {
        let process = self.get_mut(uid).filter(|process| process.is_alive())?;
        process.stuck = false;
        process.doomed
    }

    /// Ends a process, whose children become orphans. Returns the dispatcher that must reap it;
    /// `None` if none has to, or if it had ended before.
    pub fn end(&mut self, uid: Uid, status: ExitStatus) -> Option<Instance> {
        let process = self.get_mut(uid).filter(|process| process.is_alive())?;
        process.zombie = Some(status);
        let (parent, leader) = (process.parent, process.leader);
        if leader == uid {
            let orphans = self.table.iter_mut().filter(|p| p.leader == uid && p.uid != uid);
            orphans.for_each(|orphan| orphan.parent = parent);
        }
        if parent.is_none() {
            self.table.retain(|process| process.uid != uid);
        }
        parent
    }

    /// Marks a process as hinted: its dispatcher learns that it ended.
    pub fn hint(&mut self, uid: Uid) {
        if let Some(process) = self.get_mut(uid) {
            process.hinted = true;
        }
    }

    /// What has ended and this dispatcher must reap, oldest first.
    pub fn zombies(&self, of: Instance) -> impl Iterator<Item = &Process> {
        self.table.iter().filter(move |p| p.parent == Some(of) && !p.is_alive())
    }

    /// Removes a zombie from the table. Returns how it ended, and whether a process of its group
    /// lives.
    pub fn reap(&mut self, uid: Uid) -> Option<(Process, ExitStatus, Group)> {
        let at = self.table.iter().position(|p| p.uid == uid && !p.is_alive())?;
        let process = self.table.remove(at);
        let status = process.zombie?;
        let group = if self.group_alive(uid) { Group::Alive } else { Group::Gone };
        Some((process, status, group))
    }

    /// Signals a worker's group. The second value names those that this ends. A zombie takes
    /// signals, though only what is alive is seen by a look.
    pub fn signal(&mut self, leader: Uid, signal: Signal) -> (SignalOutcome, Vec<Uid>) {
        let mut ends = Vec::new();
        let mut outcome = SignalOutcome::Gone;
        for process in self.table.iter_mut().filter(|p| p.leader == leader) {
            let alive = process.is_alive();
            if alive || signal != Signal::Probe {
                outcome = SignalOutcome::Delivered;
            }
            match signal {
                Signal::Probe => {}
                Signal::Term | Signal::Kill if !alive => {}
                Signal::Term | Signal::Kill if process.stuck => {
                    process.doomed = match signal {
                        Signal::Kill => Some(KILL),
                        Signal::Term if !process.deaf => process.doomed.or(Some(TERM)),
                        Signal::Term | Signal::Probe => process.doomed,
                    };
                }
                Signal::Term if process.deaf => {}
                Signal::Term | Signal::Kill => ends.push(process.uid),
            }
        }
        (outcome, ends)
    }

    /// The dispatcher that started this process is dead: pid 1 becomes its parent.
    pub fn disown(&mut self, uid: Uid) {
        if let Some(process) = self.get_mut(uid) {
            process.parent = None;
        }
    }

    /// A dispatcher dies: pid 1 takes in its children, and reaps those that have ended.
    pub fn orphan(&mut self, of: Instance) {
        self.table.retain(|p| p.parent != Some(of) || p.is_alive());
        let children = self.table.iter_mut().filter(|p| p.parent == Some(of));
        children.for_each(|child| child.parent = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Instance = Instance(1);
    const CODE: ExitStatus = ExitStatus::Code(3);

    fn worker(kernel: &mut Kernel, n: u64) -> Uid {
        kernel.spawn(US, SpawnId(n)).expect("a pid")
    }

    #[test]
    fn a_child_that_has_ended_keeps_its_pid_until_it_is_reaped() {
        let mut kernel = Kernel::new(2);
        let uid = worker(&mut kernel, 1);
        assert_eq!(kernel.end(uid, CODE), Some(US));
        assert_eq!(kernel.spawn(US, SpawnId(2)), None, "EAGAIN");
        let (process, status, group) = kernel.reap(uid).expect("a zombie");
        assert_eq!((process.pid, status, group), (Pid(2), CODE, Group::Gone));
        assert_eq!(kernel.reap(uid), None);
        let again = worker(&mut kernel, 3);
        assert_eq!(kernel.get(again).map(|p| p.pid), Some(Pid(2)), "the number comes back");
    }

    #[test]
    fn a_group_outlives_its_leader_and_keeps_its_number() {
        let mut kernel = Kernel::new(3);
        let leader = worker(&mut kernel, 1);
        let member = kernel.fork(leader).expect("a pid");
        kernel.end(leader, CODE);
        assert_eq!(kernel.reap(leader).map(|(_, _, group)| group), Some(Group::Alive));
        assert_eq!(kernel.spawn(US, SpawnId(2)), None, "2 is a group's, 3 a process's number");
        assert_eq!(kernel.signal(leader, Signal::Term), (SignalOutcome::Delivered, vec![member]));
        assert_eq!(kernel.end(member, ExitStatus::Signal(15)), Some(US), "adopted");
        assert_eq!(kernel.signal(leader, Signal::Probe), (SignalOutcome::Gone, vec![]));
        let delivered = (SignalOutcome::Delivered, vec![]);
        assert_eq!(kernel.signal(leader, Signal::Term), delivered, "a zombie takes it");
        assert_eq!(kernel.zombies(US).count(), 1);
        kernel.reap(member);
        assert_eq!(kernel.signal(leader, Signal::Term), (SignalOutcome::Gone, vec![]));
    }

    #[test]
    fn what_is_stuck_ends_when_it_is_released() {
        let mut kernel = Kernel::new(9);
        let uid = worker(&mut kernel, 1);
        kernel.harden(uid, true, true);
        assert_eq!(kernel.signal(uid, Signal::Kill), (SignalOutcome::Delivered, vec![]));
        assert_eq!(kernel.release(uid), Some(KILL));
    }

    #[test]
    fn only_pid_1_reaps_what_a_dead_dispatcher_leaves() {
        let mut kernel = Kernel::new(9);
        let (dead, alive) = (worker(&mut kernel, 1), worker(&mut kernel, 2));
        kernel.end(dead, CODE);
        kernel.orphan(US);
        assert_eq!(kernel.processes().len(), 1);
        assert_eq!(kernel.end(alive, CODE), None);
        assert!(kernel.processes().is_empty());
    }
}
