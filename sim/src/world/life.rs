//! Workers come into being, do what they do, and end.

use sexton::machine::event::Event;
use sexton::machine::fault::Blame;
use sexton::machine::ids::SpawnId;
use sexton::machine::policy::Completion;
use sexton::machine::verdict::ExitStatus;

use super::item::Deed;
use super::seat::SpawnLane;
use super::{Item, World};
use crate::board::{Block, Complete, Holder};
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

impl World {
    /// A spawn thread creates its process, unless it was called off.
    pub(super) fn make_process(&mut self, seat: usize, spawn: SpawnId) {
        let of = self.seats[seat].instance;
        let Some(at) = self.seats[seat].lanes.iter().position(|lane| lane.spawn == spawn) else {
            return;
        };
        let struck = self.strike(
            &[Fault::ForkRefused, Fault::ExecFails, Fault::DirectoryFails],
            Who::Dispatcher(seat),
        );
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
        self.begin_life(seat, spawn, uid);
        let pid = self.pids[&uid];
        let wait = match self.fires(Fault::SpawnAnswerHangs, Who::Dispatcher(seat)) {
            true => self.seats[seat].policy.spawn_deadline_ms + self.millis(),
            false => self.millis(),
        };
        self.after(wait, Item::Tell(seat, of, Event::SpawnOk { spawn, pid }));
    }

    fn begin_life(&mut self, seat: usize, spawn: SpawnId, uid: Uid) {
        let lane = self.seats[seat].lanes.iter().find(|lane| lane.spawn == spawn).cloned();
        let (Some(lane), Some(process)) = (lane, self.kernel.get(uid)) else { return };
        let pid = process.pid;
        if self.pids.values().any(|known| *known == pid) {
            self.reach(Sometimes::APidCameBack);
        }
        self.pids.insert(uid, pid);
        let origin = Origin::Worker { seat, task: lane.task };
        self.tell(Who::Process(uid), || What::Started { pid, origin });
        self.note_spawn(seat, uid, &lane);
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

    fn note_spawn(&mut self, seat: usize, uid: Uid, lane: &SpawnLane) {
        let SpawnLane { spawn, board, task, configured, limits, .. } = *lane;
        let of = self.seats[seat].instance;
        self.ledger.spawned += 1;
        let mut claimed = false;
        if let Some(attempt) = self.ledger.get_mut(of, spawn) {
            attempt.process = Some(uid);
            claimed = attempt.claimed;
        }
        let (mut live, mut live_there, mut twin) = (0, 0, false);
        for (number, attempt) in self.ledger.of(of) {
            if !attempt.process.is_some_and(|leader| self.may_live(leader)) {
                continue;
            }
            live += 1;
            live_there += u32::from(attempt.board == board);
            twin |= attempt.board == board && attempt.task == task && number != spawn;
        }
        if self.kernel.processes().iter().any(|p| p.parent.is_some_and(|parent| parent != of)) {
            self.reach(Sometimes::TwoDispatchersWorked);
        }
        self.ledger.note(News::Spawned {
            live,
            max_workers: limits.max_workers,
            live_there,
            max_in_progress: limits.max_in_progress,
            claimed,
            configured,
            twin,
        });
        self.judge();
        self.ledger.news.clear();
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
        let (leader, spawn, parent) = (process.leader, process.spawn, process.parent);
        let reaper = self.kernel.end(uid, status);
        let seat = reaper.and_then(|of| self.seats.iter().position(|seat| seat.instance == of));
        self.tell(Who::Process(uid), || What::Ended { status, reaper: seat });
        if let (Some(of), Some(spawn)) = (parent, spawn)
            && let Some(attempt) = self.ledger.get_mut(of, spawn)
        {
            attempt.status = Some(status);
        }
        if spawn.is_some() && self.kernel.group_alive(leader) {
            self.reach(Sometimes::AGroupOutlivedItsLeader);
            self.maybe_keep(parent, spawn, leader, status);
        }
        match reaper {
            Some(of) => self.wake(of, uid),
            None => self.ledger.reaped += 1,
        }
    }

    /// What a completed task leaves behind may live on where its owner wants that.
    fn maybe_keep(
        &mut self,
        of: Option<crate::board::Instance>,
        spawn: Option<SpawnId>,
        leader: Uid,
        status: ExitStatus,
    ) {
        let attempt = of.zip(spawn).and_then(|(of, spawn)| self.ledger.get(of, spawn));
        let Some(attempt) = attempt.filter(|attempt| attempt.signalled.is_none()) else { return };
        let worker = self.policy.worker(attempt.worker);
        let done = status == ExitStatus::Code(0) && worker.completion == Completion::ExitStatus;
        if done && worker.keep_leftovers {
            self.kept.insert(leader);
        }
    }

    fn wake(&mut self, of: crate::board::Instance, uid: Uid) {
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
        let (Some(of), Some(spawn)) = (process.parent, process.spawn) else { return };
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
