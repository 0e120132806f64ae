//! Makes a new board.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::BoardError;
use super::file::{InitLock, beside};
use super::rows::schema;
use super::sql;
use crate::machine::fault::FaultClass;

const TRIED: &str = "creating the board";

/// Makes a new board. It is made under another name and renamed when it is whole and synced; a file
/// that exists is never touched.
pub fn create(path: &Path) -> Result<(), BoardError> {
    let path = std::path::absolute(path)
        .map_err(|error| BoardError::io(path, "resolving the path", &error))?;
    let path = path.as_path();
    let failed = |error: io::Error| BoardError::io(path, TRIED, &error);
    refuse_leftovers(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let _init = InitLock::take(path);
    let draft = tempfile::Builder::new()
        .prefix(".sexton-new-board-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)?
        .into_temp_path();
    fill(&draft).map_err(|error| BoardError::sql(path, TRIED, &error))?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(failed)?;
    draft.persist_noclobber(path).map_err(|error| failed(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// A WAL or a journal without its database would be played into the new one.
fn refuse_leftovers(path: &Path) -> Result<(), BoardError> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-journal")] {
        if file.symlink_metadata().is_ok() {
            let finding = format!("{} is there already", file.display());
            return Err(BoardError::new(path, FaultClass::Access, TRIED, finding)
                .with_remedy("give another path, or move that file away"));
        }
    }
    Ok(())
}

/// Writes the schema into an empty file and leaves everything in that one file.
fn fill(draft: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(draft, flags)?;
    sql::run(&conn, "PRAGMA synchronous = FULL")?;
    sql::run(&conn, "BEGIN IMMEDIATE")?;
    for statement in schema::statements() {
        sql::run(&conn, statement)?;
    }
    sql::run(&conn, "COMMIT")?;
    sql::run(&conn, "PRAGMA journal_mode = WAL")?;
    // The last connection to close checkpoints the WAL and removes it.
    conn.close().map_err(|(_, error)| error)
}
