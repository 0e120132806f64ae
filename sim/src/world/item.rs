//! What is to happen in a world, each at its moment.

use std::sync::Arc;

use sexton::machine::event::Event;
use sexton::machine::exchange::Request;
use sexton::machine::ids::{BoardId, SpawnId};
use sexton::machine::policy::Policy;
use sexton::machine::verdict::ExitStatus;

use super::seat::SpawnLane;
use crate::board::Instance;
use crate::kernel::Uid;

/// Something that is to happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    /// A dispatcher's interval is over.
    Tick(usize, Instance),
    /// The moment that it asked for has come, if it has not asked for another since.
    Wake(usize, u32),
    /// Something for a dispatcher, unless it has died since.
    Tell(usize, Instance, Event),
    /// An event that was delivered before, delivered again.
    Repeat(usize, Instance, Event),
    /// Which boards existed when a dispatcher listed them.
    Listed(usize, Instance, Vec<bool>),
    /// A request to open a board takes effect.
    Connect { seat: usize, of: Instance, board: BoardId, seq: u64, if_changed: bool },
    /// An exchange takes effect.
    Exchange {
        seat: usize,
        of: Instance,
        board: BoardId,
        seq: u64,
        request: Request,
        /// By which it was asked.
        policy: Arc<Policy>,
    },
    /// A spawn thread creates its process.
    Make { seat: usize, of: Instance, spawn: SpawnId },
    /// A process is created whose dispatcher died while starting it.
    Born { of: Instance, lane: SpawnLane },
    /// That process executes its program.
    Executes { of: Instance, lane: SpawnLane, uid: Uid },
    /// A dispatcher looks for the worker of a claim that it has adopted.
    Find { seat: usize, of: Instance, spawn: SpawnId },
    /// A process ends on its own.
    End(Uid, ExitStatus),
    /// A signal ends it.
    EndBySignal(Uid, i32),
    /// A worker starts another process in its group, which lives for this many milliseconds.
    Fork(Uid, u64),
    /// A worker does something with its own task.
    Own(Uid, Deed),
    /// A process that no signal could end goes on.
    Release(Uid),
    /// A person does something with a board.
    Meddle(usize),
    /// A board that was removed comes back.
    Restore(usize),
    /// A board whose content went bad is repaired.
    Repair(usize),
    /// A board is there that was not.
    Add(usize),
    /// A dispatcher crashes.
    Crash(usize),
    /// A dispatcher that was asked to stop is asked again.
    Abort(usize, Instance),
    /// Another takes its place.
    Restart(usize),
}

/// What a worker does with its own task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    Complete,
    Block,
    Heartbeat,
}
