//! The lanes: one for each dispatcher, board and process, drawn against the time axis. Places are
//! handed to the style sheet as numbers, which it multiplies by the zoom.

use std::ops::Range;

use crate::page::head::whose;
use crate::page::kind;
use crate::page::scale::Scale;
use crate::page::story::{Asked, Board, Gone, Outcome, Process, Seat, Story, Trouble};
use crate::page::text::{Clock, Ending, Esc, Html, Lasting};
use crate::trace::{Record, What, Who};

/// The id of a party's lane.
pub fn id(who: Who) -> String {
    match who {
        Who::World => "w".to_owned(),
        Who::Dispatcher(seat) => format!("d{seat}"),
        Who::Board(board) => format!("b{}", board.0),
        Who::Process(uid) => format!("p{}", uid.0),
    }
}

/// Draws all of them.
pub struct Lanes<'a> {
    pub records: &'a [Record],
    pub story: &'a Story,
    pub scale: &'a Scale,
}

/// Rows in a lane.
const NAMES: u32 = 14;

impl Lanes<'_> {
    /// Everything below the axis, and the axis.
    pub fn draw(&self, out: &mut Html) {
        self.rules(out);
        self.axis(out);
        section(
            out,
            "Dispatchers",
            "each lane is one running dispatcher: above what it is told, below what it asks for",
        );
        for (number, seat) in &self.story.seats {
            self.seat(out, *number, seat);
        }
        section(
            out,
            "Boards",
            "each lane is one task list in a file: what is wrong with it, and below it the requests \
             of each dispatcher, from being sent to being answered",
        );
        for (number, board) in &self.story.boards {
            self.board(out, *number, board);
        }
        section(
            out,
            "Processes",
            "each lane is one worker, or what a worker started: alive, then dead but not reaped (a \
             zombie), then gone",
        );
        for process in self.story.processes.values() {
            self.process(out, process);
        }
    }

    /// Lines through all lanes.
    fn rules(&self, out: &mut Html) {
        for (x, _) in &self.scale.gaps {
            out.add(format_args!("<div class=\"rule gap\" style=\"--x:{x}\"></div>\n"));
        }
        for (class, record) in [("calm", self.story.calm), ("broken", self.story.broken)] {
            if let Some(n) = record {
                let x = self.scale.x(n);
                out.add(format_args!("<div class=\"rule {class}\" style=\"--x:{x}\"></div>\n"));
            }
        }
        out.add(format_args!("<div class=\"rule cursor\" id=\"cursor\" hidden=\"\"></div>\n"));
    }

    fn axis(&self, out: &mut Html) {
        let first = self.records.get(self.scale.first).map_or(0, |record| record.at);
        out.add(format_args!(
            "<div class=\"lane axis\"><div class=\"name\"><b>virtual time</b><small>in seconds, not to \
             scale</small></div><svg height=\"40\"><g class=\"labels\">\n"
        ));
        let flags = [
            ("calm", self.story.calm, "faults stop here".to_owned()),
            ("broken", self.story.broken, self.broken_name()),
        ];
        for (class, record, text) in flags {
            if let Some(n) = record {
                out.add(format_args!(
                    "<text class=\"flag {class}\" style=\"--x:{}\" y=\"13\" data-r=\"{n}\">{}</text>\n",
                    self.scale.x(n),
                    Esc(text)
                ));
            }
        }
        out.add(format_args!("</g><g class=\"marks\" transform=\"translate(0 8)\">\n"));
        self.story.world.iter().for_each(|n| self.mark(out, *n));
        out.add(format_args!("</g><g class=\"labels\">\n"));
        for (x, passed) in &self.scale.gaps {
            out.add(format_args!(
                "<text class=\"skip\" style=\"--x:{x}\" y=\"36\">\u{2248} {}</text>\n",
                Lasting(*passed)
            ));
        }
        let (mut last, mut at) = (0, first);
        for (n, record) in self.records.iter().enumerate().skip(self.scale.first) {
            let x = self.scale.x(n);
            if n == self.scale.first || (x >= last + 56 && record.at > at) {
                out.add(format_args!(
                    "<text class=\"time\" style=\"--x:{x}\" y=\"36\">{}</text>\n",
                    Clock(record.at)
                ));
                (last, at) = (x, record.at);
            }
        }
        out.add(format_args!("</g></svg></div>\n"));
    }

    fn broken_name(&self) -> String {
        match self.story.broken.and_then(|n| self.records.get(n)).map(|record| &record.what) {
            Some(What::Broken { promise, .. }) => format!("\u{2717} {promise}"),
            _ => String::new(),
        }
    }

    fn seat(&self, out: &mut Html, number: usize, seat: &Seat) {
        let lives = seat.lives.len();
        let note = match (lives, seat.alive) {
            (0 | 1, true) => String::new(),
            (lives, true) => format!("{lives} lives"),
            (_, false) => "dead at the end".to_owned(),
        };
        let colour = number % 6;
        open(
            out,
            &format!("dispatcher s{colour}"),
            &format!("d{number}"),
            &format!("sexton {number}"),
            &note,
            62,
        );
        for life in &seat.lives {
            let what = format!("sexton {number} is alive");
            self.bar(out, "life", life.clone(), NAMES + 1, 44, &what);
        }
        self.names(out, &seat.marks);
        for (class, y) in [("told", NAMES + 12), ("asked", NAMES + 34)] {
            out.add(format_args!("<g class=\"marks {class}\" transform=\"translate(0 {y})\">\n"));
            for n in seat.marks.iter().filter(|n| self.side(**n) == class) {
                self.mark(out, *n);
            }
            out.add(format_args!("</g>"));
        }
        close(out);
    }

    /// On which side of a dispatcher's lane a record is.
    fn side(&self, n: usize) -> &'static str {
        match self.records[n].what {
            What::Effect(_) => "asked",
            What::Event(_) => "told",
            What::Fault(_) => "fault",
            What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Calm
            | What::Broken { .. } => "told",
        }
    }

    fn board(&self, out: &mut Html, number: u32, board: &Board) {
        let seats = self.story.seats.keys().copied();
        let rows: Vec<usize> = seats.collect();
        let height = NAMES + 20 + 12 * rows.len() as u32;
        let wrote = board.asked.iter().filter(|a| a.outcome == Outcome::Wrote).count();
        let note = format!("{} requests, {wrote} wrote", board.asked.len());
        open(out, "board", &format!("b{number}"), &format!("board {number}"), &note, height);
        self.names(out, &board.marks);
        for trouble in &board.troubles {
            self.trouble(out, trouble);
        }
        for (row, seat) in rows.iter().enumerate() {
            let y = NAMES + 18 + 12 * row as u32;
            for (_, aside) in board.aside.iter().filter(|(of, _)| of == seat) {
                let what = format!("sexton {seat} leaves the board alone: it has failed");
                self.bar(out, "aside", aside.clone(), y, 10, &what);
            }
            for asked in board.asked.iter().filter(|asked| asked.seat == *seat) {
                self.asked(out, asked, y);
            }
        }
        out.add(format_args!("<g class=\"labels\">\n"));
        for trouble in &board.troubles {
            self.label(out, "in", trouble.from, NAMES + 13, trouble.name);
        }
        out.add(format_args!("</g>\n"));
        close(out);
    }

    fn trouble(&self, out: &mut Html, trouble: &Trouble) {
        let lasted = self.between(trouble.from, trouble.to);
        let how = if trouble.seen { "first seen to be over after" } else { "for" };
        let what = format!("{}, {how} {lasted}", trouble.name);
        self.bar(out, "ill", trouble.from..trouble.to, NAMES + 3, 13, &what);
    }

    fn asked(&self, out: &mut Html, asked: &Asked, y: u32) {
        let (class, came) = match asked.outcome {
            Outcome::Wrote => ("wrote", "answered, and something was written"),
            Outcome::Looked => ("looked", "answered, nothing was written"),
            Outcome::Failed => ("failed", "failed, nothing was written"),
            Outcome::Maybe => ("maybe", "failed, and may have been written all the same"),
            Outcome::Lost => ("lost", "its dispatcher died before the answer"),
            Outcome::Open => ("lost", "not answered when the run ended"),
        };
        let lasted = self.between(asked.from, asked.to);
        let what = format!("request of sexton {}, {lasted}: {came}", asked.seat);
        let class = format!("req {class} s{}", asked.seat % 6);
        self.bar(out, &class, asked.from..asked.to, y + 2, 7, &what);
        if matches!(asked.outcome, Outcome::Wrote | Outcome::Failed | Outcome::Maybe) {
            let sign = if asked.outcome == Outcome::Wrote { "wrote" } else { "no" };
            self.sign(out, sign, asked.to, y + 5);
        }
    }

    fn process(&self, out: &mut Html, process: &Process) {
        let end = self.records.len().saturating_sub(1);
        if process.last(end) < self.scale.first {
            return;
        }
        let zombie = process.zombie(end);
        let class = format!(
            "process{}{}",
            process.seat.map(|seat| format!(" s{}", seat % 6)).unwrap_or_default(),
            if process.gone == Gone::Not { " left" } else { "" }
        );
        let (uid, note) = (process.uid.0, format!("pid {}, {}", process.pid, whose(process)));
        let id =
            format!("p{uid}\" data-from=\"{}\" data-to=\"{}", process.started, process.last(end));
        open(out, &class, &id, &format!("process {uid}"), &note, 18);
        let ended = process.ended.map_or(end, |(at, _)| at);
        let lived = self.between(process.started, ended);
        self.bar(out, "alive", process.started..ended, 3, 12, &format!("alive for {lived}"));
        if let Some(zombie) = &zombie {
            let lasted = self.between(zombie.start, zombie.end);
            self.bar(out, "zombie", zombie.clone(), 3, 12, &format!("zombie for {lasted}"));
        }
        out.add(format_args!("<g class=\"marks\">\n"));
        for (n, _) in &process.faults {
            self.sign(out, "fault", *n, 9);
        }
        match process.gone {
            Gone::Reaped(n) => self.sign(out, "yes", n, 9),
            Gone::WithDispatcher(n) => self.sign(out, "dead", n, 9),
            Gone::AtOnce | Gone::Untold => self.sign(out, "end", ended, 9),
            Gone::Not => {}
        }
        out.add(format_args!("</g>\n"));
        let last = process.last(end);
        self.label(out, "fate", last, 13, &self.fate(process, zombie.as_ref()));
        close(out);
    }

    /// What became of a process, in words.
    fn fate(&self, process: &Process, zombie: Option<&Range<usize>>) -> String {
        let mut parts: Vec<String> =
            process.faults.iter().map(|(_, fault)| fault.name().to_owned()).collect();
        let Some((_, status)) = process.ended else {
            parts.push("still alive".to_owned());
            return parts.join(", ");
        };
        parts.push(Ending(status).to_string());
        if let Some(zombie) = zombie {
            parts.push(format!("zombie for {}", self.between(zombie.start, zombie.end)));
        }
        parts.push(
            match process.gone {
                Gone::Not => "never reaped",
                Gone::Reaped(_) => "reaped",
                Gone::AtOnce => "taken at once by its parent or pid 1",
                Gone::WithDispatcher(_) => "taken by pid 1 when its dispatcher died",
                Gone::Untold => "taken by whom is not told",
            }
            .to_owned(),
        );
        parts.join(", ")
    }

    fn between(&self, from: usize, to: usize) -> Lasting {
        let at = |n: usize| self.records.get(n).map_or(0, |record| record.at);
        Lasting(at(to).saturating_sub(at(from)))
    }

    /// The faults of a lane, with as many of their names as there is room for.
    fn names(&self, out: &mut Html, marks: &[usize]) {
        out.add(format_args!("<g class=\"marks\" transform=\"translate(0 7)\">\n"));
        let named: Vec<(usize, &str)> = marks
            .iter()
            .filter_map(|n| match &self.records[*n].what {
                What::Fault(fault) => Some((*n, fault.name())),
                What::Note(text) => Some((*n, text.as_str())),
                What::Event(_)
                | What::Effect(_)
                | What::Started { .. }
                | What::Ended(_)
                | What::Reaped
                | What::Calm
                | What::Broken { .. } => None,
            })
            .collect();
        named.iter().for_each(|(n, _)| self.mark(out, *n));
        out.add(format_args!("</g><g class=\"labels\">\n"));
        for (n, name) in named {
            let class =
                if matches!(self.records[n].what, What::Fault(_)) { "fault" } else { "note" };
            self.label(out, class, n, 11, name);
        }
        out.add(format_args!("</g>\n"));
    }

    /// The sign of a record, at the moment of that record.
    fn mark(&self, out: &mut Html, n: usize) {
        let sign = match &self.records[n].what {
            What::Fault(_) => "fault",
            What::Note(text) if text.starts_with("begins") => "begin",
            What::Note(text) if text.starts_with("dies") => "dead",
            What::Note(_) => "note",
            what @ (What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Calm
            | What::Broken { .. }) => kind::of(what).sign,
        };
        self.sign(out, sign, n, 0);
    }

    fn sign(&self, out: &mut Html, sign: &str, n: usize, y: u32) {
        if n >= self.scale.first {
            out.add(format_args!(
                "<use href=\"#{sign}\" class=\"g-{sign}\" style=\"--x:{}\" y=\"{y}\" data-r=\"{n}\"/>\n",
                self.scale.x(n)
            ));
        }
    }

    fn label(&self, out: &mut Html, class: &str, n: usize, y: u32, text: &str) {
        if n >= self.scale.first {
            out.add(format_args!(
                "<text class=\"{class}\" style=\"--x:{}\" y=\"{y}\" data-r=\"{n}\">{}</text>\n",
                self.scale.x(n),
                Esc(text)
            ));
        }
    }

    fn bar(
        &self,
        out: &mut Html,
        class: &str,
        time: Range<usize>,
        y: u32,
        height: u32,
        what: &str,
    ) {
        if time.end < self.scale.first {
            return;
        }
        let (from, to) = (self.scale.x(time.start), self.scale.x(time.end));
        out.add(format_args!(
            "<rect class=\"{class}\" style=\"--x:{from};--w:{}\" y=\"{y}\" height=\"{height}\" \
             data-r=\"{}\" data-t=\"{}\"/>\n",
            to.saturating_sub(from),
            time.start.max(self.scale.first),
            Esc(what)
        ));
    }
}

fn section(out: &mut Html, name: &str, text: &str) {
    out.add(format_args!(
        "<div class=\"section\"><h3>{} <small>{}</small></h3></div>\n",
        Esc(name),
        Esc(text)
    ));
}

fn open(out: &mut Html, class: &str, id: &str, name: &str, note: &str, height: u32) {
    out.add(format_args!(
        "<div class=\"lane {class}\" id=\"{id}\"><div class=\"name\"><b>{}</b><small>{}</small></div>\
         <svg height=\"{height}\">\n",
        Esc(name),
        Esc(note)
    ));
}

fn close(out: &mut Html) {
    out.add(format_args!("</svg></div>\n"));
}
