//! One run by itself: *in this phase, this event, exactly these effects and this next phase*.

use super::world::{B, fence, pid, report, spawn, task};
use crate::machine::Dispatcher;
use crate::machine::effect::{Effect, EndCause, Report};
use crate::machine::escalation::Escalation;
use crate::machine::event::{Group, Signal, SignalOutcome};
use crate::machine::fault::Blame;
use crate::machine::ids::{Pid, SpawnId, WorkerId};
use crate::machine::policy::{Completion, Policy, WorkerPolicy};
use crate::machine::run::{Finish, Phase, Run, earlier};
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::{ExitStatus, Release, Verdict};

const SPAWN: SpawnId = SpawnId(1);
/// When making ready will have taken too long.
const DEADLINE: Mono = Mono(90_000);
const GRACE_MS: u64 = 10_000;
const LIMIT_S: u32 = 60;
/// When what happens in a test happens, unless it is about time. Everything before was at 0.
const NOW: Mono = Mono(2_500);
const FAILED: ExitStatus = ExitStatus::Code(3);

/// Every situation in which an event can meet a run.
#[derive(Clone, Copy, Debug)]
enum At {
    Claimed,
    Preparing,
    /// Called off because its lane took too long.
    Spawning,
    Running,
    /// By a shutdown.
    Terminating,
    /// It failed.
    Draining,
    /// It failed, and `Spawn` is not answered.
    DrainingEarly,
    /// It failed.
    Exited,
    /// It failed, and `Spawn` is not answered.
    ExitedEarly,
}

impl At {
    const ALL: [At; 9] = [
        At::Claimed,
        At::Preparing,
        At::Spawning,
        At::Running,
        At::Terminating,
        At::Draining,
        At::DrainingEarly,
        At::Exited,
        At::ExitedEarly,
    ];

    fn run(self) -> Run {
        self.limited(None)
    }

    /// A run with this limit in seconds.
    fn limited(self, limit_s: Option<u32>) -> Run {
        let (now, worker, fx) = (Mono(0), WorkerPolicy::default(), &mut Vec::new());
        let before = |at: At| at.limited(limit_s);
        match self {
            At::Claimed => Run::new(SPAWN, B, task("t1"), WorkerId(0), now),
            At::Preparing => {
                let mut run = before(At::Claimed);
                run.claimed(fence(1).run, limit_s, DEADLINE, fx);
                run.renew_at = Mono(300_000);
                run
            }
            At::Spawning => {
                let mut run = before(At::Preparing);
                run.act_on_time(DEADLINE, worker, fx);
                run
            }
            At::Running => {
                let mut run = before(At::Preparing);
                run.spawn_ok(pid(1), now, worker, fx);
                run
            }
            At::Terminating => {
                let mut run = before(At::Running);
                run.end(EndCause::Shutdown, now, worker, fx);
                run
            }
            At::Draining => exited(before(At::Running), Group::Alive),
            At::DrainingEarly => exited(before(At::Preparing), Group::Alive),
            At::Exited => exited(before(At::Running), Group::Gone),
            At::ExitedEarly => exited(before(At::Preparing), Group::Gone),
        }
    }
}

fn exited(mut run: Run, group: Group) -> Run {
    run.exited(pid(1), FAILED, group, Mono(0), WorkerPolicy::default(), &mut Vec::new());
    run
}

/// What `act` makes of `run`, and calls for.
fn after(mut run: Run, act: impl FnOnce(&mut Run, &mut Vec<Effect>)) -> (Run, Vec<Effect>) {
    let mut effects = Vec::new();
    act(&mut run, &mut effects);
    (run, effects)
}

fn unexpected(what: &'static str) -> Vec<Effect> {
    vec![report(Report::Unexpected(what))]
}

fn signal(signal: Signal) -> Effect {
    Effect::Signal { spawn: SPAWN, signal }
}

fn started() -> Effect {
    report(Report::Started(SPAWN, pid(1)))
}

fn ending(cause: EndCause) -> Effect {
    report(Report::Ending(SPAWN, cause))
}

fn told_exit(status: ExitStatus) -> Effect {
    report(Report::Exited(SPAWN, status))
}

fn released(why: Release) -> Finish {
    Finish::Owed(Verdict::Released(why))
}

fn crashed() -> Verdict {
    Verdict::Crashed(FAILED)
}

/// A run that is being called off, for this reason.
fn called_off(cause: EndCause) -> Run {
    let worker = WorkerPolicy::default();
    after(At::Preparing.run(), |run, fx| run.end(cause, Mono(0), worker, fx)).0
}

const CAUSES: [EndCause; 4] = [
    EndCause::Timeout { limit_s: LIMIT_S },
    EndCause::Shutdown,
    EndCause::Superseded,
    EndCause::Leftovers,
];

// What its lane answers.

#[test]
fn a_process_is_taken_in_where_one_is_waited_for() {
    for at in At::ALL {
        let before = at.run();
        let spawn_ok = |run: &mut Run, fx: &mut Vec<Effect>| {
            run.spawn_ok(pid(1), NOW, WorkerPolicy::default(), fx);
        };
        let (run, effects) = after(before.clone(), spawn_ok);
        match at {
            At::Preparing | At::Spawning => {
                assert_eq!(effects, [started()], "{at:?}");
                assert_eq!((run.phase.clone(), run.pid), (Phase::Running, Some(pid(1))));
                assert!(run.pid_owed);
            }
            // It is what was missing, and tells nothing new.
            At::DrainingEarly | At::ExitedEarly => {
                assert_eq!(effects, [], "{at:?}");
                assert_eq!((&run.phase, run.finish), (&before.phase, before.finish));
            }
            At::Claimed | At::Running | At::Terminating | At::Draining | At::Exited => {
                assert_eq!((&run, effects), (&before, unexpected("SpawnOk")), "{at:?}");
            }
        }
        // Nobody waits for a second one.
        let (again, effects) = after(run.clone(), spawn_ok);
        assert_eq!((again, effects), (run, unexpected("SpawnOk")), "{at:?}");
    }
}

#[test]
fn a_process_that_was_called_off_too_late_is_ended_for_the_same_reason() {
    let worker = WorkerPolicy { kill_after_ms: 700, ..WorkerPolicy::default() };
    for cause in CAUSES {
        let (run, effects) =
            after(called_off(cause), |run, fx| run.spawn_ok(pid(1), NOW, worker, fx));
        assert_eq!(effects, [started(), ending(cause), signal(Signal::Term)]);
        assert_eq!(run.phase, Phase::Terminating(Escalation::begin(NOW, 700)));
        assert!(run.pid_owed);
    }
}

#[test]
fn a_spawn_that_failed_ends_a_run_that_waits_for_it() {
    for at in At::ALL {
        for (blame, verdict) in [
            (Blame::Task, Verdict::SpawnFailed),
            (Blame::Host, Verdict::Released(Release::HostRefused)),
            (Blame::Board, Verdict::Released(Release::HostRefused)),
        ] {
            let before = at.run();
            let spawn_failed =
                |run: &mut Run, fx: &mut Vec<Effect>| run.spawn_failed(blame, 11, fx);
            let (run, effects) = after(before.clone(), spawn_failed);
            match at {
                At::Preparing | At::Spawning => {
                    assert_eq!(effects, [report(Report::NotStarted(SPAWN, blame, 11))]);
                    assert_eq!((&run.phase, run.pid), (&Phase::Exited, None), "{at:?}");
                    assert_eq!(run.finish, Finish::Owed(verdict));
                }
                // There was a process, so that is odd; but it is an answer.
                At::DrainingEarly | At::ExitedEarly => {
                    assert_eq!(effects, unexpected("SpawnFailed"), "{at:?}");
                    assert_eq!((&run.phase, run.finish), (&before.phase, before.finish));
                    assert_ne!(run, before, "it is answered now");
                }
                At::Claimed | At::Running | At::Terminating | At::Draining | At::Exited => {
                    assert_eq!((&run, effects), (&before, unexpected("SpawnFailed")), "{at:?}");
                }
            }
            let (again, effects) = after(run.clone(), spawn_failed);
            assert_eq!((again, effects), (run, unexpected("SpawnFailed")), "{at:?}");
        }
    }
}

#[test]
fn only_what_was_called_off_can_be_cancelled() {
    for at in At::ALL {
        let before = at.run();
        let (run, effects) = after(before.clone(), Run::spawn_cancelled);
        match at {
            At::Spawning => {
                assert_eq!(effects, []);
                assert_eq!((&run.phase, run.pid), (&Phase::Exited, None));
                assert_eq!(run.finish, released(Release::NotStarted));
            }
            At::Claimed
            | At::Preparing
            | At::Running
            | At::Terminating
            | At::Draining
            | At::DrainingEarly
            | At::Exited
            | At::ExitedEarly => {
                assert_eq!((run, effects), (before, unexpected("SpawnCancelled")), "{at:?}");
            }
        }
    }
}

#[test]
fn what_was_called_off_in_time_is_given_back_for_the_reason_it_was_called_off_for() {
    for (cause, why) in CAUSES.into_iter().zip([
        Release::NotStarted,
        Release::Shutdown,
        Release::Superseded,
        Release::NotStarted,
    ]) {
        let (run, effects) = after(called_off(cause), Run::spawn_cancelled);
        assert_eq!((run.finish, effects), (released(why), vec![]), "{cause:?}");
    }
}

// How it ends.

#[test]
fn an_exit_that_leaves_nothing_behind_is_the_end() {
    for at in At::ALL {
        let before = at.run();
        let (run, effects) = after(before.clone(), |run, fx| {
            run.exited(pid(1), FAILED, Group::Gone, NOW, WorkerPolicy::default(), fx);
        });
        let (expected, finish) = match at {
            // Its lane's answer is still on its way; what that would tell is told here.
            At::Preparing | At::Spawning => {
                (vec![started(), told_exit(FAILED)], Finish::Owed(crashed()))
            }
            At::Running => (vec![told_exit(FAILED)], Finish::Owed(crashed())),
            At::Terminating => (vec![told_exit(FAILED)], released(Release::Shutdown)),
            At::Claimed | At::Draining | At::DrainingEarly | At::Exited | At::ExitedEarly => {
                assert_eq!((run, effects), (before, unexpected("ChildExited")), "{at:?}");
                continue;
            }
        };
        assert_eq!((effects, run.finish), (expected, finish), "{at:?}");
        assert_eq!((run.phase, run.pid, run.pid_owed), (Phase::Exited, Some(pid(1)), true));
    }
}

#[test]
fn an_exit_that_leaves_something_behind_is_the_end_of_the_leader_only() {
    for at in At::ALL {
        let before = at.run();
        let (run, effects) = after(before.clone(), |run, fx| {
            run.exited(pid(1), FAILED, Group::Alive, NOW, WorkerPolicy::default(), fx);
        });
        let end_them = [ending(EndCause::Leftovers), signal(Signal::Term)];
        let begun = Escalation::begin(NOW, 5_000);
        let (expected, phase) = match at {
            At::Preparing | At::Spawning => {
                let told = [started(), told_exit(FAILED)];
                ([&told[..], &end_them].concat(), Phase::Draining(begun, crashed()))
            }
            At::Running => {
                ([&[told_exit(FAILED)][..], &end_them].concat(), Phase::Draining(begun, crashed()))
            }
            // They are being ended already.
            At::Terminating => {
                let so_far = Escalation::begin(Mono(0), 5_000);
                let verdict = Verdict::Released(Release::Shutdown);
                (vec![told_exit(FAILED)], Phase::Draining(so_far, verdict))
            }
            At::Claimed | At::Draining | At::DrainingEarly | At::Exited | At::ExitedEarly => {
                assert_eq!((run, effects), (before, unexpected("ChildExited")), "{at:?}");
                continue;
            }
        };
        assert_eq!((effects, run.phase), (expected, phase), "{at:?}");
        assert_eq!(run.finish, Finish::No, "its task must not come back yet");
    }
}

#[test]
fn a_pid_that_is_known_is_not_replaced_by_that_of_the_exit() {
    let (run, _) = after(At::Running.run(), |run, fx| {
        run.exited(Pid(7), FAILED, Group::Gone, NOW, WorkerPolicy::default(), fx);
    });
    assert_eq!(run.pid, Some(pid(1)));
}

#[test]
fn an_exit_of_a_run_that_nobody_ends_means_what_its_status_says() {
    for (status, completion, verdict) in [
        (ExitStatus::Code(0), Completion::ExitStatus, Verdict::Completed),
        (ExitStatus::Code(0), Completion::Board, Verdict::ProtocolViolation),
        (ExitStatus::Code(75), Completion::Board, Verdict::RateLimited),
        (ExitStatus::Signal(9), Completion::ExitStatus, Verdict::Crashed(ExitStatus::Signal(9))),
    ] {
        let worker = WorkerPolicy { completion, ..WorkerPolicy::default() };
        // Calling off has ended nothing yet.
        for run in [At::Preparing.run(), At::Running.run(), called_off(EndCause::Shutdown)] {
            let (run, _) = after(run, |run, fx| {
                run.exited(pid(1), status, Group::Gone, NOW, worker, fx);
            });
            assert_eq!(run.finish, Finish::Owed(verdict), "{status:?}");
        }
    }
}

#[test]
fn an_exit_of_a_run_that_is_being_ended_means_what_it_is_ended_for() {
    for killed in [false, true] {
        let timed_out = Verdict::TimedOut { elapsed_s: 6, limit_s: LIMIT_S, killed };
        for (cause, verdict) in CAUSES.into_iter().zip([
            timed_out,
            Verdict::Released(Release::Shutdown),
            Verdict::Released(Release::Superseded),
            Verdict::Completed,
        ]) {
            let worker = WorkerPolicy::default();
            let (run, _) = after(At::Running.run(), |run, fx| {
                run.end(cause, NOW, worker, fx);
                if killed {
                    run.act_on_time(NOW.after(5_000), worker, fx);
                }
                run.exited(pid(1), ExitStatus::Code(0), Group::Gone, Mono(6_999), worker, fx);
            });
            assert_eq!(run.finish, Finish::Owed(verdict), "{cause:?}");
        }
    }
}

#[test]
fn what_completed_is_owed_at_once_even_if_it_left_something_behind() {
    for (keep_leftovers, status, phase, finish) in [
        (false, ExitStatus::Code(0), "draining", Finish::Owed(Verdict::Completed)),
        (true, ExitStatus::Code(0), "exited", Finish::Owed(Verdict::Completed)),
        (true, FAILED, "draining", Finish::No),
    ] {
        let worker = WorkerPolicy { keep_leftovers, ..WorkerPolicy::default() };
        let (run, effects) = after(At::Running.run(), |run, fx| {
            run.exited(pid(1), status, Group::Alive, NOW, worker, fx);
        });
        let stays = if run.phase == Phase::Exited { "exited" } else { "draining" };
        assert_eq!((stays, run.finish), (phase, finish), "{keep_leftovers} {status:?}");
        assert_eq!(effects.len() == 1, phase == "exited", "{effects:?}");
        assert_eq!(run.uses_host_slot(), phase == "draining");
    }
}

#[test]
fn a_group_that_is_gone_ends_a_run_without_a_leader_and_no_other() {
    for at in At::ALL {
        for outcome in [SignalOutcome::Delivered, SignalOutcome::Gone, SignalOutcome::Refused] {
            let before = at.run();
            let (run, effects) = after(before.clone(), |run, fx| run.signalled(outcome, fx));
            match (at, outcome) {
                (At::Draining | At::DrainingEarly, SignalOutcome::Gone) => {
                    assert_eq!(effects, []);
                    assert_eq!(run.phase, Phase::Exited);
                    assert_eq!(run.finish, Finish::Owed(crashed()));
                }
                (
                    At::Draining
                    | At::DrainingEarly
                    | At::Running
                    | At::Terminating
                    | At::Exited
                    | At::ExitedEarly,
                    _,
                ) => assert_eq!((run, effects), (before, vec![]), "{at:?} {outcome:?}"),
                (At::Claimed | At::Preparing | At::Spawning, _) => {
                    assert_eq!((run, effects), (before, unexpected("Signalled")), "{at:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_owed_is_not_replaced_when_the_rest_of_the_group_is_gone() {
    for finish in [Finish::Owed(Verdict::Completed), Finish::Settled] {
        let mut run = At::Draining.run();
        run.finish = finish;
        run.signalled(SignalOutcome::Gone, &mut Vec::new());
        assert_eq!((run.phase, run.finish), (Phase::Exited, finish));
    }
}

// How it is ended.

#[test]
fn ending_stops_what_is_not_ended_yet() {
    let worker = WorkerPolicy { kill_after_ms: 700, ..WorkerPolicy::default() };
    for cause in CAUSES {
        for at in At::ALL {
            let before = at.run();
            let (run, effects) = after(before.clone(), |run, fx| run.end(cause, NOW, worker, fx));
            match at {
                At::Preparing => {
                    assert_eq!(effects, [Effect::CancelSpawn { spawn: SPAWN }]);
                    assert_eq!(run.phase, Phase::Spawning);
                }
                // Its process is ended if it comes: see above.
                At::Spawning => {
                    assert_eq!((&run.phase, effects), (&Phase::Spawning, vec![]));
                    assert_ne!(run, before);
                }
                At::Running => {
                    assert_eq!(effects, [ending(cause), signal(Signal::Term)]);
                    assert_eq!(run.phase, Phase::Terminating(Escalation::begin(NOW, 700)));
                }
                At::Claimed
                | At::Terminating
                | At::Draining
                | At::DrainingEarly
                | At::Exited
                | At::ExitedEarly => assert_eq!((run, effects), (before, vec![]), "{at:?}"),
            }
        }
    }
}

#[test]
fn killing_makes_the_kill_due_at_once() {
    for at in At::ALL {
        let worker = WorkerPolicy::default();
        let before = at.run();
        let (mut run, effects) = after(before.clone(), |run, fx| run.kill(NOW, worker, fx));
        let told = match at {
            At::Preparing => vec![Effect::CancelSpawn { spawn: SPAWN }],
            At::Running => vec![ending(EndCause::Shutdown)],
            At::Claimed
            | At::Spawning
            | At::Terminating
            | At::Draining
            | At::DrainingEarly
            | At::Exited
            | At::ExitedEarly => vec![],
        };
        assert_eq!(effects, told, "{at:?}");
        let (_, effects) = after(run.clone(), |run, fx| run.act_on_time(NOW, worker, fx));
        match at {
            At::Running | At::Terminating | At::Draining | At::DrainingEarly => {
                assert_eq!(effects, [signal(Signal::Kill)], "{at:?}");
            }
            At::Preparing | At::Spawning => {
                assert_eq!((&run.phase, effects), (&Phase::Spawning, vec![]), "{at:?}");
                run.spawn_cancelled(&mut Vec::new());
                assert_eq!(run.finish, released(Release::Shutdown));
            }
            At::Claimed | At::Exited | At::ExitedEarly => {
                assert_eq!((run, effects), (before, vec![]), "{at:?}");
            }
        }
    }
}

#[test]
fn what_was_killed_is_given_back_as_by_a_shutdown() {
    let worker = WorkerPolicy::default();
    for at in [At::Running, At::Terminating] {
        let (run, _) = after(at.run(), |run, fx| {
            run.kill(NOW, worker, fx);
            run.exited(pid(1), ExitStatus::Signal(9), Group::Gone, NOW, worker, fx);
        });
        assert_eq!(run.finish, released(Release::Shutdown), "{at:?}");
    }
}

#[test]
fn killing_again_kills_no_sooner_than_a_repeat_is_due() {
    let worker = WorkerPolicy::default();
    for at in [At::Running, At::Terminating] {
        let (run, effects) = after(at.run(), |run, fx| {
            run.kill(NOW, worker, fx);
            run.act_on_time(NOW, worker, fx);
            run.kill(NOW.after(1), worker, fx);
            run.act_on_time(NOW.after(1), worker, fx);
        });
        assert_eq!(effects.iter().filter(|e| **e == signal(Signal::Kill)).count(), 1);
        assert_eq!(run.next(), Some(NOW.after(5_000)));
    }
}

// What time does.

#[test]
fn nothing_is_done_before_its_time() {
    for at in At::ALL {
        let before = at.limited(Some(LIMIT_S));
        let (next, worker) = (before.next(), WorkerPolicy::default());
        let expected = match at {
            At::Claimed | At::Spawning | At::Exited | At::ExitedEarly => None,
            At::Preparing => Some(DEADLINE),
            At::Running => Some(Mono(60_000)),
            At::Terminating => Some(Mono(5_000)),
            // It is looked at whether anything is left.
            At::Draining | At::DrainingEarly => Some(Mono(5)),
        };
        assert_eq!(next, expected, "{at:?}");
        let early = Mono(next.map_or(1 << 40, |at| at.0 - 1));
        let (run, effects) = after(before.clone(), |run, fx| run.act_on_time(early, worker, fx));
        assert_eq!((run, effects), (before, vec![]), "{at:?}");
    }
}

#[test]
fn when_its_time_has_come_it_is_done() {
    let timeout = EndCause::Timeout { limit_s: LIMIT_S };
    for at in At::ALL {
        let (before, worker) = (at.limited(Some(LIMIT_S)), WorkerPolicy::default());
        let Some(next) = before.next() else { continue };
        let (run, effects) = after(before.clone(), |run, fx| run.act_on_time(next, worker, fx));
        let expected = match at {
            At::Claimed | At::Spawning | At::Exited | At::ExitedEarly => panic!("{at:?}"),
            At::Preparing => vec![Effect::CancelSpawn { spawn: SPAWN }],
            At::Running => vec![ending(timeout), signal(Signal::Term)],
            At::Terminating => vec![signal(Signal::Kill)],
            At::Draining | At::DrainingEarly => vec![signal(Signal::Probe)],
        };
        assert_eq!(effects, expected, "{at:?}");
        assert!(run.next().is_none_or(|at| at > next), "{at:?} waits for what is over");
    }
}

#[test]
fn a_group_without_a_leader_is_killed_when_its_patience_is_over() {
    for at in [At::Draining, At::DrainingEarly] {
        let (run, effects) = after(at.run(), |run, fx| {
            run.act_on_time(Mono(5_000), WorkerPolicy::default(), fx);
        });
        assert_eq!(effects, [signal(Signal::Kill)]);
        assert_eq!(run.next(), Some(Mono(5_005)), "and looked at again");
    }
}

#[test]
fn a_run_without_a_limit_is_never_out_of_time() {
    assert_eq!(At::Running.run().next(), None);
}

#[test]
fn time_runs_from_when_its_process_was_made() {
    let worker = WorkerPolicy::default();
    for by_exit in [false, true] {
        let (run, _) = after(At::Spawning.limited(Some(LIMIT_S)), |run, fx| {
            run.spawn_ok(pid(1), Mono(100_000), worker, fx);
            run.act_on_time(Mono(159_999), worker, fx);
            assert_eq!(run.phase, Phase::Running);
            run.act_on_time(Mono(160_000), worker, fx);
            if by_exit {
                run.exited(pid(1), FAILED, Group::Gone, Mono(162_500), worker, fx);
            }
        });
        let verdict = Verdict::TimedOut { elapsed_s: 62, limit_s: LIMIT_S, killed: false };
        let finish = if by_exit { Finish::Owed(verdict) } else { Finish::No };
        assert_eq!(run.finish, finish);
    }
}

// Whose its row is.

/// Its row is not ours any more since 0.
fn lost(at: At) -> Run {
    after(at.limited(Some(LIMIT_S)), |run, _| run.seen_lost(true, Mono(0), GRACE_MS)).0
}

#[test]
fn a_run_whose_row_is_lost_is_ended_after_a_grace_wherever_it_can_be() {
    for at in At::ALL {
        let (before, worker) = (lost(at), WorkerPolicy::default());
        let early = Mono(GRACE_MS - 1);
        let superseded = EndCause::Superseded;
        let act = |at, run| after(run, |run: &mut Run, fx| run.act_on_time(at, worker, fx));
        match at {
            At::Preparing => {
                assert_eq!(before.next(), Some(Mono(GRACE_MS)));
                assert_eq!(act(early, before.clone()), (before.clone(), vec![]));
                let (run, effects) = act(Mono(GRACE_MS), before);
                assert_eq!(effects, [Effect::CancelSpawn { spawn: SPAWN }]);
                let (run, _) = after(run, Run::spawn_cancelled);
                assert_eq!(run.finish, released(Release::Superseded));
            }
            At::Running => {
                assert_eq!(before.next(), Some(Mono(GRACE_MS)));
                assert_eq!(act(early, before.clone()), (before.clone(), vec![]));
                let (_, effects) = act(Mono(GRACE_MS), before);
                assert_eq!(effects, [ending(superseded), signal(Signal::Term)]);
            }
            // Once its process has come.
            At::Spawning => {
                assert_eq!(act(Mono(GRACE_MS), before.clone()), (before.clone(), vec![]));
                let came = |run: &mut Run, fx: &mut _| {
                    run.spawn_ok(pid(1), Mono(GRACE_MS), worker, fx);
                    run.act_on_time(Mono(GRACE_MS), worker, fx);
                };
                let (_, effects) = after(before, came);
                assert_eq!(effects, [started(), ending(superseded), signal(Signal::Term)]);
            }
            // Nothing is left to end, or it is being ended.
            At::Claimed
            | At::Terminating
            | At::Draining
            | At::DrainingEarly
            | At::Exited
            | At::ExitedEarly => {
                assert_eq!(before.next(), at.limited(Some(LIMIT_S)).next(), "{at:?}");
            }
        }
    }
}

#[test]
fn a_row_that_stays_lost_does_not_put_the_end_off() {
    let mut run = lost(At::Running);
    run.seen_lost(true, Mono(GRACE_MS - 1), GRACE_MS);
    assert_eq!(run.next(), Some(Mono(GRACE_MS)));
}

#[test]
fn a_row_that_is_ours_again_is_not_ended() {
    for at in [At::Preparing, At::Spawning, At::Running] {
        let mut run = lost(at);
        run.seen_lost(false, NOW, GRACE_MS);
        assert_eq!(run, at.limited(Some(LIMIT_S)), "{at:?}");
    }
}

#[test]
fn a_run_that_was_called_off_for_a_lost_row_goes_on_if_its_row_is_ours_again() {
    let (mut run, worker) = (lost(At::Preparing), WorkerPolicy::default());
    run.act_on_time(Mono(GRACE_MS), worker, &mut Vec::new());
    run.seen_lost(false, Mono(GRACE_MS), GRACE_MS);
    // Its process came all the same: there is no reason any more to end it.
    let now = Mono(GRACE_MS + 1);
    let (came, effects) = after(run.clone(), |run, fx| {
        run.spawn_ok(pid(1), now, worker, fx);
        run.act_on_time(now, worker, fx);
    });
    assert_eq!((came.phase, effects), (Phase::Running, vec![started()]));
    // It was called off in time: nothing has been superseded.
    let (gone, _) = after(run.clone(), Run::spawn_cancelled);
    assert_eq!(gone.finish, released(Release::NotStarted));
    // Lost once more, it has its grace again.
    let (lost, _) = after(run, |run, fx| {
        run.seen_lost(true, now, GRACE_MS);
        run.spawn_ok(pid(1), now, worker, fx);
    });
    assert_eq!((lost.phase.clone(), lost.next()), (Phase::Running, Some(now.after(GRACE_MS))));
}

#[test]
fn a_run_that_was_called_off_by_a_shutdown_is_ended_whosever_its_row_is() {
    let (run, effects) = after(called_off(EndCause::Shutdown), |run, fx| {
        run.seen_lost(true, NOW, GRACE_MS);
        run.seen_lost(false, NOW, GRACE_MS);
        run.spawn_ok(pid(1), NOW, WorkerPolicy::default(), fx);
    });
    assert_eq!(effects[1], ending(EndCause::Shutdown));
    assert!(matches!(run.phase, Phase::Terminating(_)));
}

// What it uses, and what is owed.

#[test]
fn a_claim_that_took_is_spawned_and_one_that_is_of_no_use_is_given_back() {
    let mut claimed = At::Claimed.run();
    claimed.lent = true;
    let (run, effects) = after(claimed.clone(), |run, fx| {
        run.claimed(fence(1).run, Some(LIMIT_S), DEADLINE, fx);
    });
    assert_eq!(effects, [spawn(1)]);
    assert_eq!(run.phase, Phase::Preparing { deadline: DEADLINE });
    assert_eq!((run.fence(), run.lent), (Some(fence(1)), false));
    for why in [Release::Shutdown, Release::NotStarted, Release::HostRefused, Release::Superseded] {
        let (run, _) = after(claimed.clone(), |run, _| run.claimed_in_vain(fence(1).run, why));
        assert_eq!((&run.phase, run.finish), (&Phase::Exited, released(why)));
        assert_eq!((run.fence(), run.pid), (Some(fence(1)), None));
    }
}

#[test]
fn it_uses_a_slot_of_the_host_while_a_process_of_it_may_live() {
    for at in At::ALL {
        let expected = match at {
            At::Exited | At::ExitedEarly => false,
            At::Claimed
            | At::Preparing
            | At::Spawning
            | At::Running
            | At::Terminating
            | At::Draining
            | At::DrainingEarly => true,
        };
        let mut run = at.run();
        assert_eq!(run.uses_host_slot(), expected, "{at:?}");
        // A slot can be lent only before there is anything in it.
        run.lent = true;
        let expected = expected && run.phase != Phase::Claimed;
        assert_eq!(run.uses_host_slot(), expected, "{at:?}, lent");
    }
}

#[test]
fn it_is_over_when_nothing_lives_nothing_is_owed_and_no_answer_is_outstanding() {
    for at in At::ALL {
        for (finish, settled) in
            [(Finish::No, false), (Finish::Owed(crashed()), false), (Finish::Settled, true)]
        {
            let mut run = at.run();
            run.finish = finish;
            let over = match at {
                At::Exited => settled,
                At::Claimed
                | At::Preparing
                | At::Spawning
                | At::Running
                | At::Terminating
                | At::Draining
                | At::DrainingEarly
                | At::ExitedEarly => false,
            };
            assert_eq!(run.is_over(), over, "{at:?} {finish:?}");
        }
    }
}

#[test]
fn its_lease_is_renewed_while_its_end_is_not_known() {
    for at in At::ALL {
        let renew_at = At::Preparing.run().renew_at;
        let mut run = at.run();
        let needed = match at {
            At::Preparing
            | At::Spawning
            | At::Running
            | At::Terminating
            | At::Draining
            | At::DrainingEarly => true,
            At::Claimed | At::Exited | At::ExitedEarly => false,
        };
        assert!(!run.renew_due(Now { mono: Mono(renew_at.0 - 1), unix: 0 }), "{at:?}");
        assert_eq!(run.renew_due(Now { mono: renew_at, unix: 0 }), needed, "{at:?}");
        // Nothing is sent of a claim; and what is owed is sent when that is tried.
        let retry_at = Mono(7);
        run.retry_at = retry_at;
        let next = match at {
            At::Claimed => None,
            At::Exited | At::ExitedEarly => Some(retry_at),
            At::Preparing
            | At::Spawning
            | At::Running
            | At::Terminating
            | At::Draining
            | At::DrainingEarly => Some(renew_at),
        };
        assert_eq!(run.next_change(), next, "{at:?}");
        // A host that slept has less of the lease left than it has run.
        run.finish = Finish::No;
        run.renew_by = 500;
        assert!(!run.renew_due(Now { mono: Mono(0), unix: 499 }), "{at:?}");
        assert_eq!(run.renew_due(Now { mono: Mono(0), unix: 500 }), needed, "{at:?}");
        run.finish = Finish::Settled;
        assert!(!run.renew_due(Now { mono: renew_at, unix: 0 }));
        assert_eq!(run.next_change(), None);
    }
}

#[test]
fn the_earlier_of_two_moments_is_the_only_one_that_exists_or_the_smaller_one() {
    let [one, two] = [Mono(1), Mono(2)];
    assert_eq!(earlier(Some(one), Some(two)), Some(one));
    assert_eq!(earlier(Some(two), Some(one)), Some(one));
    assert_eq!(earlier(Some(one), None), Some(one));
    assert_eq!(earlier(None, Some(two)), Some(two));
    assert_eq!(earlier(None, None), None);
}

#[test]
fn the_next_exchange_ends_what_is_not_alive_and_whose_end_it_may_carry() {
    for at in At::ALL {
        for (finish, owed) in
            [(Finish::No, false), (Finish::Owed(crashed()), true), (Finish::Settled, false)]
        {
            let mut run = at.run();
            (run.finish, run.retry_at) = (finish, NOW);
            let ends = owed && run.phase == Phase::Exited;
            assert_eq!(run.ends_with_next_exchange(NOW), ends, "{at:?} {finish:?}");
            assert!(!run.ends_with_next_exchange(Mono(NOW.0 - 1)), "{at:?} {finish:?}");
            run.run = None;
            assert!(!run.ends_with_next_exchange(NOW), "no row says that it runs");
        }
    }
}

// What it looks like from the present.

#[test]
fn what_does_not_matter_in_its_phase_is_not_in_its_canonical_form() {
    let now = Now { mono: NOW, unix: 0 };
    let seen = Dispatcher::new(Policy::default()).renaming(now, []);
    for at in At::ALL {
        let (limited, unlimited) = (at.limited(Some(LIMIT_S)), at.run());
        let may_be_ended = match at {
            At::Preparing | At::Spawning | At::Running => true,
            At::Claimed
            | At::Terminating
            | At::Draining
            | At::DrainingEarly
            | At::Exited
            | At::ExitedEarly => false,
        };
        let same = |one: &Run, other: &Run| one.relative(&seen) == other.relative(&seen);
        assert_eq!(same(&limited, &unlimited), !may_be_ended, "{at:?}: its limit");
        assert_eq!(same(&lost(at), &limited), !may_be_ended, "{at:?}: whose its row is");
        let mut lent = unlimited.clone();
        lent.lent = true;
        assert_eq!(same(&lent, &unlimited), unlimited.phase != Phase::Claimed, "{at:?}: a loan");
    }
    // Why it was ended, once it has.
    let [mut ended, exited] = [exited(At::Terminating.run(), Group::Gone), At::Exited.run()];
    assert_eq!(ended.finish, released(Release::Shutdown));
    ended.finish = exited.finish;
    assert_eq!(ended.relative(&seen), exited.relative(&seen));
}
