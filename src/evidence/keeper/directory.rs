//! The state directory, and the keeper's two files in it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::socket::UnixAddr;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::KeeperError;

const SOCKET: &str = "keeper.sock";
const LOCK: &str = "keeper.lock";

/// An open state directory.
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    pub fn open(path: &Path) -> Result<Directory, KeeperError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty());
        let fd = fd.map_err(KeeperError::call("open the state directory", path))?;
        Ok(Directory { path: path.to_owned(), fd })
    }

    /// Whether it was removed. Then no dispatcher can come here any more.
    pub fn is_removed(&self) -> bool {
        fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Returns the socket's path, for messages.
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Returns the socket's address. It leads through the open directory, since an address holds at
    /// most 107 bytes, and is valid as long as `self`.
    pub fn address(&self) -> Result<UnixAddr, KeeperError> {
        let short = format!("/proc/self/fd/{}/{SOCKET}", self.fd.as_raw_fd());
        UnixAddr::new(short.as_str()).map_err(KeeperError::call("name the socket", self.socket()))
    }

    /// Removes the socket that an earlier keeper left. Call it only while holding the lock.
    pub fn remove_socket(&self) -> Result<(), KeeperError> {
        match unlinkat(self.fd.as_fd(), SOCKET, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(KeeperError::call("remove the old socket", self.socket())(errno)),
        }
    }

    /// Takes the lock that makes a process the keeper of this directory; `None` if another process
    /// holds it. It is released when the process ends: the keeper starts no child that could inherit
    /// it.
    pub fn lock(&self) -> Result<Option<Flock<OwnedFd>>, KeeperError> {
        let path = self.path.join(LOCK);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.fd.as_fd(), LOCK, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(KeeperError::call("open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(KeeperError::call("lock", &path)(errno)),
        }
    }
}
