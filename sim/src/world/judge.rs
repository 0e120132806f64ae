//! What the ledger notes of each event, and the promises that are judged by it.

use sexton::machine::effect::{Effect, Whom};
use sexton::machine::event::Event;

use super::{Broken, FINE, MOST_EVENTS, World};
use crate::kernel::Uid;
use crate::ledger::News;
use crate::promise;
use crate::sometimes;
use crate::trace::{What, Who};

impl World {
    /// Records what must be known before an event is handled. Returns, for a tick, the processes that
    /// have ended by now.
    pub(super) fn before(&mut self, seat: usize, event: &Event) -> Vec<Uid> {
        let instance = self.seats[seat].instance;
        match event {
            Event::Tick => self.unreaped(seat),
            Event::Reaped { seq } => {
                self.ledger.reap_failing.remove(&instance);
                let due = self.seats[seat].due.remove(seq).unwrap_or_default();
                let unreaped = if due.is_empty() { due.clone() } else { self.unreaped(seat) };
                let left = due.iter().filter(|uid| unreaped.contains(uid)).count();
                self.ledger.note(News::Reaped { left });
                Vec::new()
            }
            Event::ReapFailed { seq, .. } => {
                // These must be reaped by the next step.
                let due = self.seats[seat].due.remove(seq).unwrap_or_default();
                self.seats[seat].due.entry(seq + 1).or_default().extend(due);
                let now = self.moment / FINE;
                self.ledger.reap_failing.entry(instance).or_insert(now);
                self.ledger.note(News::ReapFailed);
                Vec::new()
            }
            Event::OrphanReaped { .. } => {
                self.ledger.note(News::Orphan);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Returns what has ended and was not yet reported to this dispatcher: children and adopted
    /// workers.
    fn unreaped(&self, seat: usize) -> Vec<Uid> {
        let zombies = self.kernel.zombies(self.seats[seat].instance).map(|zombie| zombie.uid);
        zombies.chain(self.held_exits(seat, false)).collect()
    }

    pub(super) fn note_tick(&mut self, seat: usize, zombies: Vec<Uid>, effects: &[Effect]) {
        let reaps_first = matches!(effects.first(), Some(Effect::Reap { whom: Whom::All, .. }));
        self.ledger.note(News::Tick { zombies: zombies.len(), reaps_first });
        if let Some(Effect::Reap { seq, .. }) = effects.first() {
            self.seats[seat].due.insert(*seq, zombies);
        }
        let here = &self.seats[seat];
        for board in here.well.iter().filter(|board| !here.under_way.contains(board)) {
            let asks = |effect: &Effect| match effect {
                Effect::Exchange { board: id, .. }
                | Effect::Connect { board: id, .. }
                | Effect::Disconnect { board: id } => id == board,
                _ => false,
            };
            if !effects.iter().any(asks) {
                self.ledger.news.push(News::PassedOver(*board));
            }
        }
    }

    /// Judges how long dispatchers have waited to reap again since their newest reaping step failed.
    pub(super) fn judge_reapers(&mut self) {
        let now = self.moment / FINE;
        let waited = self.ledger.reap_failing.values().map(|since| now.saturating_sub(*since));
        let Some(ms) = waited.max() else { return };
        self.ledger.news.clear();
        self.ledger.note(News::ReapWaits { ms });
        self.judge();
    }

    pub(super) fn judge(&mut self) {
        // All of these depend on the news alone.
        if !self.ledger.news.is_empty() {
            for state in sometimes::reached(&self.ledger) {
                self.reached[state as usize] += 1;
            }
            if self.broken.is_none() {
                self.judge_by(promise::ALWAYS);
            }
        }
        if self.events > MOST_EVENTS && self.broken.is_none() {
            self.breaks("calm_drains_the_board", format!("{MOST_EVENTS} events and no end"));
        }
    }

    pub(super) fn judge_by(&mut self, promises: &[promise::Promise]) {
        for promise in promises {
            if let Some(how) = (promise.check)(&self.ledger) {
                return self.breaks(promise.name, how);
            }
        }
    }

    pub(super) fn breaks(&mut self, promise: &'static str, how: String) {
        self.tell(Who::World, || What::Broken { promise, how: how.clone() });
        self.broken = Some(Broken { promise, how, at: self.moment / FINE });
    }
}
