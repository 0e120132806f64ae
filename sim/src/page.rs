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

use std::ops::Range;

use crate::world::Run;
use lane::Lanes;
use scale::Scale;
use story::Story;
use text::{Esc, Html, fill};

/// Records that are drawn at the beginning and at the end of a run. One that never ends has far more
/// than a browser can show; what is between repeats itself.
const MOST: [usize; 2] = [3_000, 1_500];

/// A run as a page. It draws what is in the run's trace, so the run must have been traced.
#[must_use]
pub fn page(title: &str, run: &Run) -> String {
    let story = Story::of(&run.trace);
    let scale = Scale::new(&run.trace, hidden(run.trace.len()));
    let lanes = Lanes { records: &run.trace, story: &story, scale: &scale };
    let title = Esc(title).to_string();
    let parts = [
        ("title", title.clone()),
        ("style", include_str!("page/page.css").to_owned()),
        ("heading", title),
        ("facts", part(|out| head::facts(out, run))),
        ("left out", part(|out| left_out(out, scale.hidden().len()))),
        ("verdict", part(|out| head::verdict(out, run, &story))),
        ("faults", part(|out| head::faults(out, run))),
        ("width", scale.width.to_string()),
        ("lanes", part(|out| lanes.draw(out))),
        ("rows", part(|out| list::rows(out, &run.trace, &scale))),
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

/// Which of so many records are not drawn.
fn hidden(records: usize) -> Range<usize> {
    let [first, last] = MOST;
    if records > first + last { first..records - last } else { 0..0 }
}

fn left_out(out: &mut Html, records: usize) {
    if records > 0 {
        out.add(format_args!(
            "<p class=\"left-out\">The run is long: {records} records in its middle are not drawn.</p>\n"
        ));
    }
}

#[cfg(test)]
mod tests;
