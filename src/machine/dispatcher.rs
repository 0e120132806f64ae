//! The machine's heart: one event in, any number of effects out.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::board::Board;
use super::canonical::{PRESENT, Renaming};
use super::effect::{Effect, EndCause, Report, Whom};
use super::event::Event;
use super::fault::Blame;
use super::ids::{BoardId, SpawnId};
use super::pass::FLUSH_MS;
use super::policy::Policy;
use super::reaper::Reaper;
use super::run::{Run, earlier};
use super::time::{Mono, Now};

/// Everything that a dispatcher knows between two events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dispatcher {
    pub(super) policy: Policy,
    pub(super) mode: Mode,
    pub(super) reaper: Reaper,
    pub(super) boards: BTreeMap<BoardId, Board>,
    pub(super) runs: BTreeMap<SpawnId, Run>,
    pub(super) host: Host,
    pub(super) next_spawn: u64,
    /// The highest number of a request to any board that was let go: one that comes back counts on
    /// from there, or an answer to its former life could be taken for one to this.
    pub(super) last_dropped: u64,
    /// Whether it is known which boards there are.
    pub(super) listed: bool,
    /// The board that claimed last: the others come before it.
    pub(super) served: Option<BoardId>,
    /// One tick only: the ready tasks of each board are claimed once.
    pub(super) once: bool,
    /// The latest moment that any event carried.
    latest: Mono,
    /// The `WakeAt` that is in force.
    armed: Option<Mono>,
    /// Planted bugs.
    #[cfg(feature = "sabotage")]
    pub sabotage: super::sabotage::Sabotage,
}

/// What is to become of new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is started.
    Running,
    /// It is not; what runs may finish until then.
    Draining {
        /// When patience ends; `None` once it has.
        deadline: Option<Mono>,
    },
    /// It is not, and what runs is killed.
    Aborting,
}

impl Mode {
    /// Its canonical form.
    #[must_use]
    fn relative(self, seen: &Renaming) -> Mode {
        match self {
            Mode::Draining { deadline } => {
                Mode::Draining { deadline: deadline.map(|at| seen.deadline(at)) }
            }
            Mode::Running | Mode::Aborting => self,
        }
    }
}

/// What the host allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    /// It refused to start a process: nothing is started before this.
    pub from: Mono,
    /// The error number of its last refusal.
    pub errno: i32,
    /// How long to wait after the next refusal.
    wait_ms: u64,
    /// Since when it has refused, without a process that started in between.
    pub refuses_since: Option<Mono>,
}

impl Host {
    /// Its canonical form.
    fn relative(self, seen: &Renaming) -> Host {
        let refuses_since = self.refuses_since.map(|at| seen.moment(at));
        Host { from: seen.deadline(self.from), refuses_since, ..self }
    }
}

/// Wait after the host refused a process: this, doubling.
const HOST_WAIT_MS: (u64, u64) = (1_000, 30_000);

impl Dispatcher {
    /// A dispatcher that knows no boards yet: the first tick asks for them.
    #[must_use]
    pub fn new(policy: Policy) -> Dispatcher {
        Dispatcher {
            policy,
            mode: Mode::Running,
            reaper: Reaper::default(),
            boards: BTreeMap::new(),
            runs: BTreeMap::new(),
            host: Host { from: Mono(0), errno: 0, wait_ms: HOST_WAIT_MS.0, refuses_since: None },
            next_spawn: 1,
            last_dropped: 0,
            listed: false,
            served: None,
            once: false,
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
        Dispatcher { once: true, ..Dispatcher::new(policy) }
    }

    /// Takes in one event and pushes what is to be done about it, in that order.
    ///
    /// Cannot fail: what went wrong out there is in the event. An event that does not fit (an answer
    /// to a question not asked, a child that was never spawned) is reported and changes nothing.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let (now, back_ms) = self.clamp(now);
        self.take_in(now, event, effects);
        if back_ms > 0 {
            effects.push(Effect::Report(Report::ClockWentBack(back_ms)));
        }
        self.drop_unlisted(effects);
        self.act_on_time(now, effects);
        self.begin_passes(now, effects);
        self.arm(now, effects);
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
            Event::Tick => self.tick(now.mono, effects),
            Event::Wake => self.armed = None,

            Event::KernelReady => self.begin_reaping(Whom::Hinted, effects),
            Event::OrphanReaped { pid: _ } => self.reaper.found_orphan(),
            Event::Reaped { seq: _ } => self.reaper.succeeded(effects),
            Event::ReapFailed { seq: _, errno } => self.reaper.failed(now.mono, errno, effects),
            Event::ChildExited { spawn, pid, status, group } => {
                self.reaper.found(pid);
                self.with_run(spawn, "ChildExited", effects, |run, worker, effects| {
                    run.exited(pid, status, group, now.mono, worker, effects);
                });
            }

            Event::BoardAdded { board } => self.board_added(board, now.mono),
            Event::BoardRemoved { board } => self.board_removed(board),
            Event::BoardsListed => self.listed = true,
            Event::BoardChanged { board } => {
                if let Some(board) = self.boards.get_mut(&board) {
                    board.noticed(now.mono);
                }
            }
            Event::Connected { board, seq } => {
                match self.boards.get_mut(&board).filter(|b| b.awaits_connect(seq)) {
                    Some(board) => board.connected(effects),
                    None => unexpected("Connected", effects),
                }
                self.sabotaged_reap(effects);
            }
            Event::ConnectFailed { board, seq, fault } => {
                match self.boards.get_mut(&board).filter(|b| b.awaits_connect(seq)) {
                    Some(board) => board.failed(fault, now.mono, effects),
                    None => unexpected("ConnectFailed", effects),
                }
            }
            Event::Exchanged { board, seq, answer } => {
                self.exchanged(board, seq, *answer, now, effects);
                self.sabotaged_reap(effects);
            }
            Event::ExchangeFailed { board, seq, fault, commit } => {
                self.exchange_failed(board, seq, fault, commit, now.mono, effects);
            }

            Event::SpawnOk { spawn, pid } => self.spawn_ok(spawn, pid, now.mono, effects),
            Event::SpawnFailed { spawn, blame, errno } => {
                self.spawn_failed(spawn, blame, errno, now.mono, effects);
            }
            Event::SpawnCancelled { spawn } => {
                self.with_run(spawn, "SpawnCancelled", effects, |run, _, effects| {
                    run.spawn_cancelled(effects);
                });
            }
            Event::Signalled { spawn, signal: _, outcome } => {
                // Its run may be over by now; that is no surprise.
                if let Some(run) = self.runs.get_mut(&spawn) {
                    run.signalled(outcome, effects);
                    self.sweep_runs(effects);
                }
            }

            Event::PolicyChanged(policy) => {
                self.policy = *policy;
                self.boards.values_mut().for_each(Board::look_at_everything);
            }
            Event::Drain { grace_ms } => self.drain(now.mono, grace_ms),
            Event::Abort => self.mode = Mode::Aborting,
        }
    }

    /// A tick: first the reaping, which depends on nothing; then a look at everything else.
    fn tick(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        self.begin_reaping(Whom::All, effects);
        effects.push(Effect::ListBoards);
        for board in self.boards.values_mut() {
            board.tick(now, &self.policy, effects);
        }
    }

    fn begin_reaping(&mut self, whom: Whom, effects: &mut Vec<Effect>) {
        #[cfg(feature = "sabotage")]
        if self.sabotage.reap_inside_the_pass {
            return;
        }
        self.reaper.begin(whom, effects);
    }

    /// The historical bug, for the tests that must catch it: reaping as a part of the pass, after
    /// whatever may fail.
    #[cfg(feature = "sabotage")]
    fn sabotaged_reap(&mut self, effects: &mut Vec<Effect>) {
        if self.sabotage.reap_inside_the_pass {
            self.reaper.begin(Whom::All, effects);
        }
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "has a body where bugs are planted")]
    fn sabotaged_reap(&self, _: &mut Vec<Effect>) {}

    fn board_added(&mut self, id: BoardId, now: Mono) {
        let seq = self.last_dropped;
        self.boards.entry(id).or_insert_with(|| Board::new(id, seq, now)).listed_again(now);
    }

    fn board_removed(&mut self, id: BoardId) {
        if let Some(board) = self.boards.get_mut(&id) {
            board.listed = false;
        }
    }

    /// Lets go of boards that are gone, once nothing is owed to them and no answer outstanding.
    fn drop_unlisted(&mut self, effects: &mut Vec<Effect>) {
        if self.boards.values().all(|board| board.listed) {
            return;
        }
        let (runs, last) = (&self.runs, &mut self.last_dropped);
        self.boards.retain(|id, board| {
            let owed = runs.values().any(|run| run.board == *id);
            let keep = board.listed || owed || board.is_under_way();
            if !keep {
                *last = (*last).max(board.seq());
                effects.push(Effect::Disconnect { board: *id });
            }
            keep
        });
    }

    fn spawn_ok(
        &mut self,
        spawn: SpawnId,
        pid: super::ids::Pid,
        now: Mono,
        effects: &mut Vec<Effect>,
    ) {
        let board = self.with_run(spawn, "SpawnOk", effects, |run, worker, effects| {
            let expected = run.awaits_lane();
            run.spawn_ok(pid, now, worker, effects);
            expected.then_some((run.board, run.pid_owed))
        });
        let Some((board, pid_owed)) = board.flatten() else { return };
        self.host.wait_ms = HOST_WAIT_MS.0;
        self.host.refuses_since = None;
        if let Some(board) = self.boards.get_mut(&board) {
            board.spawn_went_well();
            if pid_owed {
                board.flush_at = board.flush_at.or(Some(now.after(FLUSH_MS)));
            }
        }
    }

    fn spawn_failed(
        &mut self,
        spawn: SpawnId,
        blame: Blame,
        errno: i32,
        now: Mono,
        effects: &mut Vec<Effect>,
    ) {
        let board = self.with_run(spawn, "SpawnFailed", effects, |run, _, effects| {
            let expected = run.awaits_lane();
            run.spawn_failed(blame, errno, effects);
            expected.then_some(run.board)
        });
        match (blame, board.flatten()) {
            // Spawns that were under way together and fail together are one refusal.
            (Blame::Host, Some(_)) if now < self.host.from => {}
            (Blame::Host, Some(_)) => {
                self.host.refuses_since = self.host.refuses_since.or(Some(now));
                self.host.from = now.after(self.host.wait_ms);
                self.host.errno = errno;
                self.host.wait_ms = (self.host.wait_ms * 2).min(HOST_WAIT_MS.1);
                effects.push(Effect::Report(Report::HostRefuses(errno, self.host.from)));
            }
            (Blame::Board, Some(id)) => {
                if let Some(board) = self.boards.get_mut(&id) {
                    board.spawn_trouble(now);
                }
            }
            (Blame::Task, _) | (Blame::Host | Blame::Board, None) => {}
        }
    }

    /// Runs `act` on a run, if it is there, and clears it away if that was its end.
    fn with_run<T>(
        &mut self,
        spawn: SpawnId,
        what: &'static str,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Run, super::policy::WorkerPolicy, &mut Vec<Effect>) -> T,
    ) -> Option<T> {
        let Some(run) = self.runs.get_mut(&spawn) else {
            unexpected(what, effects);
            return None;
        };
        let worker = self.policy.worker(run.worker);
        let result = act(run, worker, effects);
        self.sweep_runs(effects);
        Some(result)
    }

    /// Forgets the runs that are over.
    pub(super) fn sweep_runs(&mut self, effects: &mut Vec<Effect>) {
        self.runs.retain(|spawn, run| {
            if run.is_over() {
                effects.push(Effect::Forget { spawn: *spawn });
            }
            !run.is_over()
        });
    }

    fn drain(&mut self, now: Mono, grace_ms: u64) {
        if self.mode == Mode::Running {
            self.mode = Mode::Draining { deadline: Some(now.after(grace_ms)) };
        }
    }

    /// Does what the clocks call for, everywhere.
    fn act_on_time(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.reaper.act_on_time(now.mono, effects);
        if let Mode::Draining { deadline: Some(deadline) } = self.mode
            && now.mono >= deadline
        {
            self.mode = Mode::Draining { deadline: None };
        }
        let out_of_patience = self.mode == Mode::Draining { deadline: None };
        for run in self.runs.values_mut() {
            let worker = self.policy.worker(run.worker);
            if out_of_patience {
                run.end(EndCause::Shutdown, now.mono, worker, effects);
            }
            if self.mode == Mode::Aborting {
                run.kill(now.mono, worker, effects);
            }
            run.act_on_time(now.mono, worker, effects);
        }
        let mut overdue = Vec::new();
        for board in self.boards.values_mut() {
            if board.act_on_time(now, &self.policy, effects) {
                overdue.push(board.id);
            }
        }
        overdue.into_iter().for_each(|id| self.lend_slots(id));
    }

    /// Asks to be woken when the next of all clocks is due, if that has changed.
    fn arm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let next = self.next(now).map(|at| at.max(now.mono.after(1)));
        if next.is_some() && next != self.armed {
            self.armed = next;
            effects.extend(next.map(Effect::WakeAt));
        }
    }

    fn next(&self, now: Now) -> Option<Mono> {
        let mut next = self.reaper.next();
        if let Mode::Draining { deadline } = self.mode {
            next = earlier(next, deadline);
        }
        for run in self.runs.values() {
            next = earlier(next, run.next());
            let idle = self.boards.get(&run.board).is_some_and(Board::is_idle);
            next = earlier(next, run.next_change().filter(|_| idle));
        }
        for board in self.boards.values() {
            next = earlier(next, board.next(now));
            let waits = board.wants_slots() && self.mode == Mode::Running;
            let later = |at: Mono| Some(at).filter(|at| waits && *at > now.mono);
            next = earlier(next, earlier(later(self.host.from), later(board.spawns_from)));
        }
        next
    }

    /// As it looks through a renaming that knows all its attempts.
    #[must_use]
    pub fn relative(&self, seen: &Renaming) -> Dispatcher {
        let known = |spawn: SpawnId| seen.spawn(spawn).unwrap_or(SpawnId(0));
        Dispatcher {
            policy: self.policy.clone(),
            mode: self.mode.relative(seen),
            reaper: self.reaper.relative(seen),
            boards: self.boards.iter().map(|(id, board)| (*id, board.relative(seen))).collect(),
            runs: self.runs.iter().map(|(id, run)| (known(*id), run.relative(seen))).collect(),
            host: self.host.relative(seen),
            next_spawn: known(SpawnId(self.next_spawn)).0,
            last_dropped: 0,
            listed: self.listed,
            served: self.served,
            once: self.once,
            latest: PRESENT.mono,
            // A moment that has passed is never asked for again.
            armed: self.armed.map(|at| seen.deadline(at)).filter(|at| *at > PRESENT.mono),
            #[cfg(feature = "sabotage")]
            sabotage: self.sabotage,
        }
    }

    /// What is to become of new work.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The attempts that are not over, by number.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// The boards that are known, by number.
    pub fn boards(&self) -> impl Iterator<Item = &Board> {
        self.boards.values()
    }
}

fn unexpected(what: &'static str, effects: &mut Vec<Effect>) {
    effects.push(Effect::Report(Report::Unexpected(what)));
}
