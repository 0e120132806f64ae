//! Every interleaving of a small world: each state that can be reached, once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::trace::Record;
use crate::world::{Broken, Choice, Small};

/// No way is as long as this.
const DEEPEST: usize = 5_000;

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Number of different states.
    pub states: usize,
    /// Choices that were followed.
    pub choices: usize,
    /// Length of the longest path of choices.
    pub depth: usize,
    /// Ends: states in which nothing can happen any more.
    pub ends: usize,
    /// A broken promise, and everything that led to it.
    pub broken: Option<(Broken, Vec<Record>)>,
}

/// The way to a state.
struct Way {
    choice: Choice,
    before: Option<Arc<Way>>,
}

/// A state whose choices are not followed yet.
struct Open {
    world: Small,
    way: Option<Arc<Way>>,
    depth: usize,
}

#[derive(Default)]
struct Search {
    seen: BTreeSet<u128>,
    open: Vec<Open>,
    /// Threads that may still open states.
    busy: usize,
    found: Found,
    broken: Option<(Broken, Option<Arc<Way>>, bool)>,
}

/// Follows every choice from a world with at most `faults` faults. Calls `seen` now and then with
/// the number of states.
pub fn exhaust(faults: u8, jobs: usize, seen: impl Fn(usize) + Sync) -> Found {
    let world = Small::new(faults);
    let search = Mutex::new(Search {
        seen: BTreeSet::from([world.key()]),
        open: vec![Open { world, way: None, depth: 0 }],
        ..Search::default()
    });
    let (more, told) = (Condvar::new(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(open) = take(&search, &more) {
                    let (states, followed) = follow(&open, &search);
                    let mut search = lock(&search);
                    search.busy -= 1;
                    search.found.choices += followed;
                    drop(search);
                    more.notify_all();
                    if told.fetch_add(1, Ordering::Relaxed) % 1024 == 0 {
                        seen(states);
                    }
                }
            });
        }
    });
    let Search { seen, mut found, broken, .. } =
        search.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.states = seen.len();
    found.broken = broken.map(|(broken, way, end)| (broken, again(faults, way, end)));
    found
}

fn lock(search: &Mutex<Search>) -> MutexGuard<'_, Search> {
    search.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next open state; `None` when there will be none.
fn take(search: &Mutex<Search>, more: &Condvar) -> Option<Open> {
    let mut search = lock(search);
    loop {
        if search.broken.is_some() {
            return None;
        }
        if let Some(open) = search.open.pop() {
            search.busy += 1;
            return Some(open);
        }
        if search.busy == 0 {
            return None;
        }
        search = more.wait(search).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Follows every choice of a state. Returns how many states are known, and how many choices it had.
fn follow(open: &Open, search: &Mutex<Search>) -> (usize, usize) {
    let choices = open.world.choices();
    if choices.is_empty() {
        let mut end = open.world.clone();
        end.judge_the_end();
        let mut search = lock(search);
        search.found.ends += 1;
        if let Some(broken) = end.broken() {
            search.broken = Some((broken.clone(), open.way.clone(), true));
        }
        return (search.seen.len(), 0);
    }
    for choice in &choices {
        let mut world = open.world.clone();
        if !world.choose(*choice) {
            continue;
        }
        let key = world.key();
        let way = Some(Arc::new(Way { choice: *choice, before: open.way.clone() }));
        let mut search = lock(search);
        if let Some(broken) = world.broken() {
            search.broken = Some((broken.clone(), way, false));
        } else if search.seen.insert(key) {
            let depth = open.depth + 1;
            if depth > DEEPEST {
                let how = format!("{DEEPEST} choices and no end");
                let broken = Broken { promise: "calm_drains_the_board", how, at: 0 };
                search.broken = Some((broken, way.clone(), false));
            }
            search.found.depth = search.found.depth.max(depth);
            search.open.push(Open { world, way, depth });
        }
    }
    (lock(search).seen.len(), choices.len())
}

/// Goes the same way again, and writes down what happens.
fn again(faults: u8, way: Option<Arc<Way>>, end: bool) -> Vec<Record> {
    let mut choices = Vec::new();
    let mut at = way.as_deref();
    while let Some(way) = at {
        choices.push(way.choice);
        at = way.before.as_deref();
    }
    let mut world = Small::new(faults);
    world.trace();
    for choice in choices.into_iter().rev() {
        world.choose(choice);
    }
    if end {
        world.judge_the_end();
    }
    world.record().to_vec()
}
