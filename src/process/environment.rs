//! The environment of other processes, by which workers are recognised: a claim's lock text is in the
//! environment of its worker, and in no other by chance.

use std::fs;
use std::io::ErrorKind;

use super::identity::{self, LookError};
use crate::machine::ids::Pid;

/// Whether a process has a text in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bears {
    /// The text is in its environment.
    It,
    /// Its environment does not contain the text, or it has ended.
    Another,
    /// Its environment is empty, as during an exec, or cannot be read.
    CannotTell,
}

/// Returns whether the value of any variable of process `pid` is `text`.
#[must_use]
pub fn bears(pid: Pid, text: &str) -> Bears {
    match fs::read(format!("/proc/{}/environ", pid.0)) {
        Ok(environment) if environment.is_empty() => Bears::CannotTell,
        Ok(environment) if has_value(&environment, text.as_bytes()) => Bears::It,
        Ok(_) => Bears::Another,
        Err(error) if is_gone(&error) => Bears::Another,
        Err(_) => Bears::CannotTell,
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

fn has_value(environment: &[u8], text: &[u8]) -> bool {
    environment.split(|byte| *byte == 0).any(|variable| {
        let value = variable.iter().position(|byte| *byte == b'=').map(|at| &variable[at + 1..]);
        value == Some(text)
    })
}

/// Returns a session leader that has `text` in its environment, if there is one. Leaders that started
/// before `since`, in ticks since boot, are skipped.
///
/// # Errors
/// If a session leader's environment cannot be read: it may be the one.
pub fn search(text: &str, since: u64) -> Result<Option<Pid>, LookError> {
    let (mut found, mut hidden) = (None, None);
    identity::each_process(|stat| {
        let is_leader = stat.pid == stat.session && stat.start >= since;
        if !is_leader || stat.is_dead() || found.is_some() {
            return;
        }
        match bears(stat.pid, text) {
            Bears::It => found = Some(stat.pid),
            Bears::Another => {}
            Bears::CannotTell => hidden = Some(stat.pid),
        }
    })?;
    match (found, hidden) {
        (None, Some(pid)) => Err(LookError::Hidden(pid)),
        (found, _) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_recognised_by_a_whole_value_in_its_environment() {
        let mut child = Command::new("setsid")
            .args(["cat"])
            .env("ANY", "host:1:b.1.2.3-77")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it answers, it has executed its program.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        std::io::Write::write_all(&mut input, b"x").unwrap();
        std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
        let pid = Pid(child.id().cast_signed());
        assert_eq!(bears(pid, "host:1:b.1.2.3-77"), Bears::It);
        assert_eq!(bears(pid, "host:1:b.1.2.3-7"), Bears::Another, "a part of it is another");
        let start = identity::stat(pid).unwrap().start;
        assert_eq!(search("host:1:b.1.2.3-77", start).unwrap(), Some(pid));
        assert_eq!(search("host:1:b.1.2.3-77", u64::MAX).unwrap(), None, "it is too old");
        drop(input);
        child.wait().unwrap();
        assert_eq!(bears(pid, "host:1:b.1.2.3-77"), Bears::Another);
    }

    #[test]
    fn a_process_without_an_environment_may_be_any() {
        let mut child = Command::new("/bin/cat")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(bears(Pid(child.id().cast_signed()), "x"), Bears::CannotTell);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
