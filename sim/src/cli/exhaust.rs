//! `exhaust`: every interleaving of a small world.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sexton_sim::exhaust::{Found, exhaust};

use super::watch::Watch;
use super::{Failure, Jobs, broken_json, progress, say, told, trace_json};

/// Follow every interleaving of two dispatchers, one board and two tasks
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sexton-sim exhaust --scope small\n  \
                        sexton-sim exhaust --scope none --json")]
pub struct Exhaust {
    /// With every placement of one fault (small) or two (medium)
    #[arg(long, value_enum, default_value_t = Scope::Small)]
    scope: Scope,
    #[command(flatten)]
    jobs: Jobs,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// No fault at all.
    None,
    /// At most one fault
    Small,
    /// At most two faults
    Medium,
}

impl Exhaust {
    /// Follows every choice in the scope.
    pub fn run(self) -> Result<(), Failure> {
        let faults = match self.scope {
            Scope::None => 0,
            Scope::Small => 1,
            Scope::Medium => 2,
        };
        let bar = progress::bar(None, "{spinner} {msg}");
        bar.enable_steady_tick(Duration::from_millis(200));
        let watch = Watch::start();
        let found = exhaust(faults, self.jobs.count(), |states| {
            bar.set_message(format!("{states} states"))
        });
        bar.finish_and_clear();
        let seconds = watch.elapsed().as_secs_f64();
        if self.json {
            say(as_json(&found, seconds))?;
        } else if let Some((_, trace)) = &found.broken {
            trace.iter().try_for_each(say)?;
        } else {
            say(format!(
                "every promise holds in all of {} states ({} choices, at most {} one after another, \
                 {} ends); {seconds:.1} s",
                found.states, found.choices, found.depth, found.ends
            ))?;
        }
        found.broken.map_or(Ok(()), |(broken, _)| Err(Failure::Found(told(&broken))))
    }
}

/// A search that found something stopped there: its numbers are of what it had seen.
fn as_json(found: &Found, seconds: f64) -> Value {
    let mut json = json!({
        "broken": found.broken.as_ref().map(|(broken, _)| broken_json(broken)),
        "states": found.states,
        "choices": found.choices,
        "depth": found.depth,
        "ends": found.ends,
        "seconds": seconds,
    });
    if let Some((_, trace)) = &found.broken {
        json["trace"] = trace_json(trace);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_sim::trace::{Record, What, Who};
    use sexton_sim::world::Broken;

    #[test]
    fn json_of_a_broken_promise_names_it_and_the_way_to_it() {
        let broken = Broken { promise: "caps_hold", how: "one \"too\" many".to_owned(), at: 5 };
        let what = What::Broken { promise: broken.promise, how: broken.how.clone() };
        let trace = vec![Record { at: 5, who: Who::World, what }];
        let found = Found { broken: Some((broken, trace.clone())), ..Found::default() };
        let json = as_json(&found, 0.5);
        assert_eq!(
            json["broken"],
            json!({"promise": "caps_hold", "how": "one \"too\" many", "at_ms": 5})
        );
        assert_eq!(json["trace"].as_array().map(Vec::len), Some(trace.len()));
        assert_eq!(json["trace"][0]["kind"], "broken");
        assert_eq!(json["trace"][0]["text"], trace[0].what.to_string());
    }
}
