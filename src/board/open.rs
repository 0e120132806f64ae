//! Opens a board for a dispatcher: its files, and then what it must have.

use std::path::Path;

use rusqlite::Connection;

use super::error::BoardError;
use super::exchange::Board;
use super::file::LiveFile;
use super::rows::required;
use super::rows::statements::Statements;
use crate::machine::fault::FaultClass;

impl Board {
    /// Opens a board for a dispatcher, which will keep it: every page is checked first.
    pub fn open(path: &Path) -> Result<Board, BoardError> {
        let (file, statements) = LiveFile::open(path, statements_for)?;
        Ok(Board::new(file, statements))
    }
}

/// Its statements. Fails if the tables are not those of a board.
fn statements_for(path: &Path, conn: &Connection) -> Result<Statements, BoardError> {
    const TRIED: &str = "reading the schema";
    const REMEDY: &str = "give the path of a board, or open it once with a client that brings \
                          it up to date";
    let failed = |error: rusqlite::Error| BoardError::sql(path, TRIED, &error);
    let statements = Statements::read(conn).map_err(failed)?;
    if let Some(missing) = required::missing(conn).map_err(failed)? {
        let finding = format!("there is no {missing}");
        return Err(BoardError::new(path, FaultClass::Content, TRIED, finding).with_remedy(REMEDY));
    }
    conn.prepare(&statements.task).map_err(|error| failed(error).with_remedy(REMEDY))?;
    Ok(statements)
}
