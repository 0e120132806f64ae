//! The commands, one file each.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 refused or not found,
//! 2 wrong usage or configuration.

mod block;
mod boards;
mod comment;
mod complete;
mod completions;
mod create;
mod demo;
mod describe;
mod dispatch;
mod dispatcher;
mod failure;
mod init;
mod link;
mod list;
mod log;
mod logging;
mod looks;
mod out;
mod place;
mod run;
mod show;
mod tail;
mod times;
mod unblock;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::root::Slug;

pub use failure::Failure;
pub use out::Out;
pub use place::Place;

/// A dispatcher for task boards kept in SQLite that reaps every worker it starts.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
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

The root is the folder that holds the boards: --root, else SEXTON_ROOT, else that of the Hermes
client if there is one, else ~/.local/share/sexton.";

/// Options that every command has.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The folder that holds the boards.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub root: Option<PathBuf>,
    /// Which board; else HERMES_KANBAN_BOARD, else the one chosen by `boards create --switch`, else
    /// `default`.
    #[arg(long, global = true, value_name = "NAME")]
    pub board: Option<Slug>,
    /// The configuration, instead of sexton.toml in the root or in the XDG config folder.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines look; `human` on a terminal unless said otherwise.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For reading.
    Human,
    /// One JSON object a line.
    Json,
}

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

/// Runs the command that the arguments call for.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match Cli::try_parse_from(args) {
        Ok(cli) => execute(&cli),
        Err(error) => explain(&error),
    };
    let code = done.unwrap_or_else(|failure| failure.report());
    logging::finish();
    ExitCode::from(code)
}

/// Prints what is wrong with the arguments; or help or version, which come as errors too, with code
/// 0 and for standard output.
fn explain(error: &clap::Error) -> Result<u8, Failure> {
    if !error.use_stderr() {
        out::is_open()?;
    }
    error.print().map_err(Failure::Output)?;
    Ok(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn execute(cli: &Cli) -> Result<u8, Failure> {
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
        Command::Completions(args) => completions::run(args),
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
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
