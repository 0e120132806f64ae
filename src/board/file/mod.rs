//! What guards the files of a board: which file it is, who else has it open, whether it is sound.
//!
//! Nothing here knows what stands in the rows, and no raw descriptor of a live database is opened
//! here: closing one would drop every POSIX lock that this process has on that file.

pub(crate) mod at_rest;
pub(crate) mod guard;
pub(crate) mod lock;
pub(crate) mod pages;
pub(crate) mod sigbus;
pub(crate) mod wal_shm;
