//! The end of the demo, for people and for programs.

use comfy_table::{Cell, Color};
use serde_json::{Value, json};

use super::findings::{Fate, Findings};
use super::playbill::{End, FALLING, HEALTHY, TORN};
use crate::cli::colour::wants_colour;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::plain::plain;
use crate::cli::table::table;

/// Prints what was found.
pub fn print(found: &Findings, json: bool) -> Result<(), Failure> {
    let mut out = Out::new();
    if json {
        out.json(&document(found))?;
        return out.flush();
    }
    heading(&mut out, "What became of each task")?;
    out.line(indented(&rows(&found.tasks)))?;
    heading(&mut out, "Workers")?;
    workers(&mut out, found)?;
    heading(&mut out, "The damaged boards")?;
    boards(&mut out, found)?;
    heading(&mut out, "In short")?;
    in_short(&mut out, found)?;
    out.flush()
}

fn heading(out: &mut Out, words: &str) -> Result<(), Failure> {
    if wants_colour(&std::io::stdout()) {
        out.line(format_args!("\n\x1b[1m{words}\x1b[0m"))
    } else {
        out.line(format_args!("\n{words}"))
    }
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!(" {line}")).collect::<Vec<_>>().join("\n")
}

fn rows(tasks: &[Fate]) -> String {
    let mut table = table(&["BOARD", "TASK", "WHAT IT DOES", "WHAT BECAME OF IT", "TRIES"]);
    for task in tasks {
        table.add_row([
            Cell::new(task.act.board),
            Cell::new(task.act.title),
            Cell::new(task.act.does),
            coloured(task),
            Cell::new(task.attempts),
        ]);
    }
    table.trim_fmt()
}

fn coloured(task: &Fate) -> Cell {
    let cell = Cell::new(plain(&task.outcome));
    match task.end {
        _ if !task.is_right() => cell.fg(Color::Red),
        Some(End::Done) => cell.fg(Color::Green),
        Some(End::GaveUp | End::Resting) => cell.fg(Color::Yellow),
        Some(End::OutOfUse) | None => cell.fg(Color::DarkGrey),
    }
}

fn workers(out: &mut Out, found: &Findings) -> Result<(), Failure> {
    let zombies = found.zombies;
    let mut line = |value: String, words: &str| out.line(format_args!("  {value:>6}  {words}"));
    line(found.spawned.to_string(), "started")?;
    line(
        found.reaped.to_string(),
        "reaped: their ends were seen and their places in the process \
                                    table freed",
    )?;
    line(found.orphans.to_string(), "more that workers had left behind, reaped too")?;
    line(zombies.left.to_string(), "zombies left (ended, but still in the process table)")?;
    let longest = format!("{} ms", zombies.longest_ms);
    line(
        longest,
        &format!(
            "the longest that a zombie was seen; an observer looked {} times, and met {}",
            zombies.looks, zombies.met
        ),
    )
}

fn boards(out: &mut Out, found: &Findings) -> Result<(), Failure> {
    let files = &found.files;
    let torn = state(found.torn_is_unchanged());
    out.line(format_args!("  {TORN:8} damaged from the start; its file is {torn}"))?;
    out.line(format_args!("           sha256 {}", files.torn_after))?;
    let falling = state(found.falling_is_unchanged());
    out.line(format_args!(
        "  {FALLING:8} damaged under its workers; since then its file is {falling}"
    ))?;
    out.line(format_args!("           sha256 {}", files.falling_after))?;
    if found.untaken.is_empty() {
        return out.line("           it took the exits of all its workers");
    }
    out.line("           It can record nothing any more. These workers were reaped all the same:")?;
    for exit in &found.untaken {
        out.line(format_args!("           {} ({}): {}", exit.title, exit.id, exit.verdict))?;
    }
    Ok(())
}

fn state(unchanged: bool) -> &'static str {
    if unchanged { "unchanged" } else { "CHANGED" }
}

fn in_short(out: &mut Out, found: &Findings) -> Result<(), Failure> {
    let failed = found.failed();
    if failed.is_empty() {
        let healthy = found.tasks.iter().filter(|t| HEALTHY.contains(&t.act.board)).count();
        return out.line(format_args!(
            "  Every worker was reaped. The damaged boards cost the others nothing: all {healthy} of \
             their tasks\n  ended as they had to."
        ));
    }
    out.line("  Something is not as it should be:")?;
    failed.iter().try_for_each(|words| out.line(format_args!("  - {}", plain(words))))
}

fn document(found: &Findings) -> Value {
    let (files, zombies) = (&found.files, found.zombies);
    json!({
        "spawned": found.spawned,
        "reaped": found.reaped,
        "orphans_reaped": found.orphans,
        "zombies_left": zombies.left,
        "longest_zombie_ms": zombies.longest_ms,
        "observer": {
            "looks": zombies.looks, "zombies_met": zombies.met, "longest_pause_ms": zombies.blind_ms,
        },
        "healthy_settled": found.healthy_are_settled(),
        "tasks": found.tasks.iter().map(task_json).collect::<Vec<_>>(),
        "not_taken": found.untaken.iter().map(|exit| json!({
            "board": FALLING, "task": exit.id, "title": exit.title, "verdict": exit.verdict,
        })).collect::<Vec<_>>(),
        "damaged": [
            {
                "board": TORN, "after_damage": files.torn_before, "at_the_end": files.torn_after,
                "unchanged": found.torn_is_unchanged(),
            },
            {
                "board": FALLING, "after_damage": files.falling_damaged,
                "at_the_end": files.falling_after, "unchanged": found.falling_is_unchanged(),
            },
        ],
        "failed": found.failed(),
    })
}

fn task_json(task: &Fate) -> Value {
    let end = task.end.map(|end| match end {
        End::Done => "done",
        End::GaveUp => "gave_up",
        End::Resting => "resting",
        End::OutOfUse => "board_out_of_use",
    });
    json!({
        "board": task.act.board, "task": task.id, "title": task.act.title, "does": task.act.does,
        "end": end, "outcome": task.outcome, "attempts": task.attempts,
        "as_expected": task.is_right(),
    })
}
