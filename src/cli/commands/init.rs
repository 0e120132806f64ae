//! `sexton init`: a root with a board and a configuration.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::config::DEFAULT_TEXT;
use crate::root::{DEFAULT_BOARD, list_boards};

/// Make a root with a default board and a commented configuration.
///
/// A root that has boards already is left exactly as it is. A configuration is only written into a
/// new directory: on existing boards nothing runs unless their owner configures it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton init                     in the usual place
  sexton --root ./boards init     in a directory of your choice")]
pub struct Args {}

/// Creates the root.
pub fn run(_: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::find(globals)?;
    let root = &place.root.path;
    if has_boards(&place)? {
        return tell(globals, root, None, false);
    }
    let is_new = is_empty(root)? && !place.root.origin.is_hermes();
    fs::create_dir_all(root).map_err(|error| cannot("make the directory", root, &error))?;
    // The configuration first: if this is interrupted, the next `init` makes what is missing.
    let config = if is_new { Some(write_config(root)?) } else { None };
    crate::board::create(&root.join("kanban.db"))?;
    tell(globals, root, config, true)
}

fn has_boards(place: &Place<'_>) -> Result<bool, Failure> {
    let db = place.root.path.join("kanban.db");
    Ok(db.symlink_metadata().is_ok() || !list_boards(&place.root.path, &place.env)?.is_empty())
}

fn is_empty(root: &Path) -> Result<bool, Failure> {
    match fs::read_dir(root) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(cannot("read", root, &error)),
    }
}

fn write_config(root: &Path) -> Result<PathBuf, Failure> {
    let path = root.join("sexton.toml");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(DEFAULT_TEXT.as_bytes()))
        .map_err(|error| cannot("write", &path, &error))?;
    Ok(path)
}

fn tell(
    globals: &Globals,
    root: &Path,
    config: Option<PathBuf>,
    created: bool,
) -> Result<(), Failure> {
    let mut out = Out::new();
    let shown = root.display();
    if globals.json {
        out.json(&json!({
            "root": root.to_string_lossy(), "board": DEFAULT_BOARD, "created": created,
            "config": config.as_ref().map(|path| path.to_string_lossy()),
        }))?;
    } else if !created {
        out.line(format_args!("{shown} has boards already; nothing was changed"))?;
    } else {
        out.line(format_args!("made the board `{DEFAULT_BOARD}` in {shown}"))?;
        match config {
            Some(path) => {
                out.line(format_args!("wrote {}: look at its worker `shell`", path.display()))?;
                out.line("next: sexton create 'say hello' --body 'echo hello', then sexton run")?;
            }
            None => out.line(format_args!(
                "wrote no configuration, because the directory is not new; say who runs tasks in \
                 {shown}/sexton.toml"
            ))?,
        }
    }
    out.flush()
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Refused(format!("cannot {what} {}: {error}", path.display()))
}
