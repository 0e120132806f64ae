//! Dispatchers as processes, and what they log.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::wait::wait_until;

/// A `sexton` process with its output in files.
pub struct Running {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Running {
    /// Starts it; `name` keeps its files apart from those of others in `directory`.
    pub fn start(command: &mut Command, directory: &Path, name: &str) -> Running {
        let log = File::create(directory.join(format!("{name}.log"))).unwrap();
        Running::start_with_log(command, log, directory, name)
    }

    /// Like [`start`](Running::start), with its log elsewhere, so that [`Running`] cannot read it.
    pub fn start_with_log(
        command: &mut Command,
        log: impl Into<Stdio>,
        directory: &Path,
        name: &str,
    ) -> Running {
        command.stdout(File::create(directory.join(format!("{name}.out"))).unwrap()).stderr(log);
        let (out, log) =
            (directory.join(format!("{name}.out")), directory.join(format!("{name}.log")));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        Running { child, out, log }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Its exit code, once it has ended; -1 if a signal did it.
    pub fn code(&mut self) -> i32 {
        let mut status = None;
        wait_until("sexton to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- its log:\n{}--- its output:\n{}", self.log(), self.stdout());
        }
        // A stopped one takes this, too. One that was waited for is not signalled again.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The pids in a log line `reaped {n} zombie worker(s), pids=[…]`, sorted, for each such line.
pub fn reaped_lines(log: &str) -> Vec<Vec<i32>> {
    let lines = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("reaped ")?;
        let (count, rest) = rest.split_once(" zombie worker(s), pids=[")?;
        let list = rest.strip_suffix(']').unwrap();
        let mut pids: Vec<i32> = list.split(", ").map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(count.parse(), Ok(pids.len()), "{line}");
        pids.sort_unstable();
        Some(pids)
    });
    lines.collect()
}
