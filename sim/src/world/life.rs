//! Workers come into being, do what they do, and end.

use sexton::machine::event::Event;
use sexton::machine::fault::Blame;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::policy::Completion;
use sexton::machine::verdict::ExitStatus;

use super::adopted::Adopted;
use super::estate::Key;
use super::item::Deed;
use super::seat::SpawnLane;
use super::{FINE, Item, World};
use crate::board::{Block, Complete, Holder, Instance};
use crate::fault::Fault;
use crate::kernel::Uid;
use crate::ledger::News;
use crate::sometimes::Sometimes;
use crate::trace::{Origin, What, Who};

/// The errno of fork on a host with too many processes.
const EAGAIN: i32 = 11;
/// The errno of exec for a program that cannot be executed.
const EACCES: i32 = 13;
/// The errno of a failing disk.
const EIO: i32 = 5;
/// What is begun in the calm lives no longer than this, in milliseconds.
const CALM_LIFE_MS: u64 = 60_000;
/// Longer than any world lasts, in milliseconds.
const FOR_EVER_MS: u64 = 1_000 * 3_600_000;

/// What is alive when a worker starts.
#[derive(Default)]
struct Neighbours {
    /// Workers of the same dispatcher, including the new one.
    live: u32,
    /// Workers of the same board.
    live_there: u32,
    /// A process of another worker of the same task.
    twin: bool,
}

impl World {
    /// A spawn thread creates its process, unless it was called off.
    pub(super) fn make_process(&mut self, seat: usize, spawn: SpawnId) {
        let of = self.seats[seat].instance;
        let Some(at) = self.seats[seat].lanes.iter().position(|lane| lane.spawn == spawn) else {
            return;
        };
        let struck = self.strike(
            &[Fault::ForkRefused, Fault::ExecFails, Fault::DirectoryFails, Fault::DiesInSpawn],
            Who::Dispatcher(seat),
        );
        if struck == Some(Fault::DiesInSpawn) {
            return self.die_in_spawn(seat, at);
        }
        let failed = match struck {
            Some(Fault::ForkRefused) => Some((Blame::Host, EAGAIN)),
            Some(Fault::ExecFails) => Some((Blame::Task, EACCES)),
            Some(_) => Some((Blame::Board, EIO)),
            None => None,
        };
        let made = if failed.is_none() { self.kernel.spawn(of, spawn) } else { None };
        let Some(uid) = made else {
            let (blame, errno) = failed.unwrap_or((Blame::Host, EAGAIN));
            self.seats[seat].lanes.remove(at);
            if let Some(attempt) = self.ledger.get_mut(of, spawn) {
                attempt.failed = Some(blame);
            }
            let blame = self.sabotage_blame(blame);
            return self.answer(seat, Event::SpawnFailed { spawn, blame, errno });
        };
        self.seats[seat].lanes[at].past_gate = true;
        let lane = self.seats[seat].lanes[at].clone();
        let pid = self.begin_life(of, &lane, uid);
        self.execute(of, &lane, uid, pid);
        let wait = match self.fires(Fault::SpawnAnswerHangs, Who::Dispatcher(seat)) {
            true => self.seats[seat].policy.spawn_deadline_ms + self.millis(),
            false => self.millis(),
        };
        self.after(wait, Item::Tell(seat, of, Event::SpawnOk { spawn, pid }));
    }

    /// A dispatcher dies while it is starting a child. The child survives, unless the whole namespace
    /// dies.
    fn die_in_spawn(&mut self, seat: usize, at: usize) {
        let of = self.seats[seat].instance;
        let lane = self.seats[seat].lanes[at].clone();
        if self.seats[seat].first {
            return self.die(seat);
        }
        self.estate.forked((of, lane.spawn));
        self.die(seat);
        let wait = self.millis();
        self.after(wait, Item::Born { of, lane });
    }

    /// Creates a process whose dispatcher died while starting it.
    pub(super) fn born_late(&mut self, of: Instance, lane: SpawnLane) {
        let Some(uid) = self.kernel.spawn(of, lane.spawn) else {
            return self.estate.not_forked((of, lane.spawn));
        };
        self.kernel.disown(uid);
        self.begin_life(of, &lane, uid);
        let wait = self.millis();
        self.after(wait, Item::Executes { of, lane, uid });
    }

    /// The process executes its program, after writing down its pid.
    pub(super) fn executes_late(&mut self, of: Instance, lane: &SpawnLane, uid: Uid) {
        if let Some(pid) = self.kernel.get(uid).map(|process| process.pid) {
            self.execute(of, lane, uid, pid);
        }
    }

    fn begin_life(&mut self, of: Instance, lane: &SpawnLane, uid: Uid) -> Pid {
        let pid = self.kernel.get(uid).map_or(Pid(0), |process| process.pid);
        if self.pids.values().any(|known| *known == pid) {
            self.reach(Sometimes::APidCameBack);
        }
        self.pids.insert(uid, pid);
        let origin = Origin::Worker { seat: self.seat_of(of), task: lane.task };
        self.tell(Who::Process(uid), || What::Started { pid, origin });
        self.note_spawn(of, uid, lane);
        pid
    }

    /// Returns the seat of a dispatcher; for a dead one, any seat.
    fn seat_of(&self, of: Instance) -> usize {
        self.seats.iter().position(|seat| seat.instance == of).unwrap_or_default()
    }

    fn execute(&mut self, of: Instance, lane: &SpawnLane, uid: Uid, pid: Pid) {
        self.estate.begun((of, lane.spawn), uid, pid, self.moment);
        let life_ms = match self.fires(Fault::Slow, Who::Process(uid)) {
            true => FOR_EVER_MS,
            false => self.entropy.one_of(&[1, 5, 30, 200, 1_000, 3_000]),
        };
        let deaf = self.fires(Fault::DeafWorker, Who::Process(uid));
        let stuck = self.fires(Fault::StuckWorker, Who::Process(uid));
        self.kernel.harden(uid, deaf, stuck);
        if stuck {
            let wait = 20 * self.millis();
            self.after(wait, Item::Release(uid));
        }
        if self.fires(Fault::Leftovers, Who::Process(uid)) {
            let lives_ms = life_ms + self.entropy.one_of(&[20, 500, 10_000, FOR_EVER_MS]);
            self.after(life_ms / 2, Item::Fork(uid, lives_ms));
        }
        if self.policy.worker(lane.worker).completion == Completion::Board {
            let deeds = [Deed::Complete, Deed::Complete, Deed::Heartbeat, Deed::Block];
            let deed = self.entropy.one_of(&deeds);
            self.after(life_ms / 2, Item::Own(uid, deed));
        }
        let codes = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 75, 78];
        let status = match self.entropy.below(16) {
            n @ 0..12 => ExitStatus::Code(codes[n]),
            12..14 => ExitStatus::Code(1),
            14 => ExitStatus::Signal(9),
            _ => ExitStatus::Signal(11),
        };
        self.after(life_ms, Item::End(uid, status));
    }

    fn note_spawn(&mut self, of: Instance, uid: Uid, lane: &SpawnLane) {
        self.ledger.spawned += 1;
        self.ledger.born(uid, (of, lane.spawn), self.moment / FINE);
        let claimed = self.ledger.get(of, lane.spawn).is_some_and(|attempt| attempt.claimed);
        let Neighbours { live, live_there, twin } = self.neighbours(of, uid, lane);
        if self.kernel.processes().iter().any(|p| p.parent.is_some_and(|parent| parent != of)) {
            self.reach(Sometimes::TwoDispatchersWorked);
        }
        self.ledger.note(News::Spawned {
            live,
            max_workers: lane.limits.max_workers,
            live_there,
            max_in_progress: lane.limits.max_in_progress,
            claimed,
            configured: lane.configured,
            twin,
        });
        self.judge();
        self.ledger.news.clear();
    }

    /// Returns what is alive beside a new worker.
    fn neighbours(&self, of: Instance, uid: Uid, lane: &SpawnLane) -> Neighbours {
        let seat = self.seats.iter().find(|seat| seat.instance == of && seat.machine.is_some());
        let freed = self.ledger.get(of, lane.spawn).is_some_and(|attempt| attempt.freed);
        let mut leaders: Vec<Uid> = Vec::new();
        let mut found = Neighbours::default();
        for process in self.kernel.processes().iter().filter(|process| process.is_alive()) {
            let leader = process.leader;
            if leaders.contains(&leader) || self.kept.contains(&leader) {
                continue;
            }
            leaders.push(leader);
            let Some(life) = self.ledger.life(leader) else { continue };
            let Some(attempt) = self.ledger.get(life.of, life.spawn) else { continue };
            // The number under which this dispatcher has adopted it, if it has.
            let number = seat.and_then(|seat| {
                let mut adopted = seat.adopted.iter().filter(|(_, adopted)| adopted.told);
                let is_it = |a: &Adopted| a.key == (life.of, life.spawn);
                adopted.find(|(_, adopted)| is_it(adopted)).map(|(number, _)| *number)
            });
            let own = life.of == of || number.is_some();
            let counts = life.of == of || number.is_some_and(|n| lane.beside.contains(&n));
            if seat.is_some() && counts {
                found.live += 1;
                found.live_there += u32::from(attempt.board == lane.board);
            }
            let alike = attempt.board == lane.board && attempt.task == lane.task && leader != uid;
            let near = self.domain_of(life.of) == self.domain_of(of);
            // If a person has taken the task from its dispatcher, other dispatchers cannot know of the
            // worker.
            found.twin |= alike && near && (own || attempt.freed || freed);
        }
        found
    }

    /// Whether anything of a worker's group lives that is not meant to live on.
    pub(super) fn may_live(&self, leader: Uid) -> bool {
        self.kernel.group_alive(leader) && !self.kept.contains(&leader)
    }

    /// Ends a process, and lets the world know.
    pub(super) fn end(&mut self, uid: Uid, status: ExitStatus) {
        let Some(process) = self.kernel.get(uid).filter(|process| process.is_alive()) else {
            return;
        };
        let (leader, worker) = (process.leader, process.worker);
        let reaper = self.kernel.end(uid, status);
        let seat = reaper.and_then(|of| self.seats.iter().position(|seat| seat.instance == of));
        self.tell(Who::Process(uid), || What::Ended { status, reaper: seat });
        self.ledger.ended(uid, status, self.moment / FINE);
        if let Some(key) = worker {
            self.estate.ended(key, status);
            if self.kernel.group_alive(leader) {
                self.reach(Sometimes::AGroupOutlivedItsLeader);
                self.maybe_keep(key, leader, status);
            }
        }
        match reaper {
            Some(of) => self.wake(of, uid),
            None => {
                self.ledger.reaped += 1;
                if worker.is_some() {
                    self.held_ended(uid, status);
                    self.weigh_evidence();
                }
            }
        }
    }

    /// What a completed task leaves behind may live on where its owner wants that.
    fn maybe_keep(&mut self, (of, spawn): Key, leader: Uid, status: ExitStatus) {
        let attempt = self.ledger.get(of, spawn);
        let Some(attempt) = attempt.filter(|attempt| attempt.signalled.is_none()) else { return };
        let worker = self.policy.worker(attempt.worker);
        let done = status == ExitStatus::Code(0) && worker.completion == Completion::ExitStatus;
        if done && worker.keep_leftovers {
            self.kept.insert(leader);
        }
    }

    fn wake(&mut self, of: Instance, uid: Uid) {
        let Some(seat) = self.seats.iter().position(|seat| seat.instance == of) else { return };
        if !self.fires(Fault::LostWakeup, Who::Dispatcher(seat)) {
            self.kernel.hint(uid);
            self.after(0, Item::Tell(seat, of, Event::KernelReady));
        }
    }

    pub(super) fn fork(&mut self, leader: Uid, lives_ms: u64) {
        let calm = self.calm_since.is_some();
        let lives_ms = if calm { lives_ms.min(CALM_LIFE_MS) } else { lives_ms };
        if let Some(uid) = self.kernel.fork(leader) {
            self.ledger.spawned += 1;
            if let Some(process) = self.kernel.get(uid) {
                let pid = process.pid;
                self.pids.insert(uid, pid);
                let origin = Origin::Member { leader };
                self.tell(Who::Process(uid), || What::Started { pid, origin });
            }
            self.after(lives_ms, Item::End(uid, ExitStatus::Code(0)));
        }
    }

    /// A worker does something with its task, through the client: by task and run.
    pub(super) fn own_deed(&mut self, uid: Uid, deed: Deed) {
        let Some(process) = self.kernel.get(uid).filter(|process| process.is_alive()) else {
            return;
        };
        let Some((of, spawn)) = process.worker else { return };
        let Some(attempt) = self.ledger.get(of, spawn) else { return };
        let (n, task) = (attempt.board.0 as usize, attempt.task);
        let holder = Holder::Sexton(of, spawn);
        let model = &self.boards[n].model;
        let own_run = model.runs().iter().rev().find(|run| run.holder == Some(holder));
        let Some(run) = own_run.map(|run| run.id) else { return };
        let now = self.now().unix;
        let failure_limit = self.policy.failure_limit;
        let model = &mut self.boards[n].model;
        let own_run = Some(run);
        let did = match deed {
            Deed::Complete => {
                model.complete(task, Complete { own_run, told: true, failure_limit }, now)
            }
            Deed::Block => model.block(task, Block { own_run, told: true, kind: None }, now),
            Deed::Heartbeat => model.heartbeat(task, run, now),
        };
        if did && self.boards[n].present {
            self.notice(n, None);
        }
    }
}
