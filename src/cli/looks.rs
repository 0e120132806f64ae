//! Looks at several boards at once: one that hangs is not waited for.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::root::BoardPaths;
use crate::runtime::clock;
use crate::runtime::report::HANGS;

/// Milliseconds that all boards have together: more than the 5 s for which a look waits for somebody
/// else's transaction.
pub const LOOK_MS: u64 = 6_000;

/// What `look` finds at each board; or why that is not known.
pub fn at_each<T: Send + 'static>(
    boards: Vec<BoardPaths>,
    within_ms: u64,
    look: impl Fn(&BoardPaths) -> T + Clone + Send + 'static,
) -> Vec<Result<T, String>> {
    let mut found: Vec<_> = boards.iter().map(|_| Err(HANGS.to_owned())).collect();
    let (tell, told) = channel();
    for (index, board) in boards.into_iter().enumerate() {
        let (tell, look) = (tell.clone(), look.clone());
        let looks = move || drop(tell.send((index, look(&board))));
        let started = thread::Builder::new().name("look".to_owned()).spawn(looks);
        if let (Err(error), Some(found)) = (started, found.get_mut(index)) {
            *found = Err(format!("no thread to look at it: {error}"));
        }
    }
    drop(tell);
    let deadline = clock::now().mono.after(within_ms);
    let rest = || Duration::from_millis(deadline.since(clock::now().mono));
    while let Ok((index, seen)) = told.recv_timeout(rest()) {
        if let Some(found) = found.get_mut(index) {
            *found = Ok(seen);
        }
    }
    found
}
