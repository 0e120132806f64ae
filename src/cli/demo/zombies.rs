//! Zombies, counted by somebody who has nothing to do with the reaping: a thread that looks at the
//! kernel's list of processes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::poll::{PollTimeout, poll};

use crate::machine::ids::Pid;
use crate::process::identity;
use crate::runtime::clock;

/// Milliseconds between two looks.
const LOOK_MS: u16 = 2;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The longest time, in milliseconds, between the first and the last look at one zombie.
    pub longest_ms: u64,
    /// Zombies at the last look.
    pub left: usize,
    /// How often was looked.
    pub looks: u64,
}

/// The thread that looks.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watcher {
    /// Starts to look.
    pub fn start() -> io::Result<Watcher> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("watcher".to_owned()).spawn(move || watch(&flag))?;
        Ok(Watcher { stop, thread })
    }

    /// Looks a last time and tells.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(stop: &AtomicBool) -> Seen {
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    let (mut seen, mut known) = (Seen::default(), BTreeMap::new());
    loop {
        let last = stop.load(Ordering::Acquire);
        let now = clock::now().mono;
        let mut zombies = BTreeMap::new();
        let _not_all_were_seen = identity::each_process(|stat| {
            if stat.parent == Pid(me) && stat.is_dead() {
                let since = known.get(&stat.pid).copied().unwrap_or(now);
                zombies.insert(stat.pid, since);
            }
        });
        let longest = zombies.values().map(|since| now.since(*since)).max();
        seen.longest_ms = seen.longest_ms.max(longest.unwrap_or(0));
        seen.left = zombies.len();
        seen.looks += 1;
        if last {
            return seen;
        }
        known = zombies;
        // A timer and nothing else.
        let _over = poll(&mut [], PollTimeout::from(LOOK_MS));
    }
}
