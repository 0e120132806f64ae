//! The ways in which an attempt is stopped.

use super::*;

#[test]
fn a_shutdown_stops_what_is_not_ended_yet() {
    let worker = WorkerPolicy { kill_after_ms: 700, ..WorkerPolicy::default() };
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets_with(Input::Stop, NOW, worker);
        match at {
            At::Preparing => {
                assert_eq!(effects, [cancel()]);
                assert!(matches!(it.stage(), Stage::Cancelling(_)));
            }
            // If its process starts, it is ended: see above.
            At::Cancelling => {
                assert_eq!(effects, []);
                assert_ne!(it, before);
            }
            At::Running => {
                let (why, escalation) = (Why::Shutdown, Escalation::begin(NOW, 700));
                assert_eq!(effects, [ending(EndCause::Shutdown), signal(Signal::Term)]);
                assert_eq!(it.stage(), Stage::Ending(Ending { why, escalation }));
            }
            At::Claiming
            | At::Ending
            | At::Draining
            | At::DrainingEarly
            | At::Gone
            | At::GoneEarly => assert_eq!((it, effects), (before, vec![]), "{at:?}"),
        }
    }
}

#[test]
fn killing_kills_immediately() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets(Input::Kill, NOW);
        let kill = signal(Signal::Kill);
        let expected = match at {
            At::Preparing => vec![cancel()],
            At::Running => vec![ending(EndCause::Shutdown), kill],
            At::Ending | At::Draining | At::DrainingEarly => vec![kill],
            At::Claiming | At::Cancelling | At::Gone | At::GoneEarly => vec![],
        };
        assert_eq!(effects, expected, "{at:?}");
        match at {
            At::Running | At::Ending => assert_eq!(it.stage().alarm(), Some(NOW.after(5_000))),
            At::Draining | At::DrainingEarly => {
                assert_eq!(it.stage().alarm(), Some(NOW.after(5)), "and probed soon");
            }
            At::Preparing | At::Cancelling => {
                it.gets(Input::SpawnCancelled, NOW);
                assert_eq!(it.end(), owed(released(Release::Shutdown), NOW));
            }
            At::Claiming | At::Gone | At::GoneEarly => assert_eq!(it, before, "{at:?}"),
        }
    }
}

#[test]
fn what_was_killed_is_given_back_as_by_a_shutdown() {
    for at in [At::Running, At::Ending] {
        let mut it = at.attempt();
        it.gets(Input::Kill, NOW);
        it.exits(ExitStatus::Signal(9), Group::Gone, NOW, WorkerPolicy::default());
        assert_eq!(it.end(), owed(released(Release::Shutdown), NOW), "{at:?}");
    }
}

#[test]
fn killing_again_kills_no_sooner_than_a_repeat_is_due() {
    for at in [At::Running, At::Ending, At::Draining] {
        let mut it = at.attempt();
        let mut effects = it.gets(Input::Kill, NOW);
        effects.extend(it.gets(Input::Kill, NOW.after(1)));
        effects.extend(it.wakes(NOW.after(1)));
        assert_eq!(effects.iter().filter(|e| **e == signal(Signal::Kill)).count(), 1);
    }
}
