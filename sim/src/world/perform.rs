//! The machine's effects, each made to happen in the world or set on its way.

use std::collections::VecDeque;
use std::sync::Arc;

use sexton::machine::effect::{Effect, Report, Whom};
use sexton::machine::event::{Event, Signal, SignalOutcome};
use sexton::machine::exchange::{Change, Request};
use sexton::machine::ids::{BoardId, Pid, SpawnId, TaskId, WorkerId};
use sexton::machine::verdict::ExitStatus;

use super::seat::{Limits, SpawnLane};
use super::{FINE, Item, World};
use crate::fault::Fault;
use crate::kernel::{KILL, Process, TERM, Uid};
use crate::ledger::{Attempt, News};
use crate::sometimes::Sometimes;
use crate::trace::{Origin, What, Who};

/// The errno of a call that a signal interrupted.
const EINTR: i32 = 4;
/// The errno of a call that may work later.
const EAGAIN: i32 = 11;

impl World {
    /// Carries out one effect, or schedules it. Answers that are known immediately are pushed to
    /// `events`.
    pub(super) fn perform(&mut self, seat: usize, effect: Effect, events: &mut VecDeque<Event>) {
        if !matches!(effect, Effect::WakeAt(_)) {
            self.tell(Who::Dispatcher(seat), || What::Effect(effect.clone()));
        }
        let of = self.seats[seat].instance;
        match effect {
            Effect::Reap { seq, whom } => self.reap(seat, seq, whom, events),
            Effect::Signal { spawn, signal } => self.signal(seat, spawn, signal, events),
            Effect::ListBoards => self.list_boards(seat),
            Effect::Connect { board, seq, if_changed } => {
                self.ask(seat, board, true);
                let item = Item::Connect { seat, of, board, seq, if_changed };
                self.send(seat, board, item);
            }
            Effect::Exchange { board, seq, request } => {
                let open = self.seats[seat].conns.contains_key(&board);
                self.ask(seat, board, open);
                self.note_claims(seat, board, &request);
                let policy = Arc::clone(&self.seats[seat].policy);
                let item = Item::Exchange { seat, of, board, seq, request, policy };
                self.send(seat, board, item);
            }
            Effect::Disconnect { board } => self.disconnect(seat, board),
            Effect::Spawn { spawn, board, task, run: _, worker } => {
                self.spawn(seat, spawn, board, task, worker);
            }
            Effect::CancelSpawn { spawn } => {
                let lanes = &mut self.seats[seat].lanes;
                let lane = lanes.iter().position(|lane| lane.spawn == spawn && !lane.past_gate);
                if let Some(at) = lane {
                    lanes.remove(at);
                    self.reach(Sometimes::ASpawnWasCalledOff);
                    events.push_back(Event::SpawnCancelled { spawn });
                }
            }
            Effect::Find { spawn } => self.find(seat, spawn),
            Effect::Note { spawn, verdict } => self.note_end(seat, spawn, verdict),
            // Notes survive a dispatcher in any case, and hosts do not crash here.
            Effect::SyncNotes => {}
            Effect::Forget { spawn } => self.forget(seat, spawn),
            Effect::WakeAt(at) => {
                let moment = at.0.saturating_mul(FINE);
                let ahead = at.0 as i64 - self.seats[seat].told.0 as i64;
                self.ledger.note(News::WakeAt(ahead));
                self.seats[seat].wakes += 1;
                let wakes = self.seats[seat].wakes;
                self.items.insert((moment, self.numbered), Item::Wake(seat, wakes));
                self.numbered += 1;
            }
            Effect::Report(report) => self.watch(seat, &report),
        }
    }

    /// What only the machine can tell, and only states that should be reached depend on.
    fn watch(&mut self, seat: usize, report: &Report) {
        match report {
            Report::Adopted(fence, _) => self.told_of_adoption(seat, fence.spawn),
            Report::BoardHung(board) => {
                self.reach(Sometimes::AThreadWasOverdue);
                self.seats[seat].failed.insert(*board);
            }
            Report::BoardWell(_) => self.reach(Sometimes::ABoardCameBackIntoUse),
            Report::Promoted(..) => self.reach(Sometimes::ATaskWasPromoted),
            Report::Reclaimed(..) => self.reach(Sometimes::AClaimOfOthersEnded),
            Report::NotOurs(_) => self.reach(Sometimes::ARunWasTakenAway),
            Report::HostRefuses(..) => self.reach(Sometimes::TheHostRefused),
            Report::ClaimRefused(..) => self.reach(Sometimes::AClaimWasRefused),
            _ => {}
        }
    }

    fn ask(&mut self, seat: usize, board: BoardId, open: bool) {
        let busy = !self.seats[seat].under_way.insert(board);
        self.ledger.note(News::Asked { board, busy, open });
    }

    pub(super) fn note_claims(&mut self, seat: usize, board: BoardId, request: &Request) {
        let of = self.seats[seat].instance;
        for change in &request.changes {
            if let Change::Claim { spawn, task, worker, .. } = *change {
                self.ledger.attempt(of, spawn, Attempt::new(board, task, worker));
            }
        }
    }

    /// Sets a request on its way: it may be long.
    fn send(&mut self, seat: usize, board: BoardId, item: Item) {
        match self.strike(&[Fault::BoardHangs, Fault::BoardHangsForever], Who::Board(board)) {
            Some(Fault::BoardHangsForever) => self.hung.push(item),
            Some(_) => {
                let wait = self.seats[seat].policy.board_deadline_ms + self.millis();
                self.after(wait, item);
            }
            None => {
                let wait = self.millis();
                self.after(wait, item);
            }
        }
    }

    /// Delivers the answer of a dispatcher's thread, after a while.
    pub(super) fn answer(&mut self, seat: usize, event: Event) {
        let of = self.seats[seat].instance;
        let wait = self.millis();
        self.after(wait, Item::Tell(seat, of, event));
    }

    fn list_boards(&mut self, seat: usize) {
        let of = self.seats[seat].instance;
        let there = self.boards.iter().map(|board| board.listed).collect();
        let wait = self.millis();
        self.after(wait, Item::Listed(seat, of, there));
    }

    /// Takes what the kernel has, in one go.
    fn reap(&mut self, seat: usize, seq: u64, whom: Whom, events: &mut VecDeque<Event>) {
        let of = self.seats[seat].instance;
        let now = self.moment / FINE;
        self.ledger.reap_failing.entry(of).and_modify(|since| *since = now);
        // Orphans have no descriptor of ours, so they are asked each time.
        let asked = |z: &&Process| whom == Whom::All || z.hinted || z.worker.is_none();
        let mut zombies: Vec<Uid> =
            self.kernel.zombies(of).filter(asked).map(|zombie| zombie.uid).collect();
        zombies.extend(self.held_exits(seat, whom == Whom::Hinted));
        let fault = self.strike(&[Fault::ReapError, Fault::ReapInterrupted], Who::Dispatcher(seat));
        let errno = match fault {
            Some(Fault::ReapError) => {
                zombies.clear();
                Some(EAGAIN)
            }
            Some(_) => {
                zombies.truncate(zombies.len() / 2);
                Some(EINTR)
            }
            None => None,
        };
        self.sabotage_reaping(&mut zombies);
        if !zombies.is_empty() && errno.is_some() {
            self.reach(Sometimes::AReapingWasCutShort);
        }
        for uid in zombies {
            self.reap_one(seat, uid, events);
        }
        if self.fires(Fault::NestedTick, Who::Dispatcher(seat)) {
            events.push_back(Event::Tick);
        }
        events.push_back(match errno {
            None => Event::Reaped { seq },
            Some(errno) => Event::ReapFailed { seq, errno },
        });
    }

    fn reap_one(&mut self, seat: usize, uid: Uid, events: &mut VecDeque<Event>) {
        let of = self.seats[seat].instance;
        let Some((process, status, group)) = self.kernel.reap(uid) else {
            return events.extend(self.reap_held(seat, uid));
        };
        self.ledger.reaped += 1;
        self.tell(Who::Process(uid), || What::Reaped);
        self.maybe_take(process.group);
        let Some((_, spawn)) = process.worker else {
            self.reach(Sometimes::AnOrphanWasReaped);
            return events.push_back(Event::OrphanReaped { pid: process.pid });
        };
        if let Some(attempt) = self.ledger.get_mut(of, spawn) {
            attempt.reaped = true;
        }
        if self.seats[seat].lanes.iter().any(|lane| lane.spawn == spawn) {
            self.reach(Sometimes::AnExitCameBeforeItsSpawnsAnswer);
        }
        events.push_back(Event::ChildExited { spawn, pid: process.pid, status, group });
    }

    /// Somebody else may get a number as soon as it is free.
    fn maybe_take(&mut self, pid: Pid) {
        let free = !self.kernel.processes().iter().any(|p| p.pid == pid || p.group == pid);
        if free
            && self.fires(Fault::PidTaken, Who::World)
            && let Some(uid) = self.kernel.stranger(pid)
        {
            self.ledger.spawned += 1;
            self.pids.insert(uid, pid);
            let origin = Origin::Stranger;
            self.tell(Who::Process(uid), || What::Started { pid, origin });
            let wait = self.millis();
            self.after(wait, Item::End(uid, ExitStatus::Code(0)));
        }
    }

    fn signal(
        &mut self,
        seat: usize,
        spawn: SpawnId,
        signal: Signal,
        events: &mut VecDeque<Event>,
    ) {
        let of = self.seats[seat].instance;
        let Some(attempt) = self.ledger.get_mut(of, spawn) else { return };
        let Some(leader) = attempt.process else { return };
        let asked = attempt.signalled.is_some();
        if signal != Signal::Probe {
            (attempt.signalled, attempt.signaller) = (Some(signal), Some(of));
        }
        let target = self.sabotage_target(leader);
        self.ledger.note(News::Signalled {
            signal,
            own: target == leader,
            asked: asked || self.seats[seat].is_aborting(),
        });
        let (outcome, ends) = self.kernel.signal(target, signal);
        if outcome == SignalOutcome::Delivered && signal == Signal::Kill && asked {
            self.reach(Sometimes::AWorkerWasKilledAfterTerm);
        }
        let number = if signal == Signal::Kill { KILL } else { TERM };
        for uid in ends {
            // A kill is not waited for; a term may take its time.
            let wait = if signal == Signal::Kill { 0 } else { self.millis() };
            self.after(wait, Item::EndBySignal(uid, number));
        }
        events.extend(self.sabotage_signalled(spawn, leader, signal));
        events.push_back(Event::Signalled { spawn, signal, outcome });
    }

    fn spawn(
        &mut self,
        seat: usize,
        spawn: SpawnId,
        board: BoardId,
        task: TaskId,
        worker: WorkerId,
    ) {
        let here = &mut self.seats[seat];
        let limits = Limits::of(&here.policy);
        let configured = here.policy.worker(worker).enabled;
        let told = here.adopted.iter().filter(|(_, adopted)| adopted.told);
        let beside = told.map(|(spawn, _)| *spawn).collect();
        let past_gate = false;
        let lane = SpawnLane { spawn, board, task, worker, past_gate, configured, limits, beside };
        here.lanes.push(lane);
        let of = self.seats[seat].instance;
        // Before anything is prepared: a rival that finds the lease expired must know that a process
        // may follow.
        self.estate.intend((of, spawn));
        let wait = match self.fires(Fault::SpawnHangs, Who::Dispatcher(seat)) {
            true => self.seats[seat].policy.spawn_deadline_ms + 4 * self.millis(),
            false => self.millis(),
        };
        self.after(wait, Item::Make { seat, of, spawn });
    }
}
