//! The text in `claim_lock`: the holder of a claim, and the token that fences it.
//!
//! `<host>:<pid>:<instance>-<attempt>`, where the instance is `<boot id>.<pid namespace>.<time
//! namespace>.<start>`, with a `+` after it if the dispatcher holds a lifeline. Other tools check the
//! host and accept any rest; we ignore the host.

use crate::machine::ids::{Pid, SpawnId};

/// This dispatcher, as it signs its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    host: String,
    pid: Pid,
    instance: String,
}

impl Owner {
    /// `host` is what `gethostname` returns. `instance` distinguishes this process from any other that
    /// ever had its pid, on any host: `<boot id>.<pid namespace>.<time
    /// namespace>.<start>`, and a `+` if it holds a lifeline.
    #[must_use]
    pub fn new(host: &str, pid: Pid, instance: &str) -> Owner {
        Owner { host: host.to_owned(), pid, instance: instance.to_owned() }
    }

    /// The host part of its locks.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The lock text of one attempt.
    #[must_use]
    pub fn lock(&self, spawn: SpawnId) -> String {
        format!("{}:{}:{}-{}", self.host, self.pid.0, self.instance, spawn.0)
    }

    /// The attempt of this dispatcher that a lock stands for; `None` if the lock is not ours.
    #[must_use]
    pub fn parse(&self, lock: &str) -> Option<SpawnId> {
        let token =
            Holder::of(lock).filter(|holder| holder.host == self.host && holder.pid == self.pid)?;
        token.sexton.filter(|sexton| sexton.instance == self.instance).map(|sexton| sexton.spawn)
    }
}

/// The content of a `claim_lock`, as written by any tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The host of the dispatcher.
    pub host: &'a str,
    /// The pid of the dispatcher.
    pub pid: Pid,
    /// Set if the dispatcher is a sexton.
    pub sexton: Option<Token<'a>>,
}

/// What only a sexton writes into a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The process: `<boot id>.<pid namespace>.<time namespace>.<start>`, perhaps with a `+`.
    pub instance: &'a str,
    /// The attempt, whose number is the token.
    pub spawn: SpawnId,
}

impl Holder<'_> {
    /// Reads a lock text; `None` if it names no process.
    #[must_use]
    pub fn of(lock: &str) -> Option<Holder<'_>> {
        let (front, last) = lock.rsplit_once(':')?;
        let ours = token(last).and_then(|token| {
            let (host, pid) = front.rsplit_once(':')?;
            Some(Holder { host, pid: number(pid)?, sexton: Some(token) })
        });
        ours.or_else(|| Some(Holder { host: front, pid: number(last)?, sexton: None })).or_else(
            || {
                // `<host>:<pid>:<rest>` of another tool.
                let (host, pid) = front.rsplit_once(':')?;
                Some(Holder { host, pid: number(pid)?, sexton: None })
            },
        )
    }
}

/// Which sexton made a claim, if one did: its pid, its instance, and its number of the attempt.
#[must_use]
pub fn signer(lock: &str) -> Option<(Pid, &str, SpawnId)> {
    let holder = Holder::of(lock)?;
    holder.sexton.map(|token| (holder.pid, token.instance, token.spawn))
}

fn token(text: &str) -> Option<Token<'_>> {
    let (instance, spawn) = text.rsplit_once('-')?;
    let mut parts = instance.strip_suffix('+').unwrap_or(instance).split('.');
    let boot = parts.next().is_some_and(|boot| !boot.is_empty());
    let numbers = parts.clone().count() == 3 && parts.all(is_number);
    let spawn = spawn.parse().ok().filter(|_| boot && numbers)?;
    Some(Token { instance, spawn: SpawnId(spawn) })
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok()
}

fn number(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|pid| *pid > 0).map(Pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_attempt_to_its_owner_only() {
        let owner = Owner::new("vm", Pid(77), "b-1.4.5.123");
        let lock = owner.lock(SpawnId(9));
        assert_eq!(owner.parse(&lock), Some(SpawnId(9)));
        assert!(lock.starts_with("vm:77:"));
        assert_eq!(Owner::new("vm", Pid(77), "b-1.4.5.124").parse(&lock), None);
        assert_eq!(Owner::new("vm", Pid(78), "b-1.4.5.123").parse(&lock), None);
        assert_eq!(Owner::new("wm", Pid(77), "b-1.4.5.123").parse(&lock), None);
    }

    #[test]
    fn locks_of_others_are_read_as_far_as_they_go() {
        let plain = Holder::of("vm:4242").expect("a lock");
        assert_eq!((plain.host, plain.pid, plain.sexton), ("vm", Pid(4242), None));
        let other = Holder::of("vm:4242:x-y").expect("a lock");
        assert_eq!((other.host, other.pid, other.sexton), ("vm", Pid(4242), None));
        let ours = Holder::of("a:b:4242:0123-abcd.7.8.9-7").expect("a lock");
        assert_eq!((ours.host, ours.pid), ("a:b", Pid(4242)));
        let token = ours.sexton.map(|token| (token.instance, token.spawn));
        assert_eq!(token, Some(("0123-abcd.7.8.9", SpawnId(7))));
        let held = Holder::of("vm:1:b.7.8.9+-3").and_then(|holder| holder.sexton);
        assert_eq!(held.map(|token| token.instance), Some("b.7.8.9+"));
        for other in
            ["vm:4242:0123abcd-7", "vm:4242:b.1.2-7", "vm:4242:b.1.2.x-7", "vm:4242:.1.2.3-7"]
        {
            assert_eq!(Holder::of(other).map(|holder| holder.sexton), Some(None), "{other}");
        }
        assert_eq!(Holder::of("nonsense"), None);
        assert_eq!(Holder::of("vm:-3"), None);
    }
}
