//! Attempts, as the runtime knows them: the effects that concern their processes made real, and the
//! texts that the machine does not carry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::board_thread::Texts;
use super::boards::Boards;
use super::evidence::EvidenceThreads;
use super::report::Names;
use super::spawn_thread::{self, Fingerprints, Gate, SpawnThreadsError};
use crate::board::SpawnFacts;
use crate::config::Config;
use crate::machine::effect::Whom;
use crate::machine::event::{Event, Signal};
use crate::machine::exchange::{Change, Request};
use crate::machine::ids::{BoardId, SpawnId, WorkerId};
use crate::process::children::Children;
use crate::process::identity;
use crate::process::signal::signal_group;

/// Adopted processes that one reaping step takes at most; the rest is for the next.
const ORPHANS: usize = 4096;

/// All attempts that the loop knows, by number.
#[derive(Debug)]
pub struct Attempts {
    children: Children,
    /// Whether adopted orphans are reaped.
    adopt: bool,
    claimed: BTreeMap<SpawnId, Claimed>,
    fingerprints: Fingerprints,
    evidence: EvidenceThreads,
}

/// What is needed to start a worker.
#[derive(Debug)]
struct Claimed {
    board: BoardId,
    facts: Arc<SpawnFacts>,
    gate: Arc<Gate>,
}

impl Attempts {
    /// Creates the set without attempts.
    pub fn new(children: Children, adopt: bool, evidence: EvidenceThreads) -> Attempts {
        let fingerprints = evidence.fingerprints();
        Attempts { children, adopt, claimed: BTreeMap::new(), fingerprints, evidence }
    }

    /// Every process that was started.
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// Reaps, and adds what was found to `events`.
    pub fn reap(&self, seq: u64, whom: Whom, events: &mut VecDeque<Event>) {
        let reaping = self.children.reap(whom);
        events.extend(reaping.exits.into_iter().map(|exit| Event::ChildExited {
            spawn: exit.spawn,
            pid: exit.pid,
            status: exit.status,
            group: exit.group,
        }));
        let mut errno = reaping.error.map(|error| error.errno);
        if self.adopt {
            match self.children.adopt_orphans(ORPHANS) {
                Ok(pids) => {
                    events.extend(pids.into_iter().map(|pid| Event::OrphanReaped { pid }));
                }
                Err(error) => errno = errno.or(Some(error)),
            }
        }
        events.push_back(match errno {
            None => Event::Reaped { seq },
            Some(errno) => Event::ReapFailed { seq, errno: errno as i32 },
        });
    }

    /// Signals a worker's group.
    pub fn signal(&self, spawn: SpawnId, signal: Signal) -> Event {
        let outcome = signal_group(&self.children, spawn, signal);
        Event::Signalled { spawn, signal, outcome }
    }

    /// Keeps what was read with a claim that took.
    pub fn claimed(&mut self, spawn: SpawnId, board: BoardId, facts: SpawnFacts) {
        let (facts, gate) = (Arc::new(facts), Arc::default());
        self.claimed.insert(spawn, Claimed { board, facts, gate });
    }

    /// The texts that a request's changes need.
    pub fn texts(&self, request: &Request, names: &Names) -> Texts {
        let mut texts = Texts::default();
        for change in &request.changes {
            match change {
                Change::Started { fence, .. } => {
                    let known = self.fingerprint(fence.spawn);
                    texts.fingerprints.extend(known.map(|text| (fence.spawn, text)));
                }
                Change::Finish { fence, .. } => {
                    let known = names.errors.get(&fence.spawn).cloned();
                    texts.errors.extend(known.map(|text| (fence.spawn, text)));
                }
                Change::Claim { .. }
                | Change::Adopt { .. }
                | Change::Renew { .. }
                | Change::Promote { .. }
                | Change::Reclaim { .. } => {}
            }
        }
        texts
    }

    /// If a worker was reaped before its thread could read its fingerprint, builds one from what the
    /// reaper saw: no later process will be compared with it.
    fn fingerprint(&self, spawn: SpawnId) -> Option<String> {
        let seen = || identity::fingerprint_of_start(self.children.start(spawn)?);
        self.fingerprints.get(spawn).or_else(seen)
    }

    /// Hands a spawn to the board's threads; an event if they do not take it.
    pub fn spawn(
        &self,
        spawn: SpawnId,
        worker: WorkerId,
        config: &Arc<Config>,
        boards: &Boards,
        names: &mut Names,
    ) -> Option<Event> {
        let asked =
            self.claimed.get(&spawn).ok_or(SpawnThreadsError::NoClaim).and_then(|claimed| {
                let threads = boards.spawns(claimed.board).ok_or(SpawnThreadsError::NoClaim)?;
                names.runs.insert(spawn, (claimed.board, claimed.facts.task));
                let (facts, gate) = (Arc::clone(&claimed.facts), Arc::clone(&claimed.gate));
                let config = Arc::clone(config);
                threads.ask(spawn_thread::Job { spawn, worker, facts, config, gate })
            });
        let error = asked.err()?;
        let (blame, errno) = error.blame();
        names.errors.insert(spawn, error.to_string());
        Some(Event::SpawnFailed { spawn, blame, errno })
    }

    /// Calls a spawn off; an event if that was in time.
    pub fn call_off(&self, spawn: SpawnId, boards: &Boards) -> Option<Event> {
        let claimed = self.claimed.get(&spawn)?;
        let threads = boards.spawns(claimed.board)?;
        threads.call_off(spawn, &claimed.gate).then_some(Event::SpawnCancelled { spawn })
    }

    /// Returns the evidence that outlives this dispatcher.
    pub fn evidence(&self) -> &EvidenceThreads {
        &self.evidence
    }

    /// Looks for the worker of an adopted claim. Returns an event if that cannot be done now.
    pub fn find(&self, spawn: SpawnId) -> Option<Event> {
        self.evidence.find(spawn).map(|evidence| Event::Found { spawn, evidence })
    }

    /// Drops all that is kept for an attempt.
    pub fn forget(&mut self, spawn: SpawnId) {
        self.evidence.over(spawn);
        self.children.forget(spawn);
        self.claimed.remove(&spawn);
        self.fingerprints.forget(spawn);
    }
}

#[cfg(test)]
mod tests {
    use super::super::boards::tests::no_boards;
    use super::super::evidence::tests::no_evidence;
    use super::super::post::post;
    use super::*;
    use crate::machine::fault::Blame;

    #[test]
    fn a_spawn_without_a_claim_fails_at_the_boards_cost() {
        let root = tempfile::tempdir().unwrap();
        let (boards, _inbox, _inotify) = no_boards(root.path());
        let (post, _unread) = post().unwrap();
        let (_host, evidence) = no_evidence(root.path(), &post);
        let attempts = Attempts::new(Children::new().unwrap(), false, evidence);
        let (spawn, mut names) = (SpawnId(1), Names::default());
        let failed = Event::SpawnFailed { spawn, blame: Blame::Board, errno: 0 };
        let event = attempts.spawn(spawn, WorkerId(0), &Arc::default(), &boards, &mut names);
        assert_eq!(event, Some(failed));
        assert!(names.errors.contains_key(&spawn), "and says why");
    }
}
