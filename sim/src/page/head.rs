//! What somebody reads first: whether the run kept its promises; if not, which one it broke, what
//! things looked like at that moment, and what came just before.

use crate::fault::Fault;
use crate::page::story::{Gone, Outcome, Process, Story};
use crate::page::text::{Clock, Ending, Esc, Html, Lasting};
use crate::page::{kind, meaning};
use crate::trace::{Record, What, Who};
use crate::world::{Broken, Run};

/// How many steps before the break are told.
const STEPS: usize = 12;

/// What came of the run.
pub fn verdict(out: &mut Html, run: &Run, story: &Story) {
    match &run.broken {
        Some(broken) => broke(out, run, story, broken),
        None => out.add(format_args!(
            "<section class=\"verdict good\"><h2>Every promise was kept</h2><p>After each of {} \
             events, and again when everything had had its time, all promises were judged; none was \
             broken.</p></section>\n",
            run.events
        )),
    }
}

fn broke(out: &mut Html, run: &Run, story: &Story, broken: &Broken) {
    out.add(format_args!(
        "<section class=\"verdict bad\"><h2><em>Broken promise</em> <code>{}</code></h2>\n\
         <p>{}</p>\n<p class=\"how\"><em>What was seen:</em> {}</p>\n",
        Esc(broken.promise),
        Esc(meaning::of(broken.promise)),
        Esc(&broken.how)
    ));
    let Some(at) = story.broken else {
        return out.add(format_args!("<p>The records say nothing of its moment.</p></section>\n"));
    };
    out.add(format_args!(
        "<p>It broke at {} s of virtual time, {}. <button data-go=\"{at}\">Show the moment</button>\
         </p>\n<div class=\"two\"><div><h3>Things at that moment</h3><ul class=\"state\">\n",
        Clock(broken.at),
        if story.calm.is_some() { "after the faults had stopped" } else { "while faults struck" },
    ));
    state(out, &run.trace, story, at);
    out.add(format_args!("</ul></div><div><h3>What came just before</h3><ol class=\"steps\">\n"));
    steps(out, &run.trace, at);
    out.add(format_args!("</ol></div></div></section>\n"));
}

/// Zombies, what lives, and boards in trouble.
fn state(out: &mut Html, records: &[Record], story: &Story, at: usize) {
    let since = |n: usize| records[at].at.saturating_sub(records[n].at);
    let there = |p: &&Process| p.started <= at && p.last(at) >= at && p.gone != Gone::AtOnce;
    for process in story.processes.values().filter(there) {
        let (class, state) = match process.ended {
            Some((n, status)) if process.gone != Gone::Untold => {
                ("zombie", format!("zombie for {}, {}", Lasting(since(n)), Ending(status)))
            }
            Some(_) => continue,
            None => ("alive", format!("alive for {}", Lasting(since(process.started)))),
        };
        out.add(format_args!(
            "<li><button class=\"{class}\" data-lane=\"p{}\">process {}</button> pid {}, {}, {}</li>\n",
            process.uid.0,
            process.uid.0,
            process.pid,
            Esc(whose(process)),
            Esc(state)
        ));
    }
    for (id, board) in &story.boards {
        for trouble in board.troubles.iter().filter(|t| t.from <= at && t.to >= at) {
            let known = if trouble.seen { "not seen well since" } else { "for" };
            trouble_line(
                out,
                *id,
                trouble.name,
                &format!("{known} {}", Lasting(since(trouble.from))),
            );
        }
        for asked in board.asked.iter().filter(|a| a.outcome == Outcome::Open && a.from < at) {
            let how =
                format!("sexton {} has waited for {}", asked.seat, Lasting(since(asked.from)));
            trouble_line(out, *id, "no answer yet", &how);
        }
        for (seat, aside) in board.aside.iter().filter(|(_, a)| a.start <= at && a.end >= at) {
            let how = format!("by sexton {seat} since {}", Lasting(since(aside.start)));
            trouble_line(out, *id, "left alone", &how);
        }
    }
    for (seat, place) in story.seats.iter().filter(|(_, place)| !place.alive) {
        let dead = place.lives.last().map_or(0, |life| since(life.end));
        out.add(format_args!(
            "<li><button class=\"dead\" data-lane=\"d{seat}\">sexton {seat}</button> dead for {}</li>\n",
            Lasting(dead)
        ));
    }
}

fn trouble_line(out: &mut Html, board: u32, name: &str, how: &str) {
    out.add(format_args!(
        "<li><button class=\"trouble\" data-lane=\"b{board}\">board {board}</button> {}, {}</li>\n",
        Esc(name),
        Esc(how)
    ));
}

/// For which task, and whose, a process is.
pub fn whose(process: &Process) -> String {
    let of = process.seat.map(|seat| format!(" of sexton {seat}")).unwrap_or_default();
    match (process.member, process.leader) {
        (true, Some(leader)) => format!("left by process {}{of}", leader.0),
        (true, None) => format!("left by a worker{of}"),
        (false, _) => format!("task {}{of}", process.task),
    }
}

/// The last steps before the break that matter.
fn steps(out: &mut Html, records: &[Record], at: usize) {
    let matters = |(_, record): &(usize, &Record)| {
        !matches!(kind::class(record), "routine" | "report") && record.who != Who::World
    };
    let steps: Vec<_> =
        records.iter().enumerate().take(at).rev().filter(matters).take(STEPS).collect();
    let end = (at, &records[at]);
    for (n, record) in steps.into_iter().rev().chain([end]) {
        let class =
            if matches!(record.what, What::Broken { .. }) { "broken" } else { kind::class(record) };
        out.add(format_args!(
            "<li class=\"{class}\"><button data-go=\"{n}\">{}</button></li>\n",
            Esc(kind::line(record))
        ));
    }
}

/// The faults of this run, most frequent first, to be chosen from.
pub fn faults(out: &mut Html, run: &Run) {
    let mut fired: Vec<_> =
        Fault::ALL.iter().zip(run.fired).filter(|(_, times)| *times > 0).collect();
    fired.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    if fired.is_empty() {
        out.add(format_args!("<p>No fault struck.</p>"));
    }
    for (fault, times) in fired {
        out.add(format_args!(
            "<button class=\"chip\" data-find=\"fault: {0}\">{0} <b>{times}</b></button>\n",
            Esc(fault.name())
        ));
    }
}

/// Times of this run, in one line.
pub fn facts(out: &mut Html, run: &Run) {
    let lasted = run.trace.last().map_or(0, |record| record.at);
    let struck: u64 = run.fired.iter().map(|times| u64::from(*times)).sum();
    out.add(format_args!(
        "{} records, {} events handed to dispatchers, {struck} faults, {} of virtual time, hash \
         {:016x}",
        run.trace.len(),
        run.events,
        Lasting(lasted),
        run.hash
    ));
}
