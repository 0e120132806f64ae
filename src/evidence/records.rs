//! Intent records and the exit journal: one file for each dispatcher, one slot for each attempt.
//!
//! A dispatcher can be killed at any moment. What it wrote here is in the page cache and survives that
//! without an fsync. A crash of the host loses it, but ends every worker as well.
//!
//! An attempt's slot is written in this order:
//!
//! | written | by | when | its absence proves |
//! |---|---|---|---|
//! | intent | dispatcher | before a process is started | none was started, or its board has its end |
//! | pid | the new process | before it executes its program | no program was executed, once the lock is free |
//! | start time | dispatcher | after that | nothing: the pid may belong to another process now |
//! | verdict | dispatcher | when the attempt has ended | nothing: it may have ended since |
//! | cleared | dispatcher | when its board has recorded the end | nothing: the board may have it |
//!
//! The lock is an `flock` on the file, held from before the first record until the dispatcher ends. A
//! child shares it until it executes its program. So a free lock means that the dispatcher is dead and
//! that no child of it is still before its `exec`.
//!
//! Everything is written with `pwrite` into blocks that were allocated beforehand. With a mapping, a
//! full disk or a truncated file would raise SIGBUS.

mod check;
mod end;
mod error;
mod file;
mod foreign;
mod header;
mod image;
mod slot;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

pub use self::error::RecordsError;
use self::file::RecordsFile;
pub use self::file::written_at;
pub use self::foreign::Foreign;
pub use self::slot::{Found, Intent};
use self::slot::{Part, SLOT};
pub use self::sweep::sweep;
use crate::machine::ids::{Pid, SpawnId};
use crate::machine::verdict::Verdict;

/// Number of slots by which a file grows: 256 KiB.
const CHUNK: u32 = 1024;

/// Maximum number of slots of a file, 256 MiB: far more than a host has processes.
const MAX_SLOTS: u32 = 1 << 20;

/// The file of this dispatcher. Its lock is held until the value is dropped and every child started
/// before has executed its program.
pub struct Records {
    file: RecordsFile,
    chunk: u32,
    /// Held while a slot is written, so that a late write cannot land in a reused slot.
    table: Mutex<Table>,
}

/// Which slot belongs to which attempt.
#[derive(Default)]
struct Table {
    used: BTreeMap<SpawnId, u32>,
    free: Vec<u32>,
    /// Number of slots of the file. A slot that could not be emptied is in neither list.
    slots: u32,
}

/// Where the record of an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The attempt.
    pub spawn: SpawnId,
    /// The offset in the file at which the new process writes its pid, in bytes: a word of 8 bytes in
    /// the host's byte order, `pid | (!pid) << 32`, in one `pwrite`.
    pub pid_offset: u64,
}

impl Records {
    /// Creates and locks `<directory>/records/<name>`, with room for the first attempts.
    ///
    /// `name` identifies this process beyond its pid, among all processes that ever use this
    /// directory: at most 128 bytes, of `0-9`, `a-z`, `.` and `-`.
    ///
    /// # Errors
    /// See [`RecordsError`]. Then no file is left behind.
    pub fn create(directory: &Path, name: &str) -> Result<Records, RecordsError> {
        Records::create_with(directory, name, CHUNK)
    }

    fn create_with(directory: &Path, name: &str, chunk: u32) -> Result<Records, RecordsError> {
        let file = RecordsFile::create(directory, name)?;
        let records = Records { file, chunk, table: Mutex::default() };
        let grown = records.grow(&mut records.table());
        if grown.is_err() {
            let _the_first_error_counts = records.file.remove();
        }
        grown.map(|()| records)
    }

    /// Writes the intent to start a process. The process may be started only after this.
    ///
    /// # Errors
    /// See [`RecordsError`]. Then no process may be started.
    pub fn intend(&self, spawn: SpawnId, intent: &Intent) -> Result<Slot, RecordsError> {
        let mut table = self.table();
        if table.used.contains_key(&spawn) {
            return Err(RecordsError::Twice { path: self.file.path().to_owned(), spawn });
        }
        let index = self.take_free(&mut table)?;
        if let Err(error) = self.file.write(offset(index), &slot::intended(spawn, intent)) {
            // A partly written record must not be taken for another attempt's intent.
            if self.empty(index).is_ok() {
                table.free.push(index);
            }
            return Err(error);
        }
        table.used.insert(spawn, index);
        Ok(Slot { spawn, pid_offset: offset(index) + slot::PID })
    }

    /// Notes that an attempt is started without a record, so that readers conclude nothing from a
    /// missing record.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn note_gap(&self) -> Result<(), RecordsError> {
        self.file.write(header::GAPS, &header::HAS_GAPS)
    }

    /// Returns whether an attempt has a record.
    #[must_use]
    pub fn has(&self, spawn: SpawnId) -> bool {
        self.table().used.contains_key(&spawn)
    }

    /// Returns the file, for the process that writes its own pid. It is closed on exec.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.file().as_fd()
    }

    /// Writes the pid of a process that did not write it itself.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn pid_known(&self, spawn: SpawnId, pid: Pid) -> Result<(), RecordsError> {
        self.write(spawn, slot::pid(pid))
    }

    /// Writes when the process started, in clock ticks since boot.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn started(&self, spawn: SpawnId, start: u64) -> Result<(), RecordsError> {
        self.write(spawn, slot::started(spawn, start))
    }

    /// Writes how the attempt ended. Must be called once: a second verdict that is cut short leaves
    /// none.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn ended(&self, spawn: SpawnId, verdict: Verdict) -> Result<(), RecordsError> {
        self.write(spawn, slot::ended(spawn, verdict))
    }

    /// Waits until everything written is on the disk. Used for verdicts that their board did not take:
    /// the board's disk is failing, and this one may outlive it.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn sync(&self) -> Result<(), RecordsError> {
        self.file.sync()
    }

    /// Clears the slot: the attempt's board has recorded its end, or no process was or will be
    /// started. After an error the slot is still in use, and this can be called again.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn clear(&self, spawn: SpawnId) -> Result<(), RecordsError> {
        let mut table = self.table();
        let index = self.index(&table, spawn)?;
        self.empty(index)?;
        table.used.remove(&spawn);
        table.free.push(index);
        Ok(())
    }

    /// Called when a dispatcher ends in order: removes the file, unless a record in it is still
    /// needed.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn finish(&self) -> Result<(), RecordsError> {
        if self.table().used.is_empty() { self.file.remove() } else { Ok(()) }
    }

    fn write<const N: usize>(&self, spawn: SpawnId, part: Part<N>) -> Result<(), RecordsError> {
        let table = self.table();
        let index = self.index(&table, spawn)?;
        self.file.write(offset(index) + part.at, &part.bytes)
    }

    fn index(&self, table: &Table, spawn: SpawnId) -> Result<u32, RecordsError> {
        let path = || self.file.path().to_owned();
        table
            .used
            .get(&spawn)
            .copied()
            .ok_or_else(|| RecordsError::NoRecord { path: path(), spawn })
    }

    fn take_free(&self, table: &mut Table) -> Result<u32, RecordsError> {
        if table.free.is_empty() {
            self.grow(table)?;
        }
        table.free.pop().ok_or_else(|| self.file.error("grow", Errno::EFBIG.into()))
    }

    /// Blocks first, then their number: a reader must never count slots that do not exist.
    fn grow(&self, table: &mut Table) -> Result<(), RecordsError> {
        let slots = table.slots + self.chunk;
        if slots > MAX_SLOTS {
            return Err(self.file.error("grow", Errno::EFBIG.into()));
        }
        self.file.allocate(offset(table.slots), u64::from(self.chunk) * SLOT as u64)?;
        self.file.write(header::SLOTS, &header::slots(slots))?;
        // The lowest slot is used first.
        table.free.extend((table.slots..slots).rev());
        table.slots = slots;
        Ok(())
    }

    fn empty(&self, index: u32) -> Result<(), RecordsError> {
        empty(&self.file, index)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

/// Returns where a slot begins, in bytes from the beginning of the file.
fn offset(index: u32) -> u64 {
    header::LEN as u64 + u64::from(index) * SLOT as u64
}

/// Empties a slot. The order matters: if the old pid remained for a moment after the next intent is
/// written, the new attempt would seem to have the old process.
fn empty(file: &RecordsFile, index: u32) -> Result<(), RecordsError> {
    file.write(offset(index) + slot::FREE.at, &slot::FREE.bytes)?;
    file.write(offset(index) + slot::EMPTY.at, &slot::EMPTY.bytes)
}
