//! Adopts the claims of dead dispatchers, and looks for their workers.

use sexton::machine::adoption::{Evidence, Process as Shown, Record};
use sexton::machine::attempt::Stage;
use sexton::machine::event::{Event, Group};
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::{ExitStatus, Verdict};

use super::estate::Key;
use super::{FINE, Item, World};
use crate::board::Instance;
use crate::fault::Fault;
use crate::kernel::Uid;
use crate::ledger::News;
use crate::sometimes::Sometimes;
use crate::trace::Who;

/// A claim that a dispatcher has adopted, and what the dispatcher's runtime keeps for it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Adopted {
    pub(super) key: Key,
    /// The pid in the claim's row.
    pub(super) row: Option<Pid>,
    /// The machine has the answer to its adoption.
    pub(super) told: bool,
    /// The worker was found, so this dispatcher must end it.
    pub(super) found: bool,
    /// The end is known and noted.
    noted: bool,
    pub(super) held: Option<Held>,
}

/// A worker that a dispatcher holds by a pidfd and that is not its child.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Held {
    pub(super) uid: Uid,
    pid: Pid,
    status: Option<ExitStatus>,
    hinted: bool,
    reaped: bool,
}

impl Adopted {
    /// Whether the worker is neither found nor known to have ended.
    pub(super) fn is_looked_for(&self) -> bool {
        self.held.is_none() && !self.noted
    }

    /// Returns the worker if it has ended and that was not yet reported.
    fn ended(&self, hinted: bool) -> Option<Uid> {
        let held = self.held.filter(|held| held.status.is_some() && !held.reaped)?;
        (held.hinted || !hinted).then_some(held.uid)
    }
}

impl World {
    /// Registers an adopted claim.
    pub(super) fn adopted(&mut self, of: Instance, spawn: SpawnId, from: Key, row: Option<Pid>) {
        let key = self.ledger.resolve(from.0, from.1);
        self.reach(Sometimes::AClaimWasAdopted);
        if key != from && from.0 != of {
            self.reach(Sometimes::AnAdoptersClaimWasAdopted);
        }
        self.ledger.adopt(of, spawn, key);
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.instance == of) else { return };
        // An earlier adoption of the same claim, whose answer was lost.
        seat.adopted.retain(|_, known| known.key != key);
        let (told, found, noted) = (false, false, false);
        seat.adopted.insert(spawn, Adopted { key, row, told, found, noted, held: None });
    }

    /// The machine receives the answer to an adoption.
    pub(super) fn told_of_adoption(&mut self, seat: usize, spawn: SpawnId) {
        if let Some(adopted) = self.seats[seat].adopted.get_mut(&spawn) {
            adopted.told = true;
        }
    }

    /// Schedules a search for a worker.
    pub(super) fn find(&mut self, seat: usize, spawn: SpawnId) {
        let of = self.seats[seat].instance;
        let wait = match self.fires(Fault::FindHangs, Who::Dispatcher(seat)) {
            true => 20 * self.millis() + 1_000,
            false => self.millis(),
        };
        self.after(wait, Item::Find { seat, of, spawn });
    }

    /// Looks for the worker of an adopted claim, and answers.
    pub(super) fn look_for(&mut self, seat: usize, spawn: SpawnId) {
        let Some(adopted) = self.seats[seat].adopted.get(&spawn) else { return };
        let (key, row) = (adopted.key, adopted.row);
        let (record, noted) = (self.estate.record(key, row), self.estate.noted(key));
        let process = match self.fires(Fault::ProcessHidden, Who::Dispatcher(seat)) {
            true => Shown::Hidden,
            false => self.process_of(seat, spawn, record, noted),
        };
        self.note_found(record, process, noted);
        self.answer(seat, Event::Found { spawn, evidence: Evidence { record, process, noted } });
    }

    fn process_of(
        &mut self,
        seat: usize,
        spawn: SpawnId,
        record: Record,
        noted: Option<Verdict>,
    ) -> Shown {
        let Some(key) = self.seats[seat].adopted.get(&spawn).map(|adopted| adopted.key) else {
            return Shown::Hidden;
        };
        if self.domain_of(key.0) != self.seats[seat].domain {
            return Shown::None(Group::Gone);
        }
        let leader = self.ledger.get(key.0, key.1).and_then(|attempt| attempt.process);
        let group_lives = leader.is_some_and(|leader| self.kernel.group_alive(leader));
        if let Some(kept) = self.estate.kept(key) {
            return match (noted, group_lives) {
                (None, _) => self.hold(seat, spawn, kept.uid, kept.status),
                (Some(_), true) => Shown::None(Group::Alive),
                (Some(_), false) => Shown::None(Group::Gone),
            };
        }
        if record != Record::Started && self.estate.has_child_of(key.0) {
            return Shown::Executing;
        }
        // It is identified by its pid and start time, or by the token in its environment.
        let alive = leader.filter(|leader| self.kernel.get(*leader).is_some_and(|p| p.is_alive()));
        match (alive, noted, group_lives) {
            (Some(leader), None, _) => self.hold(seat, spawn, leader, None),
            (Some(_), Some(_), _) | (None, _, true) => Shown::Hidden,
            (None, _, false) => Shown::None(Group::Gone),
        }
    }

    /// From now on the adopter is told of its exit.
    fn hold(&mut self, seat: usize, spawn: SpawnId, uid: Uid, status: Option<ExitStatus>) -> Shown {
        let (Some(pid), Some(life)) = (self.pids.get(&uid).copied(), self.ledger.life(uid)) else {
            return Shown::Hidden;
        };
        let lives = |of: &Uid| *of != uid && self.kernel.get(*of).is_none();
        if self.pids.iter().any(|(of, known)| *known == pid && lives(of)) {
            self.reach(Sometimes::AnAdoptedPidHadComeBack);
        }
        let held = Held { uid, pid, status: None, hinted: false, reaped: false };
        if let Some(adopted) = self.seats[seat].adopted.get_mut(&spawn)
            && adopted.held.is_none_or(|known| known.uid != uid)
        {
            adopted.held = Some(held);
        }
        if let Some(status) = status {
            self.held_ended(uid, status);
        }
        let age_ms = (self.moment / FINE).saturating_sub(life.began);
        Shown::Held { pid, age_ms }
    }

    /// Tells all dispatchers that hold this worker, and are not its parent, that it has ended.
    pub(super) fn held_ended(&mut self, uid: Uid, status: ExitStatus) {
        for seat in 0..self.seats.len() {
            let is_it = |held: &&mut Held| held.uid == uid && held.status.is_none();
            let held = self.seats[seat].adopted.values_mut().filter_map(|a| a.held.as_mut());
            let Some(held) = held.into_iter().find(|held| is_it(held)) else { continue };
            held.status = Some(status);
            let of = self.seats[seat].instance;
            if self.fires(Fault::LostWakeup, Who::Dispatcher(seat)) {
                continue;
            }
            let held = self.seats[seat].adopted.values_mut().filter_map(|a| a.held.as_mut());
            held.filter(|held| held.uid == uid).for_each(|held| held.hinted = true);
            self.after(0, Item::Tell(seat, of, Event::KernelReady));
        }
    }

    /// Returns the adopted workers that have ended and whose exit was not yet reported to this
    /// dispatcher.
    pub(super) fn held_exits(&self, seat: usize, hinted: bool) -> impl Iterator<Item = Uid> + '_ {
        self.seats[seat].adopted.values().filter_map(move |adopted| adopted.ended(hinted))
    }

    /// Reports the exit of an adopted worker to its adopter.
    pub(super) fn reap_held(&mut self, seat: usize, uid: Uid) -> Option<Event> {
        let of_uid = |(spawn, adopted): (&SpawnId, &mut Adopted)| {
            let held = adopted.held.as_mut().filter(|held| held.uid == uid && !held.reaped)?;
            held.reaped = true;
            Some((*spawn, held.pid, held.status?))
        };
        let (spawn, pid, status) = self.seats[seat].adopted.iter_mut().find_map(of_uid)?;
        let of = self.seats[seat].instance;
        if let Some(attempt) = self.ledger.get_mut(of, spawn) {
            attempt.reaped = true;
        }
        self.reach(Sometimes::AnAdoptedExitWasReaped);
        let group = if self.kernel.group_alive(uid) { Group::Alive } else { Group::Gone };
        Some(Event::ChildExited { spawn, pid, status, group })
    }

    fn note_found(&mut self, record: Record, process: Shown, noted: Option<Verdict>) {
        match process {
            Shown::Held { .. } => self.reach(Sometimes::AnAdoptedWorkerWasFound),
            Shown::Executing => self.reach(Sometimes::AChildWasExecuting),
            Shown::None(Group::Alive) => self.reach(Sometimes::AGroupWasAdopted),
            Shown::None(Group::Gone) if noted.is_some() => {
                self.reach(Sometimes::ANotedEndWasRecorded);
            }
            Shown::None(Group::Gone) if record != Record::Started => {
                self.reach(Sometimes::AnAdoptedClaimHadNoProcess);
            }
            Shown::None(Group::Gone) | Shown::Hidden => {}
        }
    }

    /// Sets the worker's age to that of this moment: a search may take long, but its answer arrives
    /// immediately.
    pub(super) fn bring_up_to_date(&self, seat: usize, event: &mut Event) {
        if let Event::Found { spawn, evidence } = event
            && let Shown::Held { age_ms, .. } = &mut evidence.process
            && let Some(held) = self.seats[seat].adopted.get(spawn).and_then(|a| a.held)
            && let Some(life) = self.ledger.life(held.uid)
        {
            *age_ms = (self.moment / FINE).saturating_sub(life.began);
        }
    }

    /// Hands the answer of a search to the machine. From now on the machine must end the worker.
    pub(super) fn tell_found(&mut self, seat: usize, spawn: SpawnId, process: Shown) {
        let finding = |seat: &super::Seat| {
            seat.machine.iter().flat_map(|machine| machine.attempts()).any(|(_, attempt)| {
                attempt.id() == spawn && matches!(attempt.stage(), Stage::Finding(_))
            })
        };
        let is_there = matches!(process, Shown::Held { .. } | Shown::None(Group::Alive));
        if is_there && finding(&self.seats[seat]) {
            let adopted = self.seats[seat].adopted.get_mut(&spawn);
            adopted.into_iter().for_each(|adopted| adopted.found = true);
        }
    }

    /// Notes the end of an attempt for the next dispatcher.
    pub(super) fn note_end(&mut self, seat: usize, spawn: SpawnId, verdict: Verdict) {
        let of = self.seats[seat].instance;
        let key = self.ledger.resolve(of, spawn);
        self.estate.note(key, verdict);
        let Some(adopted) = self.seats[seat].adopted.get_mut(&spawn) else { return };
        adopted.noted = true;
        let Some(held) = adopted.held else { return };
        if let (Verdict::TimedOut { elapsed_s, .. }, Some(life)) =
            (verdict, self.ledger.life(held.uid))
        {
            let ended = life.ended.unwrap_or(self.moment / FINE);
            let true_s = ended.saturating_sub(life.began) / 1000;
            self.ledger.note(News::RanOut { said_s: u64::from(elapsed_s), true_s });
        }
    }

    /// A dispatcher is done with an attempt. If it never learned the end, the attempt is left to the
    /// next.
    pub(super) fn forget(&mut self, seat: usize, spawn: SpawnId) {
        let of = self.seats[seat].instance;
        match self.seats[seat].adopted.remove(&spawn) {
            Some(adopted) if adopted.noted => self.estate.clear(adopted.key),
            Some(_) => self.reach(Sometimes::AnAdoptionWasLeft),
            None => self.estate.clear((of, spawn)),
        }
    }

    /// Marks the ended workers, among those whose row is open, of whose end no evidence is left.
    pub(super) fn weigh_evidence(&mut self) {
        let rows = self.boards.iter().flat_map(|board| board.model.tasks());
        let open: Vec<Key> = rows.filter_map(|task| self.key_of(task)).collect();
        for key in open {
            let ended = self.ledger.get(key.0, key.1).is_some_and(|a| a.status.is_some());
            if ended
                && !self.is_known(key)
                && let Some(attempt) = self.ledger.get_mut(key.0, key.1)
            {
                attempt.lost = true;
            }
        }
    }

    /// Returns whether there is evidence, or a dispatcher that knows, how the worker of this claim
    /// ended.
    fn is_known(&self, key: Key) -> bool {
        let holds = |seat: &super::Seat| {
            seat.instance == key.0
                || seat.adopted.values().any(|a| a.key == key && (a.held.is_some() || a.noted))
        };
        self.estate.kept(key).is_some()
            || self.estate.noted(key).is_some()
            || self.seats.iter().any(|seat| seat.machine.is_some() && holds(seat))
    }
}
