//! The reader, for commands.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Kind, Told, files};
use crate::process::identity::Alive;
use crate::root::{Environment, state_directory};
use crate::runtime::clock;

/// The holds that the living dispatchers of a root know. A file that cannot be read is skipped: a
/// command must not fail for it.
#[must_use]
pub fn read(root: &Path, env: &Environment) -> Vec<Told> {
    let Ok(directory) = state_directory(root, env) else { return Vec::new() };
    let alive =
        files(&directory).into_iter().filter(|(_, status)| status.writer.alive() == Alive::Yes);
    let mut holds = merge(alive.map(|(_, status)| status.holds));
    let now = clock::unix();
    holds.retain(|told| !told.is_over(now));
    holds
}

/// Holds of several dispatchers: of those that are alike the one that lasts longest.
pub(super) fn merge(all: impl Iterator<Item = Vec<Told>>) -> Vec<Told> {
    let mut merged: BTreeMap<(Option<String>, Kind), Told> = BTreeMap::new();
    for told in all.flatten() {
        let key = (told.board.clone(), told.kind);
        if merged.get(&key).is_none_or(|known| known.until < told.until) {
            merged.insert(key, told);
        }
    }
    merged.into_values().collect()
}

impl Told {
    /// Whether its time is over, although its writer, which sleeps, has not removed it yet. A
    /// quarantine does not end this way: its writer looks at the board first.
    pub(super) fn is_over(&self, now: i64) -> bool {
        match self.kind {
            Kind::DirectoriesFail | Kind::HostRefuses => {
                self.until.is_some_and(|until| until < now)
            }
            Kind::Quarantined | Kind::Hung | Kind::SpawnThreadsStuck | Kind::WorkersUnclear => {
                false
            }
        }
    }
}
