//! The ways in which an attempt ends.

use super::*;

#[test]
fn an_exit_that_leaves_nothing_behind_is_the_end() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.fails(Group::Gone, NOW);
        let (expected, verdict, answered) = match at {
            // The answer of the spawn thread is still outstanding, so the start is reported here.
            At::Preparing | At::Cancelling => {
                (vec![started(), told_exit(FAILED)], crashed(), false)
            }
            At::Running => (vec![told_exit(FAILED)], crashed(), true),
            At::Ending => (vec![told_exit(FAILED)], released(Release::Shutdown), true),
            At::Claiming | At::Draining | At::DrainingEarly | At::Gone | At::GoneEarly => {
                assert_eq!((it, effects), (before, unexpected("ChildExited")), "{at:?}");
                continue;
            }
        };
        assert_eq!((effects, it.end()), (expected, owed(verdict, NOW)), "{at:?}");
        assert_eq!(it.stage(), Stage::Gone { answered });
        assert_eq!(it.debt().owed_pid(), Some(pid(1)));
    }
}

#[test]
fn an_exit_that_leaves_something_behind_is_the_end_of_the_leader_only() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.fails(Group::Alive, NOW);
        let end_them = [ending(EndCause::Leftovers), signal(Signal::Term)];
        let begun = Draining {
            verdict: crashed(),
            escalation: Escalation::begin(NOW, 5_000),
            probes: Probes::after_signal(NOW),
            answered: true,
        };
        let (expected, group) = match at {
            At::Preparing | At::Cancelling => {
                let told = [started(), told_exit(FAILED)];
                ([&told[..], &end_them].concat(), Draining { answered: false, ..begun })
            }
            At::Running => ([&[told_exit(FAILED)][..], &end_them].concat(), begun),
            // The group is being ended already.
            At::Ending => {
                let escalation = Escalation::begin(Mono(0), 5_000);
                let verdict = released(Release::Shutdown);
                let probes = Probes::at_once(NOW);
                (vec![told_exit(FAILED)], Draining { verdict, escalation, probes, ..begun })
            }
            At::Claiming | At::Draining | At::DrainingEarly | At::Gone | At::GoneEarly => {
                assert_eq!((it, effects), (before, unexpected("ChildExited")), "{at:?}");
                continue;
            }
        };
        assert_eq!((effects, it.stage()), (expected, Stage::Draining(group)), "{at:?}");
        assert!(matches!(it.end(), End::Open(_)), "its task must not come back yet");
    }
}

#[test]
fn a_pid_that_is_known_is_not_replaced_by_that_of_the_exit() {
    let mut it = At::Running.attempt();
    let policy = policy(WorkerPolicy::default());
    let exit = it.exit(Pid(7), FAILED, Group::Gone, NOW, &policy);
    it.gets(Input::Exited(exit), NOW);
    assert_eq!(it.debt().pid(), Some(pid(1)));
}

#[test]
fn an_exit_of_an_attempt_that_is_not_being_ended_means_what_its_status_means() {
    for (status, completion, verdict) in [
        (ExitStatus::Code(0), Completion::ExitStatus, Verdict::Completed),
        (ExitStatus::Code(0), Completion::Board, Verdict::ProtocolViolation),
        (ExitStatus::Code(75), Completion::Board, Verdict::RateLimited),
        (ExitStatus::Signal(9), Completion::ExitStatus, Verdict::Crashed(ExitStatus::Signal(9))),
    ] {
        let worker = WorkerPolicy { completion, ..WorkerPolicy::default() };
        // Calling off a spawn ends nothing yet.
        let [(called_off, _), _] = called_off();
        for mut it in [At::Preparing.attempt(), At::Running.attempt(), called_off] {
            it.exits(status, Group::Gone, NOW, worker);
            assert_eq!(it.end(), owed(verdict, NOW), "{status:?}");
        }
    }
}

#[test]
fn an_exit_of_an_attempt_that_is_being_ended_means_what_it_is_ended_for() {
    let ended = |how: fn(&mut Attempt)| {
        let mut it = At::Running.limited(Some(LIMIT_S));
        how(&mut it);
        it
    };
    let timeout = |it: &mut Attempt| drop(it.wakes(Mono(60_000)));
    let stopped = |it: &mut Attempt| drop(it.gets(Input::Stop, Mono(60_000)));
    let superseded = |it: &mut Attempt| {
        it.gets(row(Some(Mono(59_000))), Mono(59_000));
        it.wakes(Mono(59_000));
    };
    for killed in [false, true] {
        let timed_out = Verdict::TimedOut { elapsed_s: 66, limit_s: LIMIT_S, killed };
        for (it, verdict) in [
            (ended(timeout), timed_out),
            (ended(stopped), released(Release::Shutdown)),
            (ended(superseded), released(Release::Superseded)),
        ] {
            let mut it = it;
            if killed {
                assert_eq!(it.wakes(Mono(65_000)), [signal(Signal::Kill)]);
            }
            let worker = WorkerPolicy::default();
            it.exits(ExitStatus::Code(0), Group::Gone, Mono(66_999), worker);
            assert_eq!(it.end(), owed(verdict, Mono(66_999)));
        }
    }
}

#[test]
fn a_completed_verdict_is_owed_immediately_even_with_leftovers() {
    let completed = owed(Verdict::Completed, NOW);
    for (keep_leftovers, status, drains, end) in [
        (false, ExitStatus::Code(0), true, Some(completed)),
        (true, ExitStatus::Code(0), false, Some(completed)),
        (true, FAILED, true, None),
    ] {
        let worker = WorkerPolicy { keep_leftovers, ..WorkerPolicy::default() };
        let mut it = At::Running.attempt();
        let effects = it.exits(status, Group::Alive, NOW, worker);
        let owed = Some(it.end()).filter(|end| !matches!(end, End::Open(_)));
        assert_eq!(owed, end, "{keep_leftovers} {status:?}");
        assert_eq!(matches!(it.stage(), Stage::Draining(_)), drains);
        assert_eq!(effects.len() > 1, drains, "{effects:?}");
        assert_eq!(it.stage().uses_host_slot(), drains);
    }
}

#[test]
fn a_group_that_is_gone_ends_an_attempt_without_a_leader_and_no_other() {
    for at in At::ALL {
        for outcome in [SignalOutcome::Delivered, SignalOutcome::Gone, SignalOutcome::Refused] {
            let before = at.attempt();
            let mut it = before.clone();
            let effects = it.gets(Input::Signalled(outcome), NOW);
            match (at, outcome) {
                (At::Draining | At::DrainingEarly, SignalOutcome::Gone) => {
                    let answered = !before.stage().awaits_spawn();
                    assert_eq!(effects, []);
                    assert_eq!(it.stage(), Stage::Gone { answered });
                    assert_eq!(it.end(), owed(crashed(), NOW));
                }
                (
                    At::Draining
                    | At::DrainingEarly
                    | At::Running
                    | At::Ending
                    | At::Gone
                    | At::GoneEarly,
                    _,
                ) => assert_eq!((it, effects), (before, vec![]), "{at:?} {outcome:?}"),
                (At::Claiming | At::Preparing | At::Cancelling, _) => {
                    assert_eq!((it, effects), (before, unexpected("Signalled")), "{at:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_owed_is_not_replaced_when_the_rest_of_the_group_is_gone() {
    for settled in [false, true] {
        let mut it = At::Running.attempt();
        it.exits(ExitStatus::Code(0), Group::Alive, Mono(0), WorkerPolicy::default());
        if settled {
            it.debt_mut().settle();
        }
        let before = it.end();
        it.gets(Input::Signalled(SignalOutcome::Gone), NOW);
        assert_eq!((it.stage(), it.end()), (Stage::Gone { answered: true }, before));
    }
}
