//! `sexton demo`: `sexton run` on temporary boards, watched from outside.

mod findings;
mod observer;
mod script;
mod show;
mod stage;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::libc::SIGTERM;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::logging;
use crate::machine::ids::Pid;
use crate::process::children;
use crate::process::pidfd::{self, Reach};
use crate::runtime::signals::{Asked, Signals};
use findings::{Findings, Standing};
use script::{FALLING, TORN};
use show::Progress;
use stage::Stage;

/// Show sexton at work on temporary boards, two of which get damaged.
///
/// Needs nothing and leaves nothing behind. Takes about five seconds. Code 0 if everything that it
/// claims at the end is true.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sexton demo\n  sexton demo --json")]
pub struct Args {}

/// Runs it. Code 1 if a claim does not hold.
pub fn run(_: &Args, globals: &Globals) -> Result<u8, Failure> {
    logging::start(globals.log_format, "off")?;
    let stage = Stage::build()?;
    let progress = if globals.json { None } else { Some(Progress::begin(stage.tasks.len())?) };
    let findings = perform(&stage, progress)?;
    show::summary(&findings, globals.json)?;
    Ok(u8::from(!findings.failed.is_empty()))
}

/// Runs sexton, and beside it an observer and the damage. They have threads of their own: this one
/// may be blocked by a pipe without a reader.
fn perform(stage: &Stage, mut progress: Option<Progress>) -> Result<Findings<'_>, Failure> {
    let torn = stage.digest(TORN)?;
    let errno = |errno: Errno| cannot("watch sexton")(errno.into());
    children::become_subreaper().map_err(errno)?;
    let mut signals = Signals::listen().map_err(cannot("listen to signals"))?;
    let mut sexton = stage.start_sexton().map_err(cannot("start sexton"))?;
    let pid = Pid(sexton.id().cast_signed());
    let pidfd = pidfd::open(pid).map_err(|refused| {
        // It cannot be observed, so it must not keep running: its root is deleted with this process.
        let _both_have_no_other_remedy = (sexton.kill(), sexton.wait());
        errno(refused)
    })?;
    let mut show = |tasks: &[Standing<'_>]| {
        progress.as_mut().map_or(Ok(()), |progress| progress.show(tasks, pid))
    };
    thread::scope(|scope| {
        let waiter = scope.spawn(|| sexton.wait_with_output());
        let observer = scope.spawn(|| observer::observe(pid, &pidfd));
        let damage = scope.spawn(|| stage.damage_under_workers(&pidfd));
        let mut shown = Ok(());
        while !ends_within(&pidfd, 100) {
            if signals.asked().1.contains(&Asked::Stop) {
                let _has_ended = pidfd::send(pidfd.as_fd(), SIGTERM, Reach::Process);
            }
            shown = shown.and_then(|()| show(&findings::look(stage)));
        }
        let crashed = |_| Failure::Refused("a thread crashed".to_owned());
        let output = waiter.join().map_err(crashed)?.map_err(cannot("run sexton"))?;
        let (falling, seen) = (damage.join().map_err(crashed)?, observer.join().map_err(crashed)?);
        let damaged = [(TORN, Some(torn)), (FALLING, falling)]
            .map(|(board, after)| (board, [after, stage.digest(board).ok()]));
        let findings = Findings::gather(stage, &output, seen, damaged.into())?;
        shown.and_then(|()| show(&findings.tasks)).map(|()| findings)
    })
}

fn ends_within(sexton: &OwnedFd, millis: u16) -> bool {
    let mut fds = [PollFd::new(sexton.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::from(millis)), Ok(1..))
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Refused(format!("cannot {what}: {error}"))
}
