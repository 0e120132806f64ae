//! The answers of an attempt's spawn thread.

use super::*;

#[test]
fn a_process_is_taken_in_where_one_is_waited_for() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets(ok(), NOW);
        match at {
            At::Preparing | At::Cancelling => {
                assert_eq!(effects, [started()], "{at:?}");
                assert_eq!(it.stage(), Stage::Running(Running { limit: None, lost_at: None }));
                assert_eq!(it.debt().owed_pid(), Some(pid(1)));
            }
            // This was the missing answer, and changes nothing else.
            At::DrainingEarly | At::GoneEarly => {
                assert_eq!(effects, [], "{at:?}");
                assert!(before.stage().awaits_spawn() && !it.stage().awaits_spawn());
                assert_eq!(it.debt(), before.debt());
            }
            At::Claiming | At::Running | At::Ending | At::Draining | At::Gone => {
                assert_eq!((&it, effects), (&before, unexpected("SpawnOk")), "{at:?}");
            }
        }
        // A second answer is unexpected.
        let once = it.clone();
        assert_eq!((it.gets(ok(), NOW), it), (unexpected("SpawnOk"), once), "{at:?}");
    }
}

#[test]
fn a_process_that_was_called_off_too_late_is_ended_for_the_same_reason() {
    let worker = WorkerPolicy { kill_after_ms: 700, ..WorkerPolicy::default() };
    for (mut it, why) in called_off() {
        let effects = it.gets_with(ok(), NOW, worker);
        assert_eq!(effects, [started(), ending(why.cause()), signal(Signal::Term)]);
        assert_eq!(
            it.stage(),
            Stage::Ending(Ending { why, escalation: Escalation::begin(NOW, 700) })
        );
        assert_eq!(it.debt().owed_pid(), Some(pid(1)));
    }
}

#[test]
fn a_spawn_that_failed_ends_an_attempt_that_waits_for_it() {
    for at in At::ALL {
        for (blame, verdict) in [
            (Blame::Task, Verdict::SpawnFailed),
            (Blame::Host, released(Release::HostRefused)),
            (Blame::Board, released(Release::HostRefused)),
        ] {
            let failed = Input::SpawnFailed(blame, 11);
            let before = at.attempt();
            let mut it = before.clone();
            let effects = it.gets(failed, NOW);
            match at {
                At::Preparing | At::Cancelling => {
                    assert_eq!(effects, [report(Report::NotStarted(SPAWN, blame, 11))]);
                    assert_eq!(it.stage(), Stage::Gone { answered: true }, "{at:?}");
                    assert_eq!((it.end(), it.debt().pid()), (owed(verdict, NOW), None));
                }
                // Unexpected, since there was a process; but it counts as the answer.
                At::DrainingEarly | At::GoneEarly => {
                    assert_eq!(effects, unexpected("SpawnFailed"), "{at:?}");
                    assert!(before.stage().awaits_spawn() && !it.stage().awaits_spawn());
                    assert_eq!(it.debt(), before.debt());
                }
                At::Claiming | At::Running | At::Ending | At::Draining | At::Gone => {
                    assert_eq!((&it, effects), (&before, unexpected("SpawnFailed")), "{at:?}");
                }
            }
            let once = it.clone();
            assert_eq!((it.gets(failed, NOW), it), (unexpected("SpawnFailed"), once), "{at:?}");
        }
    }
}

#[test]
fn only_what_was_called_off_can_be_cancelled() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets(Input::SpawnCancelled, NOW);
        match at {
            At::Cancelling => {
                assert_eq!(effects, []);
                assert_eq!(it.stage(), Stage::Gone { answered: true });
                assert_eq!(it.end(), owed(released(Release::NotStarted), NOW));
                assert_eq!(it.debt().pid(), None);
            }
            At::Claiming
            | At::Preparing
            | At::Running
            | At::Ending
            | At::Draining
            | At::DrainingEarly
            | At::Gone
            | At::GoneEarly => {
                assert_eq!((it, effects), (before, unexpected("SpawnCancelled")), "{at:?}");
            }
        }
    }
}

#[test]
fn what_was_called_off_in_time_is_given_back_for_the_reason_it_was_called_off_for() {
    for (mut it, why) in called_off() {
        assert_eq!(it.gets(Input::SpawnCancelled, NOW), []);
        assert_eq!(it.end(), owed(why.verdict(NOW, false), NOW), "{why:?}");
    }
}
