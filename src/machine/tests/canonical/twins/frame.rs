//! From one frame of time and numbers to another.

use super::*;

/// From one frame of time and numbers to another.
pub(super) trait Frame {
    fn now(&self, now: Now) -> Now;
    fn spawn(&self, spawn: SpawnId) -> SpawnId;
    fn seq(&self, board: BoardId, seq: u64) -> u64;
    fn reap(&self, seq: u64) -> u64;

    fn mono(&self, at: Mono) -> Mono {
        self.now(Now { mono: at, unix: 0 }).mono
    }

    fn second(&self, unix: i64) -> i64 {
        self.now(Now { mono: Mono(0), unix }).unix
    }

    fn fence(&self, fence: Fence) -> Fence {
        Fence { spawn: self.spawn(fence.spawn), ..fence }
    }

    fn event(&self, event: Event) -> Event {
        match event {
            Event::Reaped { seq } => Event::Reaped { seq: self.reap(seq) },
            Event::ReapFailed { seq, errno } => Event::ReapFailed { seq: self.reap(seq), errno },
            Event::ChildExited { spawn, pid, status, group } => {
                Event::ChildExited { spawn: self.spawn(spawn), pid, status, group }
            }
            Event::Connected { board, seq } => {
                Event::Connected { board, seq: self.seq(board, seq) }
            }
            Event::ConnectFailed { board, seq, fault } => {
                Event::ConnectFailed { board, seq: self.seq(board, seq), fault }
            }
            Event::Exchanged { board, seq, mut answer } => {
                if let Some(seen) = &mut answer.observation {
                    seen.due = seen.due.map(|due| self.second(due));
                    seen.ours.iter_mut().for_each(|fence| *fence = self.fence(*fence));
                    for end in seen.ready.iter_mut().flat_map(|r| &mut r.tasks) {
                        if let Some(end) = &mut end.last_end {
                            end.at = self.second(end.at);
                        }
                    }
                }
                Event::Exchanged { board, seq: self.seq(board, seq), answer }
            }
            Event::ExchangeFailed { board, seq, fault, commit } => {
                Event::ExchangeFailed { board, seq: self.seq(board, seq), fault, commit }
            }
            Event::SpawnOk { spawn, pid } => Event::SpawnOk { spawn: self.spawn(spawn), pid },
            Event::SpawnFailed { spawn, blame, errno } => {
                Event::SpawnFailed { spawn: self.spawn(spawn), blame, errno }
            }
            Event::SpawnCancelled { spawn } => Event::SpawnCancelled { spawn: self.spawn(spawn) },
            Event::Found { spawn, evidence } => Event::Found { spawn: self.spawn(spawn), evidence },
            Event::Signalled { spawn, signal, outcome } => {
                Event::Signalled { spawn: self.spawn(spawn), signal, outcome }
            }
            Event::Tick
            | Event::Wake
            | Event::KernelReady
            | Event::OrphanReaped { .. }
            | Event::BoardAdded { .. }
            | Event::BoardRemoved { .. }
            | Event::BoardsListed
            | Event::BoardChanged { .. }
            | Event::PolicyChanged(_)
            | Event::Drain { .. }
            | Event::Abort => event,
        }
    }

    fn change(&self, change: Change) -> Change {
        match change {
            Change::Claim { spawn, task, worker, ttl_s, cap } => {
                Change::Claim { spawn: self.spawn(spawn), task, worker, ttl_s, cap }
            }
            Change::Adopt { spawn, orphan, ttl_s } => {
                Change::Adopt { spawn: self.spawn(spawn), orphan, ttl_s }
            }
            Change::Started { fence, pid } => Change::Started { fence: self.fence(fence), pid },
            Change::Renew { fence, ttl_s, heartbeat } => {
                Change::Renew { fence: self.fence(fence), ttl_s, heartbeat }
            }
            Change::Finish { fence, pid, verdict, failure_limit } => {
                Change::Finish { fence: self.fence(fence), pid, verdict, failure_limit }
            }
            Change::Promote { .. } | Change::Reclaim { .. } => change,
        }
    }

    fn effect(&self, effect: Effect) -> Effect {
        match effect {
            Effect::Reap { seq, whom } => Effect::Reap { seq: self.reap(seq), whom },
            Effect::Signal { spawn, signal } => Effect::Signal { spawn: self.spawn(spawn), signal },
            Effect::Connect { board, seq, if_changed } => {
                Effect::Connect { board, seq: self.seq(board, seq), if_changed }
            }
            Effect::Exchange { board, seq, mut request } => {
                request.unix = self.second(request.unix);
                for change in &mut request.changes {
                    *change = self.change(*change);
                }
                Effect::Exchange { board, seq: self.seq(board, seq), request }
            }
            Effect::Spawn { spawn, board, task, run, worker } => {
                Effect::Spawn { spawn: self.spawn(spawn), board, task, run, worker }
            }
            Effect::CancelSpawn { spawn } => Effect::CancelSpawn { spawn: self.spawn(spawn) },
            Effect::Find { spawn } => Effect::Find { spawn: self.spawn(spawn) },
            Effect::Note { spawn, verdict } => Effect::Note { spawn: self.spawn(spawn), verdict },
            Effect::Forget { spawn } => Effect::Forget { spawn: self.spawn(spawn) },
            Effect::WakeAt(at) => Effect::WakeAt(self.mono(at)),
            Effect::Report(report) => Effect::Report(self.report(report)),
            Effect::ListBoards | Effect::SyncNotes | Effect::Disconnect { .. } => effect,
        }
    }

    fn report(&self, report: Report) -> Report {
        match report {
            Report::BoardSick(board, fault, until) => {
                Report::BoardSick(board, fault, self.mono(until))
            }
            Report::Claimed(fence, board) => Report::Claimed(self.fence(fence), board),
            Report::Adopted(fence, board) => Report::Adopted(self.fence(fence), board),
            Report::CannotTell(spawn) => Report::CannotTell(self.spawn(spawn)),
            Report::Found(spawn, pid) => Report::Found(self.spawn(spawn), pid),
            Report::Started(spawn, pid) => Report::Started(self.spawn(spawn), pid),
            Report::NotStarted(spawn, blame, errno) => {
                Report::NotStarted(self.spawn(spawn), blame, errno)
            }
            Report::Ending(spawn, cause) => Report::Ending(self.spawn(spawn), cause),
            Report::Exited(spawn, status) => Report::Exited(self.spawn(spawn), status),
            Report::Recorded(spawn, verdict) => Report::Recorded(self.spawn(spawn), verdict),
            Report::NotOurs(spawn) => Report::NotOurs(self.spawn(spawn)),
            Report::HostRefuses(errno, until) => Report::HostRefuses(errno, self.mono(until)),
            Report::Reaped { .. }
            | Report::ReapFailing(_)
            | Report::ReapRecovered
            | Report::BoardOpened(_)
            | Report::BoardHung(_)
            | Report::BoardWell(_)
            | Report::ClaimRefused(..)
            | Report::Promoted(..)
            | Report::Reclaimed(..)
            | Report::ClockWentBack(_)
            | Report::Unexpected(_) => report,
        }
    }
}

impl Frame for Renaming {
    fn now(&self, now: Now) -> Now {
        Now { mono: self.moment(now.mono), unix: self.second(now.unix) }
    }

    fn spawn(&self, spawn: SpawnId) -> SpawnId {
        self.spawn(spawn).unwrap()
    }

    fn seq(&self, board: BoardId, seq: u64) -> u64 {
        self.seq(board, seq)
    }

    fn reap(&self, seq: u64) -> u64 {
        self.reap(seq)
    }
}
