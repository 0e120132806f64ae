//! Real processes and the simulator's process table, side by side: the same is done to both, and
//! what can be seen of them is compared after each step.

pub mod host;
pub mod settings;
pub mod walk;
pub mod worker;

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;
use sexton::machine::event::{Group, Signal, SignalOutcome};
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::ExitStatus;
use sexton::process::identity::{self, Alive};
use sexton::process::pidfd::Stage;
use sexton_sim::board::Instance;
use sexton_sim::kernel::{Kernel, Uid};

use host::Host;
use settings::Pids;
use worker::Order;

const US: Instance = Instance(1);

/// What differs, in words.
pub type Step<T> = Result<T, String>;

/// What the model gets wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    None,
    GroupEndsWithItsLeader,
    TermAlwaysEnds,
    SignalReachesOnlyTheLeader,
    OneReapedAtATime,
    OrphansFallToOthers,
    ZombiesTakeNoSignals,
    PidFreeWhileItsGroupLives,
    PidFreeWhileItsZombieLies,
}

/// What one reaping step found: workers by their numbers, and orphans by theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    pub exits: Vec<(u32, ExitStatus, Group)>,
    pub orphans: BTreeSet<u32>,
}

/// A host and its model. Processes are named by their number in the order of their birth.
pub struct Pair {
    pub host: Host,
    pub model: Kernel,
    pids: Pids,
    deviation: Deviation,
    uids: BTreeMap<u32, Uid>,
    next: u32,
    /// The pid that the model gave last.
    last: i32,
}

impl Pair {
    pub fn new(pids: Pids) -> Pair {
        Pair::deviating(pids, Deviation::None)
    }

    pub fn deviating(pids: Pids, deviation: Deviation) -> Pair {
        pids.put_low();
        let host = Host::new();
        pids.put_first();
        Pair {
            host,
            model: Kernel::new(pids.last()),
            pids,
            deviation,
            uids: BTreeMap::new(),
            next: 1,
            last: 1,
        }
    }

    /// Starts a worker. Returns `None` without a free pid.
    pub fn spawn(&mut self) -> Step<Option<u32>> {
        let number = self.next;
        let guess = self.careless_pid();
        let uid = self.model.spawn(US, SpawnId(u64::from(number)));
        let real = self.host.spawn(number);
        self.born(number, uid, guess, real)
    }

    /// Starts a worker that must be there.
    pub fn worker(&mut self) -> Step<u32> {
        Ok(self.spawn()?.expect("a pid is left"))
    }

    /// Has a worker start a process in its group.
    pub fn fork(&mut self, leader: u32) -> Step<Option<u32>> {
        let number = self.next;
        let guess = self.careless_pid();
        let uid = self.model.fork(self.uid(leader));
        let real = self.host.fork(leader, number);
        self.born(number, uid, guess, real)
    }

    pub fn member(&mut self, leader: u32) -> Step<u32> {
        Ok(self.fork(leader)?.expect("a pid is left"))
    }

    /// Takes note of a worker that the host has already.
    pub fn meet(&mut self, number: u32) -> Uid {
        let uid = self.model.spawn(US, SpawnId(u64::from(number))).expect("a pid");
        self.uids.insert(number, uid);
        self.next = self.next.max(number + 1);
        uid
    }

    fn born(
        &mut self,
        number: u32,
        uid: Option<Uid>,
        guess: Option<Option<i32>>,
        real: Result<Pid, i32>,
    ) -> Step<Option<u32>> {
        if let Some(uid) = uid {
            self.uids.insert(number, uid);
        }
        if real.is_ok() {
            self.next += 1;
        }
        let pid = uid.and_then(|uid| self.model.get(uid)).map(|process| process.pid.0);
        self.last = pid.unwrap_or(self.last);
        let expected = guess.unwrap_or(pid);
        let real = real.map(|pid| self.pids.in_model(pid));
        match (real, expected) {
            (Err(libc::EAGAIN), None) => return Ok(None),
            // Where there are many pids, each host has its own.
            (Ok(None), Some(_)) => {}
            (Ok(real), Some(_)) if real == expected => {}
            _ => return Err(format!("the new process's pid: {real:?}, in the model {expected:?}")),
        }
        self.same()?;
        Ok(Some(number))
    }

    /// The next pid by a rule that takes one for free too soon, if that is the deviation.
    fn careless_pid(&self) -> Option<Option<i32>> {
        let groups_count = self.deviation != Deviation::PidFreeWhileItsGroupLives;
        let zombies_count = self.deviation != Deviation::PidFreeWhileItsZombieLies;
        if groups_count && zombies_count {
            return None;
        }
        let in_use = |pid: i32| {
            self.model.processes().iter().any(|p| {
                let its = p.pid.0 == pid || (groups_count && p.group.0 == pid);
                its && (zombies_count || p.is_alive())
            })
        };
        let mut pids = (self.last + 1..=self.pids.last()).chain(2..=self.last);
        Some(pids.find(|pid| !in_use(*pid)))
    }

    /// Lets a process exit with `code`.
    pub fn exit(&mut self, number: u32, code: i32) -> Step<()> {
        self.host.end(number, Order::Exit(code));
        self.end_in_model(self.uid(number), ExitStatus::Code(code));
        self.same()
    }

    /// A process ends by a signal of its own.
    pub fn raise(&mut self, number: u32, signal: i32) -> Step<()> {
        self.host.end(number, Order::Raise(signal));
        self.end_in_model(self.uid(number), ExitStatus::Signal(signal));
        self.same()
    }

    pub fn end_in_model(&mut self, uid: Uid, status: ExitStatus) {
        self.model.end(uid, status);
        if self.deviation == Deviation::GroupEndsWithItsLeader {
            for member in self.living(uid) {
                self.model.end(member, status);
            }
        }
    }

    /// What of a group is alive in the model.
    fn living(&self, leader: Uid) -> Vec<Uid> {
        let group = self.model.processes().iter().filter(|p| p.leader == leader && p.is_alive());
        group.map(|process| process.uid).collect()
    }

    /// From now on a process, and what it starts, does not end by TERM.
    pub fn deafen(&mut self, number: u32) -> Step<()> {
        self.host.deafen(number);
        self.model.harden(self.uid(number), true, false);
        self.same()
    }

    /// A process is stopped, which the model does not tell from being deaf: TERM has to wait.
    pub fn stop(&mut self, number: u32) -> Step<()> {
        self.host.stop(number);
        self.model.harden(self.uid(number), true, false);
        self.same()
    }

    /// Signals a worker's group.
    pub fn signal(&mut self, leader: u32, signal: Signal) -> Step<SignalOutcome> {
        let real = self.host.signal(leader, signal);
        let (expected, ends) = self.signal_in_model(leader, signal);
        let number = if signal == Signal::Kill { libc::SIGKILL } else { libc::SIGTERM };
        for uid in ends {
            self.end_in_model(uid, ExitStatus::Signal(number));
        }
        same(&format!("what came of {signal:?}"), &real, &expected)?;
        self.same()?;
        Ok(real)
    }

    fn signal_in_model(&mut self, leader: u32, signal: Signal) -> (SignalOutcome, Vec<Uid>) {
        let uid = self.uid(leader);
        let (mut outcome, mut ends) = self.model.signal(uid, signal);
        let deviates = |how| self.deviation == how;
        if deviates(Deviation::TermAlwaysEnds) && signal == Signal::Term {
            ends = self.living(uid);
        }
        if deviates(Deviation::SignalReachesOnlyTheLeader) {
            ends.retain(|end| *end == uid);
        }
        if deviates(Deviation::ZombiesTakeNoSignals) && !self.model.group_alive(uid) {
            outcome = SignalOutcome::Gone;
        }
        // Whichever ends first, a member whose parent does not live to wait for it falls to us.
        ends.sort_by_key(|end| *end != uid);
        (outcome, ends)
    }

    /// Runs a reaping step on both.
    pub fn reap(&mut self) -> Step<Reaped> {
        let (exits, orphans) = self.host.reap()?;
        let mut real = Reaped::default();
        for exit in exits {
            let number = u32::try_from(exit.spawn.0).expect("a number of ours");
            same("a worker's pid", &exit.pid, &self.host.pid(number))?;
            real.exits.push((number, exit.status, exit.group));
        }
        for pid in orphans {
            let Some(number) = self.host.number_of(pid) else {
                return Err(format!("an unknown orphan: {pid:?}"));
            };
            real.orphans.insert(number);
        }
        let expected = self.reap_in_model();
        same("what was reaped", &real, &expected)?;
        self.same()?;
        Ok(real)
    }

    pub fn reap_in_model(&mut self) -> Reaped {
        let mut zombies: Vec<Uid> = self.model.zombies(US).map(|zombie| zombie.uid).collect();
        if self.deviation == Deviation::OneReapedAtATime {
            zombies.truncate(1);
        }
        let numbers: BTreeMap<Uid, u32> = self.uids.iter().map(|(n, uid)| (*uid, *n)).collect();
        let mut reaped = Reaped::default();
        for uid in zombies {
            let (process, status, group) = self.model.reap(uid).expect("a zombie");
            if process.worker.is_some() {
                reaped.exits.push((numbers[&uid], status, group));
            } else if self.deviation != Deviation::OrphansFallToOthers {
                reaped.orphans.insert(numbers[&uid]);
            }
        }
        reaped
    }

    /// Compares all that can be seen without changing anything.
    pub fn same(&mut self) -> Step<()> {
        for number in self.host.numbers() {
            let expected = match self.model.get(self.uid(number)) {
                Some(process) if process.is_alive() => Stage::Running,
                Some(_) => Stage::Zombie,
                None => Stage::Reaped,
            };
            same(&format!("process {number}"), &self.host.stage(number), &expected)?;
            if self.host.leader(number) == number {
                let real = self.host.signal_only(number, Signal::Probe);
                let (expected, _) = self.signal_in_model(number, Signal::Probe);
                same(&format!("a look at the group of {number}"), &real, &expected)?;
            }
        }
        let workers = self.model.processes().iter().filter(|p| p.worker.is_some()).count();
        same("how many were not reaped", &self.host.unreaped(), &workers)?;
        let mut groups = None;
        for (pid, real) in self.pids.all() {
            let groups = groups.get_or_insert_with(|| identity::living_groups().expect("a /proc"));
            let alive = identity::alive(real, None) == Alive::Yes || groups.contains(&real);
            same(&format!("whether {pid:?} is alive"), &alive, &self.model.pid_alive(pid))?;
        }
        Ok(())
    }

    pub fn uid(&self, number: u32) -> Uid {
        self.uids.get(&number).copied().unwrap_or(Uid(u32::MAX))
    }
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, real: &T, model: &T) -> Step<()> {
    if real == model {
        return Ok(());
    }
    Err(format!("{what} differs: really {real:?}, in the model {model:?}"))
}
