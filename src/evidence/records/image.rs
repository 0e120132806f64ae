//! The bytes of a file of records. No part is trusted without its check.

use super::slot::{self, Found, Held, SLOT};
use super::{header, offset};
use crate::machine::ids::SpawnId;

/// A file whose header is intact.
pub(super) struct Image {
    bytes: Vec<u8>,
    slots: u32,
}

impl Image {
    /// Reads the file of dispatcher `name`. The error says what is wrong with it.
    pub(super) fn new(bytes: Vec<u8>, name: &str) -> Result<Image, &'static str> {
        let slots = header::read(&bytes, name)?;
        Ok(Image { bytes, slots })
    }

    /// Returns what the file says about an attempt.
    pub(super) fn find(&self, spawn: SpawnId) -> Found {
        let has_gaps = header::has_gaps(&self.bytes);
        let mut missing = if has_gaps { Found::Damaged } else { Found::NoIntent };
        for (_, held) in self.held() {
            match held {
                Held::Record(of, found) if of == spawn => return found,
                // The damaged record could be this attempt's.
                Held::Damaged => missing = Found::Damaged,
                Held::Nothing | Held::Record(..) => {}
            }
        }
        missing
    }

    /// Returns the index of the slot that holds an attempt.
    pub(super) fn index(&self, spawn: SpawnId) -> Option<u32> {
        self.records().find(|(_, of)| *of == spawn).map(|(index, _)| index)
    }

    /// Returns true if no record in it is needed.
    pub(super) fn is_unused(&self) -> bool {
        self.held().all(|(_, held)| matches!(held, Held::Nothing))
    }

    /// Returns the attempts that have a record.
    pub(super) fn spawns(&self) -> Vec<SpawnId> {
        self.records().map(|(_, spawn)| spawn).collect()
    }

    fn records(&self) -> impl Iterator<Item = (u32, SpawnId)> {
        self.held().filter_map(|(index, held)| match held {
            Held::Record(spawn, _) => Some((index, spawn)),
            Held::Nothing | Held::Damaged => None,
        })
    }

    /// Returns what each slot holds. A slot beyond the end of a truncated file counts as damaged.
    fn held(&self) -> impl Iterator<Item = (u32, Held)> {
        (0..self.slots).map(|index| {
            let from = offset(index) as usize;
            (index, slot::read(self.bytes.get(from..from + SLOT).unwrap_or_default()))
        })
    }
}
