//! The boards, as the loop knows them: their paths, threads and watches. Takes in listings, and
//! notices that something near a board's file has changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::inotify::{AddWatchFlags, InotifyEvent, WatchDescriptor};

use super::board_thread::{BoardThread, Job};
use super::clock;
use super::host::Host;
use super::listing::{self, Lister};
use super::post::{Inbox, Listing, Message, Post};
use super::report::Names;
use super::spawn_thread::{SpawnThreads, Spawning};
use crate::machine::event::Event;
use crate::machine::ids::BoardId;
use crate::machine::time::Mono;
use crate::root::BoardPaths;

/// Milliseconds between looks at boards whose directory cannot be watched.
const POLL_MS: u64 = 1_000;

/// A board that a daemon knows.
#[derive(Clone, Debug)]
pub struct Known {
    /// The files and directories of the board.
    pub paths: BoardPaths,
    /// True if it does not answer: a process that touches it may hang, too.
    pub hangs: bool,
}

/// All boards that the loop knows, by number.
#[derive(Debug)]
pub struct Boards {
    entries: BTreeMap<BoardId, Entry>,
    /// How many board threads of each board have not ended: the current one, and those that were
    /// let go.
    running: BTreeMap<BoardId, usize>,
    watches: BTreeMap<WatchDescriptor, PathBuf>,
    poll_at: Mono,
    lister: Lister,
    list_error: Option<String>,
    host: Arc<Host>,
    post: Post,
    spawning: Spawning,
}

#[derive(Debug)]
struct Entry {
    paths: BoardPaths,
    listed: bool,
    /// There while the machine knows the board.
    thread: Option<BoardThread>,
    spawns: SpawnThreads,
}

impl Boards {
    /// Creates the set without boards.
    pub fn new(lister: Lister, host: Arc<Host>, post: Post, spawning: Spawning) -> Boards {
        Boards {
            entries: BTreeMap::new(),
            running: BTreeMap::new(),
            watches: BTreeMap::new(),
            poll_at: Mono(0),
            lister,
            list_error: None,
            host,
            post,
            spawning,
        }
    }

    /// Asks for a listing; it comes by post.
    pub fn list(&self) {
        self.lister.ask();
    }

    /// Takes in a listing. Returns what it means to the machine.
    pub fn listed(&mut self, listing: Listing, names: &mut Names) -> Vec<Event> {
        let mut events = Vec::new();
        self.watches.extend(listing.watches);
        match listing.boards {
            Ok(boards) => {
                self.list_error = None;
                events.extend(self.remove_others(&boards));
                events.extend(boards.into_iter().filter_map(|paths| self.add(paths, names)));
            }
            Err(error) => {
                if self.list_error.as_ref() != Some(&error) {
                    tracing::warn!("the boards cannot be listed: {error}");
                    self.list_error = Some(error);
                }
            }
        }
        events.push(Event::BoardsListed);
        events
    }

    fn remove_others(&mut self, boards: &[BoardPaths]) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, entry) in &mut self.entries {
            if entry.listed && !boards.iter().any(|board| board.db == entry.paths.db) {
                entry.listed = false;
                events.push(Event::BoardRemoved { board: *id });
            }
        }
        events
    }

    fn add(&mut self, paths: BoardPaths, names: &mut Names) -> Option<Event> {
        let known = self.entries.iter().find(|(_, entry)| entry.paths.db == paths.db);
        let board = match known {
            Some((_, entry)) if entry.listed => return None,
            Some((id, _)) => *id,
            None => self.add_entry(paths, names),
        };
        match self.start_thread(board) {
            Ok(()) => Some(Event::BoardAdded { board }),
            // The next listing tries again.
            Err(error) => {
                tracing::warn!("cannot start the thread of a board: {error}");
                None
            }
        }
    }

    fn add_entry(&mut self, paths: BoardPaths, names: &mut Names) -> BoardId {
        let id = BoardId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let spawns = SpawnThreads::new(paths.clone(), self.spawning.clone());
        names.boards.insert(id, paths.slug.to_string());
        self.entries.insert(id, Entry { paths, listed: false, thread: None, spawns });
        id
    }

    /// The board is listed, so it needs a thread.
    fn start_thread(&mut self, id: BoardId) -> io::Result<()> {
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        if entry.thread.is_none() {
            entry.thread = Some(BoardThread::start(id, &entry.paths.db, &self.host, &self.post)?);
            *self.running.entry(id).or_default() += 1;
        }
        entry.listed = true;
        Ok(())
    }

    /// Takes note that a board's thread has ended.
    pub fn thread_ended(&mut self, id: BoardId) {
        if let Some(running) = self.running.get_mut(&id) {
            *running -= 1;
        }
        self.running.retain(|_, running| *running > 0);
    }

    /// Hands a job to a board's thread; the answer comes by post.
    pub fn ask(&self, board: BoardId, job: Job) {
        if let Some(thread) = self.entries.get(&board).and_then(|entry| entry.thread.as_ref()) {
            thread.ask(job);
        }
    }

    /// A board's spawn threads.
    pub fn spawns(&self, board: BoardId) -> Option<&SpawnThreads> {
        self.entries.get(&board).map(|entry| &entry.spawns)
    }

    /// Has a board's file closed. The thread of a board that the machine has forgotten ends with
    /// that. Its entry is kept: spawn threads live as long as the program.
    pub fn disconnect(&mut self, board: BoardId, is_forgotten: bool) {
        let Some(entry) = self.entries.get_mut(&board) else { return };
        match &entry.thread {
            Some(thread) if !is_forgotten => thread.ask(Job::Disconnect),
            Some(_) | None => entry.thread = None,
        }
    }

    /// Returns when boards that cannot be watched are next polled; `None` if there are none.
    pub fn poll_at(&self) -> Option<Mono> {
        let must_poll = self.entries.values().any(|entry| entry.listed && !self.is_watched(entry));
        must_poll.then_some(self.poll_at)
    }

    fn is_watched(&self, entry: &Entry) -> bool {
        self.watches.values().any(|directory| entry.paths.db.parent() == Some(directory))
    }

    /// The boards near whose files something has changed, or may have.
    pub fn changed(&mut self, now: Mono, changes: Vec<InotifyEvent>) -> Vec<BoardId> {
        let mut changed = Vec::new();
        let mut relist = false;
        for change in changes {
            relist |= self.take_in(&change, &mut changed);
        }
        if relist {
            self.lister.ask();
        }
        if self.poll_at().is_some_and(|at| now >= at) {
            self.poll_at = now.after(POLL_MS);
            let unwatched = self.entries.iter().filter(|(_, entry)| !self.is_watched(entry));
            changed.extend(unwatched.map(|(id, _)| *id));
        }
        changed
    }

    /// Adds the boards that a change may concern. True if boards may have come or gone.
    fn take_in(&mut self, change: &InotifyEvent, changed: &mut Vec<BoardId>) -> bool {
        if change.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // Some notices are lost: any board may have changed.
            *changed = self.entries.keys().copied().collect();
            return true;
        }
        let Some(directory) = self.watches.get(&change.wd) else {
            // The listing that set this watch has not been taken in, and may be older than the change.
            return true;
        };
        let name = change.name.as_deref().unwrap_or(OsStr::new(""));
        let mut is_listed = false;
        for (id, entry) in &self.entries {
            if entry.paths.db.parent() == Some(directory) {
                is_listed |= entry.listed;
                if listing::concerns(name, &entry.paths.db) && !changed.contains(id) {
                    changed.push(*id);
                }
            }
        }
        let comes = change.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        let is_new = comes && !is_listed && name == "kanban.db";
        // The directory itself is gone, and its watch with it.
        let is_gone = change.mask.contains(AddWatchFlags::IN_IGNORED);
        if is_gone {
            self.watches.remove(&change.wd);
        }
        is_about_listing(name) || is_new || is_gone
    }

    /// Lets the board threads close their files, and scratch workspaces be removed; what hangs is
    /// left to the end of the process. Returns the boards that are listed.
    pub fn shut_down(&mut self, inbox: &Inbox, within_ms: u64) -> Vec<Known> {
        let deadline = clock::now().mono.after(within_ms);
        let rest = || deadline.since(clock::now().mono);
        let (mut listed, mut cleaners) = (Vec::new(), Vec::new());
        for (id, entry) in mem::take(&mut self.entries) {
            cleaners.push(entry.spawns.cleaner().clone());
            if entry.listed {
                listed.push((id, entry.paths));
            }
        }
        while !self.running.is_empty()
            && let Some(message) = inbox.next_within(rest())
        {
            if let Message::BoardThreadEnded(id) = message {
                self.thread_ended(id);
            }
        }
        for cleaner in cleaners {
            cleaner.finish(rest());
        }
        let running = mem::take(&mut self.running);
        let known = |(id, paths)| Known { paths, hangs: running.contains_key(&id) };
        listed.into_iter().map(known).collect()
    }
}

/// Whether a name in the root's directories means that a board may have come or gone. The name of
/// the database itself means that only where there was none.
fn is_about_listing(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !(name.starts_with("kanban.db-") || name.ends_with(".lock") || name.ends_with(".log"))
        && name != "kanban.db"
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use nix::sys::inotify::Inotify;

    use super::super::evidence::tests::no_evidence;
    use super::super::listing::Place;
    use super::super::post::post;
    use super::*;
    use crate::process::children::Children;
    use crate::root::Environment;

    /// None, in a root without boards.
    pub fn no_boards(root: &Path) -> (Boards, Inbox, Arc<Inotify>) {
        let place = Place { root: root.to_owned(), env: Environment::default(), only: None };
        let (post, inbox) = post().unwrap();
        let inotify = listing::inotify().unwrap();
        let lister = Lister::start(place, Arc::clone(&inotify), post.clone()).unwrap();
        let (host, evidence) = no_evidence(root, &post);
        let spawning = Spawning::new(Children::new().unwrap(), post.clone(), evidence);
        (Boards::new(lister, host, post, spawning), inbox, inotify)
    }

    #[test]
    fn a_change_in_a_directory_whose_watch_is_not_known_yet_is_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let (mut boards, inbox, inotify) = no_boards(dir.path());
        let listed = || {
            let message = inbox.next_within(60_000);
            assert!(matches!(message, Some(Message::Listed(_))), "{message:?}");
        };
        boards.list();
        // The watches are there, and the loop has not taken them in.
        listed();
        std::fs::create_dir(dir.path().join("kanban")).unwrap();
        boards.changed(clock::now().mono, inotify.read_events().unwrap());
        listed();
    }
}
