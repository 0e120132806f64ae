//! Parents and children in the process table.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs;

/// Returns state and parent of a process; `None` if it does not exist.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a child of `parent` with this pid is there in any state.
pub fn is_child(pid: i32, parent: i32) -> bool {
    stat(pid).is_some_and(|(_, its)| its == parent)
}

/// All children of a process, in any state.
pub fn children_of(parent: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_child(*pid, parent)).collect()
}
