//! Judges the effects by the events so far.

use sexton::machine::attempt::Stage;
use sexton::machine::effect::Effect;
use sexton::machine::exchange::{Change, Fence, Request};
use sexton::machine::ids::BoardId;
use sexton::machine::time::Mono;

use super::{Talk, Told, Watch};

impl Watch {
    pub(super) fn saw(&mut self, effect: Effect) {
        match effect {
            Effect::Exchange { board, seq, request } => self.saw_exchange(board, seq, request),
            Effect::Connect { board, seq, .. } => {
                let lane = self.boards.entry(board).or_default();
                assert!(!lane.connecting, "two connects at a time with {board:?}");
                assert!(lane.exchanging.is_none(), "connects in the middle of an exchange");
                assert!(seq > lane.seq, "the number {seq} again");
                (lane.seq, lane.connecting, lane.open) = (seq, true, false);
            }
            Effect::Disconnect { board } => {
                let lane = self.boards.entry(board).or_default();
                assert!(lane.exchanging.is_none(), "lets go in the middle of an exchange");
                assert!(!lane.connecting, "lets go while connecting");
                // A board that comes again is a new one, and counts from the start.
                let listed = self.dispatcher.boards().any(|known| known.id() == board);
                *lane = Talk { seq: if listed { lane.seq } else { 0 }, ..Talk::default() };
            }
            Effect::Spawn { spawn, board, task, run, worker } => {
                let fence = Fence { task, run, spawn };
                let claimed = self.taken.get(&spawn);
                assert_eq!(claimed, Some(&(board, fence, worker)), "spawned without its claim");
                let earlier = self.workers.insert(spawn, Told::Nothing);
                assert_eq!(earlier, None, "{spawn:?} spawned twice");
                assert!(!self.stopping, "spawned while stopping");
                assert!(
                    self.policy.worker(worker).enabled,
                    "spawned for {worker:?}, which is gone"
                );
                let alive = || self.workers.iter().filter(|(_, told)| **told != Told::Ended);
                let most = self.policy.max_workers as usize;
                assert!(alive().count() <= most, "more than {most} workers");
                let here = |spawn| self.taken.get(spawn).is_some_and(|(id, ..)| *id == board);
                let most = self.policy.max_in_progress as usize;
                let own = alive().filter(|(spawn, _)| here(*spawn)).count();
                assert!(own <= most, "{own} workers of {board:?}, {most} are allowed");
            }
            Effect::Find { spawn } => {
                let told = self.workers.insert(spawn, Told::Sought);
                assert!(matches!(told, None | Some(Told::Sought)), "{spawn:?}: {told:?}");
                assert!(self.taken.contains_key(&spawn), "{spawn:?} was not adopted");
            }
            Effect::Note { spawn, .. } => {
                assert!(self.taken.contains_key(&spawn), "{spawn:?} is not ours");
            }
            Effect::Signal { spawn, signal } => {
                let told = self.workers.get(&spawn);
                assert!(
                    matches!(told, Some(Told::Lives | Told::LeaderGone)),
                    "{signal:?} to {spawn:?}, of which is known: {told:?}"
                );
                assert!(!self.forgotten.contains(&spawn), "{spawn:?} is forgotten");
            }
            Effect::CancelSpawn { spawn } => {
                assert_eq!(self.workers.get(&spawn), Some(&Told::Nothing), "calls off {spawn:?}");
            }
            Effect::Forget { spawn } => {
                assert!(self.forgotten.insert(spawn), "{spawn:?} forgotten twice");
                let told = self.workers.get(&spawn);
                // A worker that was not found is left to the next dispatcher.
                let left = told == Some(&Told::Sought) && self.stopping;
                let over = matches!(told, None | Some(Told::Ended)) || left;
                assert!(over, "{spawn:?} forgotten: {told:?}");
                let settled = self.settled.contains(&spawn) || left;
                let recorded = settled || !self.taken.contains_key(&spawn);
                assert!(recorded, "{spawn:?} forgotten before its board took its end");
                if left {
                    // From here on its board alone says whose it is.
                    self.taken.remove(&spawn);
                }
            }
            Effect::WakeAt(Mono(at)) => {
                assert!(at > self.latest || at == u64::MAX, "a wake at {at} is over");
                self.wake = Some(at);
            }
            Effect::Reap { .. } | Effect::ListBoards | Effect::SyncNotes | Effect::Report(_) => {}
        }
    }

    fn saw_exchange(&mut self, board: BoardId, seq: u64, request: Request) {
        for change in &request.changes {
            self.saw_change(board, *change);
        }
        let lane = self.boards.entry(board).or_default();
        assert!(lane.exchanging.is_none(), "two exchanges at a time with {board:?}");
        assert!(!lane.connecting && lane.open, "an exchange with {board:?}, which is not open");
        assert!(seq > lane.seq, "the number {seq} again");
        lane.seq = seq;
        lane.exchanging = Some(request.changes);
    }

    fn saw_change(&mut self, board: BoardId, change: Change) {
        match change {
            Change::Claim { spawn, cap, .. } => {
                assert!(self.asked.insert(spawn) && spawn.0 > self.newest, "{spawn:?} again");
                self.newest = spawn.0;
                assert!(!self.stopping, "claims while stopping");
                assert_eq!(cap, self.policy.max_in_progress);
                // What has ended, and is recorded with the same request, makes room in it.
                let attempts = self.dispatcher.attempts().filter(|(of, _)| *of == board);
                let gone = |stage| matches!(stage, Stage::Gone { .. });
                let own = attempts.filter(|(_, attempt)| !gone(attempt.stage())).count();
                assert!(own <= cap as usize, "{own} attempts of {board:?}, {cap} are allowed");
                let host = self.slots();
                let most = self.policy.max_workers as usize;
                assert!(host <= most, "claims for {host} slots, {most} are allowed");
            }
            Change::Adopt { spawn, orphan, .. } => {
                assert!(self.asked.insert(spawn) && spawn.0 > self.newest, "{spawn:?} again");
                self.newest = spawn.0;
                assert!(!self.stopping, "adopts while stopping");
                self.adopted.insert(spawn);
                let twin = self.dispatcher.attempts().any(|(of, attempt)| {
                    of == board && attempt.id() != spawn && attempt.task() == orphan.task
                });
                assert!(!twin, "adopts {orphan:?}, and has an attempt at it");
            }
            Change::Started { fence, .. } | Change::Renew { fence, .. } => {
                assert!(self.is_ours(board, fence), "writes to a run that is not ours: {fence:?}");
            }
            Change::Finish { fence, verdict, .. } => {
                if !self.is_ours(board, fence) {
                    let shown = self.boards.get(&board).is_some_and(|b| b.shown.contains(&fence));
                    assert!(shown, "ends a run that is not ours: {fence:?}");
                } else if verdict.may_requeue() {
                    // Or the task would have two workers.
                    let told = self.workers.get(&fence.spawn);
                    let over = matches!(told, None | Some(Told::Ended));
                    assert!(over, "{fence:?} is given back: {verdict:?}, {told:?}");
                }
            }
            Change::Promote { .. } | Change::Reclaim { .. } => {
                assert!(!self.stopping, "moves tasks while stopping");
            }
        }
    }
}
