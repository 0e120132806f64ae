//! Reads several boards in parallel, within a time limit: a board that hangs holds up no other.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::root::BoardPaths;
use crate::runtime::clock;
use crate::runtime::report::HANGS;

/// Time limit for all boards together. Longer than the 5 s for which a read waits for the transaction
/// of another process.
pub const LIMIT_MS: u64 = 6_000;

/// Returns what `read` finds at each board, or why that is not known.
pub fn each<T: Send + 'static>(
    boards: Vec<BoardPaths>,
    within_ms: u64,
    read: impl Fn(&BoardPaths) -> T + Clone + Send + 'static,
) -> Vec<Result<T, String>> {
    let mut found: Vec<_> = boards.iter().map(|_| Err(HANGS.to_owned())).collect();
    let (tell, told) = channel();
    for (index, board) in boards.into_iter().enumerate() {
        let (tell, read) = (tell.clone(), read.clone());
        let reads = move || drop(tell.send((index, read(&board))));
        let started = thread::Builder::new().name("read".to_owned()).spawn(reads);
        if let (Err(error), Some(found)) = (started, found.get_mut(index)) {
            *found = Err(format!("no thread to read it: {error}"));
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
