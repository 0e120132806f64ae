//! What a part may use and change besides itself while one event is taken in.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::effect::{Effect, Report};
use super::host::Host;
use super::ids::{BoardId, SpawnId};
use super::policy::Policy;
use super::renamer::Renamer;
use super::time::{Mono, Now, Timers};

/// What the boards have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shared {
    pub policy: Policy,
    pub mode: Mode,
    /// One tick only: the ready tasks of each board are claimed once.
    pub once: bool,
    pub host: Host,
    pub timers: Timers,
    /// The board of each attempt.
    pub owners: BTreeMap<SpawnId, BoardId>,
    /// The number of the next attempt.
    pub next_attempt: u64,
    /// The board that claimed last: the others come before it.
    pub served: Option<BoardId>,
    /// A planted bug: after an outage the owners of claims get no time to renew them.
    #[cfg(feature = "sabotage")]
    pub hasty: bool,
}

/// What is to become of new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// New work is started.
    Running,
    /// It is not; what runs may finish until then.
    Draining {
        /// When patience ends; `None` once it has.
        deadline: Option<Mono>,
    },
    /// It is not, and what runs is killed.
    Aborting,
}

/// One event being taken in.
pub struct Turn<'a> {
    pub now: Now,
    pub shared: &'a mut Shared,
    pub effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    /// Pushes an effect that reports a change.
    pub fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    /// Reports an answer that fits no question. It changes nothing.
    pub fn unexpected(&mut self, what: &'static str) {
        self.report(Report::Unexpected(what));
    }
}

impl Shared {
    /// How many more workers the host may have, whether or not it starts any now.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        self.policy.max_workers.saturating_sub(self.host.used())
    }

    /// Allocates the number of an attempt.
    pub fn new_attempt(&mut self) -> SpawnId {
        self.next_attempt += 1;
        SpawnId(self.next_attempt - 1)
    }

    /// Rewrites its moments and numbers.
    pub fn rename(&mut self, to: &impl Renamer) {
        if let Mode::Draining { deadline: Some(at) } = &mut self.mode {
            to.deadline(at);
        }
        self.host.rename(to);
        let mut next = SpawnId(self.next_attempt);
        to.attempt(&mut next);
        self.next_attempt = next.0;
        let owners = core::mem::take(&mut self.owners).into_iter();
        self.owners = owners
            .map(|(mut id, board)| {
                to.attempt(&mut id);
                (id, board)
            })
            .collect();
    }
}
