//! The command line: arguments in, an exit code out.
//!
//! Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 refused or not
//! found, 2 wrong usage or configuration.
//!
//! `commands` has one file for each command. The other files here help several of them and know no
//! command.

mod acknowledge;
mod colour;
mod commands;
mod describe;
mod dispatcher;
mod failure;
mod globals;
mod logging;
mod out;
mod place;
mod plain;
mod read_boards;
mod table;
mod times;
mod watch;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use commands::Cli;
use failure::Failure;

/// Runs the command that the arguments name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    if let Some(code) = commands::keeper::run_if_asked(&args) {
        return code;
    }
    let done = match Cli::try_parse_from(args) {
        Ok(cli) => commands::run(&cli),
        Err(error) => explain(&error),
    };
    let code = done.unwrap_or_else(report);
    logging::finish();
    ExitCode::from(code)
}

/// Prints what is wrong with the arguments. Help and version come as errors too, with code 0 and for
/// standard output.
fn explain(error: &clap::Error) -> Result<u8, Failure> {
    if !error.use_stderr() {
        out::is_open()?;
    }
    error.print().map_err(Failure::Output)?;
    Ok(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Prints why a command failed, and returns its exit code, also where the message cannot be written.
fn report(failure: Failure) -> u8 {
    let (message, code) = match failure {
        Failure::Usage(message) => (message, 2),
        Failure::Refused(message) => (message, 1),
        // The reader closed the pipe: it has what it wants.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return 1,
        Failure::Output(error) => (format!("cannot write the output: {error}"), 1),
    };
    logging::say(format_args!("sexton: {message}"));
    code
}
