//! The records of another dispatcher, for the dispatcher that adopts its claims.

use std::fmt;
use std::path::Path;

use super::file::RecordsFile;
use super::image::Image;
use super::slot::{self, Found};
use super::{RecordsError, empty, offset};
use crate::machine::ids::SpawnId;
use crate::machine::verdict::Verdict;

/// The file of another dispatcher. Nothing is cached: each call reads the file again.
pub struct Foreign {
    file: RecordsFile,
    name: String,
}

impl Foreign {
    /// Opens the records of dispatcher `name`; `None` if there are none, which proves nothing.
    ///
    /// # Errors
    /// See [`RecordsError`]. [`RecordsError::Damaged`] proves nothing either.
    pub fn open(directory: &Path, name: &str) -> Result<Option<Foreign>, RecordsError> {
        let Some(file) = RecordsFile::open(directory, name)? else { return Ok(None) };
        let foreign = Foreign { file, name: name.to_owned() };
        foreign.image()?;
        Ok(Some(foreign))
    }

    /// Returns whether dispatcher `name` may be alive, or a child of it may not have executed its
    /// program yet, by the lock of its records, which may be damaged.
    #[must_use]
    pub fn may_execute(directory: &Path, name: &str) -> bool {
        match RecordsFile::open(directory, name) {
            Ok(Some(file)) => file.is_locked().unwrap_or(true),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Returns true while the dispatcher is alive, or a child of it has not yet executed its program.
    /// Call it before [`read`](Foreign::read): what is missing from a file read before the lock was
    /// free may have been written in between.
    ///
    /// # Errors
    /// See [`RecordsError`]. Then the lock must be taken for held.
    pub fn is_executing(&self) -> Result<bool, RecordsError> {
        self.file.is_locked()
    }

    /// Returns what is recorded of an attempt. Reads the whole file.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn read(&self, spawn: SpawnId) -> Result<Found, RecordsError> {
        Ok(self.image()?.find(spawn))
    }

    /// Returns the attempts that have a record. If the dispatcher was killed between the board's
    /// commit and [`clear`](Foreign::clear), no claim leads to the record, and only this list shows
    /// it.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn spawns(&self) -> Result<Vec<SpawnId>, RecordsError> {
        Ok(self.image()?.spawns())
    }

    /// Writes how an attempt ended. Only for an attempt that is read without an end: a second verdict
    /// that is cut short leaves none.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn ended(&self, spawn: SpawnId, verdict: Verdict) -> Result<(), RecordsError> {
        let part = slot::ended(spawn, verdict);
        self.file.write(offset(self.index(spawn)?) + part.at, &part.bytes)
    }

    /// Clears the record: the attempt's board has recorded its end.
    ///
    /// # Errors
    /// See [`RecordsError`].
    pub fn clear(&self, spawn: SpawnId) -> Result<(), RecordsError> {
        empty(&self.file, self.index(spawn)?)
    }

    fn index(&self, spawn: SpawnId) -> Result<u32, RecordsError> {
        let path = || self.file.path().to_owned();
        self.image()?.index(spawn).ok_or_else(|| RecordsError::NoRecord { path: path(), spawn })
    }

    fn image(&self) -> Result<Image, RecordsError> {
        let path = || self.file.path().to_owned();
        let image = Image::new(self.file.load()?, &self.name);
        image.map_err(|problem| RecordsError::Damaged { path: path(), problem })
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("path", &self.file.path()).finish_non_exhaustive()
    }
}
