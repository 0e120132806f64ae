//! The machine's heart: one event in, any number of effects out.

mod index;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::adoption;
use super::attempt::{Attempt, Input};
use super::board::Board;
use super::effect::{Effect, Report, Whom};
use super::event::Event;
use super::host::Host;
use super::ids::{BoardId, SpawnId};
use super::policy::Policy;
use super::reaper::Reaper;
use super::renamer::Renamer;
use super::time::{Key, Mono, Now, Timers};
use super::turn::{Mode, Shared, Turn};
use index::{Index, Touch};

/// Everything that a dispatcher knows between two events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dispatcher {
    pub(super) shared: Shared,
    pub(super) reaper: Reaper,
    pub(super) boards: BTreeMap<BoardId, Board>,
    index: Index,
    /// The highest number of a request to any board that was let go: one that comes back counts on
    /// from there, or an answer to its former life could be taken for one to this.
    pub(super) last_dropped: u64,
    /// Whether it is known which boards there are.
    pub(super) listed: bool,
    /// The latest moment that any event carried.
    latest: Mono,
    /// The `WakeAt` that is in force.
    armed: Option<Mono>,
    /// Bugs planted by the simulator.
    #[cfg(feature = "sabotage")]
    pub sabotage: super::sabotage::Sabotage,
}

impl Dispatcher {
    /// A dispatcher that knows no boards yet: the first tick asks for them.
    #[must_use]
    pub fn new(policy: Policy) -> Dispatcher {
        Dispatcher {
            shared: Shared {
                policy,
                mode: Mode::Running,
                once: false,
                host: Host::new(),
                timers: Timers::default(),
                owners: BTreeMap::new(),
                next_attempt: 1,
                served: None,
                #[cfg(feature = "sabotage")]
                hasty: false,
            },
            reaper: Reaper::default(),
            boards: BTreeMap::new(),
            index: Index::default(),
            last_dropped: 0,
            listed: false,
            latest: Mono(0),
            armed: None,
            #[cfg(feature = "sabotage")]
            sabotage: super::sabotage::Sabotage::default(),
        }
    }

    /// A dispatcher that claims the ready tasks of each board once and then only sees to what it
    /// has started.
    #[must_use]
    pub fn once(policy: Policy) -> Dispatcher {
        let mut dispatcher = Dispatcher::new(policy);
        dispatcher.shared.once = true;
        dispatcher
    }

    /// Applies one event, then pushes the effects that answer it.
    ///
    /// Cannot fail: the event carries what went wrong outside. An event that does not fit (an
    /// answer without a request, a child that was never spawned) is reported and changes nothing.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        #[cfg(feature = "sabotage")]
        self.plant();
        let (now, back_ms) = self.clamp(now);
        self.take_in(now, event, effects);
        if back_ms > 0 {
            effects.push(Effect::Report(Report::ClockWentBack(back_ms)));
        }
        self.drop_unlisted(effects);
        self.serve_timers(now, effects);
        self.begin_passes(now, effects);
        self.arm(now, effects);
        debug_assert!(self.agrees(now), "a timer or an index is not what the state calls for");
    }

    /// The monotonic clock as far as it can be trusted: it never goes back. And by how much it
    /// tried to.
    fn clamp(&mut self, now: Now) -> (Now, u64) {
        let back_ms = self.latest.since(now.mono);
        let now = self.clamped(now);
        self.latest = now.mono;
        (now, back_ms)
    }

    /// Never before the latest moment.
    pub(super) fn clamped(&self, now: Now) -> Now {
        Now { mono: self.latest.max(now.mono), unix: now.unix }
    }

    /// Routes an event to the part that owns it.
    fn take_in(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => self.tick(now, effects),
            Event::Wake => self.armed = None,

            Event::KernelReady => self.begin_reaping(Whom::Hinted, effects),
            Event::OrphanReaped { pid: _ } => self.reaper.found_orphan(),
            Event::Reaped { seq: _ } => self.reaper.succeeded(effects),
            Event::ReapFailed { seq: _, errno } => self.reaper.failed(now.mono, errno, effects),
            Event::ChildExited { spawn, pid, status, group } => {
                self.reaper.found(pid);
                self.on_owner(spawn, "ChildExited", now, effects, |board, turn| {
                    board.exited(spawn, pid, status, group, turn);
                });
            }

            Event::BoardAdded { board } => self.board_added(board, now, effects),
            Event::BoardRemoved { board } => {
                self.on_board(board, now, effects, |board, _| board.unlisted());
            }
            Event::BoardsListed => self.listed = true,
            Event::BoardChanged { board } => {
                self.on_board(board, now, effects, Board::noticed);
            }
            Event::Connected { board, seq } => {
                self.on_asked(board, "Connected", now, effects, |board, turn| {
                    board.connected(seq, turn);
                });
                self.sabotaged_reap(effects);
            }
            Event::ConnectFailed { board, seq, fault } => {
                self.on_asked(board, "ConnectFailed", now, effects, |board, turn| {
                    board.connect_failed(seq, fault, turn);
                });
            }
            Event::Exchanged { board, seq, answer } => {
                self.on_asked(board, "Exchanged", now, effects, |board, turn| {
                    board.exchanged(seq, *answer, turn);
                });
                self.sabotaged_reap(effects);
            }
            Event::ExchangeFailed { board, seq, fault, commit } => {
                self.on_asked(board, "ExchangeFailed", now, effects, |board, turn| {
                    board.exchange_failed(seq, fault, commit, turn);
                });
            }

            Event::SpawnOk { spawn, pid } => {
                self.on_owner(spawn, "SpawnOk", now, effects, |board, turn| {
                    board.spawn_ok(spawn, pid, turn);
                });
            }
            Event::SpawnFailed { spawn, blame, errno } => {
                self.on_owner(spawn, "SpawnFailed", now, effects, |board, turn| {
                    board.spawn_failed(spawn, blame, errno, turn);
                });
            }
            Event::SpawnCancelled { spawn } => {
                self.on_owner(spawn, "SpawnCancelled", now, effects, |board, turn| {
                    board.attempt(spawn, Input::SpawnCancelled, turn);
                });
            }
            Event::Found { spawn, evidence } => {
                // The attempt may have been left to the next dispatcher meanwhile, so it need not be
                // known.
                if let Some(board) = self.shared.owners.get(&spawn).copied() {
                    let found = Input::Found(adoption::judge(evidence));
                    self.on_board(board, now, effects, |board, turn| {
                        board.attempt(spawn, found, turn);
                    });
                }
            }
            Event::Signalled { spawn, signal: _, outcome } => {
                // Its attempt may be over by now, which is expected.
                if let Some(board) = self.shared.owners.get(&spawn).copied() {
                    self.on_board(board, now, effects, |board, turn| {
                        board.attempt(spawn, Input::Signalled(outcome), turn);
                    });
                }
            }

            Event::PolicyChanged(policy) => {
                self.shared.policy = *policy;
                self.on_all(now, effects, |board, _| board.policy_changed());
            }
            Event::Drain { grace_ms } => self.drain(now, grace_ms, effects),
            Event::Abort => self.abort(now, effects),
        }
    }

    /// A tick: first the reaping, which depends on nothing; then a look at everything else.
    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.begin_reaping(Whom::All, effects);
        effects.push(Effect::ListBoards);
        self.on_all(now, effects, Board::tick);
    }

    #[cfg(feature = "sabotage")]
    fn plant(&mut self) {
        self.shared.timers.forgets = self.sabotage.forget_a_timer;
        self.index.forgets = self.sabotage.forget_who_waits;
        self.shared.hasty = self.sabotage.reclaim_at_once;
    }

    fn begin_reaping(&mut self, whom: Whom, effects: &mut Vec<Effect>) {
        #[cfg(feature = "sabotage")]
        if self.sabotage.reap_inside_the_pass {
            return;
        }
        self.reaper.begin(whom, effects);
    }

    /// The historical bug, for the tests that must catch it: reaping as a part of the pass, after
    /// steps that may fail.
    #[cfg(feature = "sabotage")]
    fn sabotaged_reap(&mut self, effects: &mut Vec<Effect>) {
        if self.sabotage.reap_inside_the_pass {
            self.reaper.begin(Whom::All, effects);
        }
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "has a body where bugs are planted")]
    fn sabotaged_reap(&self, _: &mut Vec<Effect>) {}

    fn board_added(&mut self, id: BoardId, now: Now, effects: &mut Vec<Effect>) {
        let seq = self.last_dropped;
        self.boards.entry(id).or_insert_with(|| Board::new(id, seq, now.mono));
        self.on_board(id, now, effects, Board::listed);
    }

    /// Nothing new is started; what runs may finish.
    fn drain(&mut self, now: Now, grace_ms: u64, effects: &mut Vec<Effect>) {
        if self.shared.mode == Mode::Running {
            let deadline = now.mono.after(grace_ms);
            self.shared.mode = Mode::Draining { deadline: Some(deadline) };
            self.on_all(now, effects, |_, _| {});
        }
    }

    fn abort(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.shared.mode = Mode::Aborting;
        self.on_all(now, effects, |_, _| {});
        self.stop(Input::Kill, now, effects);
    }

    /// Ends every attempt, in their order.
    fn stop(&mut self, input: Input, now: Now, effects: &mut Vec<Effect>) {
        let owners: Vec<(SpawnId, BoardId)> =
            self.shared.owners.iter().map(|(id, board)| (*id, *board)).collect();
        for (id, board) in owners {
            self.on_board(board, now, effects, |board, turn| board.attempt(id, input, turn));
        }
    }

    /// Changes the board that an answer names. An answer from an unknown board is unexpected.
    fn on_asked(
        &mut self,
        id: BoardId,
        what: &'static str,
        now: Now,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Board, &mut Turn<'_>),
    ) {
        if !self.on_board(id, now, effects, act) {
            effects.push(Effect::Report(Report::Unexpected(what)));
        }
    }

    /// Changes the board of an attempt.
    fn on_owner(
        &mut self,
        spawn: SpawnId,
        what: &'static str,
        now: Now,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Board, &mut Turn<'_>),
    ) {
        match self.shared.owners.get(&spawn).copied() {
            Some(board) => self.on_asked(board, what, now, effects, act),
            None => effects.push(Effect::Report(Report::Unexpected(what))),
        }
    }

    /// Applies `act` to every board.
    fn on_all(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        act: impl Fn(&mut Board, &mut Turn<'_>),
    ) {
        let ids: Vec<BoardId> = self.boards.keys().copied().collect();
        for id in ids {
            self.on_board(id, now, effects, &act);
        }
    }

    /// Applies `act` to a board, and updates timers and indexes. Returns false if there is no such
    /// board.
    fn on_board(
        &mut self,
        id: BoardId,
        now: Now,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Board, &mut Turn<'_>),
    ) -> bool {
        let Some(board) = self.boards.get_mut(&id) else { return false };
        act(board, &mut Turn { now, shared: &mut self.shared, effects });
        board.set_timers(&mut self.shared, now.mono);
        self.index.touched.push((id, Touch::Changed));
        self.index.note(board, &self.shared, now.mono);
        true
    }

    /// Lets go of boards that are gone, once nothing is owed to them and no answer outstanding.
    fn drop_unlisted(&mut self, effects: &mut Vec<Effect>) {
        let touched = self.index.touched.iter().map(|(id, _)| *id);
        let done_with = |id: &BoardId| self.boards.get(id).is_some_and(Board::is_done_with);
        let gone: Vec<BoardId> = touched.filter(done_with).collect();
        for id in gone {
            if let Some(mut board) = self.boards.remove(&id) {
                board.drop_timers(&mut self.shared.timers);
                self.index.drop(id);
                self.last_dropped = self.last_dropped.max(board.seq());
                effects.push(Effect::Disconnect { board: id });
            }
        }
    }

    /// Does what is due by now, everywhere.
    fn serve_timers(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Mode::Draining { deadline: Some(deadline) } = self.shared.mode
            && now.mono >= deadline
        {
            self.shared.mode = Mode::Draining { deadline: None };
            self.stop(Input::Stop, now, effects);
        }
        // The reaper may have waited for this event.
        self.set_own_timers(now);
        for key in self.shared.timers.due(now) {
            match key {
                Key::Reaper => self.reaper.again(effects),
                Key::Attempt(_, board)
                | Key::File(board)
                | Key::Notice(board)
                | Key::Rows(board)
                | Key::Lock(board)
                | Key::Refused(board)
                | Key::Reclaim(board)
                | Key::Directories(board)
                | Key::Send(board)
                | Key::Lease(board) => {
                    self.on_board(board, now, effects, |board, turn| board.timer(key, turn));
                }
                // `Drain` was served above; `Host` gives the waiting boards a turn, below.
                Key::Drain | Key::Host => {}
            }
        }
    }

    /// Begins a pass on every board that has changed, and on those that waited for the host. They
    /// take turns: in one fixed order the first board would take every slot that comes free.
    fn begin_passes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut turns = core::mem::take(&mut self.index.touched);
        if self.host_has_room(now) {
            turns.extend(self.index.waiting.iter().map(|id| (*id, Touch::Waits)));
        }
        turns.sort_unstable_by_key(|(id, why)| (Some(*id) <= self.shared.served, *id, *why));
        turns.dedup_by_key(|(id, _)| *id);
        for (id, why) in turns.drain(..) {
            if why == Touch::Changed || self.host_has_room(now) {
                self.begin_pass(id, now, effects);
            }
        }
        self.index.touched = turns;
    }

    fn begin_pass(&mut self, id: BoardId, now: Now, effects: &mut Vec<Effect>) {
        let Some(board) = self.boards.get_mut(&id) else { return };
        if board.begin_pass(&mut Turn { now, shared: &mut self.shared, effects }) {
            board.set_timers(&mut self.shared, now.mono);
            self.index.note(board, &self.shared, now.mono);
        }
    }

    fn host_has_room(&self, now: Now) -> bool {
        self.shared.free_slots() > 0 && self.shared.host.refuses_until(now.mono).is_none()
    }

    /// Asks to be woken when the next timer is due, if that has changed.
    fn arm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.set_own_timers(now);
        let next = self.shared.timers.next(now).map(|at| at.max(now.mono.after(1)));
        if next.is_some() && next != self.armed {
            self.armed = next;
            effects.extend(next.map(Effect::WakeAt));
        }
    }

    /// Sets the timers that are of no board.
    fn set_own_timers(&mut self, now: Now) {
        let Shared { timers, host, mode, .. } = &mut self.shared;
        let drain = if let Mode::Draining { deadline } = mode { *deadline } else { None };
        let waited_for = !self.index.wanting.is_empty();
        let host = host.refuses_until(now.mono).filter(|_| waited_for);
        let to = [self.reaper.again_at(), drain, host];
        let from = core::mem::replace(&mut self.index.timers_at, to);
        for (n, key) in [Key::Reaper, Key::Drain, Key::Host].into_iter().enumerate() {
            timers.set(key, from[n], to[n]);
        }
    }

    /// Whether timers and indexes are what follows from the rest of the state.
    fn agrees(&self, now: Now) -> bool {
        let mut anew = self.clone();
        anew.recount(now);
        let slots = self.boards.values().flat_map(Board::attempts);
        let slots = slots.filter(|attempt| attempt.stage().uses_host_slot()).count();
        anew.shared.timers == self.shared.timers
            && anew.index == self.index
            && usize::try_from(self.shared.host.used()) == Ok(slots)
            && self.boards.values().all(Board::agrees)
    }

    /// Rebuilds timers and indexes from the rest of the state.
    fn recount(&mut self, now: Now) {
        self.shared.timers = Timers::default();
        self.index = Index::default();
        for board in self.boards.values_mut() {
            board.set_timers_anew(&mut self.shared, now.mono);
            self.index.note(board, &self.shared, now.mono);
        }
        self.set_own_timers(now);
    }

    /// Rewrites its moments and numbers. It lives at `now` then.
    pub(super) fn rename(&mut self, now: Now, to: &impl Renamer) {
        self.shared.rename(to);
        self.reaper.rename(to);
        self.boards.values_mut().for_each(|board| board.rename(to));
        self.last_dropped = 0;
        self.latest = now.mono;
        self.armed.iter_mut().for_each(|at| to.deadline(at));
        // A moment that has passed is never asked for again.
        self.armed = self.armed.filter(|at| *at > now.mono);
        self.recount(now);
    }

    /// What is to become of new work.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.shared.mode
    }

    /// The attempts that are not over, by board and number.
    pub fn attempts(&self) -> impl Iterator<Item = (BoardId, &Attempt)> {
        self.boards().flat_map(|board| board.attempts().map(|attempt| (board.id(), attempt)))
    }

    /// The boards that are known, by number.
    pub fn boards(&self) -> impl Iterator<Item = &Board> {
        self.boards.values()
    }
}
