//! An observer of zombies that knows nothing of the dispatcher: it looks into /proc, every other
//! millisecond, for children of this process that have ended and were not reaped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::runtime::clock;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(2);

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How often it looked.
    pub looks: u64,
    /// Different zombies that a look met.
    pub met: usize,
    /// Milliseconds between the first and the last look that met the same zombie.
    pub longest_ms: u64,
    /// The longest pause between two looks, in milliseconds: no zombie lived for longer than both
    /// together, and one more of these.
    pub blind_ms: u64,
    /// Zombies at the last look.
    pub left: usize,
}

/// The observer.
#[derive(Debug)]
pub struct Sampler {
    now: Arc<AtomicUsize>,
    stop: Sender<()>,
    thread: JoinHandle<Seen>,
}

impl Sampler {
    /// Begins to look.
    pub fn start() -> io::Result<Sampler> {
        let now = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = channel();
        let shared = Arc::clone(&now);
        let thread = thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || observe(&stopped, &shared))?;
        Ok(Sampler { now, stop, thread })
    }

    /// How many zombies the latest look met.
    #[must_use]
    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// Looks once more and tells.
    #[must_use]
    pub fn stop(self) -> Seen {
        let _is_there = self.stop.send(());
        self.thread.join().unwrap_or(Seen { left: usize::MAX, ..Seen::default() })
    }
}

fn observe(stopped: &Receiver<()>, now: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let mut first_met: BTreeMap<(i32, u64), u64> = BTreeMap::new();
    let mut last_look = None;
    loop {
        let at = clock::now().mono.0;
        let zombies = zombies();
        seen.looks += 1;
        seen.left = zombies.len();
        seen.blind_ms = seen.blind_ms.max(last_look.map_or(0, |last| at - last));
        last_look = Some(at);
        for zombie in zombies {
            let since = *first_met.entry(zombie).or_insert(at);
            seen.longest_ms = seen.longest_ms.max(at - since);
        }
        now.store(seen.left, Ordering::Relaxed);
        seen.met = first_met.len();
        match stopped.recv_timeout(EVERY) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) if seen.looks > 1 => return last(seen),
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// The last look, after everything is over.
fn last(seen: Seen) -> Seen {
    Seen { looks: seen.looks + 1, left: zombies().len(), ..seen }
}

/// Pid and start time of each child of this process that is a zombie.
fn zombies() -> Vec<(i32, u64)> {
    children().into_iter().filter_map(zombie).collect()
}

/// The children of all our threads. Where the kernel keeps no list, all processes.
fn children() -> Vec<i32> {
    let lists = fs::read_dir("/proc/self/task")
        .map(|tasks| tasks.flatten().map(|task| fs::read_to_string(task.path().join("children"))));
    let listed: Option<Vec<String>> =
        lists.ok().map(|lists| lists.flatten().collect::<Vec<_>>()).filter(|l| !l.is_empty());
    match listed {
        Some(lists) => lists.iter().flat_map(|l| l.split_whitespace()).filter_map(number).collect(),
        None => fs::read_dir("/proc").map_or_else(
            |_| Vec::new(),
            |all| all.flatten().filter_map(|e| number(&e.file_name().to_string_lossy())).collect(),
        ),
    }
}

fn number(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// Its identity, if it is a zombie child of ours.
fn zombie(pid: i32) -> Option<(i32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, but ends at the last bracket: state, parent, … start time.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let is_zombie = fields.next()? == "Z";
    let is_ours = fields.next()?.parse() == Ok(process::id());
    let start = fields.nth(17)?.parse().ok()?;
    (is_zombie && is_ours).then_some((pid, start))
}
