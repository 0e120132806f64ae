//! The workers' names and numbers, and what an assignee means. A name keeps its number for as long as
//! the program runs.
//!
//! Assignees are compared trimmed and in lower case, as all tools for these boards do.

use crate::machine::hold::Lane;
use crate::machine::ids::WorkerId;

/// Names in the order of their numbers, those of workers that are switched off included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    names: Vec<String>,
}

impl Workers {
    /// Workers with these names, numbered in this order.
    #[must_use]
    pub fn new<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Workers {
        Workers { names: names.into_iter().map(|name| normal(name.as_ref())).collect() }
    }

    /// The worker of this name.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<WorkerId> {
        let name = normal(name);
        let index = self.names.iter().position(|known| *known == name)?;
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

    /// Returns the lane of an assignee. A blank assignee counts as none; case does not matter.
    #[must_use]
    pub fn lane(&self, assignee: Option<&str>) -> Lane {
        match assignee.map(str::trim) {
            None | Some("") => Lane::Unassigned,
            Some(name) => self.id(name).map_or(Lane::Foreign, Lane::Worker),
        }
    }

    /// The number of this name, a new one if it has none yet; `None` when the numbers have run out.
    pub(crate) fn id_or_new(&mut self, name: &str) -> Option<WorkerId> {
        if let Some(id) = self.id(name) {
            return Some(id);
        }
        let id = u16::try_from(self.names.len()).ok().map(WorkerId)?;
        self.names.push(name.to_owned());
        Some(id)
    }
}

fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}
