//! A record as JSON: for programs, and for the page that draws a run.
//!
//! Every record has `at_ms`, `who` (with its `number`), `kind` and `text`; events, effects and
//! reports have a `name`. Beside those stands what they say of boards, processes and tasks.

use std::fmt::Debug;

use serde_json::{Value, json};
use sexton::machine::effect::{Effect, Report};
use sexton::machine::event::Event;
use sexton::machine::exchange::Taken;
use sexton::machine::fault::Commit;
use sexton::machine::verdict::ExitStatus;

use super::{Origin, Record, What, Who};

/// Returns a record as a JSON object.
#[must_use]
pub fn record(record: &Record) -> Value {
    let (kind, mut json) = what(&record.what);
    let (who, number) = match record.who {
        Who::World => ("world", Value::Null),
        Who::Dispatcher(seat) => ("dispatcher", seat.into()),
        Who::Board(board) => ("board", board.0.into()),
        Who::Process(uid) => ("process", uid.0.into()),
    };
    json["at_ms"] = record.at.into();
    json["who"] = who.into();
    json["number"] = number;
    json["kind"] = kind.into();
    json["text"] = record.what.to_string().trim_start().into();
    json
}

fn what(what: &What) -> (&'static str, Value) {
    match what {
        What::Event(event) => ("event", named(event, event_facts(event))),
        What::Effect(Effect::Report(report)) => ("report", named(report, report_facts(report))),
        What::Effect(effect) => ("effect", named(effect, effect_facts(effect))),
        What::Begins(_) => ("begins", json!({})),
        What::Dies => ("dies", json!({})),
        What::Started { pid, origin } => {
            let facts = match origin {
                Origin::Worker { seat, task } => {
                    json!({"pid": pid.0, "dispatcher": seat, "task": task.as_str()})
                }
                Origin::Member { leader } => json!({"pid": pid.0, "leader": leader.0}),
                Origin::Stranger => json!({"pid": pid.0}),
            };
            ("started", facts)
        }
        What::Ended { status, reaper } => {
            ("ended", json!({"status": ending(*status), "reaper": reaper}))
        }
        What::Reaped => ("reaped", json!({})),
        What::Overwritten => ("overwritten", json!({})),
        What::Removed => ("removed", json!({})),
        What::Replaced => ("replaced", json!({})),
        What::Note(_) => ("note", json!({})),
        What::Fault(fault) => ("fault", json!({"fault": fault.name()})),
        What::Calm => ("calm", json!({})),
        What::Broken { promise, how } => ("broken", json!({"promise": promise, "how": how})),
    }
}

fn event_facts(event: &Event) -> Value {
    match event {
        Event::ChildExited { pid, .. }
        | Event::OrphanReaped { pid }
        | Event::SpawnOk { pid, .. } => json!({"pid": pid.0}),
        Event::BoardAdded { board }
        | Event::BoardRemoved { board }
        | Event::BoardChanged { board } => json!({"board": board.0}),
        Event::Connected { board, seq } => json!({"board": board.0, "seq": seq}),
        Event::ConnectFailed { board, seq, fault } => {
            json!({"board": board.0, "seq": seq, "fault": word(fault.class)})
        }
        Event::Exchanged { board, seq, answer } => {
            let took = |taken: &&Taken| !matches!(taken, Taken::No(_));
            let wrote = answer.taken.iter().filter(took).count();
            json!({"board": board.0, "seq": seq, "changes": answer.taken.len(), "wrote": wrote})
        }
        Event::ExchangeFailed { board, seq, fault, commit } => {
            let maybe = *commit == Commit::Maybe;
            json!({"board": board.0, "seq": seq, "fault": word(fault.class), "maybe": maybe})
        }
        Event::Signalled { signal, outcome, .. } => {
            json!({"signal": word(signal), "outcome": word(outcome)})
        }
        _ => json!({}),
    }
}

fn effect_facts(effect: &Effect) -> Value {
    match effect {
        Effect::Reap { whom, .. } => json!({"whom": word(whom)}),
        Effect::Signal { signal, .. } => json!({"signal": word(signal)}),
        Effect::Connect { board, seq, .. } => json!({"board": board.0, "seq": seq}),
        Effect::Exchange { board, seq, request } => {
            json!({"board": board.0, "seq": seq, "changes": request.changes.len()})
        }
        Effect::Disconnect { board } => json!({"board": board.0}),
        Effect::Spawn { task, .. } => json!({"task": task.as_str()}),
        _ => json!({}),
    }
}

fn report_facts(report: &Report) -> Value {
    match report {
        Report::BoardOpened(board)
        | Report::BoardHung(board)
        | Report::BoardSick(board, ..)
        | Report::BoardWell(board) => json!({"board": board.0}),
        _ => json!({}),
    }
}

/// How a process ended, in words.
fn ending(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exit {code}"),
        ExitStatus::Signal(9) => "killed (KILL)".to_owned(),
        ExitStatus::Signal(11) => "crashed (SEGV)".to_owned(),
        ExitStatus::Signal(15) => "ended by TERM".to_owned(),
        ExitStatus::Signal(signal) => format!("ended by signal {signal}"),
        ExitStatus::Unknown => "ended, exit status unknown".to_owned(),
    }
}

/// Adds the name of a variant, with which its debug text begins.
fn named(variant: &impl Debug, mut facts: Value) -> Value {
    let text = format!("{variant:?}");
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    facts["name"] = text[..end].into();
    facts
}

/// The name of a plain variant, as a word.
fn word(variant: impl Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sweep::{SIZE, entropy};
    use crate::world::{Options, run};

    #[test]
    fn records_of_processes_and_boards_are_consistent() {
        for seed in 0..40 {
            let run = run(entropy(seed, SIZE), Options { trace: true, ..Options::default() });
            let mut reapers: BTreeMap<u64, Value> = BTreeMap::new();
            let mut asked = Vec::new();
            for json in run.trace.iter().map(record) {
                let number = json["number"].as_u64().unwrap_or_default();
                let request = [&json["number"], &json["board"], &json["seq"]].map(Value::as_u64);
                match (json["kind"].as_str(), json["name"].as_str()) {
                    (Some("started"), _) => {
                        assert!(json["leader"].as_u64().is_none_or(|of| of < number), "{json}");
                    }
                    (Some("ended"), _) => {
                        reapers.insert(number, json["reaper"].clone());
                    }
                    (Some("reaped"), _) => {
                        assert!(reapers.remove(&number).is_some_and(|by| by.is_u64()), "{json}");
                    }
                    (Some("dies"), _) => reapers.retain(|_, by| by.as_u64() != Some(number)),
                    (Some("effect"), Some("Connect" | "Exchange")) => asked.push(request),
                    (
                        Some("event"),
                        Some("Connected" | "ConnectFailed" | "Exchanged" | "ExchangeFailed"),
                    ) => assert!(asked.contains(&request), "seed {seed}: {json}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_record_keeps_its_text_and_its_name() {
        let event = Event::ReapFailed { seq: 1, errno: 11 };
        let json = record(&Record { at: 7, who: Who::Dispatcher(2), what: What::Event(event) });
        let text = "<- ReapFailed { seq: 1, errno: 11 }";
        let expected = json!({
            "at_ms": 7, "who": "dispatcher", "number": 2, "kind": "event", "name": "ReapFailed",
            "text": text,
        });
        assert_eq!(json, expected);
    }
}
