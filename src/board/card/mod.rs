//! What people and workers do to cards: one file for each verb.
//!
//! A verb is a function on an open write transaction. It checks, then writes the rows and the event
//! that the board format prescribes, or refuses and writes nothing. Columns that a board lacks are
//! not written.

mod block;
mod comment;
mod complete;
mod create;
mod error;
mod fields;
mod ids;
mod link;
mod list;
mod open;
mod promote;
mod run;
mod show;
mod task;
mod unblock;
mod value;
mod wait;

pub use block::{Block, BlockKind, block};
pub use comment::comment;
pub use complete::{Complete, complete};
pub use create::{Created, NewTask, Workspace, create};
pub use error::CardError;
pub use link::link;
pub use list::{Filter, count_by_status, list};
pub use open::{Opened, open, open_for_reading, open_to_follow, write};
pub use run::Run;
pub use show::{Card, Comment, Event, events_after, show};
pub use task::{Task, find, owner};
pub use unblock::{Unblock, unblock};
pub use wait::{Ends, Judge, Parent, Wait, wait};

pub use super::rows::event::json_text;
