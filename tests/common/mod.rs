//! What tests with real workers share: waiting for a condition, workers that wait to be told, boards
//! that go bad.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::poll::{PollTimeout, poll};
use sexton::machine::ids::Pid;
use sexton::process::identity;

/// Looks every few milliseconds until `condition` holds; panics after about half a minute.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        poll(&mut [], PollTimeout::from(3_u16)).unwrap();
    }
    panic!("waited in vain: {what}");
}

/// Whether this process has exited and nobody has waited for it.
pub fn is_zombie(pid: Pid) -> bool {
    identity::stat(pid).is_ok_and(|stat| stat.is_dead())
}

/// Whether this process is there, dead or alive.
pub fn exists(pid: Pid) -> bool {
    identity::stat(pid).is_ok()
}

/// A pipe with a name, at which workers wait until they are told to go on.
pub struct Gate {
    path: PathBuf,
    pipe: File,
}

impl Gate {
    pub fn new(path: PathBuf) -> Gate {
        let name = CString::new(path.to_str().unwrap()).unwrap();
        nix::unistd::mkfifo(name.as_c_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // For reading too, so that opening does not wait for a worker.
        let pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Gate { path, pipe }
    }

    /// A shell command that waits here, and then does `then`.
    pub fn body(&self, then: &str) -> String {
        format!("read line < '{}'; {then}", self.path.display())
    }

    /// Lets `count` workers go on.
    pub fn open(&mut self, count: usize) {
        for _ in 0..count {
            self.pipe.write_all(b"go\n").unwrap();
        }
    }
}

/// Overwrites the head of a file. A child process does it: were this one to open and close the file,
/// it would drop the locks of a daemon that it runs.
pub fn damage(file: &Path) {
    let script = "printf 'sixteen bad byte' | dd of=\"$1\" conv=notrunc status=none";
    let status = Command::new("sh").args(["-c", script, "sh"]).arg(file).status().unwrap();
    assert!(status.success());
}
