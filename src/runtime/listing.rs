//! Which boards there are. A lane of its own looks, because a folder may hang; it also sets the
//! watches on the folders, for the same reason.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::post::{Message, Post};
use super::root::{self, BoardPaths, Environment, Slug};

/// Where to look.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder that holds the boards.
    pub root: PathBuf,
    /// The variables that may move things.
    pub env: Environment,
    /// Only this board, if one was named.
    pub only: Option<Slug>,
}

/// What was found.
#[derive(Debug)]
pub struct Listing {
    /// The boards; `Err` says why that is not known.
    pub boards: Result<Vec<BoardPaths>, String>,
    /// Which watch is on which folder.
    pub watches: BTreeMap<WatchDescriptor, PathBuf>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Lister {
    requests: Sender<()>,
    inotify: Arc<Inotify>,
}

impl Lister {
    /// Starts the lane.
    pub fn start(place: Place, post: Post) -> io::Result<Lister> {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Arc::new(Inotify::init(flags)?);
        let (requests, inbox) = channel();
        let watcher = Arc::clone(&inotify);
        thread::Builder::new().name("listing".to_owned()).spawn(move || {
            while inbox.recv().is_ok() {
                post.send(Message::Listed(look(&place, &watcher)));
            }
        })?;
        Ok(Lister { requests, inotify })
    }

    /// Asks for a listing; it comes by post.
    pub fn ask(&self) {
        let _ends_with_us = self.requests.send(());
    }

    /// Readable when something in a watched folder changed.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// What changed since last time.
    pub fn changes(&self) -> Vec<InotifyEvent> {
        let mut changes = Vec::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => changes.extend(events),
                Err(Errno::EINTR) => {}
                Err(_) => return changes,
            }
        }
    }
}

/// Sets the watches, from the top down, and only then looks: what comes meanwhile, or later into a
/// folder that holds no board yet, gives notice.
fn look(place: &Place, inotify: &Inotify) -> Listing {
    let wanted = |board: &BoardPaths| place.only.as_ref().is_none_or(|slug| *slug == board.slug);
    let mut watches = BTreeMap::new();
    let mut watch = |folder: &Path| {
        let watched = inotify.add_watch(folder, mask());
        watches.extend(watched.ok().map(|watch| (watch, folder.to_owned())));
    };
    for folder in ["", "kanban", "kanban/boards"] {
        watch(&place.root.join(folder));
    }
    let named = root::named_boards(&place.root, &place.env).unwrap_or_default();
    named.iter().filter(|board| wanted(board)).filter_map(|b| b.db.parent()).for_each(watch);
    let boards = root::list_boards(&place.root, &place.env)
        .map(|boards| boards.into_iter().filter(wanted).collect())
        .map_err(|error| error.to_string());
    Listing { boards, watches }
}

/// What changes a file or a folder. Not the closing of a file that was open for writing: that is
/// what an attempt of our own to open a board ends with, too.
fn mask() -> AddWatchFlags {
    AddWatchFlags::IN_ONLYDIR
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
}

/// Whether a change of this name in a board's folder can be a change of the board: its file or its
/// log, not its locks and not the memory that its readers share.
#[must_use]
pub fn concerns(name: &OsStr, db: &Path) -> bool {
    let (Some(name), Some(db)) = (name.to_str(), db.file_name().and_then(OsStr::to_str)) else {
        return true;
    };
    name.strip_prefix(db).is_some_and(|rest| matches!(rest, "" | "-wal" | "-journal"))
}
