//! `sexton completions`: a script for the shell.

use crate::cli::failure::Failure;
use crate::cli::out::Out;
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton completions bash > ~/.local/share/bash-completion/completions/sexton
  sexton completions fish > ~/.config/fish/completions/sexton.fish")]
pub struct Args {
    /// The shell that will read them.
    shell: Shell,
}

/// Prints the completion script.
pub fn run(args: &Args, mut command: clap::Command) -> Result<(), Failure> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "sexton", &mut script);
    let mut out = Out::new();
    out.bytes(&script)?;
    out.flush()
}
