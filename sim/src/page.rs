//! A run as one page that needs nothing else: the trace as JSON, and a script that draws it.

use std::ops::Range;

use serde_json::{Value, json};
use sexton::machine::effect::{Effect, Report};

use crate::fault::Fault;
use crate::promise::{EVENTUALLY, meaning};
use crate::trace::json::record;
use crate::trace::{Record, What};
use crate::world::{Broken, Run};

/// Records that are drawn at the beginning and at the end of a run. One that never ends has far more
/// than a browser can show; what is between repeats itself.
const MOST: [usize; 2] = [3_000, 1_500];
/// Characters of a record's text that are kept: a page would be all observations otherwise.
const LONGEST: usize = 900;

/// Which run a page is of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// How the run is called.
    pub name: &'a str,
    /// The command that shows it again.
    pub replay: &'a str,
    /// The bug that is planted in it.
    pub bug: Option<&'a str>,
}

/// Returns the page of a run. It draws what is in the run's trace, so the run must have been traced.
#[must_use]
pub fn page(subject: &Subject<'_>, run: &Run) -> String {
    let title = title(subject, run.broken.as_ref());
    fill(
        include_str!("page/page.html"),
        &[
            ("title", &text(&title)),
            ("style", include_str!("page/page.css")),
            ("run", &data(&data_of(subject, run))),
            ("story", include_str!("page/story.js")),
            ("words", include_str!("page/words.js")),
            ("draw", include_str!("page/draw.js")),
            ("page", include_str!("page/page.js")),
        ],
    )
}

fn title(subject: &Subject<'_>, broken: Option<&Broken>) -> String {
    let outcome = match broken {
        Some(broken) => format!("{} is broken", broken.promise),
        None => "every promise is kept".to_owned(),
    };
    format!("{}: {outcome}", subject.name)
}

/// All that the page is drawn from.
fn data_of(subject: &Subject<'_>, run: &Run) -> Value {
    let cut = cut(run.trace.len());
    let mut fired: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).zip(run.fired).collect();
    fired.retain(|(_, times)| *times > 0);
    fired.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let broken = run.broken.as_ref().map(|broken| {
        json!({
            "promise": broken.promise,
            "meaning": meaning::of(broken.promise),
            "how": broken.how,
            "at_ms": broken.at,
            "at_the_end": EVENTUALLY.iter().any(|promise| promise.name == broken.promise),
        })
    });
    json!({
        "replay": subject.replay,
        "bug": subject.bug,
        "events": run.events,
        "hash": format!("{:016x}", run.hash),
        "fired": fired,
        "broken": broken,
        "records": run.trace.len(),
        "cut": [cut.start, cut.end],
        "trace": trace(&run.trace, &cut),
    })
}

/// Returns which of `records` records are not drawn.
fn cut(records: usize) -> Range<usize> {
    let [first, last] = MOST;
    if records > first + last { first..records - last } else { 0..0 }
}

/// The records, with their numbers. Of those that are not drawn, the few that the lanes before and
/// after the cut depend on.
fn trace(records: &[Record], cut: &Range<usize>) -> Value {
    let frequent = |what: &What| match what {
        What::Effect(Effect::Report(Report::BoardSick(..) | Report::BoardWell(_))) => false,
        What::Event(_) | What::Effect(_) => true,
        _ => false,
    };
    let kept = records.iter().enumerate().filter(|(n, r)| !cut.contains(n) || !frequent(&r.what));
    let numbered = kept.map(|(n, of)| {
        let mut json = record(of);
        json["n"] = n.into();
        if let Some(text) = json["text"].as_str()
            && let Some((at, _)) = text.char_indices().nth(LONGEST)
        {
            json["text"] = format!("{}\u{2026}", &text[..at]).into();
        }
        json
    });
    numbered.collect()
}

/// JSON inside a `script` element. Nothing in it can end that element or begin a comment.
fn data(json: &Value) -> String {
    json.to_string().replace('<', "\\u003c")
}

/// Text inside an element.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Puts the parts, in this order, where a template has `<!--name-->`. What was put in is not looked
/// at again.
fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    for (name, part) in parts {
        if let Some((before, after)) = rest.split_once(&format!("<!--{name}-->")) {
            page.push_str(before);
            page.push_str(part);
            rest = after;
        }
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests;
