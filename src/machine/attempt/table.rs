//! The life of one attempt as a table: in this stage, this input leads to that stage.
//!
//! ```text
//! Claiming ─▶ Preparing ─▶ Running ─▶ Ending ─▶ Draining ─▶ Gone
//!        │        └─▶ Cancelling ─┘│
//!        └─▶ Finding ─▶────────────┘
//! ```

use super::super::adoption::Finding;
use super::super::event::SignalOutcome;
use super::super::verdict::{Release, Verdict};
use super::acts::Acts;
use super::stage::{Cancelling, Input, Looking, Preparing, Running, Stage, Why};

/// The table. An arm that needs more than the next stage calls one function for it.
pub fn next(stage: Stage, input: Input, act: &mut Acts<'_>) -> Stage {
    use {Input as I, Stage as S};
    const SHUTDOWN: Option<Why> = Some(Why::Shutdown);
    const SUPERSEDED: Option<Why> = Some(Why::Superseded);
    match (stage, input) {
        (S::Claiming { .. }, I::ClaimTook(job)) => S::Preparing(job),
        (S::Claiming { .. }, I::ClaimInVain(why)) => {
            act.owe(Verdict::Released(why), S::Gone { answered: true })
        }
        (S::Claiming { .. }, I::Lend) => S::Claiming { lent: true },
        (S::Claiming { .. }, I::Adopted(it)) => S::Finding(act.find(it)),

        // The answer to a search for the worker of an adopted attempt.
        (S::Finding(it), I::Found(Finding::Runs { pid, age_ms })) => {
            S::Running(act.found(pid, age_ms, it))
        }
        (S::Finding(_), I::Found(Finding::Ended(verdict))) => {
            act.owe(verdict, S::Gone { answered: true })
        }
        (S::Finding(_), I::Found(Finding::LeftOver(verdict))) => act.left_behind(verdict),
        (S::Finding(_), I::Found(Finding::NeverStarted)) => {
            act.owe(Verdict::Released(Release::NotStarted), S::Gone { answered: true })
        }
        (S::Finding(it), I::Found(Finding::Wait)) => S::Finding(act.look_later(it)),

        // The spawn thread answers.
        (S::Preparing(it), I::SpawnOk(pid)) => S::Running(act.started(pid, it.limit_s, it.lost_at)),
        (S::Cancelling(Cancelling { why: None, limit_s, lost_at }), I::SpawnOk(pid)) => {
            S::Running(act.started(pid, limit_s, lost_at))
        }
        (S::Cancelling(Cancelling { why: Some(why), .. }), I::SpawnOk(pid)) => {
            S::Ending(act.started_in_vain(pid, why))
        }
        (S::Preparing(_) | S::Cancelling(_), I::SpawnFailed(blame, errno)) => {
            act.not_started(blame, errno, S::Gone { answered: true })
        }
        (S::Cancelling(it), I::SpawnCancelled) => {
            act.owe(it.verdict(act.now), S::Gone { answered: true })
        }

        // The leader exits, perhaps before the spawn thread's answer is read.
        (S::Finding(_), I::Exited(exit)) if exit.alone => {
            act.is_there(exit.pid);
            act.exited(exit, S::Gone { answered: true })
        }
        (S::Finding(_), I::Exited(exit)) => {
            act.is_there(exit.pid);
            S::Draining(act.left_over(exit, None, true))
        }
        (S::Preparing(_) | S::Cancelling(_), I::Exited(exit)) if exit.alone => {
            act.exited(exit, S::Gone { answered: false })
        }
        (S::Running(_) | S::Ending(_), I::Exited(exit)) if exit.alone => {
            act.exited(exit, S::Gone { answered: true })
        }
        (S::Preparing(_) | S::Cancelling(_), I::Exited(exit)) => {
            S::Draining(act.left_over(exit, None, false))
        }
        (S::Running(_), I::Exited(exit)) => S::Draining(act.left_over(exit, None, true)),
        (S::Ending(it), I::Exited(exit)) => {
            S::Draining(act.left_over(exit, Some(it.escalation), true))
        }
        (S::Draining(it), I::SpawnOk(_)) if !it.answered => S::Draining(it.answered()),
        (S::Gone { answered: false }, I::SpawnOk(_)) => S::Gone { answered: true },
        // There was a process; but no other answer will come.
        (S::Draining(it), input @ I::SpawnFailed(..)) if !it.answered => {
            act.unexpected(input, S::Draining(it.answered()))
        }
        (S::Gone { answered: false }, input @ I::SpawnFailed(..)) => {
            act.unexpected(input, S::Gone { answered: true })
        }

        (S::Draining(it), I::Signalled(SignalOutcome::Gone)) => {
            act.owe(it.verdict, S::Gone { answered: it.answered })
        }
        // While the leader is not reaped, only its exit shows that it is gone.
        (S::Draining(_) | S::Running(_) | S::Ending(_) | S::Gone { .. }, I::Signalled(_)) => stage,

        // The row is lost, or found again.
        (S::Finding(it), I::Row { lost_at }) => S::Finding(Looking { lost_at, ..it }),
        (S::Preparing(it), I::Row { lost_at }) => S::Preparing(Preparing { lost_at, ..it }),
        (S::Running(it), I::Row { lost_at }) => S::Running(Running { lost_at, ..it }),
        // It was called off for that reason alone, so a process that starts nevertheless may stay.
        (S::Cancelling(it), I::Row { lost_at: None }) if it.why == SUPERSEDED => {
            S::Cancelling(Cancelling { why: None, lost_at: None, ..it })
        }
        (S::Cancelling(it), I::Row { lost_at }) => S::Cancelling(Cancelling { lost_at, ..it }),

        // We are shutting down. A worker that was not found is left to the next dispatcher.
        (S::Finding(_), I::Stop | I::Kill) => act.leave(S::Gone { answered: true }),
        (S::Preparing(it), I::Stop | I::Kill) => S::Cancelling(act.call_off(it, SHUTDOWN)),
        (S::Cancelling(it), I::Stop | I::Kill) => S::Cancelling(Cancelling { why: SHUTDOWN, ..it }),
        (S::Running(_), I::Stop) => S::Ending(act.term(Why::Shutdown)),
        (S::Running(_), I::Kill) => S::Ending(act.kill_running()),
        (S::Ending(it), I::Kill) if !it.escalation.has_killed() => S::Ending(act.kill(it)),
        (S::Draining(it), I::Kill) if !it.escalation.has_killed() => S::Draining(act.kill_rest(it)),

        // The moment has come for which it waited.
        (S::Finding(it), I::Alarm) => S::Finding(act.find(it)),
        (S::Preparing(it), I::Alarm) if act.is_due(Some(it.deadline)) => {
            S::Cancelling(act.call_off(it, None))
        }
        (S::Preparing(it), I::Alarm) => S::Cancelling(act.call_off(it, SUPERSEDED)),
        (S::Running(it), I::Alarm) if act.is_due(it.lost_at) => {
            S::Ending(act.term(Why::Superseded))
        }
        (S::Running(Running { limit: Some(limit), .. }), I::Alarm) => {
            S::Ending(act.term(Why::OutOfTime(limit)))
        }
        (S::Ending(it), I::Alarm) => S::Ending(act.kill(it)),
        (S::Draining(it), I::Alarm) if act.is_due(Some(it.escalation.next())) => {
            S::Draining(act.kill_rest(it))
        }
        (S::Draining(it), I::Alarm) => S::Draining(act.probe(it)),

        // The row no longer matters.
        (S::Claiming { .. } | S::Ending(_) | S::Draining(_) | S::Gone { .. }, I::Row { .. })
        | (
            S::Claiming { .. } | S::Ending(_) | S::Draining(_) | S::Gone { .. },
            I::Stop | I::Kill,
        )
        | (S::Claiming { .. } | S::Cancelling(_) | S::Running(_) | S::Gone { .. }, I::Alarm) => {
            stage
        }

        // The answer came too late, or the exit came first.
        (
            S::Claiming { .. } | S::Running(_) | S::Ending(_) | S::Draining(_) | S::Gone { .. },
            I::Found(_),
        ) => stage,

        // An answer without a question.
        (
            S::Claiming { .. }
            | S::Finding(_)
            | S::Running(_)
            | S::Ending(_)
            | S::Draining(_)
            | S::Gone { .. },
            input @ (I::SpawnOk(_) | I::SpawnFailed(..) | I::SpawnCancelled),
        )
        | (S::Preparing(_), input @ I::SpawnCancelled)
        | (S::Claiming { .. } | S::Draining(_) | S::Gone { .. }, input @ I::Exited(_))
        | (
            S::Claiming { .. } | S::Finding(_) | S::Preparing(_) | S::Cancelling(_),
            input @ I::Signalled(_),
        )
        | (S::Preparing(_) | S::Cancelling(_), input @ I::Found(_))
        | (
            S::Finding(_) | S::Preparing(_) | S::Cancelling(_) | S::Running(_) | S::Ending(_),
            input @ (I::ClaimTook(_) | I::Adopted(_) | I::ClaimInVain(_) | I::Lend),
        )
        | (
            S::Draining(_) | S::Gone { .. },
            input @ (I::ClaimTook(_) | I::Adopted(_) | I::ClaimInVain(_) | I::Lend),
        ) => act.unexpected(input, stage),
    }
}
