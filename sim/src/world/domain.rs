//! Pid namespaces: dispatchers see each other's processes only within one namespace.

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

/// The namespace of a dispatcher, running or dead.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Place {
    pub(super) domain: Domain,
    /// It is pid 1 of its namespace, which ends with it.
    pub(super) first: bool,
    /// When it died, in milliseconds.
    pub(super) dead_since: Option<u64>,
}

/// Which processes are alive, for judging the leases of others.
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
        // An adopter has records of its own: the worker may be alive until its end is known.
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
            // Its lifeline, a lock on a file beside the boards, shows it.
            Some(_) if place.first => Dispatcher::Dead { recorded: true },
            None if place.domain == self.here => Dispatcher::Lives,
            Some(_) | None => Dispatcher::CannotTell,
        }
    }
}

impl World {
    /// Returns the namespace of a dispatcher, running or dead.
    pub(super) fn domain_of(&self, instance: Instance) -> Domain {
        self.places.get(instance.0 as usize).map_or(Domain(0), |place| place.domain)
    }

    /// Returns when a dispatcher died.
    pub(super) fn dead_since(&self, instance: Instance) -> Option<u64> {
        self.places.get(instance.0 as usize)?.dead_since
    }

    /// Returns the claim of a running task, by the dispatcher that made it.
    pub(super) fn key_of(&self, task: &Task) -> Option<Key> {
        match task.claim.owner() {
            Some(Holder::Sexton(of, spawn)) if task.status == Status::Running => {
                Some(self.ledger.resolve(of, spawn))
            }
            _ => None,
        }
    }

    /// The pid 1 of a namespace died: the kernel kills all other processes of the namespace.
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
