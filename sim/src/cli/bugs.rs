//! `bugs`: how soon each planted bug is found.

use clap::Args;
use serde_json::{Value, json};
use sexton_sim::bugs::{ROUNDS, find};
use sexton_sim::saboteur::Saboteur;

use super::{Failure, say};

/// Plant each known bug in turn and say how many seeds it takes to find it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sexton-sim bugs --list\n  sexton-sim bugs --json")]
pub struct Bugs {
    /// Only name the bugs and the promises that they break
    #[arg(long)]
    list: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Bugs {
    /// Searches for each planted bug.
    pub fn run(self) -> Result<(), Failure> {
        if self.list { self.list() } else { self.search() }
    }

    fn list(&self) -> Result<(), Failure> {
        if self.json {
            return say(Saboteur::ALL.iter().map(|bug| as_json(*bug, None)).collect::<Value>());
        }
        let names = Saboteur::ALL.iter().map(|bug| bug.name().len());
        let width = names.max().unwrap_or(0);
        Saboteur::ALL
            .iter()
            .try_for_each(|bug| say(format!("{:width$}  {}", bug.name(), bug.breaks()[0])))
    }

    fn search(&self) -> Result<(), Failure> {
        let mut found = Vec::new();
        if !self.json {
            say("| planted bug | found as | seeds |\n|---|---|---:|")?;
        }
        for bug in Saboteur::ALL {
            let seeds = find(*bug);
            found.push((*bug, seeds));
            if !self.json {
                let seeds = seeds.map_or_else(|| "-".to_owned(), |seeds| seeds.to_string());
                say(format!("| {} | `{}` | {seeds} |", bug.name(), bug.breaks()[0]))?;
            }
        }
        if self.json {
            say(found.iter().map(|(bug, seeds)| as_json(*bug, *seeds)).collect::<Value>())?;
        }
        let missed = found.iter().filter(|(_, seeds)| seeds.is_none());
        let missed: Vec<&str> = missed.map(|(bug, _)| bug.name()).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(Failure::Found(format!(
            "not found in most of {ROUNDS} searches: {}",
            missed.join(", ")
        )))
    }
}

fn as_json(bug: Saboteur, seeds: Option<u64>) -> Value {
    json!({"bug": bug.name(), "promise": bug.breaks()[0], "seeds": seeds})
}
