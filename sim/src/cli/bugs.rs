//! `bugs`: how soon each planted bug is found.

use clap::Args;
use serde_json::json;
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Bugs {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut missed = Vec::new();
        let mut found = Vec::new();
        if !self.json {
            say("| planted bug | found as | seeds |\n|---|---|---:|")?;
        }
        for saboteur in Saboteur::ALL {
            let (name, promise) = (saboteur.name(), saboteur.breaks()[0]);
            let seeds = if self.list { None } else { find(*saboteur) };
            if seeds.is_none() {
                missed.push(name);
            }
            found.push(json!({"bug": name, "promise": promise, "seeds": seeds}));
            if !self.json {
                let seeds = seeds.map_or_else(|| "-".to_owned(), |seeds| seeds.to_string());
                say(format!("| {name} | `{promise}` | {seeds} |"))?;
            }
        }
        if self.json {
            say(json!(found))?;
        }
        if self.list || missed.is_empty() {
            return Ok(());
        }
        Err(Failure::Found(format!(
            "not found in most of {ROUNDS} searches: {}",
            missed.join(", ")
        )))
    }
}
