//! What a record is, for somebody who does not know the machine: in plain words, with a sign, and
//! with as much room on the time axis as it deserves.

use crate::page::text::{Clock, Ending};
use crate::trace::{Record, What};

/// One sort of record.
pub struct Kind {
    /// How its text begins.
    key: &'static str,
    /// The id of its sign.
    pub sign: &'static str,
    /// Its room on the axis.
    pub room: u32,
    /// What it means.
    pub words: &'static str,
}

const fn kind(key: &'static str, sign: &'static str, room: u32, words: &'static str) -> Kind {
    Kind { key, sign, room, words }
}

/// What a dispatcher can be told.
const TOLD: &[Kind] = &[
    kind("Tick", "tick", 9, "tick: time to reap, and to look at every board"),
    kind("Wake", "dot", 1, "the moment that it asked for has come"),
    kind("KernelReady", "bell", 5, "the kernel says that a child has ended"),
    kind("ChildExited", "exit", 6, "a worker of its own was reaped"),
    kind("OrphanReaped", "exit", 5, "a process that it took in was reaped"),
    kind("Reaped", "yes", 6, "the reaping step is over"),
    kind("ReapFailed", "no", 6, "the reaping step failed"),
    kind("BoardAdded", "dot", 1, "there is a board"),
    kind("BoardRemoved", "dot", 2, "a board is not listed"),
    kind("BoardsListed", "dot", 1, "those are all boards"),
    kind("BoardChanged", "dot", 2, "a board's file has changed"),
    kind("Connected", "answer", 4, "a board is sound and open"),
    kind("ConnectFailed", "no", 5, "a board cannot be opened"),
    kind("Exchanged", "answer", 4, "a board has answered"),
    kind("ExchangeFailed", "no", 5, "a transaction with a board failed"),
    kind("SpawnOk", "born", 5, "a worker exists"),
    kind("SpawnFailed", "no", 6, "a worker could not be started"),
    kind("SpawnCancelled", "dot", 4, "a start was called off in time"),
    kind("Signalled", "dot", 3, "what came of a signal"),
    kind("PolicyChanged", "dot", 5, "its configuration was changed"),
    kind("Drain", "bell", 6, "start nothing new, and end"),
    kind("Abort", "bell", 6, "end everything now"),
];

/// What it can ask for.
const ASKED: &[Kind] = &[
    kind("Reap", "reap", 7, "reap: take every child that has ended"),
    kind("Signal", "flag", 7, "signal a worker and its group"),
    kind("ListBoards", "dot", 1, "which boards are there?"),
    kind("Connect", "open", 4, "open a board"),
    kind("Exchange", "ask", 4, "one transaction with a board"),
    kind("Disconnect", "close", 4, "let go of a board's file"),
    kind("Spawn", "spawn", 8, "start a worker"),
    kind("CancelSpawn", "close", 6, "call off a start"),
    kind("Forget", "dot", 1, "nothing is needed of a run any more"),
    kind("Report(BoardSick", "dot", 3, "reports: a board is out of use for now"),
    kind("Report(BoardWell", "dot", 3, "reports: a board is in use again"),
    kind("Report(BoardHung", "dot", 1, "reports: a board does not answer"),
    kind("Report(Recorded", "dot", 2, "reports: a run's end is recorded"),
    kind("Report(Ending", "dot", 2, "reports: a worker is being ended"),
    kind("Report(Claimed", "dot", 2, "reports: a task is claimed"),
    kind("Report(HostRefuses", "dot", 3, "reports: the host refuses processes"),
    kind("Report(ReapFailing", "dot", 3, "reports: reaping fails"),
    kind("Report(", "dot", 1, "reports to whoever watches"),
];

/// What nobody has described.
const OTHER: Kind = kind("", "dot", 3, "");
/// What is not between a dispatcher and its world.
const REST: Kind = kind("", "dot", 9, "");

/// Of what sort a record is.
pub fn of(what: &What) -> &'static Kind {
    let find = |kinds: &'static [Kind], text: &str| {
        let fits = |kind: &&Kind| {
            let rest = text.strip_prefix(kind.key);
            rest.is_some_and(|rest| {
                kind.key.ends_with('(') || !rest.starts_with(|c: char| c.is_ascii_alphanumeric())
            })
        };
        kinds.iter().find(fits).unwrap_or(&OTHER)
    };
    match what {
        What::Event(text) => find(TOLD, text),
        What::Effect(text) => find(ASKED, text),
        What::Started { .. }
        | What::Ended(_)
        | What::Reaped
        | What::Note(_)
        | What::Fault(_)
        | What::Calm
        | What::Broken { .. } => &REST,
    }
}

/// The class by which a record's row is filtered and coloured.
pub fn class(record: &Record) -> &'static str {
    match &record.what {
        What::Event(_) | What::Effect(_) if of(&record.what).room <= 2 => "routine",
        What::Effect(text) if text.starts_with("Report(") => "report",
        What::Event(_) => "told",
        What::Effect(_) => "asked",
        What::Started { .. } | What::Ended(_) | What::Reaped => "life",
        What::Note(_) => "note",
        What::Fault(_) => "fault",
        What::Calm => "calm",
        What::Broken { .. } => "broken",
    }
}

/// A record in plain words.
pub fn words(record: &Record) -> String {
    match &record.what {
        What::Event(_) | What::Effect(_) => of(&record.what).words.to_owned(),
        What::Started { pid, task } => format!("starts as pid {} for {task}", pid.0),
        What::Ended(status) => format!("{}; must be reaped now", Ending(*status)),
        What::Reaped => "is reaped: its pid is free".to_owned(),
        What::Note(text) => text.clone(),
        What::Fault(fault) => format!("fault: {}", fault.name()),
        What::Calm => "from here on nothing goes wrong any more".to_owned(),
        What::Broken { promise, .. } => format!("promise broken: {promise}"),
    }
}

/// A record as it was written, without what the other columns say.
pub fn raw(record: &Record) -> String {
    match &record.what {
        What::Event(text) => format!("\u{2190} {text}"),
        What::Effect(text) => format!("\u{2192} {text}"),
        What::Broken { how, .. } => how.clone(),
        What::Started { .. }
        | What::Ended(_)
        | What::Reaped
        | What::Note(_)
        | What::Fault(_)
        | What::Calm => String::new(),
    }
}

/// When, who and what, in one line.
pub fn line(record: &Record) -> String {
    format!("{} s, {}: {}", Clock(record.at), record.who, words(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(what: What) -> &'static str {
        of(&what).sign
    }

    #[test]
    fn a_kind_is_told_by_the_whole_name() {
        assert_eq!(sign(What::Effect("Reap { seq: 1 }".to_owned())), "reap");
        assert_eq!(sign(What::Event("ReapFailed { seq: 1 }".to_owned())), "no");
        assert_eq!(sign(What::Event("Reaped { seq: 1 }".to_owned())), "yes");
        assert_eq!(of(&What::Effect("Report(Claimed(x))".to_owned())).words, ASKED[14].words);
        assert_eq!(of(&What::Effect("Report(NotOurs(x))".to_owned())).room, 1);
        assert_eq!(of(&What::Event("Unheard".to_owned())).words, "");
    }
}
