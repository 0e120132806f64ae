//! The commands, one file each. No command uses another.

mod block;
mod boards;
mod comment;
mod complete;
mod completions;
mod create;
mod demo;
mod dispatch;
mod init;
pub mod keeper;
mod link;
mod list;
mod log;
mod run;
mod show;
mod tail;
mod unblock;

use clap::{CommandFactory, Parser, Subcommand};

use super::failure::Failure;
use super::globals::Globals;

/// A dispatcher for task boards kept in SQLite that reaps every worker it starts.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sexton demo                                   watch it work, on boards of its own
  sexton init                                   make a board and a configuration
  sexton create 'say hello' --body 'echo hello' add a task
  sexton run --until-idle                       run what can run
  sexton list                                   see what became of it, and what waits for what

The root is the directory that holds the boards: --root, else SEXTON_ROOT, else that of the Hermes
client if there is one, else ~/.local/share/sexton.";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Boards(boards::Args),
    Create(create::Args),
    #[command(alias = "ls")]
    List(list::Args),
    Show(show::Args),
    Complete(complete::Args),
    Block(block::Args),
    Unblock(unblock::Args),
    Comment(comment::Args),
    Link(link::Args),
    Log(log::Args),
    Tail(tail::Args),
    Dispatch(dispatch::Args),
    Run(run::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

/// Runs the command that was asked for, and returns the exit code.
pub fn run(cli: &Cli) -> Result<u8, Failure> {
    let globals = &cli.globals;
    let done = match &cli.command {
        Command::Init(args) => init::run(args, globals),
        Command::Boards(args) => boards::run(args, globals),
        Command::Create(args) => create::run(args, globals),
        Command::List(args) => list::run(args, globals),
        Command::Show(args) => show::run(args, globals),
        Command::Complete(args) => complete::run(args, globals),
        Command::Block(args) => block::run(args, globals),
        Command::Unblock(args) => unblock::run(args, globals),
        Command::Comment(args) => comment::run(args, globals),
        Command::Link(args) => link::run(args, globals),
        Command::Log(args) => log::run(args, globals),
        Command::Tail(args) => tail::run(args, globals),
        Command::Completions(args) => completions::run(args, Cli::command()),
        Command::Dispatch(args) => return dispatch::run(args, globals),
        Command::Run(args) => return run::run(args, globals),
        Command::Demo(args) => return demo::run(args, globals),
    };
    done.map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
