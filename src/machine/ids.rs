//! The numbers and names by which the machine knows things.

use core::{fmt, str};

/// One board, numbered by the runtime when it first sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardId(pub u32);

/// One attempt of ours, allotted by the machine when it decides to claim. It is also the fencing
/// token of the claim: unique within one dispatcher's life, whose instance id the board adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpawnId(pub u64);

/// A row of the table `task_runs`, by its `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

/// A process id. Good for rows and log lines, never enough to signal by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

/// A configured worker: an index into [`Policy::workers`](super::policy::Policy::workers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// `tasks.id`, held in place so that it can be copied and compared without allocating.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    bytes: [u8; TaskId::MAX],
    len: u8,
}

impl TaskId {
    /// The longest id that can be dispatched, in bytes. The client's own have 10.
    pub const MAX: usize = 31;

    /// `None` if the id is empty or longer than [`TaskId::MAX`].
    #[must_use]
    pub fn new(text: &str) -> Option<TaskId> {
        let mut bytes = [0; TaskId::MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).ok().filter(|len| *len > 0)?;
        Some(TaskId { bytes, len })
    }

    /// The id as it stands in the board.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|b| str::from_utf8(b).ok()).unwrap_or("")
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_keeps_its_text() {
        assert_eq!(TaskId::new("t_0123abcd").map(|t| t.as_str() == "t_0123abcd"), Some(true));
    }

    #[test]
    fn an_empty_or_overlong_task_id_is_refused() {
        assert_eq!(TaskId::new(""), None);
        assert!(TaskId::new(&"x".repeat(TaskId::MAX)).is_some());
        assert_eq!(TaskId::new(&"x".repeat(TaskId::MAX + 1)), None);
    }

    #[test]
    fn a_task_id_is_shown_as_it_stands_in_the_board() {
        let task = TaskId::new("t_1").unwrap();
        assert_eq!(format!("{task:?} {task} {task:>5}"), "t_1 t_1   t_1");
    }
}
