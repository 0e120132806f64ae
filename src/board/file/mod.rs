//! What guards the files of a board: which file it is, who else has it open, whether it is sound.
//!
//! Nothing here knows what stands in the rows, and no raw descriptor of a database that this process
//! has open is made here: closing one would drop every POSIX lock that the process has on that file.

mod at_rest;
mod beside;
mod handle;
mod live;
mod lock;
mod open;
mod pages;
mod reserve;
mod sigbus;
mod stamps;
mod wal_shm;

pub(crate) use at_rest::{irregular_beside, open as open_at_rest, read as read_at_rest};
pub(crate) use beside::beside;
pub(crate) use live::LiveFile;
pub(crate) use lock::{DispatchLock, InitLock};
pub(crate) use pages::damage;
pub use stamps::Stamps;
pub(crate) use wal_shm::frames;
