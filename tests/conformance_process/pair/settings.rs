//! Where scenes play: in a process of their own, whose main thread they have, and those about pids in
//! a pid namespace of their own.

use std::fs;
use std::process::{Command, id};

use nix::libc;
use nix::unistd::{ForkResult, Uid, fork, getppid};
use sexton::machine::ids::Pid;

use super::Step;
use crate::skip::skipped;

/// Names the scene to the process that plays it.
const SCENE: &str = "SEXTON_TEST_SCENE";

/// Below this number the kernel never reuses a pid.
const RESERVED: i32 = 300;

/// Prints that a scene was skipped.
pub fn skip(why: &str) -> Step<()> {
    skipped(why);
    Ok(())
}

/// Plays the scene of the test with this name in a process of its own, where that test is the only
/// one; with `own_pids` as the only process of a pid namespace, if such can be had.
pub fn play(name: &str, own_pids: bool, scene: fn() -> Step<()>) {
    if std::env::var(SCENE).is_ok_and(|asked| asked == name) {
        return on_a_main_thread(scene);
    }
    let exe = std::env::current_exe().expect("a program");
    let mut command = if own_pids {
        let Some(unshare) = unshare() else {
            skipped(format!("{name}: no pid namespace can be had (`unshare --pid`)"));
            return;
        };
        let mut command = unshare;
        command.arg(exe);
        command
    } else {
        Command::new(exe)
    };
    command.args(["--exact", name, "--test-threads=1", "--nocapture"]);
    let output = command.env(SCENE, name).output().expect("this program");
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name}: {said}{complaints}");
    for why in complaints.lines().filter_map(|line| line.strip_prefix("SKIPPED: ")) {
        skipped(format!("{why} ({name})"));
    }
}

/// How to start a program with pids of its own.
fn unshare() -> Option<Command> {
    let command = || {
        let mut command = Command::new("unshare");
        if !Uid::effective().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
    };
    let works = command().arg("true").output().is_ok_and(|output| output.status.success());
    works.then(command)
}

/// Plays `scene` in a copy of this process, in which the calling thread is the main one.
fn on_a_main_thread(scene: fn() -> Step<()>) {
    // SAFETY: only this thread and the idle test runner exist (see `play`), so that no lock is held
    // in the copy by a thread that it lacks.
    match unsafe { fork() }.expect("a copy") {
        ForkResult::Child => {
            let ended = std::panic::catch_unwind(scene);
            if let Ok(Err(difference)) = &ended {
                eprintln!("{difference}");
            }
            let code = i32::from(!matches!(ended, Ok(Ok(()))));
            // SAFETY: ends the copy immediately.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            let mut raw = 0;
            // SAFETY: `raw` outlives the call.
            assert_eq!(unsafe { libc::waitpid(child.as_raw(), &raw mut raw, 0) }, child.as_raw());
            assert_eq!(raw, 0);
        }
    }
}

/// Which pids there are.
#[derive(Clone, Copy, Debug)]
pub enum Pids {
    /// More than a scene uses. Which one a process gets is not compared.
    Many,
    /// So many, and the model has the same in the same order.
    Few(i32),
}

impl Pids {
    /// Leaves this process's namespace only `count` pids; `None` if that cannot be done here.
    pub fn few(count: i32) -> Option<Pids> {
        let put = |name: &str, n: i32| fs::write(format!("/proc/sys/kernel/{name}"), n.to_string());
        // Before that version the limit is the whole machine's.
        let may = is_alone() && kernel_is_at_least(6, 14);
        let done =
            may && put("ns_last_pid", 20).and_then(|()| put("pid_max", RESERVED + count)).is_ok();
        done.then_some(Pids::Few(count))
    }

    /// The greatest pid in the model, whose first is 2.
    pub fn last(self) -> i32 {
        match self {
            Pids::Many => 10_000,
            Pids::Few(count) => 1 + count,
        }
    }

    /// The model's pid for a real one; `None` if they have nothing to do with each other.
    pub fn in_model(self, pid: Pid) -> Option<i32> {
        matches!(self, Pids::Few(_)).then_some(pid.0 - RESERVED + 2)
    }

    /// All pids, in the model and in reality.
    pub fn all(self) -> impl Iterator<Item = (Pid, Pid)> {
        let count = if let Pids::Few(count) = self { count } else { 0 };
        (0..count).map(|n| (Pid(2 + n), Pid(RESERVED + n)))
    }

    /// The next thread is given a pid that workers are not.
    pub fn put_low(self) {
        if matches!(self, Pids::Few(_)) {
            put_last_pid(20).expect("it could be done before");
        }
    }

    /// The next process is given the first pid.
    pub fn put_first(self) {
        if matches!(self, Pids::Few(_)) {
            put_last_pid(RESERVED - 1).expect("it could be done before");
        }
    }
}

/// Makes `pid + 1` the next that is given.
pub fn put_last_pid(pid: i32) -> std::io::Result<()> {
    assert!(is_alone());
    fs::write("/proc/sys/kernel/ns_last_pid", pid.to_string())
}

/// Whether this is the copy (see [`on_a_main_thread`]) in a namespace that was made for it.
pub fn is_alone() -> bool {
    let exe = std::env::current_exe().ok();
    getppid().as_raw() == 1
        && id() < 100
        && exe.is_some()
        && fs::read_link("/proc/1/exe").ok() == exe
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}
