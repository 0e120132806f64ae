//! The file that takes a worker's output: private, appended to, set aside when it has grown large.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use thiserror::Error;

use super::name::is_plain;
use super::spawn::blame_for_folder;
use crate::machine::event::Blame;

/// A log file that cannot be written.
#[derive(Debug, Error)]
#[error("log {}: {tried}: {errno}; check the folder, its permissions and its disk", path.display())]
pub struct LogError {
    path: PathBuf,
    tried: &'static str,
    errno: Errno,
}

impl LogError {
    fn new(path: &Path, tried: &'static str, error: &io::Error) -> LogError {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL));
        LogError { path: path.to_owned(), tried, errno }
    }

    /// Who is charged.
    #[must_use]
    pub fn blame(&self) -> Blame {
        blame_for_folder(self.errno)
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno as i32
    }
}

/// Opens the log of `task` in `folder` for appending. One larger than `rotate_bytes` is set aside
/// first; `backups` of those are kept.
///
/// # Errors
/// What the file system says; EINVAL if there is something other than a plain file.
pub fn open(folder: &Path, task: &str, rotate_bytes: u64, backups: u32) -> Result<File, LogError> {
    let path = folder.join(format!("{task}.log"));
    let failed = |tried| {
        let path = path.clone();
        move |error: io::Error| LogError::new(&path, tried, &error)
    };
    if !is_plain(task) {
        return Err(failed("its task's id is no file name")(io::ErrorKind::InvalidInput.into()));
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(failed("making its folder"))?;
    rotate(&path, rotate_bytes, backups).map_err(failed("setting the old one aside"))?;
    // NONBLOCK so that a FIFO put there does not hang us, NOFOLLOW so that a link leads nowhere.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(&path)
        .map_err(failed("opening it"))?;
    if !file.metadata().map_err(failed("looking at it"))?.is_file() {
        return Err(failed("it is no plain file")(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    Ok(file)
}

fn rotate(path: &Path, rotate_bytes: u64, backups: u32) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() > rotate_bytes => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    if backups == 0 {
        return fs::remove_file(path);
    }
    for n in (1..backups).rev() {
        let _there_were_fewer = fs::rename(backup(path, n), backup(path, n + 1));
    }
    fs::rename(path, backup(path, 1))
}

fn backup(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_log_is_private_and_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["one ", "two"] {
            open(folder.path(), "t_1", 100, 1).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let path = folder.path().join("t_1.log");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_large_log_is_set_aside_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["first", "second", "third"] {
            open(folder.path(), "t_1", 4, 1).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(folder.path().join("t_1.log.1")).unwrap(), "second");
        assert!(!folder.path().join("t_1.log.2").exists());
    }

    #[test]
    fn links_pipes_and_ids_that_lead_elsewhere_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/dev/null", folder.path().join("link.log")).unwrap();
        assert!(open(folder.path(), "link", 100, 1).is_err());
        let fifo = folder.path().join("fifo.log");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(folder.path(), "fifo", 100, 1).is_err());
        assert!(open(folder.path(), "../up", 100, 1).is_err());
    }
}
