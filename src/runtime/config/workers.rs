//! The workers' names and numbers. A name keeps its number for as long as the program runs.

use crate::machine::exchange::Lane;
use crate::machine::ids::WorkerId;

/// Names in the order of their numbers, those of workers that are switched off included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    names: Vec<String>,
}

impl Workers {
    /// The worker of this name.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<WorkerId> {
        let index = self.names.iter().position(|known| known == name)?;
        u16::try_from(index).ok().map(WorkerId)
    }

    /// The name of this worker.
    #[must_use]
    pub fn name(&self, id: WorkerId) -> Option<&str> {
        self.names.get(usize::from(id.0)).map(String::as_str)
    }

    /// All names, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whose work a task with this assignee is. A blank assignee is none; case does not matter.
    #[must_use]
    pub fn lane(&self, assignee: Option<&str>) -> Lane {
        match assignee.map(str::trim) {
            None | Some("") => Lane::Unassigned,
            Some(name) => self.id(&name.to_lowercase()).map_or(Lane::Foreign, Lane::Worker),
        }
    }

    /// The number of this name, a new one if need be; `None` when the numbers have run out.
    pub(super) fn id_or_new(&mut self, name: &str) -> Option<WorkerId> {
        if let Some(id) = self.id(name) {
            return Some(id);
        }
        let id = u16::try_from(self.names.len()).ok().map(WorkerId)?;
        self.names.push(name.to_owned());
        Some(id)
    }
}

/// Whether an assignee can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 64
        && name.starts_with(fits)
        && name.chars().all(|c| fits(c) || c == '_' || c == '-')
}
