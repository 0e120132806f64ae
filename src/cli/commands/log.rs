//! `sexton log`: what a task's workers wrote.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::json;

use crate::board::card;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::regular;

/// Print what the workers of a task wrote to their standard output and error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton log t_0123abcd
  sexton log t_0123abcd --tail 4000")]
pub struct Args {
    /// Id of the task.
    #[arg(value_name = "TASK")]
    id: String,
    /// Only the last bytes.
    #[arg(long, value_name = "BYTES")]
    tail: Option<u64>,
}

/// Prints the worker log.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    place.read(|conn, columns| card::find(conn, columns, &args.id))?;
    let none = || Failure::Refused(format!("{} has no log: it has not run here yet", args.id));
    let path = place.board()?.log(&args.id).ok_or_else(none)?;
    let mut file = match regular::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
        Err(error) => return Err(cannot_read(&path, &error)),
    };
    let size = file.metadata().map_err(|error| cannot_read(&path, &error))?.len();
    let from = args.tail.map_or(0, |tail| size.saturating_sub(tail));
    file.seek(SeekFrom::Start(from)).map_err(|error| cannot_read(&path, &error))?;
    let mut out = Out::new();
    if globals.json {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| cannot_read(&path, &error))?;
        let content = String::from_utf8_lossy(&bytes);
        let path = path.to_string_lossy();
        out.json(&json!({"task_id": args.id, "path": path, "size": size, "content": content}))?;
    } else {
        copy(&mut file, &mut out, &path)?;
    }
    out.flush()
}

fn copy(file: &mut File, out: &mut Out, path: &Path) -> Result<(), Failure> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => out.bytes(chunk.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_read(path, &error)),
        }
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::Refused(format!("cannot read {}: {error}", path.display()))
}
