//! A dispatcher's life in the world: its ticks, and how it ends.

use std::sync::Arc;

use sexton::machine::Mode;
use sexton::machine::attempt::Stage;
use sexton::machine::event::Event;
use sexton::machine::ids::SpawnId;
use sexton::machine::policy::Policy;

use super::seat::Limits;
use super::{CALM_INTERVAL_MS, FINE, Item, RARE_TICK_MS, RETIRE_MS, World, founding};
use crate::board::{Holder, Instance, Status};
use crate::fault::Fault;
use crate::ledger::News;
use crate::sometimes::Sometimes;
use crate::trace::{What, Who};

impl World {
    pub(super) fn tick(&mut self, seat: usize, of: Instance) {
        if !self.is_alive(seat, of) {
            return;
        }
        let wait = match self.calm_since {
            None => self.seats[seat].policy.interval_ms,
            Some(_) => self.policy.interval_ms.max(CALM_INTERVAL_MS),
        };
        self.after(wait, Item::Tick(seat, of));
        self.upset(seat);
        self.judge_the_orphaned(seat, wait);
        if self.is_time_to_tick(seat) {
            self.feed(seat, Event::Tick);
        }
    }

    /// Where ticks are rare, an interval that ends is not always one. In the calm only the first is,
    /// which finds what was lost in the chaos: everything after it must come by other ways. Only a
    /// tick finds the end of a worker whose dispatcher is dead, and the children of a deleted task.
    fn is_time_to_tick(&mut self, seat: usize) -> bool {
        let ticks_from = self.seats[seat].ticks_from;
        let is_first = ticks_from == 0;
        let backstop =
            || self.boards.iter().any(|board| board.deleted) || self.is_a_row_held_by_the_dead();
        let wanted = self.calm_since.is_none() || is_first || backstop();
        let due = !self.rare_ticks || (self.moment >= ticks_from && wanted);
        if due {
            self.seats[seat].ticks_from = self.moment + RARE_TICK_MS * FINE;
        }
        due
    }

    fn is_a_row_held_by_the_dead(&self) -> bool {
        let lives = |instance| {
            self.seats.iter().any(|seat| seat.machine.is_some() && seat.instance == instance)
        };
        self.boards.iter().flat_map(|board| board.model.tasks()).any(|task| {
            task.status == Status::Running
                && matches!(task.claim.owner(), Some(Holder::Sexton(of, _)) if !lives(of))
        })
    }

    /// What can go wrong at any time, decided once in each interval.
    pub(super) fn upset(&mut self, seat: usize) {
        let who = Who::Dispatcher(seat);
        match self.strike(
            &[
                Fault::KeeperDies,
                Fault::Crash,
                Fault::Shutdown,
                Fault::ClockAhead,
                Fault::ClockBack,
                Fault::Suspended,
                Fault::Reload,
            ],
            who,
        ) {
            Some(Fault::KeeperDies) => self.keeper_dies(),
            Some(Fault::Crash) => {
                let wait = self.millis();
                self.after(wait, Item::Crash(seat));
            }
            Some(Fault::Shutdown) => self.ask_to_stop(seat),
            Some(Fault::ClockAhead) => self.ahead += self.entropy.one_of(&[1, 60, 1_000, 100_000]),
            Some(Fault::ClockBack) => self.ahead -= self.entropy.one_of(&[1, 60, 1_000, 100_000]),
            Some(Fault::Suspended) => self.ahead += self.entropy.one_of(&[30, 600, 4_000]),
            Some(Fault::Reload) => {
                let policy = founding::changed(&self.policy, &mut self.entropy);
                self.reload(seat, policy);
            }
            _ => {}
        }
        self.most_ahead = self.most_ahead.max(self.ahead);
    }

    /// A dispatcher reads another configuration. What it asked for before stands.
    pub(super) fn reload(&mut self, seat: usize, policy: Policy) {
        let limits = Limits::of(&policy);
        for lane in &mut self.seats[seat].lanes {
            lane.limits = lane.limits.or_more(limits);
        }
        self.seats[seat].policy = Arc::new(policy.clone());
        self.feed(seat, Event::PolicyChanged(Box::new(policy)));
    }

    pub(super) fn ask_to_stop(&mut self, seat: usize) {
        let grace_ms = self.entropy.one_of(&[1_000, 10_000, 0]);
        self.feed(seat, Event::Drain { grace_ms });
        if self.entropy.below(3) == 2 {
            let (of, wait) = (self.seats[seat].instance, self.millis());
            self.after(wait, Item::Abort(seat, of));
        }
    }

    /// A dispatcher that was asked to stop ends as soon as it has nothing left to wait for.
    pub(super) fn retire_if_drained(&mut self, seat: usize) {
        let now = self.now();
        let of = self.seats[seat].instance;
        let Some(machine) = &self.seats[seat].machine else { return };
        let drained = self.sabotage_retirement(machine.is_drained(now, RETIRE_MS));
        let mode = machine.mode();
        let only_spawns = mode == Mode::Aborting && !drained && self.has_only_spawns(seat);
        if mode == Mode::Running || !(drained || only_spawns) || self.broken.is_some() {
            return;
        }
        if only_spawns {
            self.reach(Sometimes::AShutdownLeftASpawn);
        }
        let here = &self.seats[seat];
        // A spawn under way goes on in the child. Workers not found are left to the next dispatcher.
        let is_its_own = |spawn: SpawnId| match here.adopted.get(&spawn) {
            Some(adopted) => adopted.found,
            None => self.ledger.resolve(of, spawn) == (of, spawn) && !here.awaits_spawn(spawn),
        };
        let living =
            self.ledger.of(of).filter(|(_, a)| a.process.is_some_and(|p| self.may_live(p)));
        let left = living.filter(|(spawn, _)| is_its_own(*spawn)).count();
        self.ledger.news.clear();
        self.ledger.note(News::Retired { left });
        self.judge();
        self.die(seat);
    }

    /// Whether it was told to stop immediately, and waits only for children that have not executed.
    fn has_only_spawns(&self, seat: usize) -> bool {
        let here = &self.seats[seat];
        let Some(machine) = &here.machine else { return false };
        let mut stages = machine.attempts().map(|(_, attempt)| attempt.stage());
        !here.lanes.is_empty()
            && stages.all(|stage| matches!(stage, Stage::Cancelling(_) | Stage::Gone { .. }))
    }

    /// What a dispatcher leaves behind when it dies, and which part of it is lost.
    fn leave_estate(&mut self, seat: usize) {
        let (instance, first) = (self.seats[seat].instance, self.seats[seat].first);
        if let Some(place) = self.places.get_mut(instance.0 as usize) {
            place.dead_since = Some(self.moment / FINE);
        }
        match self.strike(&[Fault::RecordsLost, Fault::KeeperDies], Who::Dispatcher(seat)) {
            Some(Fault::RecordsLost) => self.estate.lose(instance),
            Some(_) => self.keeper_dies(),
            None => {}
        }
        if first {
            self.end_namespace(instance);
        }
        self.weigh_evidence();
    }

    fn keeper_dies(&mut self) {
        let away_ms = 20 * self.millis();
        self.estate.keeper_dies(self.moment + away_ms * FINE);
        self.weigh_evidence();
    }

    /// Crashes a dispatcher with all its threads; effects that had not begun never happen.
    pub(super) fn die(&mut self, seat: usize) {
        let instance = self.seats[seat].instance;
        self.tell(Who::Dispatcher(seat), || What::Dies);
        self.reach(Sometimes::ADispatcherDied);
        let left = &mut self.seats[seat];
        left.machine = None;
        left.dies_after = None;
        left.conns.clear();
        left.adopted.clear();
        left.lanes.clear();
        for board in &mut self.boards {
            board.model.forget(instance);
        }
        self.ledger.reaped += self.kernel.zombies(instance).count() as u64;
        self.kernel.orphan(instance);
        self.ledger.reap_failing.remove(&instance);
        self.leave_estate(seat);
        let wait = self.millis();
        self.after(wait, Item::Restart(seat));
    }
}
