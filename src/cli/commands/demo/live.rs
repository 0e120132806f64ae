//! What is seen while it works: bars on a terminal, a few lines elsewhere, nothing for programs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::playbill::{ACTS, FALLING, HEALTHY, TORN};
use super::stage::Stage;
use crate::cli::colour::wants_colour;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::machine::ids::SpawnId;
use crate::machine::verdict::Verdict;
use crate::runtime::daemon::Daemon;

/// The boards in the order in which they are shown.
const BOARDS: [&str; 4] = [HEALTHY[0], HEALTHY[1], FALLING, TORN];

/// Each attempt's board and task.
pub type Attempts = BTreeMap<SpawnId, (String, String)>;

/// The loop's end of the view.
#[derive(Debug)]
pub struct Live {
    painter: Option<Painter>,
    attempts: Attempts,
    last: Picture,
}

/// A thread of its own draws: nobody may read what it writes.
#[derive(Debug)]
struct Painter {
    pictures: Sender<Picture>,
    thread: JoinHandle<Result<(), Failure>>,
}

#[derive(Debug)]
enum View {
    Lines,
    Bars { boards: Vec<ProgressBar>, total: ProgressBar },
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Picture {
    boards: [Standing; 4],
    spawned: u64,
    reaped: u64,
    zombies: usize,
}

/// How a board stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    running: usize,
    done: usize,
    sick: bool,
}

impl Live {
    /// Says what is going to happen.
    pub fn begin(json: bool, stage: &Stage) -> Result<Live, Failure> {
        let painter = if json {
            None
        } else {
            headline(stage)?;
            let view = if io::stdout().is_terminal() { bars() } else { View::Lines };
            Some(Painter::start(view).map_err(super::cannot("start to draw"))?)
        };
        Ok(Live { painter, attempts: Attempts::new(), last: Picture::default() })
    }

    /// Shows how things are now. Waits for nothing.
    pub fn look(&mut self, daemon: &Daemon, zombies: usize) {
        self.remember(daemon);
        let Some(painter) = &self.painter else { return };
        let tally = daemon.tally();
        let picture = Picture {
            boards: BOARDS.map(|name| self.standing(daemon, name)),
            spawned: tally.spawned,
            reaped: tally.reaped,
            zombies,
        };
        if picture != self.last {
            self.last = picture.clone();
            let _ends_early_if_it_cannot_write = painter.pictures.send(picture);
        }
    }

    /// Leaves the last picture standing. Fails if something was wrong with the output.
    pub fn end(&mut self) -> Result<(), Failure> {
        let Some(Painter { pictures, thread }) = self.painter.take() else { return Ok(()) };
        drop(pictures);
        thread.join().unwrap_or_else(|_| Err(Failure::Refused("cannot draw".to_owned())))
    }

    /// Every attempt that was seen.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// The daemon forgets an attempt when it is over.
    fn remember(&mut self, daemon: &Daemon) {
        let names = daemon.names();
        for (spawn, (board, task)) in &names.runs {
            if !self.attempts.contains_key(spawn) {
                let board = names.boards.get(board).cloned().unwrap_or_default();
                self.attempts.insert(*spawn, (board, task.to_string()));
            }
        }
    }

    fn standing(&self, daemon: &Daemon, name: &str) -> Standing {
        let is_here = |spawn: &SpawnId| self.attempts.get(spawn).is_some_and(|(b, _)| b == name);
        let names = daemon.names();
        let machine = daemon.machine();
        Standing {
            running: machine
                .attempts()
                .filter(|(_, a)| is_here(&a.id()) && a.stage().uses_host_slot())
                .count(),
            done: daemon
                .tally()
                .each
                .recorded
                .iter()
                .filter(|(spawn, verdict)| *verdict == Verdict::Completed && is_here(spawn))
                .count(),
            sick: machine.boards().any(|board| {
                board.is_sick() && names.boards.get(&board.id()).is_some_and(|board| board == name)
            }),
        }
    }
}

impl Painter {
    fn start(view: View) -> io::Result<Painter> {
        let (pictures, seen) = channel();
        let paint = move || view.paint(&seen);
        let thread = thread::Builder::new().name("painter".to_owned()).spawn(paint)?;
        Ok(Painter { pictures, thread })
    }
}

impl View {
    /// Draws one picture after the other.
    fn paint(&self, pictures: &Receiver<Picture>) -> Result<(), Failure> {
        let mut told = [false; 4];
        for picture in pictures {
            match self {
                View::Lines => tell_news(&picture, &mut told)?,
                View::Bars { boards, total } => draw(&picture, boards, total),
            }
        }
        if let View::Bars { boards, total } = self {
            boards.iter().chain([total]).for_each(ProgressBar::abandon);
        }
        Ok(())
    }
}

fn draw(picture: &Picture, boards: &[ProgressBar], total: &ProgressBar) {
    for ((name, now), bar) in BOARDS.iter().zip(picture.boards).zip(boards) {
        bar.set_position(u64::try_from(now.done).unwrap_or(0));
        bar.set_message(words(name, now));
    }
    let Picture { spawned, reaped, zombies, .. } = picture;
    total.set_message(format!("{spawned} started · {reaped} reaped · {zombies} zombies now"));
}

fn tell_news(picture: &Picture, told: &mut [bool; 4]) -> Result<(), Failure> {
    let mut out = Out::new();
    for ((name, now), told) in BOARDS.iter().zip(picture.boards).zip(told) {
        if now.sick && !*told {
            out.line(format_args!("  the board `{name}` is found damaged and left alone"))?;
            *told = true;
        }
    }
    out.flush()
}

fn headline(stage: &Stage) -> Result<(), Failure> {
    let mut out = Out::new();
    out.line(format_args!(
        "sexton now runs {} tasks from four boards. One board is damaged already, another will be \
         while its workers run;",
        stage.tasks.len()
    ))?;
    out.line("the other two must not notice, and every worker that ends must be cleared away.\n")?;
    out.flush()
}

fn bars() -> View {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
    let template = if wants_colour(&std::io::stdout()) {
        "  {prefix:9} {bar:20.green/black.bright} {msg}"
    } else {
        "  {prefix:9} {bar:20} {msg}"
    };
    let boards = BOARDS.map(|name| {
        let tasks = u64::try_from(tasks_of(name)).unwrap_or(0);
        let bar = all.add(ProgressBar::new(tasks)).with_prefix(name);
        bar.set_style(style(template));
        bar
    });
    let total = all.add(ProgressBar::new_spinner());
    total.set_style(style("\n  {msg}"));
    View::Bars { boards: boards.to_vec(), total }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

fn words(name: &str, now: Standing) -> String {
    let waiting = tasks_of(name).saturating_sub(now.running + now.done);
    let counts = format!("{waiting:2} waiting · {} running · {:2} done", now.running, now.done);
    if now.sick { format!("{counts} · sick") } else { counts }
}

fn tasks_of(board: &str) -> usize {
    ACTS.iter().filter(|act| act.board == board).count()
}
