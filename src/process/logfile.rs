//! The file that takes a worker's output.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use thiserror::Error;

use super::name;
use super::spawn::{blame_for_directory, errno_of};
use crate::machine::fault::Blame;

/// When a log is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A log with more bytes is put aside before the next run writes to it; `u64::MAX`: never.
    pub rotate_bytes: u64,
    /// How many are kept as `.log.1`, `.log.2` and so on; with 0 it is deleted.
    pub backups: u32,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { rotate_bytes: 2 * 1024 * 1024, backups: 1 }
    }
}

/// Why a log could not be opened.
#[derive(Debug, Error)]
pub enum LogError {
    /// The task's id cannot be the name of a file.
    #[error("cannot name a log after task {0:?}: such an id would lead out of the logs' directory")]
    Name(String),
    /// Its path is not a regular file.
    #[error("{} is not a regular file, so no output is written to it; move it away", .0.display())]
    NotAFile(PathBuf),
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    System {
        /// The action that failed, as a verb phrase.
        what: &'static str,
        /// The path that it concerned.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
}

impl LogError {
    /// Who is charged: a failing disk is not the task's fault.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            LogError::Name(_) | LogError::NotAFile(_) => Blame::Task,
            LogError::System { source, .. } => blame_for_directory(errno_of(source)),
        }
    }

    /// Returns the errno; 0 without a failed call.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            LogError::Name(_) => Errno::EINVAL as i32,
            LogError::NotAFile(_) => Errno::ENXIO as i32,
            LogError::System { source, .. } => source.raw_os_error().unwrap_or(0),
        }
    }
}

/// Opens `<logs>/<task>.log` for appending, after putting it aside if it has grown too large.
///
/// A new one can be read by its owner only; an old one keeps its mode. Neither a link nor a pipe at
/// that place is followed or waited for.
///
/// # Errors
/// See [`LogError`].
pub fn open(logs: &Path, task: &str, rotation: Rotation) -> Result<File, LogError> {
    if !name::is_plain(task) {
        return Err(LogError::Name(task.to_owned()));
    }
    let path = logs.join(format!("{task}.log"));
    fs::create_dir_all(logs).map_err(|source| system("create the directory", logs, source))?;
    rotate(&path, rotation)?;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // A pipe without a reader would block this call forever.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(&path)
        .map_err(|source| not_opened(&path, source))?;
    let meta = file.metadata().map_err(|source| system("look at", &path, source))?;
    if !meta.is_file() {
        return Err(LogError::NotAFile(path));
    }
    // The worker shares the flags of what is opened here, and did not ask for this one.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))
        .map_err(|errno| system("set the flags of", &path, errno.into()))?;
    Ok(file)
}

fn system(what: &'static str, path: &Path, source: io::Error) -> LogError {
    LogError::System { what, path: path.into(), source }
}

fn not_opened(path: &Path, source: io::Error) -> LogError {
    // In this order: a link; a pipe without a reader, or a socket; a directory.
    if matches!(errno_of(&source), Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) {
        LogError::NotAFile(path.into())
    } else {
        system("open", path, source)
    }
}

/// Puts the log aside if it is too large.
fn rotate(path: &Path, rotation: Rotation) -> Result<(), LogError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() > rotation.rotate_bytes => {}
        // Not there, small, or no file, which opening it will find out.
        Ok(_) | Err(_) => return Ok(()),
    }
    if rotation.backups == 0 {
        return accept_missing(fs::remove_file(path), "delete", path);
    }
    // The oldest is overwritten by the one before it, which a rename does in one step.
    for number in (1..rotation.backups).rev() {
        let (from, to) = (backup(path, number), backup(path, number + 1));
        accept_missing(fs::rename(&from, to), "put aside", &from)?;
    }
    accept_missing(fs::rename(path, backup(path, 1)), "put aside", path)
}

fn backup(path: &Path, number: u32) -> PathBuf {
    path.with_added_extension(number.to_string())
}

/// What is not there needs no putting aside.
fn accept_missing(result: io::Result<()>, what: &'static str, path: &Path) -> Result<(), LogError> {
    match result {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(system(what, path, source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(logs: &Path, rotation: Rotation, text: &str) {
        open(logs, "t_1", rotation).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn texts(logs: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(logs)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap()))
            .collect();
        found.sort();
        found
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn a_log_is_appended_to_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("kanban/logs");
        write(&logs, Rotation::default(), "one ");
        write(&logs, Rotation::default(), "two");
        assert_eq!(texts(&logs), pairs(&[("t_1.log", "one two")]));
        let mode = fs::metadata(logs.join("t_1.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_worker_gets_a_log_that_blocks_and_appends() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), "t_1", Rotation::default()).unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&log, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_APPEND));
        assert!(!flags.contains(OFlag::O_NONBLOCK));
    }

    #[test]
    fn a_large_log_is_put_aside_and_the_oldest_falls_off() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Rotation { rotate_bytes: 3, backups: 2 };
        write(directory.path(), rotation, "abc");
        write(directory.path(), rotation, "d");
        assert_eq!(texts(directory.path()), pairs(&[("t_1.log", "abcd")]), "not larger than that");
        for text in ["efgh", "ijkl", "m"] {
            write(directory.path(), rotation, text);
        }
        let left = [("t_1.log", "m"), ("t_1.log.1", "ijkl"), ("t_1.log.2", "efgh")];
        assert_eq!(texts(directory.path()), pairs(&left));
    }

    #[test]
    fn without_backups_a_large_log_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Rotation { rotate_bytes: 0, backups: 0 };
        write(directory.path(), rotation, "a");
        write(directory.path(), rotation, "b");
        assert_eq!(texts(directory.path()), pairs(&[("t_1.log", "b")]));
    }

    #[test]
    fn an_id_cannot_lead_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("logs");
        for id in ["../escaped", "/etc/x", "a/../../b", "..", ""] {
            let error = open(&logs, id, Rotation::default()).unwrap_err();
            assert!(matches!(error, LogError::Name(_)), "{id:?}");
            assert_eq!((error.blame(), error.errno()), (Blame::Task, Errno::EINVAL as i32));
        }
        assert!(!logs.exists());
    }

    #[test]
    fn a_link_is_neither_followed_nor_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for target in [victim.clone(), directory.path().join("not there")] {
            let logs = tempfile::tempdir().unwrap();
            symlink(target, logs.path().join("t_1.log")).unwrap();
            let rotation = Rotation { rotate_bytes: 1, backups: 0 };
            let error = open(logs.path(), "t_1", rotation).unwrap_err();
            assert!(matches!(error, LogError::NotAFile(_)), "{error}");
            assert!(logs.path().join("t_1.log").is_symlink());
        }
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
        assert!(!directory.path().join("not there").exists());
    }

    #[test]
    fn a_pipe_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t_1.log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let without_reader = open(directory.path(), "t_1", Rotation::default()).unwrap_err();
        assert!(matches!(without_reader, LogError::NotAFile(_)), "{without_reader}");
        let mut reader =
            File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
        let with_reader = open(directory.path(), "t_1", Rotation::default()).unwrap_err();
        assert!(matches!(with_reader, LogError::NotAFile(_)), "{with_reader}");
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_directory_in_its_place_is_named_as_one() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("t_1.log")).unwrap();
        let error = open(directory.path(), "t_1", Rotation::default()).unwrap_err();
        assert!(matches!(error, LogError::NotAFile(_)), "{error}");
        assert_eq!((error.blame(), error.errno()), (Blame::Task, Errno::ENXIO as i32));
    }

    #[test]
    fn a_full_disk_is_the_boards_fault() {
        let error = system("open", Path::new("/x"), Errno::ENOSPC.into());
        assert_eq!((error.blame(), error.errno()), (Blame::Board, Errno::ENOSPC as i32));
    }
}
