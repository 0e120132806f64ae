//! Looks at the process table.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::process::stat;

/// Returns the processes that have this path in their environment or arguments, except this one.
pub fn of(path: &Path) -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap();
    let all = fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != me && names(*pid, "environ", path) | names(*pid, "cmdline", path))
        .collect()
}

/// Returns the keepers of a state directory.
pub fn keepers(state: &Path) -> Vec<i32> {
    of(state)
        .into_iter()
        .filter(|pid| words(*pid, "cmdline").get(1) == Some(&b"keeper".to_vec()))
        .collect()
}

fn names(pid: i32, file: &str, path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    words(pid, file).iter().any(|word| word.windows(path.len()).any(|part| part == path))
}

fn words(pid: i32, file: &str) -> Vec<Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Kills a process that may have ended.
pub fn end(pid: i32) {
    let killed = kill(Pid::from_raw(pid), Signal::SIGKILL);
    assert!(matches!(killed, Ok(()) | Err(Errno::ESRCH)), "{pid}: {killed:?}");
}

/// Returns whether it exists and is not a zombie.
pub fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Returns whether it still executes the program of its dispatcher.
pub fn has_not_executed(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program == Path::new(env!("CARGO_BIN_EXE_sexton")))
}
