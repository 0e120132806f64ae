//! Who our children are. Each of them is reaped exactly once, and only here.

mod birth;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use birth::Birth;
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use thiserror::Error;

use super::cells::Cells;
use super::identity;
use super::pidfd::{self, Reach, Stage};
use super::wait::{self, Waiter, Which};
use crate::machine::effect::Whom;
use crate::machine::event::Group;
use crate::machine::ids::{Pid, SpawnId};
use crate::machine::verdict::ExitStatus;

/// Data in the [epoll](Children::epoll) from here on is never a spawn id. It is for descriptors that
/// others wait for beside the children.
pub const OTHERS: u64 = 1 << 63;

/// How often a zombie is looked at that its parent does not reap, before how it ended counts as
/// unknown.
const LEFT: u8 = 5;

/// The children of this process. Cheap to clone; all clones are the same.
///
/// Spawn threads announce them, the event loop reaps them. No call here waits for anything but the
/// others' calls, which do not wait either.
#[derive(Clone)]
pub struct Children {
    shared: Arc<Shared>,
}

struct Shared {
    epoll: Epoll,
    table: Mutex<Table>,
    wait: Waiter,
    #[cfg(feature = "sabotage")]
    sabotaged: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct Table {
    children: BTreeMap<SpawnId, Child>,
    /// Those that are announced and not registered. Each may exist already, or never come to be.
    births: BTreeMap<SpawnId, Arc<Cells>>,
    /// Children whose exit epoll has shown. Each was shown once and is not shown again, so an id
    /// stays until its child is reaped.
    hinted: BTreeSet<SpawnId>,
    /// Children whose exit epoll does not show: they have no pidfd, or it could not be added.
    unwatched: BTreeSet<SpawnId>,
    /// Pids of the children that are not reaped: what else ends on the main thread is an orphan.
    pids: BTreeSet<Pid>,
}

impl Table {
    /// The children to ask, in the order of their ids.
    fn to_ask(&self, whom: Whom) -> Vec<SpawnId> {
        match whom {
            Whom::All => {
                let unreaped = self.children.iter().filter(|(_, child)| !child.reaped);
                unreaped.map(|(spawn, _)| *spawn).collect()
            }
            Whom::Hinted => self.hinted.union(&self.unwatched).copied().collect(),
        }
    }
}

/// One child, from its registration until it is forgotten.
#[derive(Default)]
struct Child {
    pid: Pid,
    /// Kept after the child was reaped: it still leads to the group.
    pidfd: Option<Arc<OwnedFd>>,
    /// When it started, in ticks since boot.
    start: Option<u64>,
    /// Its exit has been returned.
    reaped: bool,
    /// Another dispatcher started it: it is not ours to reap.
    adopted: bool,
    /// How often it was found to be a zombie that its parent leaves.
    left: u8,
    /// What it tells of itself; `None` of a process that this program did not start in this life.
    birth: Option<Arc<Cells>>,
}

impl Child {
    /// Counts that it was found to be a zombie again. True if its parent leaves it.
    fn is_left(&mut self) -> bool {
        self.left = self.left.saturating_add(1);
        self.left > LEFT
    }

    /// True if it exited without having executed its program: that is no exit of a worker.
    fn has_failed(&self) -> bool {
        self.birth.as_ref().is_some_and(|cells| cells.failure().is_some())
    }
}

/// A child that was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The attempt whose worker exited.
    pub spawn: SpawnId,
    /// Its pid, unused from now on unless something of its group is alive.
    pub pid: Pid,
    /// Exit status of the leader.
    pub status: ExitStatus,
    /// Whether anything of its group is alive.
    pub group: Group,
}

/// The worker of a dead dispatcher, as it is taken in.
#[derive(Debug)]
pub struct Adopted {
    /// Its pid. It may have been reaped.
    pub pid: Pid,
    /// Its pidfd, which leads to it, to its group, and to its exit status.
    pub pidfd: OwnedFd,
    /// When it started, in ticks since boot, if that is known.
    pub start: Option<u64>,
    /// Its end is known, and only its group is of interest.
    pub reaped: bool,
}

/// What one [`Children::reap`] came to. Exits count also when there is an error: those children are
/// gone, and no later call returns them.
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
    /// Pid of the child.
    pub pid: Pid,
    /// The errno of `waitid`.
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
        Children::with(Box::new(wait::wait))
    }

    /// As [`new`](Children::new), with another way to wait for a child than the kernel's own.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn with(wait: Waiter) -> Result<Children, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let shared = Shared {
            epoll,
            table: Mutex::default(),
            wait,
            #[cfg(feature = "sabotage")]
            sabotaged: Default::default(),
        };
        Ok(Children { shared: Arc::new(shared) })
    }

    /// The epoll instance on which each child's exit shows once, with its spawn id as data. Each id
    /// that it shows belongs into [`hint`](Children::hint). Others may add descriptors of their own,
    /// with data from [`OTHERS`] on.
    #[must_use]
    pub fn epoll(&self) -> &Epoll {
        &self.shared.epoll
    }

    /// Takes in a process that was not [announced](Children::birth). From here on its exit is not
    /// missed.
    ///
    /// Without `pidfd` (the host had no descriptor left) it must be our own child; every `reap` asks
    /// it, though nothing wakes the loop for it, and a pidfd is tried for again there. With one it
    /// may be a process that an earlier life of this program started.
    pub fn register(&self, spawn: SpawnId, pid: Pid, pidfd: Option<OwnedFd>) {
        let pidfd = pidfd.map(Arc::new);
        let child = Child { pid, pidfd, ..Child::default() };
        self.take_in(&mut self.table(), spawn, child);
    }

    /// Takes in the worker of a dead dispatcher. Its exit is returned by a reaping as that of a child,
    /// unless it is known already.
    pub fn adopt(&self, spawn: SpawnId, adopted: Adopted) {
        let Adopted { pid, pidfd, start, reaped } = adopted;
        let pidfd = Some(Arc::new(pidfd));
        let child = Child { pid, pidfd, start, reaped, adopted: true, ..Child::default() };
        let mut table = self.table();
        if reaped {
            table.children.insert(spawn, child);
        } else if !table.children.contains_key(&spawn) {
            self.take_in(&mut table, spawn, child);
        }
    }

    /// When a worker that is not forgotten started, in ticks since boot.
    #[must_use]
    pub fn start(&self, spawn: SpawnId) -> Option<u64> {
        self.table().children.get(&spawn)?.start
    }

    /// The pidfd of a worker that is not forgotten, if it has one.
    #[must_use]
    pub fn pidfd(&self, spawn: SpawnId) -> Option<Arc<OwnedFd>> {
        self.table().children.get(&spawn)?.pidfd.clone()
    }

    /// Needs the table from before the watch is set: the exit of a child that is already dead is
    /// reported immediately and only once, and its hint must find the child there.
    fn take_in(&self, table: &mut Table, spawn: SpawnId, mut child: Child) {
        if !child.pidfd.as_ref().is_some_and(|fd| self.watch(spawn, fd.as_fd())) {
            table.unwatched.insert(spawn);
        }
        if !child.adopted {
            // Not reaped yet, so the number is its.
            child.start = identity::stat(child.pid).ok().map(|stat| stat.start);
            table.pids.insert(child.pid);
        }
        let replaced = table.children.insert(spawn, child);
        debug_assert!(replaced.is_none(), "{spawn:?} was registered twice");
    }

    /// Takes in an id that [`epoll`](Children::epoll) has shown.
    pub fn hint(&self, spawn: SpawnId) {
        let mut table = self.table();
        // An event may have been on its way while another reaping step found the exit.
        if table.children.get(&spawn).is_some_and(|child| !child.reaped) {
            table.hinted.insert(spawn);
        }
    }

    /// Reaps the children that have exited: every one of them, or of those that were
    /// [hinted](Children::hint) and those that never are. Each exit is returned exactly once.
    ///
    /// It asks no child that is born after it began. A child that could not execute its program is
    /// reaped and not returned: its spawn returns the error. A child whose status another process has
    /// taken is returned with what its pidfd remembers, else as [`ExitStatus::Unknown`].
    pub fn reap(&self, whom: Whom) -> Reaping {
        let mut reaping = Reaping::default();
        let mut table = self.table();
        self.take_in_births(&mut table);
        let mut ended = Vec::new();
        for spawn in table.to_ask(whom) {
            match self.ask(&mut table, spawn) {
                Ok(Some(status)) => ended.push((spawn, status)),
                Ok(None) => {}
                Err(error) => reaping.error = reaping.error.or(Some(error)),
            }
        }
        // After the last wait, so that one search of /proc is true of all of them.
        let living: Living = LazyCell::new(identity::living_groups);
        reaping.exits = ended
            .into_iter()
            .filter_map(|(spawn, status)| self.reaped(&mut table, spawn, status, &living))
            .collect();
        reaping
    }

    /// How a child ended; `None` if it has not.
    ///
    /// Its hint stays even then, unless the exit will show again. It can be early: the pidfd of a
    /// child under a debugger is readable, once, before the child can be reaped.
    fn ask(&self, table: &mut Table, spawn: SpawnId) -> Result<Option<ExitStatus>, ReapError> {
        let Some(child) = table.children.get_mut(&spawn) else { return Ok(None) };
        let failed = |errno| ReapError { spawn, pid: child.pid, errno };
        let which = Which::of(child.pid, child.pidfd.as_deref());
        match (self.shared.wait)(which, libc::WNOHANG) {
            Ok(Some((_, status))) => Ok(Some(status)),
            Ok(None) => {
                if table.unwatched.contains(&spawn) && self.watch_at_last(spawn, child) {
                    table.unwatched.remove(&spawn);
                }
                Ok(None)
            }
            Err(Errno::ECHILD) => match foreign(child).map_err(failed)? {
                Foreign::Ended(status) => Ok(Some(status)),
                Foreign::Running => Ok(None),
                Foreign::Zombie(fd) => {
                    if let Some(status) = identity::zombie_status(child.pid, fd) {
                        return Ok(Some(status));
                    }
                    // Readable from now on; only the hang-up, which always shows, is news.
                    let mut event = EpollEvent::new(EpollFlags::EPOLLONESHOT, spawn.0);
                    if self.shared.epoll.modify(fd, &mut event).is_ok() {
                        table.hinted.remove(&spawn);
                    }
                    Ok(child.is_left().then_some(ExitStatus::Unknown))
                }
            },
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The kernel has just answered that `child` is ours and runs, so its number is its.
    fn watch_at_last(&self, spawn: SpawnId, child: &mut Child) -> bool {
        if child.pidfd.is_none() {
            child.pidfd = pidfd::open(child.pid).ok().map(Arc::new);
        }
        child.pidfd.as_ref().is_some_and(|fd| self.watch(spawn, fd.as_fd()))
    }

    /// Marks a child as reaped. Its pidfd stays, for its group. `None` if it is no exit of a worker.
    fn reaped(
        &self,
        table: &mut Table,
        spawn: SpawnId,
        status: ExitStatus,
        living: &Living,
    ) -> Option<Exit> {
        self.take_out(table, spawn);
        let child = table.children.get_mut(&spawn)?;
        child.reaped = true;
        if child.has_failed() {
            table.children.remove(&spawn);
            return None;
        }
        let group = rest_of_group(child.pid, child.pidfd.as_ref().map(|fd| fd.as_fd()), living);
        Some(Exit { spawn, pid: child.pid, status, group })
    }

    /// Takes a child out of all that leads to a reaping.
    fn take_out(&self, table: &mut Table, spawn: SpawnId) {
        table.hinted.remove(&spawn);
        table.unwatched.remove(&spawn);
        let Some(child) = table.children.get(&spawn) else { return };
        if !child.adopted {
            table.pids.remove(&child.pid);
        }
        if let Some(fd) = &child.pidfd {
            // ENOENT if `watch` failed.
            let _was_not_there = self.shared.epoll.delete(fd.as_fd());
        }
    }

    /// Drops a child: after its exit is recorded and its group gone. One that was never reaped is
    /// still ours to reap, so it is kept; then this returns false.
    pub fn forget(&self, spawn: SpawnId) -> bool {
        let mut table = self.table();
        match table.children.get(&spawn).map(|child| child.reaped) {
            Some(false) if table.children.get(&spawn).is_some_and(|child| child.adopted) => {
                self.take_out(&mut table, spawn);
                table.children.remove(&spawn).is_some()
            }
            Some(false) => false,
            // Out of the epoll set since it was reaped, so closing it leaves nothing behind there.
            Some(true) => table.children.remove(&spawn).is_some(),
            None => true,
        }
    }

    /// How many were registered and not reaped.
    #[must_use]
    pub fn unreaped(&self) -> usize {
        self.table().children.values().filter(|child| !child.reaped).count()
    }

    /// Reaps the orphans that fell to us as subreaper, at most `limit`, and returns their pids.
    ///
    /// **Only on the main thread**, and only if that thread starts no children: what other threads
    /// have started is theirs and is not touched, which makes everything that is left an orphan.
    ///
    /// # Errors
    /// What `waitid` returns, except ECHILD.
    pub fn adopt_orphans(&self, limit: usize) -> Result<Vec<Pid>, Errno> {
        let mut pids = Vec::new();
        let flags = libc::WNOHANG | libc::__WNOTHREAD;
        while pids.len() < limit {
            // Looked at first: a child of ours falls to this thread when its thread ends, and its
            // status belongs to `reap`, which will have it out of the way of those behind it.
            let (pid, _) = match (self.shared.wait)(Which::Any, flags | libc::WNOWAIT) {
                Ok(Some(seen)) => seen,
                Ok(None) | Err(Errno::ECHILD) => break,
                Err(errno) => return Err(errno),
            };
            if self.is_ours(pid) {
                break;
            }
            (self.shared.wait)(Which::Pid(pid), flags)?;
            pids.push(pid);
        }
        Ok(pids)
    }

    fn is_ours(&self, pid: Pid) -> bool {
        let mut table = self.table();
        self.take_in_births(&mut table);
        table.pids.contains(&pid)
    }

    pub(super) fn handle(&self, spawn: SpawnId) -> Option<Handle> {
        let table = self.table();
        let child = table.children.get(&spawn)?;
        Some(Handle { pid: child.pid, pidfd: child.pidfd.clone(), start: child.start })
    }

    /// False on ENOMEM or ENOSPC: then epoll does not show the exit.
    fn watch(&self, spawn: SpawnId, fd: BorrowedFd<'_>) -> bool {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        self.shared.epoll.add(fd, EpollEvent::new(flags, spawn.0)).is_ok()
    }

    /// A thread that panicked left the table whole: an id in one set too many costs a `waitid`.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("unreaped", &self.unreaped()).finish_non_exhaustive()
    }
}

/// What is known of a process that is not our child, or no longer.
enum Foreign<'a> {
    Running,
    /// It has ended, and its parent has not reaped it. With its pidfd.
    Zombie(BorrowedFd<'a>),
    Ended(ExitStatus),
}

fn foreign(child: &Child) -> Result<Foreign<'_>, Errno> {
    let Some(fd) = child.pidfd.as_ref().map(|fd| fd.as_fd()) else {
        return Ok(Foreign::Ended(ExitStatus::Unknown));
    };
    Ok(match pidfd::stage(fd)? {
        Stage::Running => Foreign::Running,
        // Where the kernel shows no difference, or if it was reaped since, it is gone.
        Stage::Zombie if !gone(child.pid) => Foreign::Zombie(fd),
        Stage::Zombie | Stage::Reaped => {
            Foreign::Ended(pidfd::exit_status(fd).unwrap_or(ExitStatus::Unknown))
        }
    })
}

/// True if no process has this pid, not even a zombie.
fn gone(pid: Pid) -> bool {
    matches!(identity::stat(pid), Err(identity::LookError::Gone(_)))
}

/// The groups that have living members, searched for at most once.
type Living = LazyCell<Option<BTreeSet<Pid>>>;

/// What is left of the group of a leader that has ended. In doubt it is alive.
fn rest_of_group(pid: Pid, pidfd: Option<BorrowedFd<'_>>, living: &Living) -> Group {
    // ESRCH: no process is left. Otherwise /proc is searched for whether those that are left are
    // more than zombies.
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
/// What the kernel returns; it has no reason to refuse.
pub fn become_subreaper() -> Result<(), Errno> {
    let (on, unused) = (libc::c_ulong::from(true), libc::c_ulong::MIN);
    // SAFETY: takes integers only.
    let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, on, unused, unused, unused) };
    Errno::result(set).map(drop)
}
