//! Which boards there are, as the loop knows them: listings taken in, and notices that something
//! near a board's file has changed.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use nix::sys::inotify::AddWatchFlags;

use super::board_thread::{BoardThread, Job};
use super::daemon::Daemon;
use super::listing::{self, Listing};
use super::spawn_thread::SpawnThreads;
use crate::machine::event::Event;
use crate::machine::ids::BoardId;
use crate::machine::time::Mono;
use crate::root::BoardPaths;

/// Milliseconds between looks at boards whose folder cannot be watched.
const POLL_MS: u64 = 1_000;
/// Milliseconds for which no further change notices are taken in after some were: each page that a
/// commit writes is one, and the looks that follow the first cover the others.
const DEAF_MS: u64 = 16;

/// A board's place in the runtime.
#[derive(Debug)]
pub(super) struct BoardSeat {
    pub(super) paths: BoardPaths,
    pub(super) listed: bool,
    /// There while the machine knows the board.
    pub(super) lane: Option<BoardThread>,
    pub(super) spawns: SpawnThreads,
}

impl Daemon {
    pub(super) fn listed(&mut self, listing: Listing) {
        self.watches.extend(listing.watches);
        match listing.boards {
            Ok(boards) => {
                self.list_error = None;
                self.note_boards(boards);
            }
            Err(error) => {
                if self.list_error.as_ref() != Some(&error) {
                    tracing::warn!("the boards cannot be listed: {error}");
                    self.list_error = Some(error);
                }
            }
        }
        self.feed(Event::BoardsListed);
    }

    fn note_boards(&mut self, boards: Vec<BoardPaths>) {
        let gone: Vec<BoardId> = self
            .boards
            .iter()
            .filter(|(_, seat)| seat.listed && !boards.iter().any(|b| b.db == seat.paths.db))
            .map(|(id, _)| *id)
            .collect();
        for board in gone {
            if let Some(seat) = self.boards.get_mut(&board) {
                seat.listed = false;
            }
            self.feed(Event::BoardRemoved { board });
        }
        for paths in boards {
            self.note_board(paths);
        }
    }

    fn note_board(&mut self, paths: BoardPaths) {
        let known = self.boards.iter().find(|(_, seat)| seat.paths.db == paths.db);
        let board = match known {
            Some((_, seat)) if seat.listed => return,
            Some((id, _)) => *id,
            None => self.new_seat(paths),
        };
        match self.list_seat(board) {
            Ok(()) => self.feed(Event::BoardAdded { board }),
            // The next listing tries again.
            Err(error) => tracing::warn!("no thread for a board: {error}"),
        }
    }

    fn new_seat(&mut self, paths: BoardPaths) -> BoardId {
        let id = BoardId(u32::try_from(self.boards.len()).unwrap_or(u32::MAX));
        let spawns = SpawnThreads::new(
            paths.clone(),
            self.children.clone(),
            self.post.clone(),
            Arc::clone(&self.fingerprints),
        );
        self.names.boards.insert(id, paths.slug.to_string());
        self.boards.insert(id, BoardSeat { paths, listed: false, lane: None, spawns });
        id
    }

    /// Its board is listed, so it needs a lane.
    fn list_seat(&mut self, id: BoardId) -> io::Result<()> {
        let Some(seat) = self.boards.get_mut(&id) else { return Ok(()) };
        if seat.lane.is_none() {
            seat.lane = Some(BoardThread::start(id, &seat.paths.db, &self.owner, &self.post)?);
            *self.lanes.entry(id).or_default() += 1;
        }
        seat.listed = true;
        Ok(())
    }

    /// Has a board's file closed. The lane of a board that the machine has forgotten ends with that.
    /// Its seat is kept: spawn lanes live as long as the program.
    pub(super) fn disconnect(&mut self, board: BoardId) {
        let is_known = self.machine.boards().any(|known| known.id() == board);
        let Some(seat) = self.boards.get_mut(&board) else { return };
        match &seat.lane {
            Some(lane) if is_known => lane.ask(Job::Disconnect),
            Some(_) | None => seat.lane = None,
        }
    }

    pub(super) fn must_poll(&self) -> bool {
        self.boards.values().any(|seat| seat.listed && !self.is_watched(seat))
    }

    fn is_watched(&self, seat: &BoardSeat) -> bool {
        self.watches.values().any(|folder| seat.paths.db.parent() == Some(folder))
    }

    /// The boards near whose files something has changed, or may have.
    pub(super) fn changed_boards(&mut self, now: Mono, notices: bool) -> Vec<BoardId> {
        let mut changed = Vec::new();
        let mut relist = false;
        let events = if notices { self.lister.changes() } else { Vec::new() };
        if !events.is_empty() {
            self.deaf_until = now.after(DEAF_MS);
        }
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                // Some notices are lost: any board may have changed.
                relist = true;
                changed = self.boards.keys().copied().collect();
                continue;
            }
            let Some(folder) = self.watches.get(&event.wd) else {
                // Its watch is so new that nobody has told us of it, nor looked after this.
                relist = true;
                continue;
            };
            let name = event.name.as_deref().unwrap_or(OsStr::new(""));
            let here = |seat: &BoardSeat| seat.paths.db.parent() == Some(folder.as_path());
            let mut is_listed = false;
            for (id, seat) in self.boards.iter().filter(|(_, seat)| here(seat)) {
                is_listed |= seat.listed;
                if listing::concerns(name, &seat.paths.db) && !changed.contains(id) {
                    changed.push(*id);
                }
            }
            let comes =
                event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
            relist |= is_about_listing(name) || (comes && !is_listed && name == "kanban.db");
            // The folder itself is gone, and its watch with it.
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.watches.remove(&event.wd);
                relist = true;
            }
        }
        if relist {
            self.lister.ask();
        }
        if self.must_poll() && now >= self.poll_at {
            self.poll_at = now.after(POLL_MS);
            let unwatched = self.boards.iter().filter(|(_, seat)| !self.is_watched(seat));
            changed.extend(unwatched.map(|(id, _)| *id));
        }
        changed
    }
}

/// Whether a name in the root's folders says that a board may have come or gone. The database itself
/// says so only where there was none.
fn is_about_listing(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !(name.starts_with("kanban.db-") || name.ends_with(".lock") || name.ends_with(".log"))
        && name != "kanban.db"
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::super::post::Message;
    use super::*;

    #[test]
    fn a_change_in_a_folder_whose_watch_is_not_known_yet_is_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::of_nothing(dir.path());
        let listed = |daemon: &Daemon| {
            let message = daemon.inbox.next_within(60_000);
            assert!(matches!(message, Some(Message::Listed(_))), "{message:?}");
        };
        daemon.lister.ask();
        // The watches are there, and the loop has not been told of them.
        listed(&daemon);
        std::fs::create_dir(dir.path().join("kanban")).unwrap();
        daemon.changed_boards(clock::now().mono, true);
        listed(&daemon);
    }
}
