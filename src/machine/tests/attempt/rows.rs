//! The ownership of an attempt's row.

use super::*;

#[test]
fn an_attempt_whose_row_is_lost_is_ended_after_a_grace_wherever_it_can_be() {
    for at in At::ALL {
        let mut it = lost(at);
        let superseded = EndCause::Superseded;
        match at {
            At::Preparing => {
                assert_eq!(it.wakes(Mono(GRACE_MS - 1)), []);
                assert_eq!(it.wakes(Mono(GRACE_MS)), [cancel()]);
                it.gets(Input::SpawnCancelled, NOW);
                assert_eq!(it.end(), owed(released(Release::Superseded), NOW));
            }
            At::Running => {
                assert_eq!(it.wakes(Mono(GRACE_MS - 1)), []);
                let effects = it.wakes(Mono(GRACE_MS));
                assert_eq!(effects, [ending(superseded), signal(Signal::Term)]);
            }
            // Only after its process was started.
            At::Cancelling => {
                assert_eq!(it.wakes(Mono(GRACE_MS)), []);
                assert_eq!(it.gets(ok(), Mono(GRACE_MS)), [started()]);
                let effects = it.wakes(Mono(GRACE_MS));
                assert_eq!(effects, [ending(superseded), signal(Signal::Term)]);
            }
            // There is nothing to end, or it is being ended.
            At::Claiming
            | At::Ending
            | At::Draining
            | At::DrainingEarly
            | At::Gone
            | At::GoneEarly => {
                assert_eq!(it, at.limited(Some(LIMIT_S)), "{at:?}");
                assert!(!it.stage().is_lost());
            }
        }
    }
}

#[test]
fn a_row_that_is_ours_again_is_not_ended() {
    for at in [At::Preparing, At::Cancelling, At::Running] {
        let mut it = lost(at);
        assert!(it.stage().is_lost());
        it.gets(row(None), NOW);
        assert_eq!(it, at.limited(Some(LIMIT_S)), "{at:?}");
    }
}

#[test]
fn an_attempt_that_was_called_off_for_a_lost_row_goes_on_if_its_row_is_ours_again() {
    let mut it = lost(At::Preparing);
    it.wakes(Mono(GRACE_MS));
    it.gets(row(None), Mono(GRACE_MS));
    // Its process started nevertheless: there is no reason left to end it.
    let now = Mono(GRACE_MS + 1);
    let mut came = it.clone();
    assert_eq!(came.gets(ok(), now), [started()]);
    assert_eq!(came.wakes(now), []);
    assert!(matches!(came.stage(), Stage::Running(Running { lost_at: None, .. })));
    // It was called off in time: nothing was superseded.
    let gone = it.clone().with(|it| it.gets(Input::SpawnCancelled, now));
    assert_eq!(gone.end(), owed(released(Release::NotStarted), now));
    // If the row is lost again, the grace time starts again.
    it.gets(row(Some(now.after(GRACE_MS))), now);
    it.gets(ok(), now);
    assert_eq!(it.stage().alarm(), Some(now.after(GRACE_MS)));
}

#[test]
fn an_attempt_that_a_shutdown_called_off_is_ended_even_if_its_row_is_ours() {
    let [(mut it, _), _] = called_off();
    it.gets(row(Some(NOW)), NOW);
    it.gets(row(None), NOW);
    assert_eq!(it.gets(ok(), NOW)[1], ending(EndCause::Shutdown));
    assert!(matches!(it.stage(), Stage::Ending(_)));
}
