//! What became of an attempt or a board after an event, in words.

use sexton::machine::Dispatcher;
use sexton::machine::attempt::Attempt;
use sexton::machine::effect::{Effect, Report};
use sexton::machine::event::Signal;
use sexton::machine::ids::BoardId;

use super::axes::{link_name, stage_name};

/// What became of an attempt.
pub(super) fn attempt_outcome(
    attempt: &Attempt,
    machine: &Dispatcher,
    effects: &[Effect],
) -> String {
    let id = attempt.id();
    let after = machine.attempts().find(|(_, a)| a.id() == id).map(|(_, a)| a.stage());
    let mut text = match after {
        None => "over".to_owned(),
        Some(stage) if stage_name(stage) == stage_name(attempt.stage()) => "stays".to_owned(),
        Some(stage) => stage_name(stage).to_owned(),
    };
    for effect in effects {
        match effect {
            Effect::Signal { spawn, signal } if *spawn == id => text.push_str(match signal {
                Signal::Probe => ", probe",
                Signal::Term => ", TERM",
                Signal::Kill => ", KILL",
            }),
            Effect::Find { spawn } if *spawn == id => text.push_str(", look"),
            Effect::CancelSpawn { spawn } if *spawn == id => text.push_str(", call off"),
            Effect::Report(Report::Unexpected(_)) => text.push_str(", reported as unexpected"),
            _ => {}
        }
    }
    text
}

/// What became of a board.
pub(super) fn board_outcome(
    id: BoardId,
    before: &str,
    machine: &Dispatcher,
    effects: &[Effect],
) -> String {
    let after = machine.boards().find(|board| board.id() == id).map(link_name);
    let mut text = match after {
        None => "let go".to_owned(),
        Some(link) if link == before => "stays".to_owned(),
        Some(link) => link.to_owned(),
    };
    if effects.iter().any(|effect| matches!(effect, Effect::Report(Report::Unexpected(_)))) {
        text.push_str(", reported as unexpected");
    }
    text
}
