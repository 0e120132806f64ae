//! `sexton-sim`: plays scripts to the machine.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            let _nobody_listens = writeln!(io::stderr(), "sexton-sim: {message}");
            ExitCode::from(code)
        }
    }
}

fn run(file: Option<String>) -> Result<(), (u8, String)> {
    let file = file.ok_or((2, "usage: sexton-sim SCRIPT".to_owned()))?;
    let text = std::fs::read_to_string(&file).map_err(|error| (1, format!("{file}: {error}")))?;
    let transcript =
        sexton_sim::script::play(&text).map_err(|error| (2, format!("{file}:{error}")))?;
    io::stdout().write_all(transcript.as_bytes()).map_err(|error| (1, error.to_string()))
}
