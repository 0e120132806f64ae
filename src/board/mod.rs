//! Boards: everything that touches SQLite.
//!
//! [`Board::open`] looks at a file before it connects, [`Board::exchange`] does all that the machine
//! asks for in one transaction, [`create`] makes a new board. The rows and events are those of the
//! client whose boards these are; comments give the numbers of its transitions ("row 7").

pub mod card;
pub mod sql;

mod create;
mod error;
mod exchange;
mod file;
mod open;
mod pause;
mod rows;
mod transaction;

pub use create::create;
pub use error::{BoardError, ExchangeError};
pub use exchange::{Board, Context, Exchanged, Liveness};
pub use file::Stamps;
pub use rows::claim_lock::{Owner, instance};
pub use rows::columns::Columns;
pub use rows::scratch::Scratch;
pub use rows::spawn_facts::SpawnFacts;
pub use rows::workers::Workers;
