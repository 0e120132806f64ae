//! What the demo prints. No line is longer than 80 columns.

use std::io;

use comfy_table::{Cell, Color};
use serde_json::json;

use super::findings::{Findings, Standing};
use super::observer::{Seen, zombies_of};
use super::script::State;
use super::stage::Task;
use crate::cli::colour::wants_colour;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::table::table;
use crate::machine::ids::Pid;

/// What is printed while sexton works: bars on a terminal with colours, elsewhere a line a second.
/// It counts its pictures.
pub struct Progress(u32);

impl Progress {
    pub fn begin(tasks: usize) -> Result<Progress, Failure> {
        let mut out = Out::new();
        out.line(format_args!(
            "sexton runs {tasks} tasks from four boards. One board is damaged already, another\n\
             will be while its workers run. The other two must not notice, and every worker\n\
             must be reaped.\n"
        ))?;
        out.flush().map(|()| Progress(0))
    }

    /// Prints how things stand now; called ten times a second.
    pub fn show(&mut self, tasks: &[Standing<'_>], sexton: Pid) -> Result<(), Failure> {
        let mut out = Out::new();
        if wants_colour(&io::stdout()) {
            // Over the last ones. Nothing wraps where the terminal is too narrow.
            let up = if self.0 == 0 { "" } else { "\x1b[6A" };
            let bars = tasks.chunk_by(|a, b| a.task.board == b.task.board).map(bar);
            let bars: String = bars.collect();
            let zombies = zombies_of(sexton).map_or(0, |zombies| zombies.len());
            out.line(format_args!("{up}\x1b[?7l{bars}\x1b[K\n  {zombies} zombies\x1b[K\x1b[?7h"))?;
        } else if self.0.is_multiple_of(10) {
            let running = tasks.iter().filter(|standing| standing.state == State::Running);
            out.line(format_args!("  {} workers run", running.count()))?;
        }
        self.0 += 1;
        out.flush()
    }
}

/// A cell for each task of a board, in the colour of its state, and how many are in each state.
fn bar(board: &[Standing<'_>]) -> String {
    let mut tasks: Vec<&Standing<'_>> = board.iter().collect();
    tasks.sort_by_key(|standing| standing.state);
    let name = tasks.first().map_or("", |standing| standing.task.board);
    let (mut cells, mut words) = (String::new(), Vec::new());
    for same in tasks.chunk_by(|a, b| a.state == b.state) {
        let Some(one) = same.first() else { continue };
        let (colour, cell) = (one.state as u8, "━".repeat(same.len()));
        cells += &format!("\x1b[38;5;{colour}m{cell}\x1b[0m");
        words.push(format!("{} {}", same.len(), one.word()));
    }
    let pad = " ".repeat(12_usize.saturating_sub(tasks.len()));
    format!("  {name:8} {cells}{pad}  {}\x1b[K\n", words.join(" · "))
}

/// Prints what was found, the verdict first.
pub fn summary(found: &Findings<'_>, json: bool) -> Result<(), Failure> {
    let mut out = Out::new();
    if json {
        out.json(&json!(found))?;
        return out.flush();
    }
    if found.failed.is_empty() {
        heading(&mut out, "1;32", "PASSED: all of it went as it must.")?;
    } else {
        heading(&mut out, "1;31", "FAILED:")?;
        found.failed.iter().try_for_each(|claim| out.line(format_args!("  {claim}")))?;
    }
    heading(&mut out, "1", "Tasks")?;
    out.line(rows(&found.tasks))?;
    heading(&mut out, "1", "Workers")?;
    let [spawned, reaped, orphans] =
        ["spawned", "reaped", "orphans"].map(|key| found.sexton[key].to_string());
    let Seen { looks, zombies, longest_zombie_ms, left } = found.observer;
    let left = left.map_or_else(|| "?".to_owned(), |left| left.to_string());
    out.line(format_args!(
        "{spawned:>6} started\n{reaped:>6} reaped\n{orphans:>6} processes of theirs reaped, too\n\
         {left:>6} left, zombies or living\n{longest_zombie_ms:>6} ms: the longest that one of \
         {zombies} zombies was seen, in {looks} looks into /proc"
    ))?;
    heading(&mut out, "1", "Damaged boards")?;
    for (board, [after, end]) in &found.damaged {
        let is = if after == end { "unchanged" } else { "CHANGED" };
        let digest = end.as_ref().and_then(|digest| digest.get(..12)).unwrap_or_default();
        out.line(format_args!("  {board:8} {is} since the damage (sha256 {digest}…)"))?;
    }
    for lost in found.tasks.iter().filter(|standing| standing.state == State::NotRecorded) {
        let (Task { board, id, title, .. }, exit) = (lost.task, &lost.exit);
        out.line(format_args!("  {board:8} could not record {title} ({id}): {exit}"))?;
    }
    out.line(if found.failed.is_empty() {
        "\nEvery worker was reaped. No zombie is left. Nothing was written to the damaged\n\
         boards. All tasks of the other boards ended as they must."
    } else {
        "\nNot everything went as it must. What did not is listed at the top."
    })?;
    out.flush()
}

fn heading(out: &mut Out, colour: &str, words: &str) -> Result<(), Failure> {
    match wants_colour(&io::stdout()) {
        true => out.line(format_args!("\n\x1b[{colour}m{words}\x1b[0m")),
        false => out.line(format_args!("\n{words}")),
    }
}

/// Tasks that did the same and ended the same share a row.
fn rows(tasks: &[Standing<'_>]) -> String {
    let mut table = table(&["BOARD", "N", "WHAT IT DOES", "RESULT", "TRIES"]);
    table.set_width(80);
    let key = |s: &Standing<'_>| (s.task.board, s.task.does, s.result(), s.attempts);
    for same in tasks.chunk_by(|a, b| key(a) == key(b)) {
        let Some(one) = same.first() else { continue };
        let result = Cell::new(one.result()).fg(Color::AnsiValue(one.state as u8));
        let (board, does) = (Cell::new(one.task.board), Cell::new(one.task.does));
        table.add_row([board, Cell::new(same.len()), does, result, Cell::new(one.attempts)]);
    }
    table.trim_fmt()
}
