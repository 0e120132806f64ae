//! Counts zombies among the children of sexton, by reading `/proc` every other millisecond.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::{fs, io, process};

use serde::Serialize;

use super::ends_within;
use crate::machine::ids::Pid;
use crate::process::identity::{self, Stat};
use crate::runtime::clock;

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Seen {
    pub looks: u64,
    /// Number of different zombies that were seen.
    pub zombies: usize,
    /// The longest time from the first to the last look that saw the same zombie.
    pub longest_zombie_ms: u64,
    /// What sexton left behind, zombies or living: it falls to this process, its subreaper.
    /// `None` if it cannot be read.
    pub left: Option<usize>,
}

/// Looks until sexton ends.
pub fn observe(pid: Pid, sexton: &OwnedFd) -> Seen {
    let (mut seen, mut first_seen) = (Seen::default(), BTreeMap::new());
    while !ends_within(sexton, 2) {
        let at = clock::now().mono;
        // A thread may just have ended.
        let Ok(zombies) = zombies_of(pid) else { continue };
        for zombie in zombies {
            let since = *first_seen.entry((zombie.pid, zombie.start)).or_insert(at);
            seen.longest_zombie_ms = seen.longest_zombie_ms.max(at.since(since));
        }
        (seen.looks, seen.zombies) = (seen.looks + 1, first_seen.len());
    }
    let own = || children_of(Pid(process::id().cast_signed())).ok();
    // Again if a thread has just ended.
    let own = (0..100).find_map(|_| own());
    seen.left = own.map(|own| own.iter().filter(|child| child.pid != pid).count());
    seen
}

pub fn zombies_of(parent: Pid) -> io::Result<Vec<Stat>> {
    let children = children_of(parent)?.into_iter();
    Ok(children.filter(|child| child.state == b'Z').collect())
}

/// The children of all threads of a process, if the kernel keeps lists of them.
fn children_of(parent: Pid) -> io::Result<Vec<Stat>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", parent.0))? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
        children.extend(pids.filter_map(|pid| identity::stat(Pid(pid)).ok()));
    }
    Ok(children)
}
