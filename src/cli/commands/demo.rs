//! `sexton demo`: see it work, on boards of its own.

mod findings;
mod live;
mod playbill;
mod saboteur;
mod stage;
mod summary;
mod zombies;

use std::path::PathBuf;

use crate::process::{children, descriptors};
use crate::root::Environment;
use crate::runtime::daemon::{Daemon, Outcome, Settings, Until};
use crate::runtime::listing;
use crate::runtime::signals::Signals;

use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::logging;
use findings::{Files, Findings};
use live::Live;
use saboteur::Saboteur;
use stage::Stage;
use zombies::Sampler;

/// How long the board that falls sick is waited for at the end, and workers after Ctrl-C.
const GRACE_MS: u64 = 1_500;

/// Show sexton at work on temporary boards, two of which are sick.
///
/// Needs nothing and leaves nothing behind. Takes about five seconds. Code 0 if everything that it
/// claims at the end is true.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sexton demo\n  sexton demo --json")]
pub struct Args {
    /// Damage this board, as soon as its workers run: what the demo asks of its own child process.
    #[arg(long, hide = true, requires = "cues", value_name = "FILE")]
    damage: Option<PathBuf>,
    /// The folder in which workers and demo leave signs for each other.
    #[arg(long, hide = true, value_name = "FOLDER")]
    cues: Option<PathBuf>,
}

/// Runs it. Code 1 if something that it claims was not so.
pub fn run(args: &Args, globals: &Globals) -> Result<u8, Failure> {
    if let (Some(board), Some(cues)) = (&args.damage, &args.cues) {
        return saboteur::act(board, cues).map(|()| 0);
    }
    logging::start(globals.log_format, "off")?;
    let errno = |errno: nix::errno::Errno| cannot("start")(errno.into());
    descriptors::close_on_exec_all().map_err(errno)?;
    children::become_subreaper().map_err(errno)?;
    let stage = Stage::build()?;
    let mut live = Live::begin(globals.json, &stage)?;
    let findings = perform(&stage, &mut live)?;
    summary::print(&findings, globals.json)?;
    Ok(u8::from(!findings.failed().is_empty()))
}

/// The show itself: the dispatcher, an observer of zombies beside it, and a child that does harm.
fn perform(stage: &Stage, live: &mut Live) -> Result<Findings, Failure> {
    let mut files = Files { torn_before: stage.digest_of_torn()?, ..Files::default() };
    let signals = Signals::listen().map_err(cannot("listen to signals"))?;
    let sampler = Sampler::start().map_err(cannot("observe processes"))?;
    let saboteur = Saboteur::hire(&stage.falling().db, &stage.cues).map_err(cannot("begin"))?;
    let mut daemon = daemon(stage)?;
    let outcome: Outcome =
        daemon.run_watched(Until::Idle(GRACE_MS), Some(signals), GRACE_MS, |daemon| {
            live.look(daemon, sampler.now());
        });
    live.look(&daemon, sampler.now());
    let tally = daemon.take_tally();
    // Its connections are closed before anybody else in this process opens the files.
    drop(daemon);
    files.falling_damaged = saboteur.dismiss(&stage.cues);
    let zombies = sampler.stop();
    files.torn_after = stage.digest_of_torn()?;
    files.falling_after = stage.digest_of_falling()?;
    live.end()?;
    Findings::gather(stage, &tally, &outcome, live.attempts(), zombies, files)
}

fn daemon(stage: &Stage) -> Result<Daemon, Failure> {
    let settings = Settings {
        place: listing::Place { root: stage.root(), env: Environment::default(), only: None },
        config: stage.config.clone(),
        once: false,
        adopt: true,
    };
    Daemon::new(settings).map_err(|error| Failure::Refused(error.to_string()))
}

/// What could not be done, for people.
fn cannot(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Refused(format!("cannot {what}: {error}"))
}
