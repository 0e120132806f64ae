//! Zombies in the process table.

use crate::support::process::{children_of, stat};

/// Whether it is a zombie.
pub fn is_zombie(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state == 'Z')
}

/// All zombie children of a process.
pub fn zombies_of(parent: i32) -> Vec<i32> {
    children_of(parent).into_iter().filter(|pid| is_zombie(*pid)).collect()
}
