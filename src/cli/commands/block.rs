//! `sexton block`: tasks that cannot go on.

use clap::ValueEnum;

use crate::board::card::{self, Block, BlockKind};
use crate::cli::acknowledge::acknowledge;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::place::Place;

/// Block a running or ready task until a person unblocks it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton block t_0123abcd which colour\\?
  sexton block t_0123abcd --kind dependency waits for the parser")]
pub struct Args {
    /// Id of the task.
    #[arg(value_name = "TASK")]
    id: String,
    /// Why, for people; it also becomes a comment.
    #[arg(value_name = "REASON")]
    reason: Vec<String>,
    /// Why, for routing: a dependency goes back to waiting for its parents.
    #[arg(long)]
    kind: Option<Kind>,
    /// More tasks, blocked for the same reason.
    #[arg(long, value_name = "TASK", num_args = 1..)]
    ids: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    /// Other tasks must be done first.
    Dependency,
    /// A person must answer.
    NeedsInput,
    /// The worker lacks an ability.
    Capability,
    /// A condition that will pass without action.
    Transient,
}

/// Blocks the task.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let ids: Vec<String> = std::iter::once(&args.id).chain(&args.ids).cloned().collect();
    place.write(|conn, columns, now| {
        ids.iter().try_for_each(|id| {
            let with = Block {
                reason: Some(args.reason.join(" ")),
                kind: args.kind.map(kind),
                author: place.author(),
                own_run: place.own_run(id),
            };
            card::block(conn, columns, now, id, &with)
        })
    })?;
    acknowledge(&ids, "Blocked", "blocked", globals)
}

fn kind(kind: Kind) -> BlockKind {
    match kind {
        Kind::Dependency => BlockKind::Dependency,
        Kind::NeedsInput => BlockKind::NeedsInput,
        Kind::Capability => BlockKind::Capability,
        Kind::Transient => BlockKind::Transient,
    }
}
