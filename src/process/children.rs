//! Who our children are. Each of them is reaped exactly once, and by nobody but this.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use thiserror::Error;

use super::identity;
use super::pidfd::{self, Reach, Stage};
use super::wait::{self, Which};
use crate::machine::event::Group;
use crate::machine::ids::{Pid, SpawnId};
use crate::machine::verdict::ExitStatus;

/// The children of this process. Cheap to clone; all clones are the same.
///
/// Spawn lanes put them in, the event loop reaps them. No call here waits for anything but the
/// others' calls, which do not wait either.
#[derive(Clone)]
pub struct Children {
    shared: Arc<Shared>,
}

struct Shared {
    epoll: Epoll,
    table: Mutex<BTreeMap<SpawnId, Child>>,
    trouble: Mutex<Option<Trouble>>,
}

/// Stands in for a kernel that refuses: asked once for each `reap`.
type Trouble = Box<dyn FnMut() -> Option<Errno> + Send>;

/// One child, from its registration until it is forgotten.
struct Child {
    pid: Pid,
    /// Kept after the child was reaped: it still leads to the group.
    pidfd: Option<Arc<OwnedFd>>,
    /// When it started, in ticks since boot.
    start: Option<u64>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its exit has not been seen.
    Running,
    /// Not our child: it has ended, and its parent leaves it lying.
    Unburied,
    /// Its exit has been handed out.
    Reaped,
}

/// A child that was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Whose worker.
    pub spawn: SpawnId,
    /// Its pid, free from now on unless something of its group is alive.
    pub pid: Pid,
    /// How it ended.
    pub status: ExitStatus,
    /// Whether anything of its group is alive.
    pub group: Group,
}

/// What one [`Children::reap`] came to. Exits count also when there is an error: those children are
/// gone, and nobody will tell of them again.
#[derive(Debug, Default)]
#[must_use]
pub struct Reaping {
    /// The children that were reaped, in the order of their spawn ids.
    pub exits: Vec<Exit>,
    /// Set if a child that had exited may be left.
    pub error: Option<ReapError>,
}

/// The kernel refused to say whether a child has exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("waitid for the worker with pid {} failed: {errno}; the next reaping tries again", pid.0)]
pub struct ReapError {
    /// Whose worker; of several, the first.
    pub spawn: SpawnId,
    /// Its pid.
    pub pid: Pid,
    /// The error number.
    pub errno: Errno,
}

/// What is needed to signal a worker's group.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub pid: Pid,
    pub pidfd: Option<Arc<OwnedFd>>,
    pub start: Option<u64>,
}

impl Children {
    /// An empty table.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<Children, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (table, trouble) = (Mutex::default(), Mutex::default());
        Ok(Children { shared: Arc::new(Shared { epoll, table, trouble }) })
    }

    /// The epoll instance on which each child's exit shows once, with its spawn id as data. To be
    /// nested in the loop's own, or waited on. Its events are hints: what has exited is what
    /// [`reap`](Children::reap) returns.
    #[must_use]
    pub fn epoll(&self) -> &Epoll {
        &self.shared.epoll
    }

    /// Takes in a process: the very next act after its spawn. From here on its exit is not missed.
    ///
    /// Without `pidfd` (the host had no descriptor left) it must be our own child; it is reaped by
    /// the next `reap`, though nothing wakes anybody for it, and a pidfd is tried for again there.
    /// With one it may be a process that an earlier life of this program started.
    pub fn register(&self, spawn: SpawnId, pid: Pid, pidfd: Option<OwnedFd>) {
        let pidfd = pidfd.map(Arc::new);
        // Held from before the watch is set: a child that has exited already is told of at once and
        // only once, and whoever is woken by that must find it in the table.
        let mut table = self.table();
        if let Some(fd) = &pidfd {
            self.watch(spawn, fd.as_fd());
        }
        // Not reaped yet, so the number is its.
        let start = identity::stat(pid).ok().map(|stat| stat.start);
        let child = Child { pid, pidfd, start, phase: Phase::Running };
        let replaced = table.insert(spawn, child);
        debug_assert!(replaced.is_none(), "{spawn:?} was registered twice");
    }

    /// Reaps every registered child that has exited, and hands each out once, ever.
    ///
    /// Its bound is the children registered when it began. A child whose status somebody else has
    /// taken is told with what its pidfd remembers, else as [`ExitStatus::Unknown`].
    pub fn reap(&self) -> Reaping {
        let mut reaping = Reaping::default();
        let mut table = self.table();
        if let Some(errno) = self.trouble() {
            let first = table.iter().find(|(_, child)| child.phase != Phase::Reaped);
            let (spawn, pid) = first.map_or((SpawnId(0), Pid(0)), |(id, child)| (*id, child.pid));
            reaping.error = Some(ReapError { spawn, pid, errno });
            return reaping;
        }
        let mut ended = Vec::new();
        for (spawn, child) in table.iter_mut().filter(|(_, child)| child.phase != Phase::Reaped) {
            match self.look(*spawn, child) {
                Ok(Some(status)) => ended.push((*spawn, status)),
                Ok(None) => {}
                Err(errno) => {
                    let error = ReapError { spawn: *spawn, pid: child.pid, errno };
                    reaping.error = reaping.error.or(Some(error));
                }
            }
        }
        // After the last wait, so that one search of /proc is true of all of them.
        let living: Living = LazyCell::new(identity::living_groups);
        reaping.exits = ended
            .into_iter()
            .filter_map(|(id, status)| Some(self.bury(id, table.get_mut(&id)?, status, &living)))
            .collect();
        reaping
    }

    /// How `child` ended; `None` if it has not.
    fn look(&self, spawn: SpawnId, child: &mut Child) -> Result<Option<ExitStatus>, Errno> {
        let which = match &child.pidfd {
            Some(fd) => Which::PidFd(fd.as_fd()),
            None => Which::Pid(child.pid),
        };
        match wait::wait(which, libc::WNOHANG) {
            Ok(Some((_, status))) => Ok(Some(status)),
            Ok(None) => {
                self.try_for_pidfd(spawn, child);
                Ok(None)
            }
            Err(Errno::ECHILD) => self.look_at_foreign(spawn, child),
            Err(errno) => Err(errno),
        }
    }

    /// The kernel has just said that `child` is ours and runs, so its number is its.
    fn try_for_pidfd(&self, spawn: SpawnId, child: &mut Child) {
        if child.pidfd.is_none()
            && let Ok(fd) = pidfd::open(child.pid)
        {
            self.watch(spawn, fd.as_fd());
            child.pidfd = Some(Arc::new(fd));
        }
    }

    /// As [`look`](Self::look), for a process that is not our child, or no longer.
    fn look_at_foreign(
        &self,
        spawn: SpawnId,
        child: &mut Child,
    ) -> Result<Option<ExitStatus>, Errno> {
        let Some(fd) = &child.pidfd else { return Ok(Some(ExitStatus::Unknown)) };
        match pidfd::stage(fd.as_fd())? {
            Stage::Running => Ok(None),
            Stage::Reaped => {
                Ok(Some(pidfd::exit_status(fd.as_fd()).unwrap_or(ExitStatus::Unknown)))
            }
            // Reaped since, or by a kernel that shows no difference.
            Stage::Zombie if gone(child.pid) => {
                Ok(Some(pidfd::exit_status(fd.as_fd()).unwrap_or(ExitStatus::Unknown)))
            }
            Stage::Zombie => {
                if child.phase == Phase::Running {
                    child.phase = Phase::Unburied;
                    // Readable from now on; only the hang-up, which is always told, is news.
                    let mut event = EpollEvent::new(EpollFlags::EPOLLONESHOT, spawn.0);
                    let _told_by_the_next_tick = self.shared.epoll.modify(fd.as_fd(), &mut event);
                }
                Ok(None)
            }
        }
    }

    /// The processes of an earlier life that have ended and that their parent leaves lying. The
    /// caller decides how long it waits before it calls [`give_up`](Children::give_up).
    #[must_use]
    pub fn unburied(&self) -> Vec<SpawnId> {
        let table = self.table();
        table
            .iter()
            .filter(|(_, child)| child.phase == Phase::Unburied)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Takes one of the [`unburied`](Children::unburied) for ended, with an unknown status.
    #[must_use]
    pub fn give_up(&self, spawn: SpawnId) -> Option<Exit> {
        let mut table = self.table();
        let child = table.get_mut(&spawn).filter(|child| child.phase == Phase::Unburied)?;
        let living: Living = LazyCell::new(identity::living_groups);
        Some(self.bury(spawn, child, ExitStatus::Unknown, &living))
    }

    /// Marks `child` as handed out. Its pidfd stays, for its group.
    fn bury(&self, spawn: SpawnId, child: &mut Child, status: ExitStatus, living: &Living) -> Exit {
        child.phase = Phase::Reaped;
        if let Some(fd) = &child.pidfd {
            self.unwatch(fd.as_fd());
        }
        let fd = child.pidfd.as_ref().map(|fd| fd.as_fd());
        Exit { spawn, pid: child.pid, status, group: rest_of_group(child.pid, fd, living) }
    }

    /// Drops a child: after its exit is recorded and its group gone. One that was never reaped is
    /// still ours to reap, so it is kept; then this returns false.
    pub fn forget(&self, spawn: SpawnId) -> bool {
        let mut table = self.table();
        match table.get(&spawn).map(|child| child.phase) {
            Some(Phase::Running | Phase::Unburied) => false,
            // Out of the epoll set since it was reaped, so closing it leaves nothing behind there.
            Some(Phase::Reaped) => table.remove(&spawn).is_some(),
            None => true,
        }
    }

    /// How many were registered and not reaped.
    #[must_use]
    pub fn unreaped(&self) -> usize {
        self.table().values().filter(|child| child.phase != Phase::Reaped).count()
    }

    /// Reaps the orphans that fell to us as subreaper, at most `limit`, and returns their pids.
    ///
    /// **Only on the main thread**, and only if that thread starts no children: what other threads
    /// have started is theirs and is not touched, which makes everything that is left an orphan.
    ///
    /// # Errors
    /// What `waitid` says, except that there are no children.
    pub fn adopt_orphans(&self, limit: usize) -> Result<Vec<Pid>, Errno> {
        let mut pids = Vec::new();
        let ours: BTreeSet<Pid> = {
            let table = self.table();
            table.values().filter(|child| child.phase != Phase::Reaped).map(|c| c.pid).collect()
        };
        let flags = libc::WNOHANG | libc::__WNOTHREAD;
        while pids.len() < limit {
            // Looked at first: a registered child falls to this thread when its lane ends, and its
            // status belongs to `reap`, which will have it out of the way of those behind it.
            let (pid, _) = match wait::wait(Which::Any, flags | libc::WNOWAIT) {
                Ok(Some(seen)) => seen,
                Ok(None) | Err(Errno::ECHILD) => break,
                Err(errno) => return Err(errno),
            };
            if ours.contains(&pid) {
                break;
            }
            wait::wait(Which::Pid(pid), flags)?;
            pids.push(pid);
        }
        Ok(pids)
    }

    /// Lets `trouble` be asked at each `reap`; a number that it returns makes that one fail. For
    /// tests of what comes after.
    pub fn plant_trouble(&self, trouble: impl FnMut() -> Option<Errno> + Send + 'static) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Box::new(trouble));
    }

    fn trouble(&self) -> Option<Errno> {
        let mut trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_mut().and_then(|ask| ask())
    }

    pub(super) fn handle(&self, spawn: SpawnId) -> Option<Handle> {
        let table = self.table();
        let child = table.get(&spawn)?;
        Some(Handle { pid: child.pid, pidfd: child.pidfd.clone(), start: child.start })
    }

    fn watch(&self, spawn: SpawnId, fd: BorrowedFd<'_>) {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        // ENOMEM or ENOSPC: then the tick finds the exit instead of a wake-up.
        let _found_by_the_tick = self.shared.epoll.add(fd, EpollEvent::new(flags, spawn.0));
    }

    fn unwatch(&self, fd: BorrowedFd<'_>) {
        // ENOENT if `watch` failed.
        let _was_not_there = self.shared.epoll.delete(fd);
    }

    /// A lane that panicked left the table whole: each change to it is one call.
    fn table(&self) -> MutexGuard<'_, BTreeMap<SpawnId, Child>> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("unreaped", &self.unreaped()).finish_non_exhaustive()
    }
}

/// True if there is no process with this pid, not even a zombie.
fn gone(pid: Pid) -> bool {
    matches!(identity::stat(pid), Err(identity::LookError::Gone(_)))
}

/// The groups that have living members, searched for at most once.
type Living = LazyCell<Option<BTreeSet<Pid>>>;

/// What is left of the group of a leader that has ended. In doubt it is alive.
fn rest_of_group(pid: Pid, pidfd: Option<BorrowedFd<'_>>, living: &Living) -> Group {
    // The kernel knows if nobody is left; only if somebody is, /proc is searched for whether those
    // are more than zombies.
    let empty = pidfd.is_some_and(|fd| pidfd::send(fd, 0, Reach::Group) == Err(Errno::ESRCH));
    if empty || identity::is_empty_group(pid) {
        return Group::Gone;
    }
    match &**living {
        Some(groups) if !groups.contains(&pid) => Group::Gone,
        Some(_) | None => Group::Alive,
    }
}

/// Makes this process the one to which orphaned descendants fall, instead of pid 1.
///
/// # Errors
/// What the kernel says; it has no reason to refuse.
pub fn become_subreaper() -> Result<(), Errno> {
    let (on, unused) = (libc::c_ulong::from(true), libc::c_ulong::MIN);
    // SAFETY: takes integers only.
    let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, on, unused, unused, unused) };
    Errno::result(set).map(drop)
}
