//! `sweep`: runs many seeds.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, value_parser};
use serde_json::{Map, Value, json};
use sexton_sim::fault::Fault;
use sexton_sim::sometimes::Sometimes;
use sexton_sim::sweep::{Finding, SIZE, Sum, Sweep as Runs};

use super::watch::Watch;
use super::{Failure, Jobs, Plant, Source, broken_json, progress, replay_command, say, told};

/// Findings of each promise that are printed.
const SHOWN: usize = 3;

/// Run many seeds, each twice, and judge every promise after every event
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sexton-sim sweep --seeds 10000\n  \
                        sexton-sim sweep --minutes 10 --first 1000000\n  \
                        sexton-sim sweep --seeds 100 --bug 'reap inside the pass'\n\n\
                        The exit code is 1 if a promise was broken, a fault never struck, or a \
                        state was never reached.")]
pub struct Sweep {
    /// How many seeds; 1000 if neither this nor --minutes is given
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, value_name = "S", default_value_t = 0)]
    first: u64,
    #[command(flatten)]
    jobs: Jobs,
    /// Stop after M minutes; with --seeds as well, at the earlier of the two
    #[arg(long, value_name = "M", value_parser = value_parser!(u64).range(1..))]
    minutes: Option<u64>,
    /// Bytes of entropy of the longest runs
    #[arg(long, value_name = "K", default_value_t = SIZE)]
    size: usize,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plant: Plant,
}

impl Sweep {
    /// Runs the sweep.
    pub fn run(self) -> Result<(), Failure> {
        let limit = self.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        let seeds = self.seeds.or(if limit.is_some() { None } else { Some(1_000) });
        let jobs = self.jobs.count();
        let runs = Runs {
            seeds: self.first..self.first.saturating_add(seeds.unwrap_or(u64::MAX)),
            size: self.size,
            jobs,
            options: self.plant.options()?,
            stop_early: false,
        };
        let bar = progress::bar(
            seeds,
            match seeds {
                Some(_) => "{wide_bar} {pos} of {len} seeds, {per_sec}, {eta} left",
                None => "{pos} seeds, {per_sec}, {elapsed}",
            },
        );
        let watch = Watch::start();
        let sum = runs.run(|_| {
            bar.inc(1);
            limit.is_none_or(|limit| watch.elapsed() < limit)
        });
        let took = watch.elapsed();
        bar.finish_and_clear();
        if self.json {
            say(as_json(&sum, took, jobs))?;
        } else {
            self.print(&sum, took, jobs)?;
        }
        verdict(&sum)
    }

    fn print(&self, sum: &Sum, took: Duration, jobs: usize) -> Result<(), Failure> {
        say("faults, and how often each struck:")?;
        for (fault, n) in Fault::ALL.iter().zip(sum.fired) {
            say(format!("  {n:>10}  {}", fault.name()))?;
        }
        say("states, and how often each was reached:")?;
        for (state, n) in Sometimes::ALL.iter().zip(sum.reached) {
            say(format!("  {n:>10}  {}", state.name()))?;
        }
        say(format!(
            "{} seeds, each twice; {} events in {:.1} s: {:.0} a second and thread; hash {:016x}",
            sum.seeds,
            sum.events,
            took.as_secs_f64(),
            rate(sum, took, jobs),
            sum.hash
        ))?;
        self.print_findings(&sum.broken)
    }

    /// By promise, the smallest run of each first, and the smallest of all once more at the end:
    /// it is the one to look at.
    fn print_findings(&self, findings: &[Finding]) -> Result<(), Failure> {
        let mut by_promise: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for finding in findings {
            by_promise.entry(finding.broken.promise).or_default().push(finding);
        }
        for (promise, findings) in &mut by_promise {
            findings.sort_by_key(|finding| finding.events);
            say(format!("{promise}: broken by {}", seeds(findings.len())))?;
            for finding in findings.iter().take(SHOWN) {
                say(format!("  {} events: {}", finding.events, finding.broken.how))?;
                say(format!("    {}", self.replay(finding)))?;
            }
            if findings.len() > SHOWN {
                say(format!("  … and {} more", findings.len() - SHOWN))?;
            }
        }
        let Some(smallest) = findings.iter().min_by_key(|finding| finding.events) else {
            return Ok(());
        };
        say(format!("the smallest run, of {} events:", smallest.events))?;
        say(told(&smallest.broken))?;
        say(format!("  {}", self.replay(smallest)))
    }

    /// The command that shows a finding.
    fn replay(&self, finding: &Finding) -> String {
        let source = Source { seed: Some(finding.seed), entropy: None, size: self.size };
        replay_command(&source, &self.plant)
    }
}

fn seeds(count: usize) -> String {
    if count == 1 { "1 seed".to_owned() } else { format!("{count} seeds") }
}

fn verdict(sum: &Sum) -> Result<(), Failure> {
    if !sum.broken.is_empty() {
        let verb = if sum.broken.len() == 1 { "breaks" } else { "break" };
        return Err(Failure::Found(format!("{} {verb} a promise", seeds(sum.broken.len()))));
    }
    let missed: Vec<&str> = sum.missed().collect();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Failure::Found(format!("never seen, so nothing is shown of it: {}", missed.join(", "))))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(sum: &Sum, took: Duration, jobs: usize) -> f64 {
    sum.events as f64 / took.as_secs_f64().max(1e-9) / jobs as f64
}

fn as_json(sum: &Sum, took: Duration, jobs: usize) -> Value {
    let fired: Map<String, Value> =
        Fault::ALL.iter().zip(sum.fired).map(|(f, n)| (f.name().to_owned(), n.into())).collect();
    let reached: Map<String, Value> = Sometimes::ALL
        .iter()
        .zip(sum.reached)
        .map(|(state, n)| (state.name().to_owned(), n.into()))
        .collect();
    let broken: Vec<Value> = sum
        .broken
        .iter()
        .map(|finding| {
            let mut json = broken_json(&finding.broken);
            json["seed"] = finding.seed.into();
            json["events"] = finding.events.into();
            json
        })
        .collect();
    let missed: Vec<&str> = sum.missed().collect();
    json!({
        "seeds": sum.seeds,
        "events": sum.events,
        "seconds": took.as_secs_f64(),
        "events_per_second_and_thread": rate(sum, took, jobs),
        "hash": format!("{:016x}", sum.hash),
        "broken": broken,
        "missed": missed,
        "fired": fired,
        "reached": reached,
    })
}
