//! Boards: everything that touches SQLite. One file per verb.

pub mod card;
pub mod columns;
pub mod sql;
