//! A board in a world.

use sexton::machine::ids::BoardId;

use crate::board::ModelBoard;

/// A board: the model of its content, and what is wrong with its file.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: BoardId,
    pub(super) model: ModelBoard,
    /// Which file the path leads to.
    pub(super) file: u32,
    /// Changes when another process writes or replaces the file.
    pub(super) stamp: u32,
    pub(super) listed: bool,
    pub(super) present: bool,
    pub(super) corrupt: bool,
    /// True if a task was deleted from it, which no event records.
    pub(super) deleted: bool,
    /// Until when, in moments of the world.
    pub(super) busy_until: u64,
    pub(super) full_until: u64,
    pub(super) read_only_until: u64,
}

impl Seen {
    /// A board that is there, and well.
    pub(super) fn sound(id: BoardId) -> Seen {
        Seen {
            id,
            model: ModelBoard::new(),
            file: 0,
            stamp: 0,
            listed: true,
            present: true,
            corrupt: false,
            deleted: false,
            busy_until: 0,
            full_until: 0,
            read_only_until: 0,
        }
    }
}
