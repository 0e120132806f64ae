//! Workers that a test holds back by a gate.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// A FIFO that holds workers back. Dropping it lets all go, so that a test that fails leaves none
/// behind.
pub struct Gate {
    path: PathBuf,
    file: File,
}

impl Gate {
    pub fn new(path: PathBuf) -> Gate {
        mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap();
        // Set explicitly, since the umask may forbid it.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(&path, all).unwrap();
        // Open for both, so that neither side ever waits for the other to open it.
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Gate { path, file }
    }

    /// Returns the shell command by which a worker waits here.
    pub fn wait(&self) -> String {
        format!("read go < '{}'", self.path.display())
    }

    /// Lets this many workers pass, now or when they come.
    pub fn let_pass(&self, count: usize) {
        (&self.file).write_all("\n".repeat(count).as_bytes()).unwrap();
    }
}
