//! The start of a child, which the reaper knows from the moment the process exists.
//!
//! A thread that starts a child may be held up before it can register it, and the child must not stay
//! a zombie for so long. So the thread announces the child first; the kernel writes the child's pid
//! and pidfd where the reaper looks.

use std::sync::Arc;

use super::{Child, Children, Table};
use crate::machine::ids::SpawnId;
use crate::process::cells::Cells;
use crate::process::wait::{self, Which};

/// An announced child. When this is dropped, the child is registered unless the reaper has done so, or
/// forgotten if no process was created.
#[derive(Debug)]
pub struct Birth {
    children: Children,
    spawn: SpawnId,
    cells: Arc<Cells>,
}

impl Children {
    /// Announces the child that [`spawn`](crate::process::spawn::spawn) is about to make. Every
    /// [`reap`](Children::reap) registers it as soon as there is a process.
    #[must_use]
    pub fn birth(&self, spawn: SpawnId) -> Birth {
        let cells = Arc::new(Cells::new());
        self.table().births.insert(spawn, Arc::clone(&cells));
        Birth { children: self.clone(), spawn, cells }
    }

    /// Registers the announced children that exist by now.
    pub(super) fn take_in_births(&self, table: &mut Table) {
        if self.is_sabotaged() {
            return;
        }
        let born = table.births.iter().filter(|(_, cells)| cells.pid().is_some());
        let born: Vec<SpawnId> = born.map(|(spawn, _)| *spawn).collect();
        born.into_iter().for_each(|spawn| self.settle(table, spawn));
    }

    /// Registers a child unless that was done; forgets it if no process was created.
    fn settle(&self, table: &mut Table, spawn: SpawnId) {
        let Some(cells) = table.births.remove(&spawn) else { return };
        let Some(pid) = cells.pid() else { return };
        let pidfd = cells.take_pidfd().map(Arc::new);
        let child = Child { pid, pidfd, birth: Some(cells), ..Child::default() };
        self.take_in(table, spawn, child);
    }

    /// Plants a bug: the reaper sees a child only when the thread that started it has returned.
    #[cfg(feature = "sabotage")]
    pub fn register_only_after_the_spawn(&self) {
        self.shared.sabotaged.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(feature = "sabotage")]
    fn is_sabotaged(&self) -> bool {
        self.shared.sabotaged.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "with the feature it looks")]
    fn is_sabotaged(&self) -> bool {
        false
    }
}

impl Birth {
    /// Returns the cells that the kernel and the child write to.
    pub(in crate::process) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Calls `act` unless the child was reaped. The child is not reaped during the call, so its pid
    /// stays valid.
    pub(in crate::process) fn unless_reaped(&self, act: impl FnOnce()) {
        let table = self.children.table();
        let is_there = |child: &Child| !child.reaped;
        if table.births.contains_key(&self.spawn)
            || table.children.get(&self.spawn).is_some_and(is_there)
        {
            act();
        }
    }

    /// Called when the start failed. If the child failed before it executed its program, it is about
    /// to exit, and is reaped here.
    pub(in crate::process) fn fail(self) {
        let Some(child) = self.withdraw() else { return };
        let pidfd = child.pidfd.as_deref();
        let _its_failure_is_known = wait::wait(Which::of(child.pid, pidfd), 0);
    }

    /// Takes the child from the reaper. `None` if the reaper has reaped it, or there is none.
    fn withdraw(&self) -> Option<Child> {
        let children = &self.children;
        let mut table = children.table();
        children.settle(&mut table, self.spawn);
        table.children.get(&self.spawn).filter(|child| !child.reaped)?;
        children.take_out(&mut table, self.spawn);
        // The pid as well, while it is certainly the child's: once reaped, it may be another's.
        table.children.remove(&self.spawn)
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.children.settle(&mut self.children.table(), self.spawn);
    }
}
