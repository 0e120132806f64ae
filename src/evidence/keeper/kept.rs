//! The pidfds that the keeper holds.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::tag::Tag;
use crate::process::pidfd::{self, Stage};

/// Pidfds with their tags, in the order of arrival.
pub struct Kept {
    limit: usize,
    /// The number of the next one.
    next: u64,
    by_age: BTreeMap<u64, (Tag, OwnedFd)>,
    ages: BTreeMap<String, u64>,
}

impl Kept {
    /// Returns a collection that holds at most `limit` pidfds.
    pub fn new(limit: usize) -> Kept {
        Kept { limit, next: 0, by_age: BTreeMap::new(), ages: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Keeps a pidfd, replacing an earlier one of the same lock. At the limit, the oldest whose
    /// process has ended is dropped; if none has ended, the new one is not kept.
    pub fn keep(&mut self, tag: Tag, pidfd: OwnedFd) {
        self.drop(tag.lock());
        if self.by_age.len() >= self.limit {
            let ended = self.by_age.values().find(|(_, pidfd)| has_ended(pidfd));
            let Some(lock) = ended.map(|(tag, _)| tag.lock().to_owned()) else { return };
            self.drop(&lock);
        }
        self.ages.insert(tag.lock().to_owned(), self.next);
        self.by_age.insert(self.next, (tag, pidfd));
        self.next += 1;
    }

    /// Closes the pidfd that is kept under this lock, if there is one.
    pub fn drop(&mut self, lock: &str) {
        if let Some(age) = self.ages.remove(lock) {
            self.by_age.remove(&age);
        }
    }

    pub fn get(&self, lock: &str) -> Option<BorrowedFd<'_>> {
        let (_, pidfd) = self.by_age.get(self.ages.get(lock)?)?;
        Some(pidfd.as_fd())
    }

    /// Returns the tags from age `from` on that fit into `room` bytes, and the age to continue from;
    /// `None` if these are the last.
    pub fn page(&self, from: u64, mut room: usize) -> (Vec<Tag>, Option<u64>) {
        let mut tags = Vec::new();
        for (age, (tag, _)) in self.by_age.range(from..) {
            let Some(left) = room.checked_sub(tag.size()) else { return (tags, Some(*age)) };
            room = left;
            tags.push(tag.clone());
        }
        (tags, None)
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    pidfd::stage(pidfd.as_fd()).is_ok_and(|stage| stage != Stage::Running)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ids::Pid;
    use std::process::Command;

    fn tag(lock: &str) -> Tag {
        Tag::new("board", 1, lock).unwrap()
    }

    fn running() -> OwnedFd {
        pidfd::open(Pid(std::process::id().cast_signed())).unwrap()
    }

    fn ended() -> OwnedFd {
        let mut child = Command::new("true").spawn().unwrap();
        let pidfd = pidfd::open(Pid(child.id().cast_signed())).unwrap();
        child.wait().unwrap();
        pidfd
    }

    fn locks(kept: &Kept) -> Vec<String> {
        let (tags, more) = kept.page(0, usize::MAX);
        assert_eq!(more, None);
        tags.iter().map(|tag| tag.lock().to_owned()).collect()
    }

    #[test]
    fn a_lock_has_one_pidfd_and_the_last_one_counts() {
        let mut kept = Kept::new(8);
        kept.keep(tag("a"), running());
        kept.keep(tag("b"), running());
        kept.keep(tag("a"), ended());
        assert_eq!(locks(&kept), ["b", "a"]);
        assert_eq!(pidfd::stage(kept.get("a").unwrap()), Ok(Stage::Reaped));
        kept.drop("a");
        kept.drop("a");
        assert!(kept.get("a").is_none());
        kept.drop("b");
        assert!(kept.is_empty());
    }

    #[test]
    fn at_the_limit_the_oldest_that_has_ended_makes_room() {
        let mut kept = Kept::new(3);
        kept.keep(tag("runs"), running());
        kept.keep(tag("ended first"), ended());
        kept.keep(tag("ended later"), ended());
        kept.keep(tag("new"), running());
        assert_eq!(locks(&kept), ["runs", "ended later", "new"]);
        kept.keep(tag("newer"), running());
        assert_eq!(locks(&kept), ["runs", "new", "newer"]);
        kept.keep(tag("too many"), ended());
        assert_eq!(locks(&kept), ["runs", "new", "newer"], "what runs is never dropped");
        kept.keep(tag("new"), ended());
        assert_eq!(locks(&kept), ["runs", "newer", "new"], "its own place is free");
    }

    #[test]
    fn a_list_is_given_in_pages_that_fit() {
        let mut kept = Kept::new(100);
        let all: Vec<String> = (0..20).map(|n| format!("lock {n:02}")).collect();
        all.iter().for_each(|lock| kept.keep(tag(lock), running()));
        let (mut found, mut from) = (Vec::new(), Some(0));
        while let Some(age) = from {
            let (tags, next) = kept.page(age, 3 * tag("lock 00").size() + 1);
            assert!((1..=3).contains(&tags.len()));
            found.extend(tags.iter().map(|tag| tag.lock().to_owned()));
            // Pidfds dropped between two pages do not stop the list.
            kept.drop("lock 03");
            from = next;
        }
        let expected: Vec<_> = all.iter().filter(|lock| *lock != "lock 03").cloned().collect();
        assert_eq!(found, expected);
    }
}
