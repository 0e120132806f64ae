//! The effects of time alone.

use super::*;

#[test]
fn each_stage_waits_for_its_own_moment() {
    for at in At::ALL {
        let alarm = at.limited(Some(LIMIT_S)).stage().alarm();
        let expected = match at {
            At::Claiming | At::Cancelling | At::Gone | At::GoneEarly => None,
            At::Preparing => Some(DEADLINE),
            At::Running => Some(Mono(60_000)),
            At::Ending => Some(Mono(5_000)),
            // The next probe for processes that are left.
            At::Draining | At::DrainingEarly => Some(Mono(5)),
        };
        assert_eq!(alarm, expected, "{at:?}");
    }
}

#[test]
fn when_its_moment_has_come_it_is_done() {
    let timeout = EndCause::Timeout { limit_s: LIMIT_S };
    for at in At::ALL {
        let mut it = at.limited(Some(LIMIT_S));
        let Some(alarm) = it.stage().alarm() else { continue };
        let effects = it.wakes(alarm);
        let expected = match at {
            At::Claiming | At::Cancelling | At::Gone | At::GoneEarly => panic!("{at:?}"),
            At::Preparing => vec![cancel()],
            At::Running => vec![ending(timeout), signal(Signal::Term)],
            At::Ending => vec![signal(Signal::Kill)],
            At::Draining | At::DrainingEarly => vec![signal(Signal::Probe)],
        };
        assert_eq!(effects, expected, "{at:?}");
        let next = it.stage().alarm();
        assert!(next.is_none_or(|at| at > alarm), "{at:?} waits for what is over");
    }
}

#[test]
fn an_alarm_that_was_not_asked_for_does_nothing() {
    for at in [At::Claiming, At::Cancelling, At::Running, At::Gone, At::GoneEarly] {
        let before = at.attempt();
        let mut it = before.clone();
        assert_eq!((it.gets(Input::Alarm, NOW), it), (vec![], before), "{at:?}");
    }
}

#[test]
fn a_group_without_a_leader_is_killed_when_its_patience_is_over() {
    for at in [At::Draining, At::DrainingEarly] {
        let mut it = at.attempt();
        assert_eq!(it.wakes(Mono(5_000)), [signal(Signal::Kill)]);
        assert_eq!(it.stage().alarm(), Some(Mono(5_005)), "and probed again");
    }
}

#[test]
fn an_attempt_without_a_limit_is_never_out_of_time() {
    assert_eq!(At::Running.attempt().stage().alarm(), None);
}

#[test]
fn time_runs_from_when_its_process_was_made() {
    let mut it = At::Cancelling.limited(Some(LIMIT_S));
    it.gets(ok(), Mono(100_000));
    assert_eq!(it.wakes(Mono(159_999)), []);
    let limit = Limit { began: Mono(100_000), limit_s: LIMIT_S };
    assert_eq!(it.stage(), Stage::Running(Running { limit: Some(limit), lost_at: None }));
    it.wakes(Mono(160_000));
    assert!(matches!(it.end(), End::Open(_)));
    it.fails(Group::Gone, Mono(162_500));
    let verdict = Verdict::TimedOut { elapsed_s: 62, limit_s: LIMIT_S, killed: false };
    assert_eq!(it.end(), owed(verdict, Mono(162_500)));
}
