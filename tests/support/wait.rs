//! Waiting for what other processes do.

use nix::poll::poll;
use sexton::runtime::clock;

/// Long enough for anything on a busy machine, and less than the 60 s between ticks: a wake-up that
/// is lost must not be made up for by the backstop.
const PATIENCE_MS: u64 = 45_000;

/// Waits until `condition` holds. Panics with `what` if it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now().mono.after(PATIENCE_MS);
    while !condition() {
        assert!(clock::now().mono < deadline, "waited in vain: {what}");
        let _looked_again_anyway = poll(&mut [], 5_u8);
    }
}
