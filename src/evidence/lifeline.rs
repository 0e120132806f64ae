//! A lock that a dispatcher holds, until it ends, on a file beside the boards. The kernel releases it
//! however the dispatcher ends, and it is visible across pid namespaces, where pids are not.
//!
//! Each dispatcher locks one byte of the file, at an offset computed from its instance. The lock
//! belongs to the process, and no child inherits it. It counts only on file systems of this host: a
//! lock on a network file system may be visible to one host only.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::statfs;
use sha2::{Digest, Sha256};

use crate::process::identity::Instance;

/// The file's name, in the root's directory.
const FILE: &str = ".sexton.lifelines";

/// The file, opened once: when a process closes any descriptor of a file, the kernel drops all its
/// locks on that file.
#[derive(Debug)]
pub struct Lifelines {
    file: File,
}

impl Lifelines {
    /// Opens the file, and creates it if it does not exist.
    ///
    /// # Errors
    /// The error of opening it.
    pub fn open(root: &Path) -> io::Result<Lifelines> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join(FILE))?;
        Ok(Lifelines { file })
    }

    /// Opens the file for reading locks only.
    ///
    /// # Errors
    /// The error of opening it.
    pub fn open_to_look(root: &Path) -> io::Result<Lifelines> {
        Ok(Lifelines { file: File::open(root.join(FILE))? })
    }

    /// Locks the byte of this dispatcher, until the value is dropped or the process ends.
    ///
    /// # Errors
    /// The error of locking.
    pub fn hold(&self, instance: &Instance) -> io::Result<()> {
        fcntl(&self.file, FcntlArg::F_SETLK(&byte_of(instance, libc::F_WRLCK)))?;
        Ok(())
    }

    /// Returns whether the dispatcher of this instance holds its lock. `None` if that cannot be told:
    /// it never had one, or the locks may not be visible to all hosts that use the file.
    #[must_use]
    pub fn is_held(&self, instance: &Instance) -> Option<bool> {
        if !instance.lifeline || !is_of_this_host(&self.file) {
            return None;
        }
        let mut lock = byte_of(instance, libc::F_RDLCK);
        fcntl(&self.file, FcntlArg::F_GETLK(&mut lock)).ok()?;
        Some(i32::from(lock.l_type) != libc::F_UNLCK)
    }
}

fn byte_of(instance: &Instance, kind: libc::c_int) -> libc::flock {
    let text = Instance { lifeline: false, ..instance.clone() }.to_string();
    let digest = Sha256::digest(text.as_bytes());
    let place = digest.iter().take(7).fold(0, |place, byte| place << 8 | libc::off_t::from(*byte));
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: place,
        l_len: 1,
        l_pid: 0,
    }
}

/// Returns true for file systems that only one kernel mounts at a time.
fn is_of_this_host(file: &File) -> bool {
    const LOCAL: [i64; 8] = [
        0xEF53,      // ext2, ext3, ext4
        0x5846_5342, // XFS
        0x9123_683E, // Btrfs
        0xF2F5_2010, // F2FS
        0x2FC1_2FC1, // ZFS
        0xCA45_1A4E, // bcachefs
        0x0102_1994, // tmpfs
        0x794C_7630, // overlayfs
    ];
    statfs::fstatfs(file).is_ok_and(|fs| LOCAL.contains(&fs.filesystem_type().0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_dispatcher_without_a_lock_nothing_is_said() {
        let root = tempfile::tempdir().unwrap();
        assert!(Lifelines::open_to_look(root.path()).is_err(), "there is no file");
        let lifelines = Lifelines::open(root.path()).unwrap();
        let without = Instance::own().unwrap();
        let with = Instance { lifeline: true, ..without.clone() };
        lifelines.hold(&without).unwrap();
        assert_eq!(lifelines.is_held(&without), None, "it never had one");
        assert_eq!(lifelines.is_held(&with), Some(false), "a process is not told of its own");
    }

    #[test]
    fn a_lock_is_still_held_after_its_process_has_looked_at_another() {
        let root = tempfile::tempdir().unwrap();
        let lifelines = Lifelines::open(root.path()).unwrap();
        let own = Instance { lifeline: true, ..Instance::own().unwrap() };
        lifelines.hold(&own).unwrap();
        let other = Instance { start: own.start + 1, ..own };
        assert_eq!(lifelines.is_held(&other), Some(false));
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let me = std::process::id().to_string();
        let is_ours =
            |line: &str| line.contains("POSIX") && line.split_whitespace().any(|w| w == me);
        assert!(locks.lines().any(is_ours), "{locks}");
    }
}
