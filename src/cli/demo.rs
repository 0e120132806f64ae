//! `sexton demo`: see it work, on boards of its own, of which two are sick.

mod boards;
mod summary;
mod zombies;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::process::{children, descriptors};
use crate::runtime::config::Config;
use crate::runtime::daemon::{Daemon, Settings, Until};
use crate::runtime::listing;
use crate::runtime::root::Environment;
use crate::runtime::signals::Signals;

use super::{Failure, Globals, logging};
use boards::{Boards, FALLING};
use summary::Summary;
use zombies::Watcher;

/// Show sexton at work on temporary boards, two of which are sick.
///
/// Some thirty tasks run: good ones, failing ones, killed ones, one that meets a rate limit, one that
/// is deaf to TERM and out of time, some with parents, one that leaves a process behind. One board
/// is damaged from the start, another while its workers run. Takes a few seconds, leaves nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sexton demo\n  sexton demo --json")]
pub struct Args {
    /// Overwrite the head of this file: what the demo runs as a process of its own.
    #[arg(long, hide = true, value_name = "FILE")]
    damage: Option<PathBuf>,
}

/// Milliseconds for which the board that falls sick is waited for at the end.
const PATIENCE_MS: u64 = 1_000;

/// Runs it. Code 1 if anything that it claims does not hold.
pub fn run(args: &Args, globals: &Globals) -> Result<u8, Failure> {
    if let Some(file) = &args.damage {
        return boards::damage(file).map(|()| 0).map_err(|error| failed("damaging a board", error));
    }
    logging::start(globals.log_format, "off");
    let folder = tempfile::Builder::new()
        .prefix("sexton-demo-")
        .tempdir()
        .map_err(|error| failed("making a temporary folder", error))?;
    let boards = Boards::make(folder.path())?;
    if !globals.json {
        eprintln_line(
            "Four boards in a temporary folder: two are sound, one is damaged, one will be.",
        );
    }
    let watcher = Watcher::start().map_err(|error| failed("starting to watch", error))?;
    let mut daemon = begin(folder.path())?;
    let signals = Signals::listen().map_err(|error| failed("listening to signals", error))?;
    let mut show = Show::new(globals.json);
    let mut fall = Fall::new(boards.db(FALLING), boards.gate());
    let outcome = daemon.run_watched(Until::Idle(PATIENCE_MS), Some(signals), 0, |daemon| {
        show.draw(daemon);
        fall.when_its_workers_run(daemon);
    });
    show.end();
    let tally = daemon.take_tally();
    // Its connections are closed before the files are read.
    drop(daemon);
    let zombies = watcher.stop();
    let summary = Summary::of(&boards, &tally, &outcome, &zombies, fall.digest());
    summary.print(globals.json)?;
    Ok(u8::from(!summary.all_is_well()))
}

fn begin(root: &Path) -> Result<Daemon, Failure> {
    let errno = |errno: nix::errno::Errno| failed("starting", errno.into());
    descriptors::close_on_exec_all().map_err(errno)?;
    children::become_subreaper().map_err(errno)?;
    let config = Config::parse(boards::CONFIG, &root.join("sexton.toml"))?;
    let env = Environment::of(&[]);
    let place = listing::Place { root: root.to_owned(), env, only: None };
    Daemon::new(Settings { place, config, once: false, adopt: true })
        .map_err(|error| Failure::Refused(error.to_string()))
}

fn failed(tried: &str, error: io::Error) -> Failure {
    Failure::Refused(format!("{tried}: {error}"))
}

fn eprintln_line(text: &str) {
    use std::io::Write;
    // Talk; that nobody listens is no failure.
    let _nobody_listens = writeln!(io::stderr(), "{text}");
}

/// The fall of one board: damaged by another process while its workers run, which then go on and
/// find it so.
struct Fall {
    db: PathBuf,
    gate: PathBuf,
    /// What happens is waited for beside the loop, which waits for nothing.
    under_way: Option<JoinHandle<Option<String>>>,
}

impl Fall {
    fn new(db: PathBuf, gate: PathBuf) -> Fall {
        Fall { db, gate, under_way: None }
    }

    fn when_its_workers_run(&mut self, daemon: &Daemon) {
        let names = &daemon.names().boards;
        let here = |id| names.get(&id).is_some_and(|name| name == FALLING);
        let running =
            daemon.machine().runs().filter(|run| here(run.board) && run.pid.is_some()).count();
        if self.under_way.is_none() && running == boards::FALLING_TASKS {
            let (db, gate) = (self.db.clone(), self.gate.clone());
            self.under_way = Some(std::thread::spawn(move || fall(&db, &gate)));
        }
    }

    /// The digest of the damaged file, if it came to that.
    fn digest(self) -> Option<String> {
        self.under_way.and_then(|thread| thread.join().ok()).flatten()
    }
}

/// Processes of their own write and read the file: were this one to open and close it, SQLite's locks
/// on it would be gone.
fn fall(db: &Path, gate: &Path) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let damaged = Command::new(program).args(["demo", "--damage"]).arg(db).output().ok()?;
    let digest = damaged.status.success().then(|| boards::digest_by_child(db)).flatten();
    std::fs::write(gate, "").ok()?;
    digest
}

/// What a person sees while it works: a line that changes on a terminal, nothing elsewhere.
struct Show {
    bar: ProgressBar,
}

impl Show {
    fn new(quiet: bool) -> Show {
        let bar = if quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(boards::TASKS)
        };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} ended  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Show { bar }
    }

    fn draw(&mut self, daemon: &Daemon) {
        let tally = daemon.tally();
        let running = daemon.machine().runs().filter(|run| run.uses_host_slot()).count();
        self.bar.set_position(tally.recorded.len() as u64);
        self.bar.set_length(boards::TASKS.max(tally.recorded.len() as u64));
        self.bar.set_message(format!(
            "{running} running, {} started, {} reaped, {} board(s) out of use",
            tally.spawned,
            tally.reaped.len(),
            tally.sick.len()
        ));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
