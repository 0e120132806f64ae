//! Boards: all that touches SQLite, and nothing else does.
//!
//! * `file/` guards the files of a board. It knows no rows.
//! * `rows/` is what stands in them, and the SQL that depends on the columns of a board.
//! * `exchange/` does what the machine asks for in one transaction, one file per verb: claim, started,
//!   renew, finish, adopt, promote, reclaim; then it observes. It knows no stage of the machine.
//! * [`card`] is what people and workers do to cards, one file per verb.
//!
//! [`Board::open`] checks a file before it connects and keeps its connection; a command opens a board
//! with [`card::open`]; [`create`] makes a new one. The rows and events are those of the client whose
//! boards these are; comments give the numbers of its transitions ("row 7").

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
pub use exchange::{Board, Context, Dispatcher, Exchanged, Liveness, Worker};
pub use file::Stamps;
pub use rows::claim_lock::{Owner, signer};
pub use rows::columns::Columns;
pub use rows::inherited::Inherited;
pub use rows::scratch::Scratch;
pub use rows::spawn_facts::SpawnFacts;
pub use rows::workers::Workers;
