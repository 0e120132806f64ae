//! Many runs, and what came of them together.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::entropy::Entropy;
use crate::fault::Fault;
use crate::promise::SAME_SEED_SAME_RUN;
use crate::sometimes::Sometimes;
use crate::world::{Broken, Options, Run, run};

/// Bytes of entropy that a seed expands to, unless the caller passes entropy.
pub const SIZE: usize = 2_048;

/// The entropy of a seed: not always as long, so that short lives are seen too.
#[must_use]
pub fn entropy(seed: u64, size: usize) -> Vec<u8> {
    let part = [1, 2, 4, 4][(seed % 4) as usize];
    Entropy::of_seed(seed, size * part / 4)
}

/// Runs a seed twice: a run that is not the same both times breaks a promise, too.
#[must_use]
pub fn twice(seed: u64, size: usize, options: Options) -> Run {
    let first = run(entropy(seed, size), options);
    let second = run(entropy(seed, size), Options { trace: false, ..options });
    if first.hash == second.hash && first.events == second.events {
        return first;
    }
    let how = format!("{:016x} and then {:016x}", first.hash, second.hash);
    Run { broken: Some(Broken { promise: SAME_SEED_SAME_RUN, how, at: 0 }), ..first }
}

/// What a sweep came to.
#[derive(Clone, Debug)]
pub struct Sum {
    /// Runs, each of them made twice.
    pub seeds: u64,
    /// Events handed to machines, in both.
    pub events: u64,
    /// All hashes in one, in the order of the seeds.
    pub hash: u64,
    /// How often each fault struck.
    pub fired: [u64; Fault::COUNT],
    /// How often each state was reached.
    pub reached: [u64; Sometimes::COUNT],
    /// Broken promises, by seed.
    pub broken: Vec<Finding>,
}

/// A seed that breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The seed of the run.
    pub seed: u64,
    /// Events of its run.
    pub events: u64,
    /// The promise that it breaks.
    pub broken: Broken,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum {
            seeds: 0,
            events: 0,
            hash: 0,
            fired: [0; Fault::COUNT],
            reached: [0; Sometimes::COUNT],
            broken: Vec::new(),
        }
    }
}

impl Sum {
    fn take(&mut self, seed: u64, run: Run) {
        self.seeds += 1;
        self.events += 2 * run.events;
        // The sum does not depend on the order in which the runs end.
        self.hash = self.hash.wrapping_add(run.hash.wrapping_mul(seed | 1));
        add(&mut self.fired, &run.fired);
        add(&mut self.reached, &run.reached);
        let events = run.events;
        self.broken.extend(run.broken.map(|broken| Finding { seed, events, broken }));
    }

    fn merge(&mut self, other: Sum) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.hash = self.hash.wrapping_add(other.hash);
        self.fired.iter_mut().zip(other.fired).for_each(|(a, b)| *a += b);
        self.reached.iter_mut().zip(other.reached).for_each(|(a, b)| *a += b);
        self.broken.extend(other.broken);
        self.broken.sort_by_key(|finding| finding.seed);
    }

    /// Faults that never struck, and states that were never reached.
    pub fn missed(&self) -> impl Iterator<Item = &'static str> {
        let faults = Fault::ALL.iter().zip(self.fired).filter(|(_, n)| *n == 0);
        let states = Sometimes::ALL.iter().zip(self.reached).filter(|(_, n)| *n == 0);
        faults.map(|(fault, _)| fault.name()).chain(states.map(|(state, _)| state.name()))
    }
}

fn add<const N: usize>(sum: &mut [u64; N], more: &[u32; N]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += u64::from(*more));
}

/// The settings of a sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The seeds to run.
    pub seeds: Range<u64>,
    /// Bytes of entropy of the longest runs.
    pub size: usize,
    /// Number of threads.
    pub jobs: usize,
    /// How each run is recorded.
    pub options: Options,
    /// Whether to stop at the first broken promise.
    pub stop_early: bool,
}

impl Sweep {
    /// Runs all seeds. Calls `seen` after each seed; it returns whether to go on.
    pub fn run(&self, seen: impl Fn(u64) -> bool + Sync) -> Sum {
        let next = AtomicU64::new(self.seeds.start);
        let over = AtomicBool::new(false);
        let work = || {
            let mut sum = Sum::default();
            while !over.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    break;
                }
                let run = twice(seed, self.size, self.options);
                let broke = run.broken.is_some();
                sum.take(seed, run);
                if !seen(seed) || (broke && self.stop_early) {
                    over.store(true, Ordering::Relaxed);
                }
            }
            sum
        };
        let mut sum = Sum::default();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(part) => sum.merge(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        sum
    }
}
