//! What an event is to an attempt or a board, and an event for each such cause.

use sexton::machine::adoption::{self, Evidence, Finding, Process, Record};
use sexton::machine::attempt::{Attempt, Stage};
use sexton::machine::board::Board;
use sexton::machine::event::{Event, Group, Signal, SignalOutcome};
use sexton::machine::exchange::Answer;
use sexton::machine::fault::{Blame, Commit, Fault, FaultClass};
use sexton::machine::ids::{BoardId, Pid, SpawnId};
use sexton::machine::time::{Mono, Now};
use sexton::machine::verdict::ExitStatus;

use super::{Before, Sample};

/// What an event is to this attempt, if anything.
pub(super) fn cause_for(
    attempt: &Attempt,
    on: BoardId,
    event: &Event,
    now: Now,
) -> Option<&'static str> {
    let mine = |spawn: &SpawnId| *spawn == attempt.id();
    match event {
        Event::Exchanged { board, .. } if *board == on => Some("Exchanged"),
        Event::ExchangeFailed { board, .. } if *board == on => Some("ExchangeFailed"),
        Event::SpawnOk { spawn, .. } if mine(spawn) => Some("SpawnOk"),
        Event::SpawnFailed { spawn, .. } if mine(spawn) => Some("SpawnFailed"),
        Event::SpawnCancelled { spawn } if mine(spawn) => Some("SpawnCancelled"),
        Event::ChildExited { spawn, group, .. } if mine(spawn) => Some(match group {
            Group::Gone => "ChildExited, alone",
            Group::Alive => "ChildExited, others live",
        }),
        Event::Signalled { spawn, outcome, .. } if mine(spawn) => Some(match outcome {
            SignalOutcome::Gone => "Signalled, gone",
            SignalOutcome::Delivered | SignalOutcome::Refused => "Signalled, else",
        }),
        Event::Found { spawn, .. } if mine(spawn) && !is_looked_for(attempt) => {
            Some("Found, too late")
        }
        Event::Found { spawn, evidence } if mine(spawn) => Some(match adoption::judge(*evidence) {
            Finding::Runs { .. } => "Found, runs",
            Finding::Ended(_) => "Found, ended",
            Finding::LeftOver(_) => "Found, left over",
            Finding::NeverStarted => "Found, never started",
            Finding::Wait => "Found, cannot tell",
        }),
        Event::Abort => Some("Abort"),
        Event::Drain { grace_ms: 0 } => Some("the grace is over"),
        Event::Wake if attempt.stage().alarm().is_some_and(|at| at <= now.mono) => {
            Some("its moment comes")
        }
        _ => None,
    }
}

fn is_looked_for(attempt: &Attempt) -> bool {
    matches!(attempt.stage(), Stage::Finding(_))
}

pub(super) fn board_cause(board: BoardId, event: &Event) -> Option<&'static str> {
    match event {
        Event::BoardAdded { board: of } if *of == board => Some("BoardAdded"),
        Event::BoardRemoved { board: of } if *of == board => Some("BoardRemoved"),
        Event::BoardChanged { board: of } if *of == board => Some("BoardChanged"),
        Event::Connected { board: of, .. } if *of == board => Some("Connected"),
        Event::ConnectFailed { board: of, .. } if *of == board => Some("ConnectFailed"),
        Event::Exchanged { board: of, .. } if *of == board => Some("Exchanged"),
        Event::ExchangeFailed { board: of, .. } if *of == board => Some("ExchangeFailed"),
        Event::Tick => Some("Tick"),
        Event::Wake => Some("Wake"),
        _ => None,
    }
}

/// The events that make a cause, and when they happen.
pub(super) fn events_for(cause: &str, sample: &Sample, before: &Before) -> (Vec<Event>, Now) {
    let (board, now) = (sample.board, sample.now);
    let spawn = sample.spawn.unwrap_or(SpawnId(0));
    let (pid, status) = (Pid(1), ExitStatus::Code(0));
    let fault = Fault { class: FaultClass::Access, unchanged: false };
    let seq = sample.machine.boards().find(|b| b.id() == board).map_or(0, Board::seq);
    let exited = |group| vec![Event::ChildExited { spawn, pid, status, group }];
    let signalled = |outcome| vec![Event::Signalled { spawn, signal: Signal::Kill, outcome }];
    let found = |process| {
        let evidence = Evidence { record: Record::Started, process, noted: None };
        vec![Event::Found { spawn, evidence }]
    };
    let (record, process) = (Record::NoIntent, Process::None(Group::Gone));
    let never_started =
        vec![Event::Found { spawn, evidence: Evidence { record, process, noted: None } }];
    let answer = Box::new(Answer { taken: Vec::new(), observation: None });
    let alarm = before
        .attempts
        .iter()
        .find(|(_, attempt)| attempt.id() == spawn)
        .and_then(|(_, attempt)| attempt.stage().alarm());
    let at = |mono: Mono| Now { mono, ..now };
    match cause {
        "SpawnOk" => (vec![Event::SpawnOk { spawn, pid }], now),
        "SpawnFailed" => (vec![Event::SpawnFailed { spawn, blame: Blame::Task, errno: 2 }], now),
        "SpawnCancelled" => (vec![Event::SpawnCancelled { spawn }], now),
        "ChildExited, alone" => (exited(Group::Gone), now),
        "ChildExited, others live" => (exited(Group::Alive), now),
        "Signalled, gone" => (signalled(SignalOutcome::Gone), now),
        "Signalled, else" => (signalled(SignalOutcome::Delivered), now),
        "its moment comes" => (vec![Event::Wake], alarm.map_or(now, at)),
        "the grace is over" => (vec![Event::Drain { grace_ms: 0 }], now),
        "Abort" => (vec![Event::Abort], now),
        "Found, runs" => (found(Process::Held { pid, age_ms: 1 }), now),
        "Found, ended" => (found(Process::None(Group::Gone)), now),
        "Found, left over" => (found(Process::None(Group::Alive)), now),
        "Found, never started" => (never_started, now),
        "Found, cannot tell" | "Found, too late" => (found(Process::Hidden), now),
        "BoardAdded" => (vec![Event::BoardAdded { board }], now),
        "BoardRemoved" => (vec![Event::BoardRemoved { board }], now),
        "BoardChanged" => (vec![Event::BoardChanged { board }], now),
        "Connected" => (vec![Event::Connected { board, seq }], now),
        "ConnectFailed" => (vec![Event::ConnectFailed { board, seq, fault }], now),
        "Exchanged" => (vec![Event::Exchanged { board, seq, answer }], now),
        "ExchangeFailed" => {
            (vec![Event::ExchangeFailed { board, seq, fault, commit: Commit::No }], now)
        }
        "Tick" => (vec![Event::Tick], now),
        _ => (vec![Event::Wake], now),
    }
}
