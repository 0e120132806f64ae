//! Which boards there are. A thread of its own looks, because a directory may hang; it also sets the
//! watches on the directories, for the same reason.
//!
//! What belongs to a single board (its directory may be a link to somewhere else) is looked at by
//! further threads, so that one that hangs there is left behind, and its board is what it was before
//! until it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::clock;
use super::post::{Listing, Message, Post};
use super::threads::Threads;
use crate::root::{self, BoardPaths, Environment, Slug};

/// Milliseconds without an answer after which a thread that looks at a board is taken to hang.
const PATIENCE_MS: u64 = 2_000;

/// Where the boards are, and which of them are served.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory that holds the boards.
    pub root: PathBuf,
    /// The variables that may move things.
    pub env: Environment,
    /// Only this board, if one was named.
    pub only: Option<Slug>,
}

/// The loop's handle of the listing thread.
#[derive(Debug)]
pub struct Lister {
    asks: Sender<Ask>,
}

/// What the watches are set on: the lister's end, and the loop's, which reads the changes.
pub fn inotify() -> io::Result<Arc<Inotify>> {
    Ok(Arc::new(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?))
}

impl Lister {
    /// Starts the listing thread.
    pub fn start(place: Place, inotify: Arc<Inotify>, post: Post) -> io::Result<Lister> {
        Lister::start_with(place, inotify, post, root::is_dispatched)
    }

    fn start_with(
        place: Place,
        inotify: Arc<Inotify>,
        post: Post,
        look: Look,
    ) -> io::Result<Lister> {
        let (asks, inbox) = channel();
        let (answers, watches) = (asks.clone(), Arc::clone(&inotify));
        let look_at = move |board| look_at(board, look, &watches);
        let looks = Threads::new("look".to_owned(), 1, look_at, move |seen| {
            let _no_reader_left = answers.send(Ask::Seen(seen));
        });
        thread::Builder::new().name("listing".to_owned()).spawn(move || {
            let listing = ListingThread {
                place,
                inbox,
                inotify,
                looks,
                out: BTreeSet::new(),
                hung: BTreeSet::new(),
                known: BTreeMap::new(),
                watches: BTreeMap::new(),
            };
            listing.serve(&post);
        })?;
        Ok(Lister { asks })
    }

    /// Asks for a listing; it comes by post.
    pub fn ask(&self) {
        let _ends_with_us = self.asks.send(Ask::List);
    }
}

impl Drop for Lister {
    fn drop(&mut self) {
        let _hangs_or_ends = self.asks.send(Ask::End);
    }
}

/// What comes to the thread.
#[derive(Debug)]
enum Ask {
    /// A listing was requested.
    List,
    /// A board was looked at.
    Seen(Seen),
    /// The loop is gone.
    End,
}

/// What was found at a board.
#[derive(Debug)]
struct Seen {
    slug: Slug,
    /// Whether it is dispatched, as of the last look.
    listed: bool,
    /// The watch on its directory.
    watch: Option<(WatchDescriptor, PathBuf)>,
}

/// Decides whether a board is dispatched.
type Look = fn(&BoardPaths) -> bool;

/// The thread that lists.
struct ListingThread {
    place: Place,
    inbox: Receiver<Ask>,
    inotify: Arc<Inotify>,
    /// The threads that look at boards.
    looks: Threads<Slug, BoardPaths>,
    /// What is queued, or being looked at.
    out: BTreeSet<Slug>,
    /// Of those, what hangs.
    hung: BTreeSet<Slug>,
    /// What each board was when last seen.
    known: BTreeMap<Slug, bool>,
    /// Watches that the loop does not know yet.
    watches: BTreeMap<WatchDescriptor, PathBuf>,
}

impl ListingThread {
    fn serve(mut self, post: &Post) {
        let mut listed = Ok(Vec::new());
        while let Ok(ask) = self.inbox.recv() {
            match ask {
                Ask::List => loop {
                    listed = self.possible();
                    match self.look_at(listed.as_deref().unwrap_or_default()) {
                        Next::Done => break,
                        Next::Again => self.tell(&listed, post),
                        Next::End => return,
                    }
                },
                // It hung, and is back.
                Ask::Seen(seen) => self.note(seen),
                Ask::End => return,
            }
            self.tell(&listed, post);
        }
    }

    fn tell(&mut self, listed: &Result<Vec<BoardPaths>, String>, post: &Post) {
        let is_listed = |board: &BoardPaths| self.known.get(&board.slug) == Some(&true);
        let boards = listed.clone().map(|all| all.into_iter().filter(is_listed).collect());
        post.send(Message::Listed(Listing { boards, watches: mem::take(&mut self.watches) }));
    }

    /// Sets the watches, from the top down, and only then looks: what appears meanwhile, or later
    /// in a directory without a board, sends a notice.
    fn possible(&mut self) -> Result<Vec<BoardPaths>, String> {
        // Boards that no thread can look at are not boards that are gone.
        if let Err(error) = self.looks.start() {
            tracing::warn!("cannot start a thread that looks at boards: {error}");
            return Err("no thread can be started to look at them".to_owned());
        }
        for directory in ["", "kanban", "kanban/boards"] {
            self.watches.extend(watch(&self.inotify, &self.place.root.join(directory)));
        }
        let all = root::possible_boards(&self.place.root, &self.place.env);
        let mut boards = all.map_err(|error| error.to_string())?;
        boards.retain(|board| self.place.only.as_ref().is_none_or(|slug| *slug == board.slug));
        self.known.retain(|slug, _| boards.iter().any(|board| board.slug == *slug));
        Ok(boards)
    }

    /// Has the boards looked at, except for those at which a thread hangs already.
    fn look_at(&mut self, boards: &[BoardPaths]) -> Next {
        let mut pending = BTreeSet::new();
        let mut can_look = true;
        for board in boards.iter().filter(|board| !self.out.contains(&board.slug)) {
            pending.insert(board.slug.clone());
            can_look = was_provided(self.looks.leave(board.slug.clone(), board.clone()));
        }
        self.out.extend(pending.iter().cloned());
        let mut next = Next::Done;
        let mut deadline = clock::now().mono.after(PATIENCE_MS);
        while can_look && !pending.is_empty() {
            let rest = Duration::from_millis(deadline.since(clock::now().mono));
            match self.inbox.recv_timeout(rest) {
                Ok(Ask::Seen(seen)) => {
                    pending.remove(&seen.slug);
                    self.note(seen);
                    deadline = clock::now().mono.after(PATIENCE_MS);
                }
                Ok(Ask::List) => next = Next::Again,
                Ok(Ask::End) | Err(RecvTimeoutError::Disconnected) => return Next::End,
                Err(RecvTimeoutError::Timeout) if self.looks.waiting() == 0 => break,
                Err(RecvTimeoutError::Timeout) => {
                    can_look = pending.iter().all(|slug| was_provided(self.looks.replace(slug)));
                    deadline = clock::now().mono.after(PATIENCE_MS);
                }
            }
        }
        if !can_look {
            return next;
        }
        for slug in pending {
            let board = slug.as_str();
            tracing::warn!(board, "its directory does not answer; its disk may hang");
            // Nothing waits, so no thread is started for it: the next board gets one.
            let _none_needed_yet = self.looks.replace(&slug);
            self.hung.insert(slug);
        }
        next
    }

    fn note(&mut self, seen: Seen) {
        self.out.remove(&seen.slug);
        if self.hung.remove(&seen.slug) {
            tracing::info!(board = seen.slug.as_str(), "its directory answers again");
        }
        self.known.insert(seen.slug, seen.listed);
        self.watches.extend(seen.watch);
    }
}

/// False if the host refused a thread; the next listing tries again.
fn was_provided(thread: io::Result<()>) -> bool {
    thread
        .inspect_err(|error| tracing::warn!("cannot start a thread that looks at boards: {error}"))
        .is_ok()
}

/// How a listing goes on.
enum Next {
    /// It is complete, but for what hangs.
    Done,
    /// The loop asked again, because something changed meanwhile.
    Again,
    /// The loop is gone.
    End,
}

fn look_at(board: BoardPaths, look: Look, inotify: &Inotify) -> Seen {
    // Set before the look, so that a later change sends a notice.
    let watch = board.db.parent().and_then(|directory| watch(inotify, directory));
    Seen { listed: look(&board), slug: board.slug, watch }
}

fn watch(inotify: &Inotify, directory: &Path) -> Option<(WatchDescriptor, PathBuf)> {
    let watched = inotify.add_watch(directory, mask());
    watched.ok().map(|watch| (watch, directory.to_owned()))
}

/// What changes a file or a directory. Not the closing of a file that was open for writing: that is
/// what an attempt of our own to open a board ends with, too.
fn mask() -> AddWatchFlags {
    AddWatchFlags::IN_ONLYDIR
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
}

/// Whether a change of this name in a board's directory can be a change of the board: its file or
/// its WAL, not its locks and not its shm.
#[must_use]
pub fn concerns(name: &OsStr, db: &Path) -> bool {
    let (Some(name), Some(db)) = (name.to_str(), db.file_name().and_then(OsStr::to_str)) else {
        return true;
    };
    name.strip_prefix(db).is_some_and(|rest| matches!(rest, "" | "-wal" | "-journal"))
}

#[cfg(test)]
mod tests {
    use super::super::post::{Inbox, post};
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::{self, File};

    /// Takes everything for a board, and hangs where a pipe waits for its other end.
    fn look(board: &BoardPaths) -> bool {
        let _there_or_not = fs::read(board.metadata.with_file_name("gate"));
        true
    }

    fn listed(inbox: &Inbox) -> Vec<String> {
        let Some(Message::Listed(listing)) = inbox.next_within(60_000) else {
            panic!("no listing")
        };
        listing.boards.unwrap().iter().map(|board| board.slug.to_string()).collect()
    }

    #[test]
    fn a_directory_that_hangs_costs_its_own_board_only() {
        let root = tempfile::tempdir().unwrap();
        let boards = root.path().join("kanban/boards");
        for name in ["a", "hangs", "z"] {
            fs::create_dir_all(boards.join(name)).unwrap();
        }
        let gate = boards.join("hangs/gate");
        mkfifo(&gate, Mode::S_IRWXU).unwrap();
        let env = Environment::default();
        let place = Place { root: root.path().to_owned(), env, only: None };
        let (post, inbox) = post().unwrap();
        let lister = Lister::start_with(place, inotify().unwrap(), post, look).unwrap();
        let (without, with) = (["default", "a", "z"], ["default", "a", "hangs", "z"]);
        // Further requests must not reset the deadline: the thread still hangs.
        let (stop, stopped) = channel::<()>();
        let asks = lister.asks.clone();
        let asking = thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                asks.send(Ask::List).unwrap();
            }
        });
        // On a busy machine another one may seem to hang, too, and comes a listing later.
        while listed(&inbox) != without {}
        drop(stop);
        asking.join().unwrap();
        // It is not looked at again before it comes back, and then no request is needed.
        drop(File::options().write(true).open(&gate).unwrap());
        while listed(&inbox) != with {}
        // It hangs again, and stays what it was.
        lister.ask();
        assert_eq!(listed(&inbox), with);
        drop(File::options().write(true).open(&gate).unwrap());
        assert_eq!(listed(&inbox), with);
    }
}
