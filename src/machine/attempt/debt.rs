//! What a board is still owed about an attempt: its pid, its lease, its end.

use super::super::ids::Pid;
use super::super::renamer::Renamer;
use super::super::time::{Mono, Now};
use super::super::verdict::Verdict;

/// What is owed, once the attempt has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Debt {
    pid: Option<Pid>,
    /// The board does not have the pid yet.
    pid_owed: bool,
    end: End,
}

/// What is owed about the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Nothing yet; while it runs, its lease is renewed.
    Open(Lease),
    /// The verdict, which the board has not recorded.
    Owed {
        /// What the end means.
        verdict: Verdict,
        /// When it may be sent, or sent again after the board rejected it.
        send_at: Mono,
    },
    /// Nothing any more: the board took it, or the run was no longer ours.
    Settled,
}

/// When a lease must be renewed: after a third of it, by the clock that gets there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    renew_at: Mono,
    /// The lease stands in its row as a date: a host that slept, or whose clock was set, has less of
    /// it left than it has run.
    renew_by: i64,
}

impl Lease {
    /// A lease of `ttl_s` seconds that is asked for now.
    pub fn begin(now: Now, ttl_s: u32) -> Lease {
        let renew_at = now.mono.after(u64::from(ttl_s.max(1)) * 1000 / 3);
        Lease { renew_at, renew_by: now.unix_at(renew_at).saturating_add(1) }
    }
}

impl Debt {
    /// What a board will be owed whose claim is asked for now.
    pub fn new(lease: Lease) -> Debt {
        Debt { pid: None, pid_owed: false, end: End::Open(lease) }
    }

    /// The leader of the attempt, once it is known.
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// The pid, if the board does not have it.
    pub fn owed_pid(&self) -> Option<Pid> {
        self.pid.filter(|_| self.pid_owed)
    }

    /// What is owed about its end.
    pub fn end(&self) -> End {
        self.end
    }

    /// Notes that its process exists.
    pub fn began(&mut self, pid: Pid) {
        (self.pid, self.pid_owed) = (Some(pid), true);
    }

    /// The board has the pid, or has no use for it.
    pub fn pid_taken(&mut self) {
        self.pid_owed = false;
    }

    /// Its end is known. The first verdict stands.
    pub fn owe(&mut self, verdict: Verdict, now: Mono) {
        if matches!(self.end, End::Open(_)) {
            self.end = End::Owed { verdict, send_at: now };
        }
    }

    /// The board does not take its end before `at`.
    pub fn put_off(&mut self, at: Mono) {
        if let End::Owed { send_at, .. } = &mut self.end {
            *send_at = at;
        }
    }

    /// The board took its end, or has no use for it.
    pub fn settle(&mut self) {
        self.end = End::Settled;
    }

    /// The lease was asked for again.
    pub fn renew(&mut self, lease: Lease) {
        if let End::Open(old) = &mut self.end {
            *old = lease;
        }
    }

    /// The renewal may not have been written: ask again immediately.
    pub fn renew_again(&mut self, now: Mono) {
        if let End::Open(lease) = &mut self.end {
            lease.renew_at = now;
        }
    }

    /// Whether by the wall clock, which stands in its row, more than a third of its lease is over.
    pub fn lease_is_short(&self, unix: i64) -> bool {
        self.renew_by().is_some_and(|by| unix >= by)
    }

    /// Returns when the next change is due that does not wait for others.
    pub fn send_at(&self) -> Option<Mono> {
        match self.end {
            End::Open(lease) => Some(lease.renew_at),
            End::Owed { send_at, .. } => Some(send_at),
            End::Settled => None,
        }
    }

    /// Returns the latest second at which the lease must be renewed.
    pub fn renew_by(&self) -> Option<i64> {
        match self.end {
            End::Open(lease) => Some(lease.renew_by),
            End::Owed { .. } | End::Settled => None,
        }
    }

    /// Rewrites the moments of its lease or verdict.
    pub fn rename(&mut self, to: &impl Renamer) {
        match &mut self.end {
            End::Open(lease) => {
                to.deadline(&mut lease.renew_at);
                to.second(&mut lease.renew_by);
            }
            End::Owed { send_at, .. } => to.deadline(send_at),
            End::Settled => {}
        }
    }
}
