//! Lock files beside a board: `flock` on files that are created when missing and never removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::beside::beside;
use super::reserve::FileKey;
use crate::board::pause::pause;

/// Milliseconds between two attempts to take `.init.lock`, and their number: 10 s in all.
const INIT_PAUSE_MS: u16 = 50;
const INIT_ATTEMPTS: u32 = 200;

/// `.init.lock`, held while a board is checked or made.
pub(crate) struct InitLock(Option<File>);

impl InitLock {
    /// Waits for the lock for at most 10 s, then goes on without it, as the other tools do.
    pub(crate) fn take(board: &Path) -> InitLock {
        let Ok(file) = open(&beside(board, ".init.lock")) else { return InitLock(None) };
        for attempt in 0..INIT_ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return InitLock(Some(file)),
                Err(TryLockError::WouldBlock) if attempt + 1 < INIT_ATTEMPTS => {
                    pause(INIT_PAUSE_MS);
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => break,
            }
        }
        InitLock(None)
    }
}

impl Drop for InitLock {
    fn drop(&mut self) {
        // A child that has not executed yet holds a copy of this descriptor. Closing ours alone would
        // keep the lock until that copy is closed.
        if let Some(file) = &self.0 {
            let _ = file.unlock();
        }
    }
}

/// `.dispatch.lock`: its holder is the one dispatcher that claims and promotes on a board.
///
/// Its name follows the path as given, so that two paths to one file have two locks. A board that is
/// reached through a link is therefore locked under both names.
#[derive(Default)]
pub(crate) struct DispatchLock {
    files: Vec<File>,
    held: bool,
}

impl DispatchLock {
    /// Tries once. False if another dispatcher holds it. A lock file that cannot be opened does not
    /// count: the other tools go on without a lock then, too.
    pub(crate) fn try_take(&mut self, board: &Path) -> bool {
        if self.files.is_empty() {
            self.files = names(board).iter().filter_map(|name| open(name).ok()).collect();
            // Both names may lead to one file, and a flock held through one descriptor refuses
            // another.
            self.files.dedup_by(|b, a| identity(a).is_some_and(|file| identity(b) == Some(file)));
        }
        self.held = true;
        let contended =
            self.files.iter().any(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        if contended {
            self.release();
        }
        !contended
    }

    /// Releases it. The files stay open for the next time.
    pub(crate) fn release(&mut self) {
        if self.held {
            self.held = false;
            for file in &self.files {
                let _ = file.unlock();
            }
        }
    }
}

impl Drop for DispatchLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// The lock files of a board: one, or two if the path itself is a link.
fn names(board: &Path) -> Vec<PathBuf> {
    let mut names = vec![beside(board, ".dispatch.lock")];
    let is_link = fs::symlink_metadata(board).is_ok_and(|meta| meta.file_type().is_symlink());
    if is_link && let Ok(target) = fs::canonicalize(board) {
        names.push(beside(&target, ".dispatch.lock"));
    }
    names
}

/// Identifies the file; `None` if `fstat` fails.
fn identity(file: &File) -> Option<FileKey> {
    file.metadata().ok().map(|meta| FileKey::of(&meta))
}

fn open(path: &Path) -> std::io::Result<File> {
    // A FIFO without a reader is not waited for.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new().append(true).create(true).custom_flags(flags.bits()).open(path)
}
