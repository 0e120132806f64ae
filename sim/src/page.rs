//! A run as one page that explains itself, in a file that needs nothing else: what became of each
//! dispatcher, board and process, drawn over time, with every record as text below.

mod head;
mod kind;
mod lane;
mod list;
mod meaning;
mod scale;
mod story;
mod text;

use crate::world::Run;
use lane::Lanes;
use scale::Scale;
use story::Story;
use text::{Esc, Html, fill};

/// The newest records are drawn, and no more than so many: a run that never ends has far more than a
/// browser can show.
const MOST: usize = 6_000;

/// A run as a page. It draws what is in the run's trace, so the run must have been traced.
#[must_use]
pub fn page(title: &str, run: &Run) -> String {
    let story = Story::of(&run.trace);
    let scale = Scale::new(&run.trace, run.trace.len().saturating_sub(MOST));
    let lanes = Lanes { records: &run.trace, story: &story, scale: &scale };
    let title = Esc(title).to_string();
    let parts = [
        ("title", title.clone()),
        ("style", include_str!("page/page.css").to_owned()),
        ("heading", title),
        ("facts", part(|out| head::facts(out, run))),
        ("left out", part(|out| left_out(out, scale.first))),
        ("verdict", part(|out| head::verdict(out, run, &story))),
        ("faults", part(|out| head::faults(out, run))),
        ("width", scale.width.to_string()),
        ("lanes", part(|out| lanes.draw(out))),
        ("rows", part(|out| list::rows(out, &run.trace, scale.first))),
        ("script", include_str!("page/page.js").to_owned()),
    ];
    let parts: Vec<(&str, &str)> =
        parts.iter().map(|(name, part)| (*name, part.as_str())).collect();
    fill(include_str!("page/page.html"), &parts)
}

fn part(write: impl FnOnce(&mut Html)) -> String {
    let mut out = Html::default();
    write(&mut out);
    out.done()
}

fn left_out(out: &mut Html, first: usize) {
    if first > 0 {
        out.add(format_args!(
            "<p class=\"left-out\">The run is long: its first {first} records are not drawn.</p>\n"
        ));
    }
}

#[cfg(test)]
mod tests;
