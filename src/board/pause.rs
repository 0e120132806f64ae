//! Waits for rivals. The only wait of a board thread, apart from SQLite's own busy handler.

use nix::poll::{PollTimeout, poll};

/// Waits for this long at most: a signal may end it early.
pub(crate) fn pause(millis: u16) {
    let _early_is_as_good = poll(&mut [], PollTimeout::from(millis));
}
