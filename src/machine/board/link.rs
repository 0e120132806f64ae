//! The file of a board as a table: in this state, this input leads to that state.
//!
//! ```text
//! Absent ─▶ Connecting ─▶ Idle ⇄ Exchanging
//!               ▲  └────────┐      │
//!               └─── Quarantined ◀─┘
//! ```

use alloc::vec::Vec;

use super::super::effect::{Effect, Report};
use super::super::exchange::Change;
use super::super::fault::{Fault, FaultClass};
use super::super::hold::BoardHold;
use super::super::ids::BoardId;
use super::super::quarantine::{self, BUSY_IS_NORMAL, MOST_FAILURES, NOTICE_MS};
use super::super::renamer::Renamer;
use super::super::time::{Mono, earlier};
use super::super::turn::Turn;

/// The file of a board.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct File {
    link: Link,
    health: Health,
}

/// The state of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Never opened yet.
    Absent,
    /// Being checked and opened.
    Connecting(Connecting),
    /// Open, nothing under way.
    Idle,
    /// Open, one request under way.
    Exchanging(Exchanging),
    /// Refused or failing, until a retry.
    Quarantined(Quarantined),
}

/// A file that is being checked and opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connecting {
    /// When the answer is overdue; `None` once it is.
    pub deadline: Option<Mono>,
    /// Set if it is opened only if it is not the file that was refused: until when that is
    /// quarantined.
    pub refused_until: Option<Mono>,
    /// When it is checked again, if it is refused.
    pub recheck_at: Option<Mono>,
}

/// A request that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchanging {
    /// The changes in the request.
    pub changes: Vec<Change>,
    /// When the answer is overdue; `None` once it is.
    pub deadline: Option<Mono>,
}

/// A file that is out of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quarantined {
    /// When it is tried again.
    pub until: Mono,
    /// The fault that led here.
    pub fault: Fault,
    /// Whether the connection is still there.
    pub open: bool,
    /// When it is checked for a change.
    pub recheck_at: Option<Mono>,
}

/// What can happen to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The moment has come for which it waited.
    Alarm,
    /// The regular interval is over.
    Tick,
    /// Something near it changed.
    Notice,
    /// It is listed again.
    Listed,
    /// It is sound and open.
    Connected,
    /// It cannot be used now.
    ConnectFailed(Fault),
    /// A request is sent.
    Send(Vec<Change>),
    /// The request was committed.
    Exchanged,
    /// The request failed with this fault.
    ExchangeFailed(Fault),
}

/// The table. Arms that need more than the next state call one function for it.
fn next(link: Link, input: Input, act: &mut Acts<'_>) -> Link {
    use {Input as I, Link as L};
    match (link, input) {
        (L::Absent, I::Alarm) => L::Connecting(act.connect(None)),
        (L::Quarantined(file), I::Alarm) if !act.is_due(file.until) => {
            L::Connecting(act.connect(Some(file.until)))
        }
        (L::Quarantined(file), I::Alarm) if file.open => L::Idle,
        (L::Quarantined(_), I::Alarm) => L::Connecting(act.connect(None)),
        // Time alone does not mend a content fault, but a changed file may.
        (L::Quarantined(file), I::Tick)
            if file.fault.class == FaultClass::Content && !act.is_due(file.until) =>
        {
            L::Connecting(act.connect(Some(file.until)))
        }
        (L::Connecting(_), I::Connected) => act.opened(L::Idle),
        (L::Connecting(file), I::ConnectFailed(fault)) => L::Quarantined(act.refused(fault, file)),

        (L::Idle, I::Send(changes)) => L::Exchanging(act.send(changes)),
        (L::Exchanging(_), I::Exchanged) => act.well(L::Idle),
        (L::Exchanging(_), I::ExchangeFailed(fault)) => L::Quarantined(act.failed(fault)),

        (L::Connecting(file), I::Alarm) => {
            act.hung(L::Connecting(Connecting { deadline: None, ..file }))
        }
        (L::Exchanging(request), I::Alarm) => {
            act.hung(L::Exchanging(Exchanging { deadline: None, ..request }))
        }

        // What is being looked at may be what was there before.
        (L::Connecting(file), I::Notice) => {
            L::Connecting(Connecting { recheck_at: act.soon(file.recheck_at), ..file })
        }
        (L::Quarantined(file), I::Notice) if !file.open => L::Quarantined(act.noticed(file)),
        (L::Quarantined(file), I::Listed) => L::Quarantined(Quarantined { until: act.now, ..file }),

        (link @ (L::Idle | L::Exchanging(_) | L::Quarantined(_) | L::Absent), I::Notice)
        | (link @ (L::Absent | L::Connecting(_) | L::Idle | L::Exchanging(_)), I::Listed)
        | (
            link @ (L::Absent | L::Connecting(_) | L::Idle | L::Exchanging(_) | L::Quarantined(_)),
            I::Tick,
        )
        | (link @ L::Idle, I::Alarm) => link,
        (
            link @ (L::Absent | L::Idle | L::Exchanging(_) | L::Quarantined(_)),
            input @ (I::Connected | I::ConnectFailed(_)),
        )
        | (
            link @ (L::Absent | L::Connecting(_) | L::Idle | L::Quarantined(_)),
            input @ (I::Exchanged | I::ExchangeFailed(_)),
        )
        | (
            link @ (L::Absent | L::Connecting(_) | L::Exchanging(_) | L::Quarantined(_)),
            input @ I::Send(_),
        ) => act.unexpected(input.name(), link),
    }
}

/// What outlasts a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Health {
    /// Number of the newest request; answers to older ones are late.
    seq: u64,
    /// Faults in a row.
    faults: u32,
    /// Since when it has been out of use; `None` while it is well.
    sick_since: Option<Mono>,
    /// True once it has been open.
    ever_open: bool,
    /// The class of fault that was last reported, and until when the newest fault puts it out of use.
    told: Option<(FaultClass, Mono)>,
    /// True from when it was reported to hang until it is reported to be well.
    told_hung: bool,
}

/// What the arms of the table do besides naming the next state.
struct Acts<'a> {
    board: BoardId,
    now: Mono,
    /// Milliseconds within which an answer is expected.
    deadline_ms: u64,
    health: &'a mut Health,
    effects: &'a mut Vec<Effect>,
}

impl Acts<'_> {
    fn is_due(&self, at: Mono) -> bool {
        self.now >= at
    }

    /// Asks for it to be opened, perhaps only if it is not the file that was refused.
    fn connect(&mut self, refused_until: Option<Mono>) -> Connecting {
        let (board, seq, if_changed) = (self.board, self.next_seq(), refused_until.is_some());
        self.effects.push(Effect::Connect { board, seq, if_changed });
        Connecting { deadline: self.deadline(), refused_until, recheck_at: None }
    }

    /// The caller hands the request on.
    fn send(&mut self, changes: Vec<Change>) -> Exchanging {
        self.next_seq();
        Exchanging { changes, deadline: self.deadline() }
    }

    fn next_seq(&mut self) -> u64 {
        self.health.seq = self.health.seq.wrapping_add(1);
        self.health.seq
    }

    fn deadline(&self) -> Option<Mono> {
        Some(self.now.after(self.deadline_ms))
    }

    fn opened(&mut self, next: Link) -> Link {
        self.health.ever_open = true;
        self.report(Report::BoardOpened(self.board));
        next
    }

    /// The exchange committed, so the board is healthy.
    fn well(&mut self, next: Link) -> Link {
        self.health.faults = 0;
        self.health.sick_since = None;
        let was_hung = core::mem::take(&mut self.health.told_hung);
        if self.health.told.take().is_some() || was_hung {
            self.report(Report::BoardWell(self.board));
        }
        next
    }

    fn hung(&mut self, next: Link) -> Link {
        self.health.sick_since = self.health.sick_since.or(Some(self.now));
        self.health.told_hung = true;
        self.report(Report::BoardHung(self.board));
        next
    }

    /// It was not opened.
    fn refused(&mut self, fault: Fault, file: Connecting) -> Quarantined {
        self.health.sick_since = self.health.sick_since.or(Some(self.now));
        let until = match file.refused_until {
            // The very file that was refused before: nothing new, and no other end.
            Some(until) if fault.unchanged => until,
            Some(_) | None => self.fails(fault),
        };
        Quarantined { until, fault, open: false, recheck_at: file.recheck_at }
    }

    /// An exchange failed. The connection survives where the file under it is the right one.
    fn failed(&mut self, fault: Fault) -> Quarantined {
        self.health.sick_since = self.health.sick_since.or(Some(self.now));
        let open = quarantine::stays_open(fault.class);
        if !open {
            self.effects.push(Effect::Disconnect { board: self.board });
        }
        Quarantined { until: self.fails(fault), fault, open, recheck_at: None }
    }

    /// One more fault in a row. Returns until when it is out of use; reported unless it is everyday
    /// life.
    fn fails(&mut self, fault: Fault) -> Mono {
        let health = &mut *self.health;
        health.faults = (health.faults + 1).min(MOST_FAILURES);
        let until = self.now.after(quarantine::wait_ms(fault.class, health.faults));
        let everyday = match fault.class {
            FaultClass::Busy => health.faults <= BUSY_IS_NORMAL,
            FaultClass::Replaced => health.faults <= 1,
            FaultClass::Content | FaultClass::Access => false,
        };
        let told = health.told.map(|(class, _)| class);
        let news = !everyday && told != Some(fault.class);
        let told = if news { Some(fault.class) } else { told };
        health.told = told.map(|class| (class, until));
        if news {
            self.report(Report::BoardSick(self.board, fault, until));
        }
        until
    }

    /// A closed file may have been mended: it is looked at soon. Notices do not put that off.
    fn noticed(&self, file: Quarantined) -> Quarantined {
        match file.fault.class {
            FaultClass::Content => Quarantined { recheck_at: self.soon(file.recheck_at), ..file },
            FaultClass::Access | FaultClass::Busy | FaultClass::Replaced => {
                Quarantined { until: file.until.min(self.now.after(NOTICE_MS)), ..file }
            }
        }
    }

    fn soon(&self, before: Option<Mono>) -> Option<Mono> {
        earlier(before, Some(self.now.after(NOTICE_MS)))
    }

    fn unexpected(&mut self, what: &'static str, link: Link) -> Link {
        self.report(Report::Unexpected(what));
        link
    }

    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }
}

impl File {
    /// A file that was just listed. Its requests are numbered from behind `seq`.
    pub fn new(seq: u64) -> File {
        let health = Health {
            seq,
            faults: 0,
            sick_since: None,
            ever_open: false,
            told: None,
            told_hung: false,
        };
        File { link: Link::Absent, health }
    }

    /// Takes in what happened to it.
    pub fn take_in(&mut self, input: Input, board: BoardId, turn: &mut Turn<'_>) {
        let link = core::mem::replace(&mut self.link, Link::Absent);
        let mut act = Acts {
            board,
            now: turn.now.mono,
            deadline_ms: turn.shared.policy.board_deadline_ms,
            health: &mut self.health,
            effects: turn.effects,
        };
        self.link = next(link, input, &mut act);
    }

    /// Returns its state.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Number of the newest request.
    pub fn seq(&self) -> u64 {
        self.health.seq
    }

    /// Whether `seq` is what was last asked of a file that is being opened.
    pub fn awaits_connect(&self, seq: u64) -> bool {
        self.health.seq == seq && matches!(self.link, Link::Connecting(_))
    }

    /// Whether `seq` is what was last asked in an exchange.
    pub fn awaits_exchange(&self, seq: u64) -> bool {
        self.health.seq == seq && matches!(self.link, Link::Exchanging(_))
    }

    /// Whether it is open with nothing under way.
    pub fn is_idle(&self) -> bool {
        self.link == Link::Idle
    }

    /// Whether an answer is outstanding.
    pub fn is_under_way(&self) -> bool {
        match self.link {
            Link::Connecting(_) | Link::Exchanging(_) => true,
            Link::Absent | Link::Idle | Link::Quarantined(_) => false,
        }
    }

    /// Whether an answer is outstanding for longer than it may be.
    pub fn is_overdue(&self) -> bool {
        match &self.link {
            Link::Connecting(Connecting { deadline, .. })
            | Link::Exchanging(Exchanging { deadline, .. }) => deadline.is_none(),
            Link::Absent | Link::Idle | Link::Quarantined(_) => false,
        }
    }

    /// The changes that were sent and are not answered.
    pub fn under_way(&self) -> &[Change] {
        match &self.link {
            Link::Exchanging(request) => &request.changes,
            Link::Absent | Link::Connecting(_) | Link::Idle | Link::Quarantined(_) => &[],
        }
    }

    /// Takes those changes: they are answered.
    pub fn take_changes(&mut self) -> Vec<Change> {
        match &mut self.link {
            Link::Exchanging(request) => core::mem::take(&mut request.changes),
            Link::Absent | Link::Connecting(_) | Link::Idle | Link::Quarantined(_) => Vec::new(),
        }
    }

    /// Returns why it is out of use, from the report until it takes changes again: a retry under
    /// way changes nothing. Transient faults, such as a busy lock, are not a hold.
    pub fn hold(&self) -> Option<BoardHold> {
        if self.is_overdue() {
            return Some(BoardHold::Hung);
        }
        self.health.told.map(|(class, until)| BoardHold::Quarantined { class, until })
    }

    /// Whether it is out of use, or does not answer.
    pub fn is_sick(&self) -> bool {
        self.health.sick_since.is_some()
    }

    /// Whether nothing can be expected of it: sick from the start, or for longer than `grace_ms`.
    pub fn is_out_of_use(&self, now: Mono, grace_ms: u64) -> bool {
        let patience_over = |at| !self.health.ever_open || now.since(at) >= grace_ms;
        let given_up = match &self.link {
            Link::Quarantined(_) => true,
            Link::Connecting(_) => self.is_overdue() || !self.health.ever_open,
            Link::Exchanging(_) => self.is_overdue(),
            Link::Absent | Link::Idle => false,
        };
        given_up && self.health.sick_since.is_some_and(patience_over)
    }

    /// Returns when it next needs an alarm.
    pub fn alarm(&self) -> Option<Mono> {
        match &self.link {
            Link::Absent => Some(Mono(0)),
            Link::Connecting(Connecting { deadline, .. })
            | Link::Exchanging(Exchanging { deadline, .. }) => *deadline,
            Link::Quarantined(file) => earlier(Some(file.until), file.recheck_at),
            Link::Idle => None,
        }
    }

    /// Rewrites its moments and numbers.
    pub fn rename(&mut self, board: BoardId, to: &impl Renamer) {
        to.request(board, &mut self.health.seq);
        self.health.sick_since.iter_mut().for_each(|since| to.moment(since));
        // Only shown, never decided by.
        self.health.told.iter_mut().for_each(|(_, until)| *until = Mono(0));
        match &mut self.link {
            Link::Connecting(file) => {
                let moments = [&mut file.deadline, &mut file.refused_until, &mut file.recheck_at];
                moments.into_iter().flatten().for_each(|at| to.deadline(at));
            }
            Link::Exchanging(request) => {
                request.deadline.iter_mut().for_each(|at| to.deadline(at));
                request.changes.iter_mut().for_each(|change| change.rename(to));
            }
            Link::Quarantined(file) => {
                to.deadline(&mut file.until);
                file.recheck_at.iter_mut().for_each(|at| to.deadline(at));
            }
            Link::Absent | Link::Idle => {}
        }
    }
}

impl Input {
    /// By which name an answer that fits no question is reported.
    fn name(&self) -> &'static str {
        match self {
            Input::Connected => "Connected",
            Input::ConnectFailed(_) => "ConnectFailed",
            Input::Exchanged => "Exchanged",
            Input::ExchangeFailed(_) => "ExchangeFailed",
            Input::Send(_) => "Send",
            Input::Alarm => "Alarm",
            Input::Tick => "Tick",
            Input::Notice => "BoardChanged",
            Input::Listed => "BoardAdded",
        }
    }
}
