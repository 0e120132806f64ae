//! A queue of log lines. Logging puts a line into a queue and returns; a thread of its own writes,
//! and may hang or fail: a pipe without a reader must not stop the loop. Lines for which there is
//! no room, or that cannot be written, are lost, and their number is logged as soon as writing
//! works again.
//!
//! `tracing-appender` is the library for this. It does not fit: where the queue is full at the end
//! it prints to standard output, which is for data, and it panics on a host without threads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Formats the line that reports this number of lost lines.
pub type Note = fn(u64) -> String;

/// The end at which lines go in.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    room: usize,
    note: Note,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    /// Number of lost lines that no line in the queue reports yet.
    lost: u64,
    /// True while a line is being written.
    writing: bool,
    /// True if the last one could not be.
    failing: bool,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// How many lines are lost with it: it may say that others were.
    counts: u64,
}

impl State {
    /// Puts a note in place of what was lost.
    fn note_lost(&mut self, note: Note) {
        if self.lost > 0 {
            self.lines.push_back(Line { text: note(self.lost).into_bytes(), counts: self.lost });
            self.lost = 0;
        }
    }

    fn is_busy(&self) -> bool {
        self.writing || !self.lines.is_empty() || (self.lost > 0 && !self.failing)
    }
}

impl Queue {
    /// Starts the thread that writes to `out`; `room` is the queue limit in lines.
    pub fn start(out: impl Write + Send + 'static, room: usize, note: Note) -> io::Result<Queue> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let queue = Queue(Arc::new(Shared { state, changed, room, note }));
        let writer = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.serve(out))?;
        Ok(queue)
    }

    /// Never waits for the writing.
    pub fn push(&self, text: Vec<u8>) {
        let mut state = self.state();
        if state.lines.len() >= self.0.room {
            state.lost += 1;
            return;
        }
        state.note_lost(self.0.note);
        state.lines.push_back(Line { text, counts: 1 });
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, at most for `patience`.
    pub fn finish(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.is_busy();
        let _in_vain = self.0.changed.wait_timeout_while(self.state(), patience, is_busy);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut out: impl Write) {
        loop {
            let line = self.next();
            let failing = out.write_all(&line.text).is_err();
            let mut state = self.state();
            (state.writing, state.failing) = (false, failing);
            state.lost += if failing { line.counts } else { 0 };
            drop(state);
            self.0.changed.notify_all();
        }
    }

    fn next(&self) -> Line {
        let mut state = self.state();
        loop {
            // While writing fails, a note waits for the next line: otherwise it would be retried
            // forever.
            if state.lines.is_empty() && !state.failing {
                state.note_lost(self.0.note);
            }
            if let Some(line) = state.lines.pop_front() {
                state.writing = true;
                return line;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What is written at a time is one line, or several that belong together.
impl Write for Queue {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.push(text.to_vec());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Long enough for anything on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(45);

    /// Announces each text, and writes it once the test decides the outcome.
    struct Slow {
        has: Sender<String>,
        may: Receiver<io::Result<()>>,
    }

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.has.send(String::from_utf8_lossy(text).into_owned()).map_err(io::Error::other)?;
            self.may.recv().map_err(io::Error::other)?.map(|()| text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue for two lines, what its writer has, and what becomes of that.
    fn slow() -> (Queue, Receiver<String>, Sender<io::Result<()>>) {
        let ((has, had), (tell, may)) = (channel(), channel());
        let note = |lost| format!("lost {lost}");
        (Queue::start(Slow { has, may }, 2, note).unwrap(), had, tell)
    }

    fn push(queue: &Queue, lines: &[&str]) {
        lines.iter().for_each(|line| queue.push(line.as_bytes().to_vec()));
    }

    #[test]
    fn dropped_lines_are_counted_where_they_are_missing() {
        let (queue, had, tell) = slow();
        push(&queue, &["a"]);
        assert_eq!(had.recv_timeout(PATIENCE).unwrap(), "a");
        push(&queue, &["b", "c", "d", "e"]);
        queue.finish(Duration::ZERO);
        tell.send(Ok(())).unwrap();
        assert_eq!(had.recv_timeout(PATIENCE).unwrap(), "b");
        push(&queue, &["f", "g"]);
        for next in ["c", "lost 2", "f", "lost 1"] {
            tell.send(Ok(())).unwrap();
            assert_eq!(had.recv_timeout(PATIENCE).unwrap(), next);
        }
        tell.send(Ok(())).unwrap();
        queue.finish(PATIENCE);
        assert!(!queue.state().is_busy());
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_not_retried_forever() {
        let (queue, had, tell) = slow();
        for (line, tried) in [("a", &["a"][..]), ("b", &["lost 1", "b"])] {
            push(&queue, &[line]);
            for next in tried {
                assert_eq!(had.recv_timeout(PATIENCE).unwrap(), *next);
                tell.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            }
            queue.finish(PATIENCE);
            assert!(had.try_recv().is_err());
        }
        push(&queue, &["c"]);
        for next in ["lost 2", "c"] {
            assert_eq!(had.recv_timeout(PATIENCE).unwrap(), next);
            tell.send(Ok(())).unwrap();
        }
        queue.finish(PATIENCE);
        assert!(!queue.state().is_busy());
    }
}
