//! `sexton completions`: a script for the shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, Out};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton completions bash > ~/.local/share/bash-completion/completions/sexton
  sexton completions fish > ~/.config/fish/completions/sexton.fish")]
pub struct Args {
    /// Which shell.
    shell: Shell,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sexton", &mut script);
    let mut out = Out::new();
    out.bytes(&script)?;
    out.flush()
}
