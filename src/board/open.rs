//! Opens a board for a dispatcher: its files, and then what it must have.

use std::path::Path;

use rusqlite::Connection;

use super::error::BoardError;
use super::exchange::Board;
use super::file::LiveFile;
use super::rows::statements::Shape;
use crate::machine::fault::FaultClass;

impl Board {
    /// Opens a board for a dispatcher, which will keep it: every page is checked first.
    pub fn open(path: &Path) -> Result<Board, BoardError> {
        let (file, shape) = LiveFile::open(path, shape_of_board)?;
        Ok(Board::new(file, shape))
    }
}

/// Its shape. Fails if the tables are not those of a board.
fn shape_of_board(path: &Path, conn: &Connection) -> Result<Shape, BoardError> {
    const TRIED: &str = "reading the schema";
    const REMEDY: &str = "give the path of a board, or open it once with a client that brings \
                          it up to date";
    let shape = Shape::read(conn).map_err(|error| BoardError::sql(path, TRIED, &error))?;
    if let Some(column) = shape.missing() {
        let finding = format!("there is no {column}");
        return Err(BoardError::new(path, FaultClass::Content, TRIED, finding).with_remedy(REMEDY));
    }
    conn.prepare(&format!("SELECT {} FROM tasks", shape.row))
        .map_err(|error| BoardError::sql(path, TRIED, &error).with_remedy(REMEDY))?;
    Ok(shape)
}
