//! What is seen while it works: bars on a terminal, a few lines elsewhere, nothing for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::playbill::{ACTS, FALLING, HEALTHY, TORN};
use super::stage::Stage;
use crate::cli::out::wants_colour;
use crate::cli::{Failure, Out};
use crate::machine::ids::SpawnId;
use crate::machine::verdict::Verdict;
use crate::runtime::daemon::Daemon;

/// The boards in the order in which they are shown.
const BOARDS: [&str; 4] = [HEALTHY[0], HEALTHY[1], FALLING, TORN];

/// Each attempt's board and task.
pub type Attempts = BTreeMap<SpawnId, (String, String)>;

/// The view.
#[derive(Debug)]
pub struct Live {
    view: View,
    attempts: Attempts,
    told: BTreeSet<String>,
    trouble: Option<Failure>,
}

#[derive(Debug)]
enum View {
    Nothing,
    Lines,
    Bars { boards: Vec<ProgressBar>, total: ProgressBar },
}

/// How a board stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    running: usize,
    done: usize,
    sick: bool,
}

impl Live {
    /// Says what is going to happen.
    pub fn begin(json: bool, stage: &Stage) -> Result<Live, Failure> {
        let view = match (json, io::stdout().is_terminal()) {
            (true, _) => View::Nothing,
            (false, true) => bars(),
            (false, false) => View::Lines,
        };
        if !json {
            headline(stage)?;
        }
        let (attempts, told) = (Attempts::new(), BTreeSet::new());
        Ok(Live { view, attempts, told, trouble: None })
    }

    /// Shows how things are now.
    pub fn look(&mut self, daemon: &Daemon, zombies: usize) {
        self.remember(daemon);
        match &self.view {
            View::Nothing => {}
            View::Bars { boards, total } => {
                for (name, bar) in BOARDS.iter().zip(boards) {
                    let now = self.standing(daemon, name);
                    bar.set_position(u64::try_from(now.done).unwrap_or(0));
                    bar.set_message(words(name, now));
                }
                let tally = daemon.tally();
                total.set_message(format!(
                    "{} started · {} reaped · {zombies} zombies now",
                    tally.spawned,
                    tally.reaped.len()
                ));
            }
            View::Lines => {
                if let Err(failure) = self.tell_news(daemon) {
                    self.trouble.get_or_insert(failure);
                }
            }
        }
    }

    /// Leaves the last picture standing.
    pub fn end(&self) {
        if let View::Bars { boards, total } = &self.view {
            boards.iter().chain([total]).for_each(ProgressBar::abandon);
        }
    }

    /// What went wrong with the output, if anything did.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.trouble.take().map_or(Ok(()), Err)
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
            running: machine.runs().filter(|r| is_here(&r.spawn) && r.uses_host_slot()).count(),
            done: daemon
                .tally()
                .recorded
                .iter()
                .filter(|(spawn, verdict)| *verdict == Verdict::Completed && is_here(spawn))
                .count(),
            sick: machine.boards().any(|board| {
                board.sick_since.is_some()
                    && names.boards.get(&board.id).is_some_and(|board| board == name)
            }),
        }
    }

    fn tell_news(&mut self, daemon: &Daemon) -> Result<(), Failure> {
        let names = daemon.names();
        let sick = daemon.tally().sick.keys().filter_map(|id| names.boards.get(id));
        let news: Vec<String> = sick.filter(|b| !self.told.contains(*b)).cloned().collect();
        if news.is_empty() {
            return Ok(());
        }
        let mut out = Out::new();
        for board in news {
            out.line(format_args!("  the board `{board}` is found damaged and left alone"))?;
            self.told.insert(board);
        }
        out.flush()
    }
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
    let template = if wants_colour() {
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
