//! A lock that a dispatcher holds on a file beside the boards for as long as it lives: the kernel
//! releases it, whatever kills the dispatcher, and it shows across pid namespaces, where pids do not.
//!
//! Each dispatcher locks one byte of the file, at a place drawn from what it is. The lock is one of the
//! process, which no child inherits. It counts only on file systems of this host: a lock on a network's
//! file system may be known to one host alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::statfs;
use sha2::{Digest, Sha256};

use crate::process::identity::Instance;

/// The file, in the root's directory.
const FILE: &str = ".sexton.lifelines";

/// The lock of this dispatcher, released when this is dropped or the process ends.
#[derive(Debug)]
pub struct Lifeline {
    _file: File,
}

impl Lifeline {
    /// Locks the byte of this dispatcher.
    ///
    /// # Errors
    /// What opening or locking the file returns.
    pub fn hold(root: &Path, instance: &Instance) -> io::Result<Lifeline> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join(FILE))?;
        fcntl(&file, FcntlArg::F_SETLK(&byte_of(instance, libc::F_WRLCK)))?;
        Ok(Lifeline { _file: file })
    }
}

/// Whether the dispatcher that is this instance holds its lock. `None` if that cannot be told: it never
/// had one, the file cannot be read, or its locks may not be those of all hosts that use it.
#[must_use]
pub fn is_held(root: &Path, instance: &Instance) -> Option<bool> {
    if !instance.lifeline {
        return None;
    }
    let file = File::open(root.join(FILE)).ok()?;
    if !is_of_this_host(&file) {
        return None;
    }
    let mut lock = byte_of(instance, libc::F_RDLCK);
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    Some(i32::from(lock.l_type) != libc::F_UNLCK)
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

/// True for file systems that only one kernel mounts at a time.
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
    fn without_a_lock_or_its_file_nothing_is_said() {
        let root = tempfile::tempdir().unwrap();
        let without = Instance::own().unwrap();
        let with = Instance { lifeline: true, ..without.clone() };
        assert_eq!(is_held(root.path(), &with), None, "there is no file");
        let _held = Lifeline::hold(root.path(), &without).unwrap();
        assert_eq!(is_held(root.path(), &without), None, "it never had one");
        // What is locked by another process is shown by tests with real ones.
        assert_eq!(is_held(root.path(), &with), Some(false), "a process is not told of its own");
    }
}
