//! The rows and columns of the tables: what the states and events are called.

use sexton::machine::attempt::Stage;
use sexton::machine::board::{Board, Link};

/// The stages of an attempt, in their order.
pub(super) const STAGES: [&str; 8] =
    ["Claiming", "Finding", "Preparing", "Cancelling", "Running", "Ending", "Draining", "Gone"];
/// What happens to an attempt.
pub(super) const TO_ATTEMPTS: [&str; 18] = [
    "Exchanged",
    "ExchangeFailed",
    "SpawnOk",
    "SpawnFailed",
    "SpawnCancelled",
    "ChildExited, alone",
    "ChildExited, others live",
    "Signalled, gone",
    "Signalled, else",
    "its moment comes",
    "the grace is over",
    "Abort",
    "Found, runs",
    "Found, ended",
    "Found, left over",
    "Found, never started",
    "Found, cannot tell",
    "Found, too late",
];
/// What an answer about an adopted attempt may say.
pub(super) const FOUND: [&str; 5] = [
    "Found, runs",
    "Found, ended",
    "Found, left over",
    "Found, never started",
    "Found, cannot tell",
];
/// The states of a board's file, in their order.
pub(super) const LINKS: [&str; 5] = ["Absent", "Connecting", "Idle", "Exchanging", "Quarantined"];
/// What happens to a board.
pub(super) const TO_BOARDS: [&str; 9] = [
    "BoardAdded",
    "BoardRemoved",
    "BoardChanged",
    "Connected",
    "ConnectFailed",
    "Exchanged",
    "ExchangeFailed",
    "Tick",
    "Wake",
];

/// A state and what happens in it.
pub(super) type Cell = (&'static str, &'static str);

pub(super) fn every_cell() -> impl Iterator<Item = Cell> {
    let pairs = |states: &'static [&'static str], causes: &'static [&'static str]| {
        states.iter().flat_map(move |state| causes.iter().map(move |cause| (*state, *cause)))
    };
    pairs(&STAGES, &TO_ATTEMPTS).chain(pairs(&LINKS, &TO_BOARDS))
}

pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Claiming { .. } => "Claiming",
        Stage::Finding(_) => "Finding",
        Stage::Preparing(_) => "Preparing",
        Stage::Cancelling(_) => "Cancelling",
        Stage::Running(_) => "Running",
        Stage::Ending(_) => "Ending",
        Stage::Draining(_) => "Draining",
        Stage::Gone { .. } => "Gone",
    }
}

pub(super) fn link_name(board: &Board) -> &'static str {
    match board.link() {
        Link::Absent => "Absent",
        Link::Connecting(_) => "Connecting",
        Link::Idle => "Idle",
        Link::Exchanging(_) => "Exchanging",
        Link::Quarantined(_) => "Quarantined",
    }
}
