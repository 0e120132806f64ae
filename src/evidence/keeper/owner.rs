//! Which dispatcher a pidfd's worker belongs to, by the text of the claim's lock.

use crate::machine::ids::Pid;
use crate::process::identity::{self, LookError};

/// A dispatcher, as the locks of its claims name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dispatcher {
    pid: Pid,
    /// When it started, in clock ticks since boot.
    start: u64,
}

/// Returns whether the dispatcher that claimed with `lock` is alive and is not the process `asking`. A
/// lock of another form names no dispatcher.
///
/// Pids are those of the keeper's pid namespace. A process that cannot be looked at counts as alive:
/// the pidfd is then not given, and is asked for again.
pub fn another_lives(lock: &str, asking: Pid) -> bool {
    dispatcher(lock).is_some_and(|owner| owner.pid != asking && lives(owner))
}

fn lives(owner: Dispatcher) -> bool {
    match identity::stat(owner.pid) {
        Ok(stat) => stat.start == owner.start && !stat.is_dead(),
        Err(LookError::Gone(_)) => false,
        Err(LookError::Unreadable { .. } | LookError::Hidden(_) | LookError::Garbled(_)) => true,
    }
}

/// Reads `<host>:<pid>:<boot id>.<pid namespace>.<time namespace>.<start>-<spawn>` from the right,
/// since a host's name may contain any of the separators.
fn dispatcher(lock: &str) -> Option<Dispatcher> {
    let (rest, spawn) = lock.rsplit_once('-')?;
    let _is_a_number: u64 = spawn.parse().ok()?;
    let (rest, start) = rest.rsplit_once('.')?;
    let (rest, _time_namespace) = rest.rsplit_once('.')?;
    let (rest, _pid_namespace) = rest.rsplit_once('.')?;
    let (rest, _boot) = rest.rsplit_once(':')?;
    let (_host, pid) = rest.rsplit_once(':')?;
    // A `+` after it means that the dispatcher holds a lifeline.
    let start = start.strip_suffix('+').unwrap_or(start).parse().ok()?;
    Some(Dispatcher { pid: Pid(pid.parse().ok()?), start })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "9f0c7f64-6a8e-4b07-a1f5-0123456789ab";

    fn me() -> Dispatcher {
        let pid = Pid(std::process::id().cast_signed());
        Dispatcher { pid, start: identity::stat(pid).unwrap().start }
    }

    fn lock_of(Dispatcher { pid, start }: Dispatcher) -> String {
        format!("host:{}:{BOOT}.4026531836.4026531834.{start}-17", pid.0)
    }

    #[test]
    fn a_lock_is_read_from_the_right() {
        let owner = Dispatcher { pid: Pid(77), start: 1234 };
        assert_eq!(dispatcher(&lock_of(owner)), Some(owner));
        assert_eq!(dispatcher(&lock_of(owner).replace("-17", "+-17")), Some(owner));
        assert_eq!(dispatcher(&format!("a:b-1.2.3-4:9:{}", lock_of(owner))), Some(owner));
    }

    #[test]
    fn a_lock_of_another_form_names_no_dispatcher() {
        let whole = lock_of(Dispatcher { pid: Pid(77), start: 1234 });
        let host_less = whole.trim_start_matches("host:");
        for lock in ["", "host:77:token", "host:77", "-", ":::...-", host_less, &whole[..40]] {
            assert_eq!(dispatcher(lock), None, "{lock}");
        }
    }

    #[test]
    fn a_living_dispatcher_is_another_to_all_but_itself() {
        let me = me();
        let elsewhere = Pid(me.pid.0 + 1);
        assert!(another_lives(&lock_of(me), elsewhere));
        assert!(!another_lives(&lock_of(me), me.pid));
        let later = Dispatcher { start: me.start + 1, ..me };
        assert!(!another_lives(&lock_of(later), elsewhere), "its pid came back");
        let none = Dispatcher { pid: Pid(i32::MAX), ..me };
        assert!(!another_lives(&lock_of(none), elsewhere));
        assert!(!another_lives("unknown", elsewhere));
    }
}
