//! Signals to a worker's whole group. Never by a bare number, which may name another process by the
//! time the signal arrives.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;

use super::children::{Children, Handle};
use super::identity::{self, Alive, LookError, Stat};
use super::pidfd::{self, Reach};
use crate::machine::event::{Signal, SignalOutcome};
use crate::machine::ids::{Pid, SpawnId};

/// Sends `signal` to every process of the worker's group, also when its leader has been reaped.
///
/// A process that has left the group (by `setsid` or `setpgid`) is not reached. A zombie accepts
/// signals like a living process; only a probe shows that nothing is alive.
#[must_use]
pub fn signal_group(children: &Children, spawn: SpawnId, signal: Signal) -> SignalOutcome {
    match children.handle(spawn) {
        Some(handle) => signal_handle(&handle, signal),
        None => SignalOutcome::Gone,
    }
}

pub(super) fn signal_handle(handle: &Handle, signal: Signal) -> SignalOutcome {
    let Some(fd) = &handle.pidfd else { return signal_by_search(handle, signal) };
    match pidfd::send(fd.as_fd(), number(signal), Reach::Group) {
        Ok(()) if signal == Signal::Probe => more_than_zombies(handle.pid),
        Ok(()) => SignalOutcome::Delivered,
        Err(Errno::ESRCH) => SignalOutcome::Gone,
        // Before Linux 6.9.
        Err(Errno::EINVAL) => signal_by_search(handle, signal),
        Err(_) => SignalOutcome::Refused,
    }
}

fn number(signal: Signal) -> i32 {
    match signal {
        Signal::Probe => 0,
        Signal::Term => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    }
}

/// The kernel counts zombies as members of a group.
fn more_than_zombies(group: Pid) -> SignalOutcome {
    match identity::group_alive(group) {
        Alive::Yes => SignalOutcome::Delivered,
        Alive::No => SignalOutcome::Gone,
        Alive::CannotTell => SignalOutcome::Refused,
    }
}

/// How often `/proc` is searched for members that were born during the search before.
const SEARCHES: usize = 8;

/// Finds the group's members one by one, and signals each through a pidfd of its own.
fn signal_by_search(handle: &Handle, signal: Signal) -> SignalOutcome {
    if identity::is_empty_group(handle.pid) {
        return SignalOutcome::Gone;
    }
    let (mut seen, mut delivered) = (BTreeSet::new(), false);
    for _ in 0..SEARCHES {
        let Ok(members) = members(handle) else { return SignalOutcome::Refused };
        let mut fresh = false;
        for member in &members {
            if seen.insert((member.pid, member.start)) {
                fresh = true;
                delivered |= signal_member(handle, member, signal);
            }
        }
        if !fresh {
            break;
        }
    }
    match (delivered, seen.is_empty()) {
        (true, _) => SignalOutcome::Delivered,
        (false, true) => SignalOutcome::Gone,
        (false, false) => SignalOutcome::Refused,
    }
}

fn members(handle: &Handle) -> Result<Vec<Stat>, LookError> {
    let mut members = Vec::new();
    identity::each_process(|stat| {
        if is_member(handle, &stat) {
            members.push(stat);
        }
    })?;
    Ok(members)
}

/// The leader began a session of its own, so its group and its session have one number, and no
/// process in them is older.
fn is_member(handle: &Handle, stat: &Stat) -> bool {
    let ours = stat.group == handle.pid && stat.session == handle.pid;
    ours && handle.start.is_none_or(|start| stat.start >= start) && !stat.is_dead()
}

/// True if `member` was alive and took the signal.
fn signal_member(handle: &Handle, member: &Stat, signal: Signal) -> bool {
    let Ok(fd) = pidfd::open(member.pid) else { return false };
    // The number may have changed hands before the pidfd was opened, and cannot any more.
    let same = identity::stat(member.pid)
        .is_ok_and(|now| now.start == member.start && is_member(handle, &now));
    same && pidfd::send(fd.as_fd(), number(signal), Reach::Process).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::wait::{self, Which};
    use super::*;
    use crate::process::spawn::{Command, start};
    use std::fs::File;
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    /// A leader that has ended with status 0 and was reaped, and its child that prints `up` and
    /// stays. The pipe ends when the whole group has.
    fn group_without_leader(trap: &str) -> (Handle, PipeReader) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let script = format!("sh -c '{trap} echo up; while :; do sleep 1000; done' & exit 0");
        let command = Command {
            argv: ["/bin/sh", "-c", &script].map(Into::into).to_vec(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            log: File::from(OwnedFd::from(writer)),
        };
        let Command { argv, env, cwd, log } = &command;
        let child = start(argv, env, cwd, log.as_fd(), log.as_fd()).unwrap();
        drop(command);
        reader.read_exact(&mut [0; 3]).unwrap();
        let start = identity::stat(child.pid).ok().map(|stat| stat.start);
        wait::wait(Which::Pid(child.pid), 0).unwrap();
        (Handle { pid: child.pid, pidfd: child.pidfd.map(Arc::new), start }, reader)
    }

    fn end(mut reader: PipeReader) {
        reader.read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn a_group_is_found_without_the_kernels_help() {
        let (handle, reader) = group_without_leader("");
        assert_eq!(signal_by_search(&handle, Signal::Probe), SignalOutcome::Delivered);
        assert_eq!(signal_by_search(&handle, Signal::Term), SignalOutcome::Delivered);
        end(reader);
    }

    #[test]
    fn what_ignores_term_is_killed_without_the_kernels_help() {
        let (handle, reader) = group_without_leader("trap \"\" TERM;");
        assert_eq!(signal_by_search(&handle, Signal::Term), SignalOutcome::Delivered);
        assert_eq!(signal_by_search(&handle, Signal::Kill), SignalOutcome::Delivered);
        end(reader);
    }

    #[test]
    fn an_older_process_is_never_taken_for_a_member() {
        let (handle, reader) = group_without_leader("");
        let later = Handle { start: Some(u64::MAX), ..handle.clone() };
        assert_eq!(signal_by_search(&later, Signal::Kill), SignalOutcome::Gone);
        let none = Handle { pidfd: None, ..handle };
        assert_eq!(signal_handle(&none, Signal::Probe), SignalOutcome::Delivered);
        assert_eq!(signal_handle(&none, Signal::Kill), SignalOutcome::Delivered);
        end(reader);
    }

    #[test]
    fn a_signal_that_the_kernel_denies_is_refused() {
        let no_process = Arc::new(OwnedFd::from(File::open("/dev/null").unwrap()));
        let handle = Handle { pid: Pid(i32::MAX), pidfd: Some(no_process), start: None };
        for signal in [Signal::Probe, Signal::Term, Signal::Kill] {
            assert_eq!(signal_handle(&handle, signal), SignalOutcome::Refused);
        }
    }
}
