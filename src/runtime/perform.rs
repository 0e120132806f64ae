//! The machine's effects made real, one arm each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::board_thread::{Job, Texts};
use super::daemon::Daemon;
use super::report;
use super::spawn_thread::{self, SpawnThreadsError};
use crate::machine::effect::{Effect, Report, Whom};
use crate::machine::event::Event;
use crate::machine::exchange::{Change, Request};
use crate::machine::ids::{BoardId, SpawnId, WorkerId};
use crate::process::signal::signal_group;

/// Adopted processes that one reaping step takes at the most; the rest is for the next.
const ORPHANS: usize = 4096;

impl Daemon {
    /// Makes one effect real. What is known at once comes back as events.
    pub(super) fn perform(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Reap { seq, whom } => self.reap(seq, whom, events),
            Effect::Signal { spawn, signal } => {
                let outcome = signal_group(&self.children, spawn, signal);
                events.push_back(Event::Signalled { spawn, signal, outcome });
            }
            Effect::ListBoards => self.lister.ask(),
            Effect::Connect { board, seq, if_changed } => {
                self.ask_board(board, Job::Connect { seq, if_changed });
            }
            Effect::Exchange { board, seq, request } => {
                let texts = self.texts(&request);
                let config = Arc::clone(&self.config);
                self.ask_board(board, Job::Exchange { seq, request, config, texts });
            }
            Effect::Disconnect { board } => self.disconnect(board),
            Effect::Spawn { spawn, worker, board: _, task: _, run: _ } => {
                events.extend(self.spawn(spawn, worker));
            }
            Effect::CancelSpawn { spawn } => events.extend(self.call_off(spawn)),
            Effect::Forget { spawn } => {
                self.children.forget(spawn);
                self.spawns.remove(&spawn);
                self.fingerprints().remove(&spawn);
                self.names.errors.remove(&spawn);
                self.names.runs.remove(&spawn);
            }
            Effect::WakeAt(at) => self.wake_at = Some(at),
            Effect::Report(report) => self.report(&report),
        }
    }

    fn reap(&mut self, seq: u64, whom: Whom, events: &mut VecDeque<Event>) {
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

    fn ask_board(&self, board: BoardId, job: Job) {
        if let Some(lane) = self.boards.get(&board).and_then(|seat| seat.lane.as_ref()) {
            lane.ask(job);
        }
    }

    fn fingerprints(&self) -> MutexGuard<'_, BTreeMap<SpawnId, String>> {
        self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn texts(&self, request: &Request) -> Texts {
        let mut texts = Texts::default();
        for change in &request.changes {
            match change {
                Change::Started { fence, .. } => {
                    let known = self.fingerprints();
                    let known = known.get(&fence.spawn).cloned();
                    texts.fingerprints.extend(known.map(|text| (fence.spawn, text)));
                }
                Change::Finish { fence, .. } => {
                    let known = self.names.errors.get(&fence.spawn).cloned();
                    texts.errors.extend(known.map(|text| (fence.spawn, text)));
                }
                Change::Claim { .. }
                | Change::Renew { .. }
                | Change::Promote { .. }
                | Change::Free { .. } => {}
            }
        }
        texts
    }

    /// Hands a spawn to the board's lanes; an event if they do not take it.
    fn spawn(&mut self, spawn: SpawnId, worker: WorkerId) -> Option<Event> {
        let error = self.ask_spawn_threads(spawn, worker).err()?;
        let (blame, errno) = error.blame();
        self.names.errors.insert(spawn, error.to_string());
        Some(Event::SpawnFailed { spawn, blame, errno })
    }

    fn ask_spawn_threads(
        &mut self,
        spawn: SpawnId,
        worker: WorkerId,
    ) -> Result<(), SpawnThreadsError> {
        let seat = self.spawns.get(&spawn).ok_or(SpawnThreadsError::NoClaim)?;
        let board = self.boards.get(&seat.board).ok_or(SpawnThreadsError::NoClaim)?;
        self.names.runs.insert(spawn, (seat.board, seat.facts.task));
        let (facts, gate) = (Arc::clone(&seat.facts), Arc::clone(&seat.gate));
        let config = Arc::clone(&self.config);
        board.spawns.ask(spawn_thread::Job { spawn, worker, facts, config, gate })
    }

    fn call_off(&mut self, spawn: SpawnId) -> Option<Event> {
        let seat = self.spawns.get(&spawn)?;
        let lanes = &self.boards.get(&seat.board)?.spawns;
        lanes.call_off(spawn, &seat.gate).then_some(Event::SpawnCancelled { spawn })
    }

    fn report(&mut self, report: &Report) {
        report::log(report, &self.names);
        self.tally.count(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fault::Blame;

    #[test]
    fn a_spawn_without_a_claim_fails_at_the_boards_cost() {
        let root = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::of_nothing(root.path());
        let spawn = SpawnId(1);
        let failed = Event::SpawnFailed { spawn, blame: Blame::Board, errno: 0 };
        assert_eq!(daemon.spawn(spawn, WorkerId(0)), Some(failed));
        assert!(daemon.names.errors.contains_key(&spawn), "and says why");
    }
}
