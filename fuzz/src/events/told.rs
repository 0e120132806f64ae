//! Records the events that the machine gets.

use sexton::machine::adoption::{Evidence, Process, Record};
use sexton::machine::attempt::Stage;
use sexton::machine::event::{Event, Group, SignalOutcome};
use sexton::machine::exchange::{Change, Fence, Refusal, Taken};
use sexton::machine::ids::{BoardId, SpawnId};
use sexton::machine::policy::Completion;
use sexton::machine::verdict::{ExitStatus, Verdict};

use super::{Told, Watch};

impl Watch {
    /// Records an event. Returns false if it answers a request that was not made.
    pub(super) fn is_told(&mut self, event: &Event) -> bool {
        match event {
            Event::Connected { board, seq } => {
                let lane = self.boards.entry(*board).or_default();
                let asked = lane.connecting && lane.seq == *seq;
                if asked {
                    (lane.connecting, lane.open) = (false, true);
                }
                asked
            }
            Event::ConnectFailed { board, seq, .. } => {
                let lane = self.boards.entry(*board).or_default();
                let asked = lane.connecting && lane.seq == *seq;
                lane.connecting &= !asked;
                asked
            }
            Event::Exchanged { board, seq, answer } => {
                let lane = self.boards.entry(*board).or_default();
                let Some(changes) = lane.exchanging.take_if(|_| lane.seq == *seq) else {
                    return false;
                };
                if let Some(seen) = &answer.observation {
                    lane.shown.extend(&seen.ours);
                }
                for (n, change) in changes.iter().enumerate() {
                    // A change without a result in the answer was not written.
                    let nothing = Taken::No(Refusal::Superseded);
                    let taken = answer.taken.get(n).copied().unwrap_or(nothing);
                    self.is_told_of_change(*board, *change, taken);
                }
                true
            }
            Event::ExchangeFailed { board, seq, .. } => {
                let lane = self.boards.entry(*board).or_default();
                lane.exchanging.take_if(|_| lane.seq == *seq).is_some()
            }
            Event::SpawnOk { spawn, .. } => {
                self.hears(*spawn, |told| if told == Told::Nothing { Told::Lives } else { told })
            }
            Event::SpawnFailed { spawn, .. } => {
                self.hears(*spawn, |told| if told == Told::Nothing { Told::Ended } else { told })
            }
            Event::SpawnCancelled { spawn } => {
                // It counts only if it was asked for, which its stage shows.
                let asked = self
                    .dispatcher
                    .attempts()
                    .any(|(_, a)| a.id() == *spawn && matches!(a.stage(), Stage::Cancelling(_)));
                let ended = |told| if told == Told::Nothing && asked { Told::Ended } else { told };
                self.hears(*spawn, ended)
            }
            Event::ChildExited { spawn, status, group, .. } => {
                let left_alone = *group == Group::Gone || self.may_leave_others(*spawn, *status);
                self.hears(*spawn, |told| match told {
                    Told::Nothing | Told::Lives if left_alone => Told::Ended,
                    Told::Nothing | Told::Lives => Told::LeaderGone,
                    // Its exit was reported before the answer of the search.
                    Told::Sought if left_alone => Told::Ended,
                    Told::Sought => Told::LeaderGone,
                    Told::LeaderGone | Told::Ended => told,
                })
            }
            Event::Found { spawn, evidence } => {
                let completed = evidence.noted == Some(Verdict::Completed);
                let may_stay = completed && self.keeps_leftovers(*spawn);
                let _late_is_fine = self.hears(*spawn, |told| match told {
                    Told::Sought => found(*evidence, may_stay),
                    Told::Nothing | Told::Lives | Told::LeaderGone | Told::Ended => told,
                });
                true
            }
            Event::Signalled { spawn, outcome, .. } => {
                let _late_is_fine = self.hears(*spawn, |told| match (told, outcome) {
                    (Told::LeaderGone, SignalOutcome::Gone) => Told::Ended,
                    _ => told,
                });
                true
            }
            Event::PolicyChanged(policy) => {
                self.policy = (**policy).clone();
                true
            }
            Event::Drain { .. } | Event::Abort => {
                self.stopping = true;
                true
            }
            Event::Wake => {
                self.wake = None;
                true
            }
            Event::Tick
            | Event::KernelReady
            | Event::OrphanReaped { .. }
            | Event::Reaped { .. }
            | Event::ReapFailed { .. }
            | Event::BoardAdded { .. }
            | Event::BoardRemoved { .. }
            | Event::BoardsListed
            | Event::BoardChanged { .. } => true,
        }
    }

    fn is_told_of_change(&mut self, board: BoardId, change: Change, taken: Taken) {
        match (change, taken) {
            (Change::Claim { spawn, task, worker, .. }, Taken::Claimed { run, .. }) => {
                self.taken.insert(spawn, (board, Fence { task, run, spawn }, worker));
            }
            (Change::Adopt { spawn, orphan, .. }, Taken::Claimed { run, .. }) => {
                let fence = Fence { task: orphan.task, run, spawn };
                self.taken.insert(spawn, (board, fence, orphan.worker));
            }
            (
                Change::Finish { fence, .. },
                Taken::Yes | Taken::Claimed { .. } | Taken::No(Refusal::Superseded),
            ) if self.is_ours(board, fence) => {
                self.settled.insert(fence.spawn);
            }
            _ => {}
        }
    }

    /// Whether a claim of ours took with exactly this fence on this board.
    pub(super) fn is_ours(&self, board: BoardId, fence: Fence) -> bool {
        self.taken.get(&fence.spawn).is_some_and(|(at, own, _)| (*at, *own) == (board, fence))
    }

    /// Whether what this worker leaves behind in its group, exiting like this, may live on.
    fn may_leave_others(&self, spawn: SpawnId, status: ExitStatus) -> bool {
        self.dispatcher.attempts().any(|(_, attempt)| {
            let worker = self.policy.worker(attempt.worker());
            attempt.id() == spawn
                && !matches!(attempt.stage(), Stage::Ending(_))
                && status == ExitStatus::Code(0)
                && worker.completion == Completion::ExitStatus
        }) && self.keeps_leftovers(spawn)
    }

    /// Whether the worker of this attempt may leave processes behind once it has completed.
    fn keeps_leftovers(&self, spawn: SpawnId) -> bool {
        self.dispatcher.attempts().any(|(_, attempt)| {
            attempt.id() == spawn && self.policy.worker(attempt.worker()).keep_leftovers
        })
    }

    /// News of a worker. False if it was never asked for; then it must be reported.
    fn hears(&mut self, spawn: SpawnId, becomes: impl FnOnce(Told) -> Told) -> bool {
        match self.workers.get_mut(&spawn) {
            Some(told) => {
                *told = becomes(*told);
                true
            }
            None => false,
        }
    }
}

/// What the evidence shows, read strictly: a worker is gone only if none of its processes can be left,
/// or those that are left may stay.
fn found(evidence: Evidence, may_stay: bool) -> Told {
    match (evidence.process, evidence.record) {
        (Process::Held { .. }, _) => Told::Lives,
        (Process::Executing | Process::Hidden, _) => Told::Sought,
        (Process::None(Group::Gone), _) => Told::Ended,
        (Process::None(Group::Alive), _) if may_stay => Told::Ended,
        (Process::None(Group::Alive), Record::Started) => Told::LeaderGone,
        (Process::None(Group::Alive), _) if evidence.noted.is_some() => Told::LeaderGone,
        (Process::None(Group::Alive), _) => Told::Sought,
    }
}
