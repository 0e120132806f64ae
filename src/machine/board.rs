//! One board: its file, when to look at it, what was seen of it, and its attempts. Each part changes
//! through its own functions alone; here they meet. Nothing here knows other boards.

mod attempts;
mod attention;
mod link;
mod pass;
mod recheck;
mod view;

use core::hash::{Hash, Hasher};

use super::attempt::{Attempt, Input};
use super::backoff::Backoff;
use super::effect::{Effect, Report};
use super::event::Group;
use super::exchange::{Change, Fence};
use super::fault::{Blame, Fault};
use super::hold::BoardHold;
use super::ids::{BoardId, Pid, SpawnId};
use super::renamer::Renamer;
use super::time::{Key, Mono, Now, Timers};
use super::turn::{Mode, Shared, Turn};
use super::verdict::ExitStatus;
use attempts::Attempts;
use attention::Attention;
use link::File;
use view::View;

/// Seconds within which a change by time alone is worth waiting for.
const WORTH_WAITING_S: i64 = 60;

pub use link::{Connecting, Exchanging, Link, Quarantined};

/// A board: its file, its rows as last seen, and its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Board {
    id: BoardId,
    /// False once it is no longer listed: kept only for what is owed to it.
    listed: bool,
    file: File,
    attention: Attention,
    view: View,
    directories: Backoff,
    attempts: Attempts,
    timers_at: Moments,
}

/// The moments for which its timers were last set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Moments {
    mono: [Option<Mono>; MONO_KEYS.len()],
    wall: [Option<i64>; WALL_KEYS.len()],
}

/// The timers of a board, in the order of their moments.
const MONO_KEYS: [fn(BoardId) -> Key; 7] =
    [Key::File, Key::Notice, Key::Lock, Key::Refused, Key::Reclaim, Key::Directories, Key::Send];
const WALL_KEYS: [fn(BoardId) -> Key; 2] = [Key::Rows, Key::Lease];

/// They follow from the rest of the board, which is hashed.
impl Hash for Moments {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Board {
    /// A board that was just listed. Its requests are numbered from behind `seq`.
    pub(super) fn new(id: BoardId, seq: u64, now: Mono) -> Board {
        Board {
            id,
            listed: true,
            file: File::new(seq),
            attention: Attention::new(now),
            view: View::default(),
            directories: Backoff::new(now),
            attempts: Attempts::new(id),
            timers_at: Moments::default(),
        }
    }

    // What happens to it.

    /// A tick: look at it, or at its file if it is sick.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.attention.tick(turn.now.mono);
        self.file.take_in(link::Input::Tick, self.id, turn);
    }

    /// Something near its file changed.
    pub(super) fn noticed(&mut self, turn: &mut Turn<'_>) {
        let writing = !self.file.under_way().is_empty();
        self.attention.noticed(writing, turn.now.mono);
        self.file.take_in(link::Input::Notice, self.id, turn);
    }

    /// It is listed. If it was not before, it is tried immediately.
    pub(super) fn listed(&mut self, turn: &mut Turn<'_>) {
        if !core::mem::replace(&mut self.listed, true) {
            self.file.take_in(link::Input::Listed, self.id, turn);
        }
    }

    /// It is no longer listed.
    pub(super) fn unlisted(&mut self) {
        self.listed = false;
    }

    /// Looks at everything again, since the configuration changed.
    pub(super) fn policy_changed(&mut self) {
        self.attention.look_at_everything();
    }

    /// Its file is sound and open.
    pub(super) fn connected(&mut self, seq: u64, turn: &mut Turn<'_>) {
        if !self.file.awaits_connect(seq) {
            return turn.unexpected("Connected");
        }
        self.file.take_in(link::Input::Connected, self.id, turn);
        self.attention.look_at_everything();
    }

    /// It cannot be used now.
    pub(super) fn connect_failed(&mut self, seq: u64, fault: Fault, turn: &mut Turn<'_>) {
        if !self.file.awaits_connect(seq) {
            return turn.unexpected("ConnectFailed");
        }
        self.fail(link::Input::ConnectFailed(fault), turn);
    }

    /// What was seen of a board that fails is no longer believed.
    fn fail(&mut self, input: link::Input, turn: &mut Turn<'_>) {
        self.view.forget();
        self.attention.forget();
        self.file.take_in(input, self.id, turn);
    }

    /// One of its timers is due.
    pub(super) fn timer(&mut self, key: Key, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        match key {
            Key::Attempt(id, _) => self.attempts.take_in(id, Input::Alarm, turn),
            Key::File(_) => self.file_alarm(turn),
            Key::Notice(_) => self.attention.recheck(now),
            Key::Rows(_) => self.attention.rows_changed(),
            Key::Lock(_) => {
                self.view.unlock();
                self.attention.look();
            }
            Key::Refused(_) => {
                if self.view.ask_again(now) {
                    self.attention.look_at_everything();
                }
            }
            Key::Reclaim(_) => self.view.end_turns(now),
            // These only give reason for a pass.
            Key::Directories(_) | Key::Send(_) | Key::Lease(_) => {}
            // These belong to no board.
            Key::Reaper | Key::Drain | Key::Host => {}
        }
    }

    fn file_alarm(&mut self, turn: &mut Turn<'_>) {
        self.file.take_in(link::Input::Alarm, self.id, turn);
        if self.file.is_overdue() {
            // The slots of claims that are not answered go to others.
            self.attempts.lend_slots(turn);
        }
    }

    // What happens to its attempts.

    /// The worker of an attempt exists.
    pub(super) fn spawn_ok(&mut self, id: SpawnId, pid: Pid, turn: &mut Turn<'_>) {
        let expected = self.awaits_spawn(id);
        self.attempt(id, Input::SpawnOk(pid), turn);
        if expected {
            turn.shared.host.started();
            self.directories.succeeded();
            if self.attempts.get(id).is_some_and(|a| a.debt().owed_pid().is_some()) {
                self.attempts.flush_soon(turn.now.mono);
            }
        }
    }

    /// No process was started for the attempt.
    pub(super) fn spawn_failed(
        &mut self,
        id: SpawnId,
        blame: Blame,
        errno: i32,
        turn: &mut Turn<'_>,
    ) {
        let expected = self.awaits_spawn(id);
        self.attempt(id, Input::SpawnFailed(blame, errno), turn);
        match blame {
            Blame::Host if expected => {
                let until = turn.shared.host.refused(errno, turn.now.mono);
                let report = until.map(|until| Report::HostRefuses(errno, until));
                turn.effects.extend(report.map(Effect::Report));
            }
            Blame::Board if expected => {
                self.directories.failed(turn.now.mono);
            }
            Blame::Host | Blame::Board | Blame::Task => {}
        }
    }

    fn awaits_spawn(&self, id: SpawnId) -> bool {
        self.attempts.get(id).is_some_and(|attempt| attempt.stage().awaits_spawn())
    }

    /// The leader of an attempt was reaped.
    pub(super) fn exited(
        &mut self,
        id: SpawnId,
        pid: Pid,
        status: ExitStatus,
        group: Group,
        turn: &mut Turn<'_>,
    ) {
        let (now, policy) = (turn.now.mono, &turn.shared.policy);
        if let Some(attempt) = self.attempts.get(id) {
            let exit = attempt.exit(pid, status, group, now, policy);
            self.attempt(id, Input::Exited(exit), turn);
        }
    }

    /// Hands an attempt an input that concerns nothing else of the board.
    pub(super) fn attempt(&mut self, id: SpawnId, input: Input, turn: &mut Turn<'_>) {
        let owed = self.attempts.owes_end(id);
        self.attempts.take_in(id, input, turn);
        if !owed && self.attempts.owes_end(id) && self.file.is_sick() {
            // It may take long until the board records it.
            turn.effects.push(Effect::SyncNotes);
        }
        self.attempts.forget_over(turn);
    }

    // What is asked of it.

    /// Returns the number by which events and effects name it.
    #[must_use]
    pub fn id(&self) -> BoardId {
        self.id
    }

    /// Whether it is listed.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// Where its file stands.
    #[must_use]
    pub fn link(&self) -> &Link {
        self.file.link()
    }

    /// Number of the newest request.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.file.seq()
    }

    /// Whether an answer is outstanding for longer than it may be.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.file.is_overdue()
    }

    /// The changes that were sent and are not answered.
    #[must_use]
    pub fn under_way(&self) -> &[Change] {
        self.file.under_way()
    }

    /// Its attempts that are not over, by number.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter()
    }

    /// Returns the claims of ours that it shows without an attempt.
    #[must_use]
    pub fn strays(&self) -> &[Fence] {
        self.view.strays()
    }

    /// Why its file is out of use.
    #[must_use]
    pub fn file_hold(&self) -> Option<BoardHold> {
        self.file.hold()
    }

    /// Whether its file is out of use, or does not answer.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        self.file.is_sick()
    }

    /// Whether its directories are out of use now.
    #[must_use]
    pub fn directory_hold(&self, now: Mono) -> Option<BoardHold> {
        self.directories.until(now).map(|until| BoardHold::DirectoriesFail { until })
    }

    /// Returns a hold if it cannot be told whether the workers of adopted tasks are alive.
    #[must_use]
    pub fn worker_hold(&self) -> Option<BoardHold> {
        let mut unclear = self.attempts.iter().filter(|attempt| attempt.stage().is_unclear());
        let task = unclear.next()?.task();
        Some(BoardHold::WorkersUnclear { count: attempts::count(unclear.count() + 1), task })
    }

    /// Whether nothing is owed to it and no answer is outstanding, so that it can be let go.
    pub(super) fn is_done_with(&self) -> bool {
        !self.listed && self.attempts.is_empty() && !self.file.is_under_way()
    }

    /// Whether there are tasks to start as soon as there is room.
    pub(super) fn wants_slots(&self, shared: &Shared) -> bool {
        shared.mode == Mode::Running && self.view.wants_slots()
    }

    /// Whether it would start tasks now if the host had room.
    pub(super) fn waits_for_host(&self, shared: &Shared, now: Mono) -> bool {
        self.file.is_idle() && self.wants_slots(shared) && self.own_slots(shared, now) > 0
    }

    // What `standing` asks: whether the board may still change.

    /// Whether its file is out of use from the start, or for longer than `grace_ms`.
    pub(super) fn is_out_of_use(&self, now: Mono, grace_ms: u64) -> bool {
        self.file.is_out_of_use(now, grace_ms)
    }

    /// Whether no pass is under way and none is about to begin.
    pub(super) fn is_settled(&self) -> bool {
        match self.file.link() {
            Link::Absent | Link::Connecting(_) | Link::Exchanging(_) => false,
            Link::Idle => !self.attention.wants_look(),
            Link::Quarantined(_) => true,
        }
    }

    /// Whether it is open, and neither a look nor a task of it is waited for.
    pub(super) fn has_nothing_to_do(&self, shared: &Shared, now: Now, grace_ms: u64) -> bool {
        let can_run = self.view.wants_slots()
            && self.view.others() < shared.policy.max_in_progress
            && shared.free_slots() > 0
            && !shared.host.has_refused_for(now.mono, grace_ms)
            && !self.directories.has_refused_for(now.mono, grace_ms)
            && self.listed
            && !(shared.once && self.view.has_claimed());
        let moves =
            (can_run || self.view.wants_moves()) && !self.view.is_locked_for(now.mono, grace_ms);
        // One tick takes a board as it is.
        let may_change = !shared.once && self.may_change(now, grace_ms);
        self.file.is_idle() && !self.attention.wants_look() && !moves && !may_change
    }

    /// Whether work may come up within the grace period.
    fn may_change(&self, now: Now, grace_ms: u64) -> bool {
        let soon = now.unix.saturating_add(WORTH_WAITING_S);
        self.attention.is_rechecking(now.mono, grace_ms)
            || self.view.may_yet_take(now.mono, grace_ms)
            || self.attention.due().is_some_and(|due| due <= soon)
    }

    // When the dispatcher must wake the board.

    /// Sets its timers, apart from those of its attempts.
    pub(super) fn set_timers(&mut self, shared: &mut Shared, now: Mono) {
        let (idle, waits) = (self.file.is_idle(), self.wants_slots(shared));
        let moments = Moments {
            mono: [
                self.file.alarm(),
                self.attention.recheck_at(),
                self.view.locked_until(),
                self.view.refused_until(),
                self.view.reclaims_at().filter(|_| idle),
                self.directories.until(now).filter(|_| waits),
                self.attempts.send_at().filter(|_| idle),
            ],
            wall: [self.attention.due(), self.attempts.renew_by().filter(|_| idle)],
        };
        self.move_timers(moments, &mut shared.timers);
    }

    /// Removes its timers: it is let go.
    pub(super) fn drop_timers(&mut self, timers: &mut Timers) {
        self.move_timers(Moments::default(), timers);
    }

    fn move_timers(&mut self, to: Moments, timers: &mut Timers) {
        if self.timers_at == to {
            return;
        }
        let from = core::mem::replace(&mut self.timers_at, to);
        for (n, key) in MONO_KEYS.into_iter().enumerate() {
            timers.set(key(self.id), from.mono[n], self.timers_at.mono[n]);
        }
        for (n, key) in WALL_KEYS.into_iter().enumerate() {
            timers.set_wall(key(self.id), from.wall[n], self.timers_at.wall[n]);
        }
    }

    /// Sets its timers as if none had been set.
    pub(super) fn set_timers_anew(&mut self, shared: &mut Shared, now: Mono) {
        self.timers_at = Moments::default();
        self.set_timers(shared, now);
        self.attempts.set_timers(&mut shared.timers);
    }

    /// Whether its indexes match a recount.
    pub(super) fn agrees(&self) -> bool {
        self.attempts.agrees()
    }

    /// Rewrites its moments and numbers.
    pub(super) fn rename(&mut self, to: &impl Renamer) {
        self.file.rename(self.id, to);
        self.attention.rename(to);
        self.view.rename(to);
        self.directories.rename(to);
        self.attempts.rename(to);
    }
}
