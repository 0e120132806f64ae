//! The text in `claim_lock`: the holder of a claim, and the token that fences it.
//!
//! `<host>:<pid>:<instance>-<spawn>`. Other tools test the host and accept any rest.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::machine::ids::{Pid, SpawnId};

/// This dispatcher, as it signs its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    host: String,
    pid: Pid,
    instance: String,
}

impl Owner {
    /// `host` is what `gethostname` returns. `identity` distinguishes this process from any other that
    /// ever had its pid: boot id, pid namespace and start time, in any notation that does not
    /// change.
    #[must_use]
    pub fn new(host: &str, pid: Pid, identity: &str) -> Owner {
        Owner { host: host.to_owned(), pid, instance: instance(identity) }
    }

    /// The host part of its locks.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The pid part of its locks.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The part of its locks that distinguishes it from other processes with this pid.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
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

/// The 8 hexadecimal digits that stand for an identity.
#[must_use]
pub fn instance(identity: &str) -> String {
    Sha256::digest(identity.as_bytes()).iter().take(4).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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
    /// Which process, see [`Owner::instance`].
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

fn token(text: &str) -> Option<Token<'_>> {
    let (instance, spawn) = text.split_once('-')?;
    let hex = instance.len() == 8 && instance.bytes().all(|b| b.is_ascii_hexdigit());
    let spawn = spawn.parse().ok().filter(|_| hex)?;
    Some(Token { instance, spawn: SpawnId(spawn) })
}

fn number(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|pid| *pid > 0).map(Pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_attempt_to_its_owner_only() {
        let owner = Owner::new("vm", Pid(77), "boot:ns:123");
        let lock = owner.lock(SpawnId(9));
        assert_eq!(owner.parse(&lock), Some(SpawnId(9)));
        assert!(lock.starts_with("vm:77:"));
        assert_eq!(Owner::new("vm", Pid(77), "boot:ns:124").parse(&lock), None);
        assert_eq!(Owner::new("vm", Pid(78), "boot:ns:123").parse(&lock), None);
        assert_eq!(Owner::new("wm", Pid(77), "boot:ns:123").parse(&lock), None);
    }

    #[test]
    fn locks_of_others_are_read_as_far_as_they_go() {
        let plain = Holder::of("vm:4242").expect("a lock");
        assert_eq!((plain.host, plain.pid, plain.sexton), ("vm", Pid(4242), None));
        let other = Holder::of("vm:4242:x-y").expect("a lock");
        assert_eq!((other.host, other.pid, other.sexton), ("vm", Pid(4242), None));
        let ours = Holder::of("a:b:4242:0123abcd-7").expect("a lock");
        assert_eq!((ours.host, ours.pid), ("a:b", Pid(4242)));
        assert_eq!(ours.sexton.map(|t| (t.instance, t.spawn)), Some(("0123abcd", SpawnId(7))));
        assert_eq!(Holder::of("nonsense"), None);
        assert_eq!(Holder::of("vm:-3"), None);
    }
}
