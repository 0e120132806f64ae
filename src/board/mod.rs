//! Boards: everything that touches SQLite. One file per verb.
//!
//! [`Board::open`] looks at a file before it connects, [`Board::exchange`] does all that the machine
//! asks for in one transaction, [`create`] makes a new board. The rows and events are those of the
//! client whose boards these are; comments give the numbers of its transitions ("row 7").

pub mod card;
pub mod columns;
pub mod event;
pub mod scratch;
pub mod sql;

mod bus;
mod claim;
mod context;
mod exchange;
mod facts;
mod fault;
mod finish;
mod free;
mod guard;
mod lease;
mod lock;
mod observe;
mod open;
mod pages;
mod pass;
mod promote;
mod row;
mod schema;
mod shape;
mod siblings;
mod still;
mod token;
mod transaction;
mod value;
mod workers;

pub use columns::Columns;
pub use context::{Context, Liveness};
pub use exchange::Exchanged;
pub use facts::SpawnFacts;
pub use fault::{BoardError, ExchangeError};
pub use open::Board;
pub use schema::{READY_INDEX, create};
pub use scratch::Scratch;
pub use still::Stamps;
pub use token::{Holder, Owner, Token, instance};
pub use workers::Workers;
