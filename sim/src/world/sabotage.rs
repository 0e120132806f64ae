//! Where planted bugs do their work: between the machine and its world. The world calls these hooks
//! by name; only here is it known which bug is planted.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use sexton::machine::adoption::{Evidence, Process, Record};
use sexton::machine::effect::{Effect, Whom};
use sexton::machine::event::{Event, Group, Signal};
use sexton::machine::exchange::{Answer, Change, Refusal, Request, Taken};
use sexton::machine::fault::{Blame, Commit, FaultClass};
use sexton::machine::ids::{RunId, SpawnId};
use sexton::machine::verdict::{ExitStatus, Verdict};

use super::{Item, World};
use crate::board::{Complete, Status};
use crate::kernel::{TERM, Uid};
use crate::saboteur::Saboteur;

/// Which live processes are taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blind {
    No,
    ToWorkers,
    ToDispatchers,
}

impl World {
    /// What becomes of an event before the machine gets it. False: it never gets it.
    pub(super) fn sabotage_event(&mut self, seat: usize, event: &mut Event) -> bool {
        let Some(saboteur) = self.saboteur else { return true };
        match (saboteur, &mut *event) {
            (Saboteur::RespawnWhileGroupLives, Event::ChildExited { group, .. }) => {
                *group = Group::Gone;
            }
            (Saboteur::NeverForget, Event::SpawnOk { .. }) => return false,
            (Saboteur::StartRemoved, Event::PolicyChanged(policy)) => {
                policy.workers.iter_mut().for_each(|worker| worker.enabled = true);
            }
            (Saboteur::ReapNeverAgain, Event::ReapFailed { .. }) => {
                self.notes.reap_failed = true;
            }
            (Saboteur::ReapWhenBoardsAreWell | Saboteur::NeverLift, _) => match event {
                Event::ConnectFailed { board, .. } | Event::ExchangeFailed { board, .. } => {
                    self.notes.sick.insert(*board);
                }
                Event::Connected { board, .. } if saboteur != Saboteur::NeverLift => {
                    self.notes.sick.remove(board);
                }
                _ => {}
            },
            (_, Event::Found { spawn, evidence }) => {
                let row = self.seats[seat].adopted.get(spawn).is_some_and(|a| a.row.is_some());
                sabotage_evidence(saboteur, row, evidence);
            }
            (_, Event::ExchangeFailed { board, seq, commit, .. }) => {
                let (board, seq, commit) = (*board, *seq, *commit);
                if let Some(answer) = self.sabotage_failure(seat, saboteur, board, commit) {
                    *event = Event::Exchanged { board, seq, answer: Box::new(answer) };
                }
            }
            _ => {}
        }
        true
    }

    /// A failed exchange, reported as answered.
    fn sabotage_failure(
        &mut self,
        seat: usize,
        saboteur: Saboteur,
        board: sexton::machine::ids::BoardId,
        commit: Commit,
    ) -> Option<Answer> {
        let machine = self.seats[seat].machine.as_ref()?;
        let state = machine.boards().find(|b| b.id() == board)?;
        let changes: Vec<Change> = state.under_way().to_vec();
        match saboteur {
            Saboteur::DropVerdictOnFailure => {
                let finished = changes.iter().filter_map(|change| match change {
                    Change::Finish { fence, .. } => Some(fence.spawn),
                    _ => None,
                });
                self.notes.dropped.extend(finished);
                None
            }
            Saboteur::FailureIsNotCommitted if commit == Commit::Maybe => {
                let no = |_: &Change| Taken::No(Refusal::Locked);
                Some(Answer { taken: changes.iter().map(no).collect(), observation: None })
            }
            Saboteur::FailureIsCommitted if commit == Commit::Maybe => {
                let yes = |change: &Change| match change {
                    Change::Claim { .. } => {
                        Taken::Claimed { run: RunId(9_999), max_runtime_s: None }
                    }
                    _ => Taken::Yes,
                };
                Some(Answer { taken: changes.iter().map(yes).collect(), observation: None })
            }
            _ => None,
        }
    }

    /// What becomes of effects before the world gets them.
    pub(super) fn sabotage_effects(
        &mut self,
        seat: usize,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) {
        let Some(saboteur) = self.saboteur else { return };
        let reap = |effect: &Effect| matches!(effect, Effect::Reap { .. });
        match saboteur {
            Saboteur::ReapInsideThePass => {
                effects.retain(|effect| !reap(effect));
                if matches!(event, Event::Connected { .. } | Event::Exchanged { .. }) {
                    effects.push(Effect::Reap { seq: 0, whom: Whom::All });
                }
            }
            Saboteur::ReapWhenBoardsAreWell if !self.notes.sick.is_empty() => {
                effects.retain(|effect| !reap(effect));
            }
            Saboteur::ReapNeverAgain if self.notes.reap_failed => {
                effects.retain(|effect| !reap(effect));
            }
            Saboteur::NeverKill => {
                effects.retain(|e| !matches!(e, Effect::Signal { signal: Signal::Kill, .. }))
            }
            Saboteur::KillAtOnce => {
                for effect in effects.iter_mut() {
                    if let Effect::Signal { signal, .. } = effect
                        && *signal == Signal::Term
                    {
                        *signal = Signal::Kill;
                    }
                }
            }
            Saboteur::NeverLift => {
                let sick = self.notes.sick.clone();
                effects.retain(|effect| match effect {
                    Effect::Connect { board, .. } | Effect::Exchange { board, .. } => {
                        !sick.contains(board)
                    }
                    _ => true,
                });
            }
            Saboteur::AwaitHungBoard if !self.hung_boards(seat).is_empty() => {
                let of = self.seats[seat].instance;
                for effect in effects.extract_if(.., |e| matches!(e, Effect::Exchange { .. })) {
                    if let Effect::Exchange { board, seq, request } = effect {
                        self.note_claims(seat, board, &request);
                        let policy = Arc::clone(&self.seats[seat].policy);
                        let item = Item::Exchange { seat, of, board, seq, request, policy };
                        self.hung.push(item);
                    }
                }
            }
            Saboteur::HashOrder => {
                for effect in effects.iter_mut() {
                    if let Effect::Exchange { request, .. } = effect {
                        let keys = RandomState::new();
                        request.changes.sort_by_cached_key(|change| keys.hash_one(change));
                    }
                }
            }
            _ => {}
        }
    }

    /// The boards whose answer is outstanding for longer than it may be.
    fn hung_boards(&self, seat: usize) -> BTreeSet<sexton::machine::ids::BoardId> {
        let machine = self.seats[seat].machine.iter();
        let overdue =
            machine.flat_map(|machine| machine.boards()).filter(|board| board.is_overdue());
        overdue.map(|board| board.id()).collect()
    }

    /// What becomes of a request on its way into the board.
    pub(super) fn sabotage_request(&self, request: &mut Request) {
        let dropped = &self.notes.dropped;
        match self.saboteur {
            Some(Saboteur::IgnoreCap) => {
                for change in &mut request.changes {
                    if let Change::Claim { cap, .. } = change {
                        *cap = u32::MAX;
                    }
                }
            }
            Some(Saboteur::ForgetFailure) => {
                for change in &mut request.changes {
                    if let Change::Finish { verdict, .. } = change
                        && matches!(verdict, Verdict::Crashed(_))
                    {
                        *verdict = Verdict::Released(sexton::machine::verdict::Release::Superseded);
                    }
                }
            }
            Some(Saboteur::DropVerdictOnFailure) => {
                // Dropped, and reported as written: see `sabotage_answer`.
                for change in &mut request.changes {
                    if let Change::Finish { fence, .. } = change
                        && dropped.contains(&fence.spawn)
                    {
                        fence.run = RunId(-1);
                    }
                }
            }
            _ => {}
        }
    }

    /// A write without a fence: it changes the run that the task has now.
    pub(super) fn sabotage_fences(
        &mut self,
        seat: usize,
        n: usize,
        request: &Request,
        answer: &mut Answer,
    ) {
        self.sabotage_adoption(seat, n, request, answer);
        if self.saboteur != Some(Saboteur::IgnoreFence) {
            return;
        }
        let now = self.now().unix;
        let failure_limit = self.policy.failure_limit;
        for (change, taken) in request.changes.iter().zip(&mut answer.taken) {
            if let (Change::Finish { fence, .. }, Taken::No(Refusal::Superseded)) = (change, *taken)
            {
                let model = &mut self.boards[n].model;
                let runs = model.task(fence.task).is_some_and(|t| t.status == Status::Running);
                let with = Complete { own_run: None, told: false, failure_limit };
                if runs && model.complete(fence.task, with, now) {
                    *taken = Taken::Yes;
                }
            }
        }
    }

    /// Adopts a claim without a check of its owner, and applies an end without a check that the board
    /// lacks it.
    fn sabotage_adoption(&mut self, seat: usize, n: usize, request: &Request, answer: &mut Answer) {
        let of = self.seats[seat].instance;
        for (change, taken) in request.changes.iter().zip(&mut answer.taken) {
            let refused = *taken == Taken::No(Refusal::Superseded);
            match (self.saboteur, *change) {
                (Some(Saboteur::AdoptTwice), Change::Adopt { spawn, orphan, .. })
                    if refused
                        && self.boards[n].model.seize(orphan.task, orphan.run, of, spawn) =>
                {
                    *taken = Taken::Claimed { run: orphan.run, max_runtime_s: None };
                }
                (Some(Saboteur::ApplyNotedTwice), Change::Finish { fence, .. }) if refused => {
                    let is_adopted = self.ledger.resolve(of, fence.spawn) != (of, fence.spawn);
                    if is_adopted && self.seats[seat].adopted.contains_key(&fence.spawn) {
                        *taken = Taken::Yes;
                    }
                }
                _ => {}
            }
        }
    }

    /// What becomes of an answer on its way out of the board.
    pub(super) fn sabotage_answer(
        &mut self,
        seat: usize,
        request: &Request,
        mut answer: Answer,
    ) -> Answer {
        match self.saboteur {
            Some(Saboteur::SpawnAfterLostClaim) => {
                for (change, taken) in request.changes.iter().zip(&mut answer.taken) {
                    if let (Change::Claim { .. }, Taken::No(Refusal::Superseded | Refusal::Full)) =
                        (change, *taken)
                    {
                        *taken = Taken::Claimed { run: RunId(9_999), max_runtime_s: None };
                    }
                }
            }
            Some(Saboteur::LeaveOrphans) => {
                if let Some(seen) = &mut answer.observation {
                    seen.orphans.clear();
                }
            }
            Some(Saboteur::HoldWithoutEnd) => {
                let seen = answer.observation.as_mut().and_then(|seen| seen.ready.as_mut());
                if let Some(ready) = seen {
                    ready.tasks.retain(|candidate| candidate.last_end.is_none());
                }
            }
            Some(Saboteur::FailureIsNotCommitted) => {
                // What it does not believe to have claimed it does not see, either.
                let known: BTreeSet<SpawnId> = self.seats[seat]
                    .machine
                    .iter()
                    .flat_map(|machine| machine.attempts())
                    .map(|(_, attempt)| attempt.id())
                    .collect();
                if let Some(seen) = &mut answer.observation {
                    seen.ours.retain(|fence| known.contains(&fence.spawn));
                }
            }
            _ => {}
        }
        answer
    }

    /// The zombies that a reaping step takes.
    pub(super) fn sabotage_reaping(&self, zombies: &mut Vec<Uid>) {
        if self.saboteur == Some(Saboteur::ReapOne) {
            zombies.truncate(1);
        }
    }

    /// The worker whose group gets a signal: the one that it is meant for, unless the signal goes by
    /// pid.
    pub(super) fn sabotage_target(&self, leader: Uid) -> Uid {
        if self.saboteur != Some(Saboteur::SignalByPid) {
            return leader;
        }
        let pid = self.pids.get(&leader).copied();
        let now = pid.and_then(|pid| self.kernel.by_pid(pid)).map(|process| process.leader);
        now.unwrap_or(leader)
    }

    /// What the machine gets before the answer to a signal: the exit of a worker that lives.
    pub(super) fn sabotage_signalled(
        &self,
        spawn: SpawnId,
        leader: Uid,
        signal: Signal,
    ) -> Option<Event> {
        if self.saboteur != Some(Saboteur::SlotFreeTooSoon) || signal != Signal::Term {
            return None;
        }
        let pid = self.kernel.get(leader)?.pid;
        let status = ExitStatus::Signal(TERM);
        Some(Event::ChildExited { spawn, pid, status, group: Group::Gone })
    }

    /// Who is charged for a worker that could not be started.
    pub(super) fn sabotage_blame(&self, blame: Blame) -> Blame {
        match self.saboteur {
            Some(Saboteur::ChargeHostToTask) => Blame::Task,
            _ => blame,
        }
    }

    /// What a check of a board's file came to.
    pub(super) fn sabotage_check(
        &self,
        failed: Option<(FaultClass, bool)>,
    ) -> Option<(FaultClass, bool)> {
        let blind = self.saboteur == Some(Saboteur::WriteSickBoard);
        failed.filter(|(class, _)| !blind || *class != FaultClass::Content)
    }

    /// Returns which live processes are taken for dead.
    pub(super) fn sabotage_liveness(&self) -> Blind {
        match self.saboteur {
            Some(Saboteur::FreeTheLiving) => Blind::ToWorkers,
            Some(Saboteur::AdoptTheLiving) => Blind::ToDispatchers,
            _ => Blind::No,
        }
    }

    /// Whether a dispatcher that was asked to stop may end.
    pub(super) fn sabotage_retirement(&self, drained: bool) -> bool {
        drained || self.saboteur == Some(Saboteur::AbandonWorkers)
    }
}

/// Falsifies the evidence of an adopted claim. `row`: whether its row has a pid.
fn sabotage_evidence(saboteur: Saboteur, row: bool, evidence: &mut Evidence) {
    let gone = Process::None(Group::Gone);
    let said = |verdict| Evidence { noted: Some(verdict), ..*evidence };
    let is_unknown = *evidence == Evidence { record: Record::Started, process: gone, noted: None };
    match (saboteur, evidence.process) {
        (Saboteur::HiddenIsGone, Process::Hidden)
        | (Saboteur::ExecutingIsGone, Process::Executing) => evidence.process = gone,
        (Saboteur::NoPidIsNoProcess, _) if !row => {
            *evidence = Evidence { record: Record::NoIntent, process: gone, noted: None };
        }
        (Saboteur::UnknownIsCrash, _) if is_unknown => {
            *evidence = said(Verdict::Crashed(ExitStatus::Unknown));
        }
        (Saboteur::UnknownIsSuccess, _) if is_unknown => *evidence = said(Verdict::Completed),
        (Saboteur::AgeIsForgotten, Process::Held { pid, .. }) => {
            evidence.process = Process::Held { pid, age_ms: 0 };
        }
        _ => {}
    }
}
