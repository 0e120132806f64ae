//! Who can see whom: dispatchers of one pid namespace see each other's processes, those of two do not.

use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::ExitStatus;

use super::estate::{Estate, Key};
use super::sabotage::Blind;
use super::{Seat, World};
use crate::board::{Dispatcher, Holder, Instance, Liveness, Status, Task};
use crate::kernel::{KILL, Kernel, Uid};
use crate::ledger::Ledger;
use crate::sometimes::Sometimes;

/// A pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Domain(pub(super) u32);

/// Where a dispatcher lives, or lived.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Place {
    pub(super) domain: Domain,
    /// It is the first process of its namespace, which ends with it.
    pub(super) first: bool,
    /// When it died, in milliseconds.
    pub(super) dead_since: Option<u64>,
}

/// Who is alive, for the leases of others.
pub(super) struct Alive<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) estate: &'a Estate,
    pub(super) ledger: &'a Ledger,
    pub(super) seats: &'a [Seat],
    pub(super) places: &'a [Place],
    /// The namespace of the dispatcher that looks.
    pub(super) here: Domain,
    pub(super) blind: Blind,
}

impl Liveness for Alive<'_> {
    fn worker(&self, pid: Pid) -> bool {
        self.blind != Blind::ToWorkers && self.kernel.pid_alive(pid)
    }

    fn attempt(&self, instance: Instance, spawn: SpawnId) -> bool {
        let key = self.ledger.resolve(instance, spawn);
        // An adopter has records of its own: a worker may live until its end is known.
        let adopted = |seat: &Seat| seat.instance == instance && seat.looks_for(spawn);
        if self.seats.iter().any(adopted) {
            return true;
        }
        self.blind != Blind::ToWorkers
            && self.estate.may_live(key, |pid| self.kernel.pid_alive(pid))
    }

    fn dispatcher(&self, instance: Instance) -> Dispatcher {
        let Some(place) = self.places.get(instance.0 as usize) else {
            return Dispatcher::CannotTell;
        };
        let recorded = self.estate.has_records_of(instance);
        match place.dead_since {
            None if self.blind == Blind::ToDispatchers => Dispatcher::Dead { recorded: true },
            Some(_) if place.domain == self.here => Dispatcher::Dead { recorded },
            // A lock on a file beside the boards shows it.
            Some(_) if place.first => Dispatcher::Dead { recorded: true },
            None if place.domain == self.here => Dispatcher::Lives,
            Some(_) | None => Dispatcher::CannotTell,
        }
    }
}

impl World {
    /// The namespace of a dispatcher, dead or alive.
    pub(super) fn domain_of(&self, instance: Instance) -> Domain {
        self.places.get(instance.0 as usize).map_or(Domain(0), |place| place.domain)
    }

    /// When a dispatcher died.
    pub(super) fn dead_since(&self, instance: Instance) -> Option<u64> {
        self.places.get(instance.0 as usize)?.dead_since
    }

    /// The claim that a running task is under, by the dispatcher that made it.
    pub(super) fn key_of(&self, task: &Task) -> Option<Key> {
        match task.claim.owner() {
            Some(Holder::Sexton(of, spawn)) if task.status == Status::Running => {
                Some(self.ledger.resolve(of, spawn))
            }
            _ => None,
        }
    }

    /// The first process of a pid namespace died: the kernel kills all others of it.
    pub(super) fn end_namespace(&mut self, instance: Instance) {
        self.reach(Sometimes::ANamespaceEnded);
        let domain = self.domain_of(instance);
        let is_of_it = |leader: Uid| {
            self.ledger.life(leader).is_some_and(|life| self.domain_of(life.of) == domain)
        };
        let processes = self.kernel.processes().iter();
        let of_it = processes.filter(|process| is_of_it(process.leader));
        let uids: Vec<Uid> = of_it.map(|process| process.uid).collect();
        self.estate.let_go(instance);
        for uid in uids {
            self.end(uid, ExitStatus::Signal(KILL));
        }
    }
}
