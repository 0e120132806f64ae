//! What `run` and `dispatch` share: a dispatcher in this process.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::process::{children, descriptors};
use crate::runtime::daemon::{Daemon, Outcome, Settings};
use crate::runtime::listing;
use crate::runtime::report::meaning;
use crate::runtime::signals::Signals;

use crate::root::state_directory;

use super::failure::Failure;
use super::globals::Globals;
use super::place::Place;

/// Makes this process the dispatcher of a root: its children inherit no descriptor, and processes that
/// its workers leave behind become its children. Only from the main thread.
pub fn begin(place: &Place<'_>, globals: &Globals, once: bool) -> Result<Daemon, Failure> {
    let refused = |errno: Errno| Failure::Refused(format!("cannot start: {errno}"));
    descriptors::close_on_exec_all().map_err(refused)?;
    children::become_subreaper().map_err(refused)?;
    if globals.board.is_some() {
        // Fails if that board does not exist.
        place.board()?;
    }
    let signals = Signals::listen()
        .map_err(|error| Failure::Refused(format!("cannot listen to signals: {error}")))?;
    let settings = Settings {
        place: listing::Place {
            root: place.root.path.clone(),
            env: place.env.clone(),
            only: globals.board.clone(),
        },
        config: place.config()?,
        state: state_of(place),
        once,
        adopt: true,
        signals: Some(signals),
    };
    Daemon::new(settings).map_err(|error| Failure::Refused(error.to_string()))
}

/// The state directory of the root. A dispatcher can work without one; a message says what that costs
/// when records would be created.
fn state_of(place: &Place<'_>) -> Option<PathBuf> {
    let state = state_directory(&place.root.path, &place.env);
    state.inspect_err(|error| tracing::warn!("no state directory: {error}")).ok()
}

/// Logs the exits that no board took. The first thing to do at the end: what follows may fail.
pub fn log_unrecorded(outcome: &Outcome) {
    for (board, task, verdict) in &outcome.unrecorded {
        tracing::error!(board, task, "{}, and the board did not take it", meaning(*verdict));
    }
}
