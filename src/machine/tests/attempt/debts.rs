//! The slots that an attempt uses, and what the board has yet to record.

use super::*;

#[test]
fn a_claim_that_took_is_prepared_and_one_that_is_of_no_use_is_given_back() {
    for lent in [false, true] {
        let mut claiming = At::Claiming.attempt();
        if lent {
            claiming.gets(Input::Lend, NOW);
        }
        let mut it = claiming.clone();
        it.claimed(fence(1).run);
        assert_eq!(it.gets(took(Some(LIMIT_S)), NOW), []);
        let (deadline, limit_s, lost_at) = (DEADLINE, Some(LIMIT_S), None);
        assert_eq!(it.stage(), Stage::Preparing(Preparing { deadline, limit_s, lost_at }));
        assert_eq!(it.fence(), Some(fence(1)));
        for why in [Release::Shutdown, Release::NotStarted] {
            let mut it = claiming.clone();
            it.claimed(fence(1).run);
            it.gets(Input::ClaimInVain(why), NOW);
            assert_eq!(it.stage(), Stage::Gone { answered: true });
            assert_eq!((it.end(), it.debt().pid()), (owed(released(why), NOW), None));
        }
    }
}

#[test]
fn an_answer_to_a_claim_that_was_answered_is_unexpected() {
    for at in At::ALL.into_iter().filter(|at| !matches!(at, At::Claiming)) {
        for input in [took(None), Input::ClaimInVain(Release::Shutdown)] {
            let before = at.attempt();
            let mut it = before.clone();
            assert_eq!((it.gets(input, NOW), it), (unexpected("Claimed"), before), "{at:?}");
        }
    }
}

#[test]
fn it_uses_a_slot_of_the_host_while_a_process_of_it_may_live() {
    for at in At::ALL {
        let mut it = at.attempt();
        let expected = !matches!(at, At::Gone | At::GoneEarly);
        assert_eq!(it.stage().uses_host_slot(), expected, "{at:?}");
        // A slot can be lent only before it is in use.
        it.gets(Input::Lend, NOW);
        let expected = expected && !matches!(at, At::Claiming);
        assert_eq!(it.stage().uses_host_slot(), expected, "{at:?}, lent");
    }
}

#[test]
fn it_is_over_when_nothing_lives_nothing_is_owed_and_no_answer_is_outstanding() {
    for at in At::ALL {
        let mut it = at.attempt();
        assert!(!it.is_over(), "{at:?}");
        it.debt_mut().settle();
        assert_eq!(it.is_over(), matches!(at, At::Gone), "{at:?}");
    }
}

/// Returns what must be sent to the board at `now`.
fn sends(it: &Attempt, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    it.owed_changes(now, &policy(WorkerPolicy::default()), &mut changes);
    changes.retain(|change| !matches!(change, Change::Started { .. }));
    changes
}

#[test]
fn its_lease_is_renewed_while_its_end_is_not_known() {
    let third = Mono(300_000);
    for at in At::ALL {
        let mut it = at.attempt();
        let renewed = match at {
            At::Preparing
            | At::Cancelling
            | At::Running
            | At::Ending
            | At::Draining
            | At::DrainingEarly => true,
            At::Claiming | At::Gone | At::GoneEarly => false,
        };
        let is_renewed = |it: &Attempt, now| {
            let changes = sends(it, now);
            changes.iter().any(|change| matches!(change, Change::Renew { .. }))
        };
        assert_eq!(it.send_at(), renewed.then_some(third).or(it.fence().map(|_| Mono(0))));
        assert!(!is_renewed(&it, Now { mono: Mono(299_999), unix: 0 }), "{at:?}");
        assert_eq!(is_renewed(&it, Now { mono: third, unix: 0 }), renewed, "{at:?}");
        // After a suspend, less of the lease is left than the monotonic clock shows.
        assert!(!is_renewed(&it, Now { mono: Mono(0), unix: 300 }), "{at:?}");
        assert_eq!(is_renewed(&it, Now { mono: Mono(0), unix: 301 }), renewed, "{at:?}");
        it.debt_mut().settle();
        assert_eq!(sends(&it, Now { mono: third, unix: 301 }), []);
        assert_eq!((it.send_at(), it.renew_by()), (None, None));
    }
}

#[test]
fn a_renewal_that_may_not_have_taken_is_asked_for_again_immediately() {
    let mut it = At::Running.attempt();
    it.debt_mut().renew(Lease::begin(Now { mono: Mono(300_000), unix: 300 }, 900));
    assert_eq!(it.send_at(), Some(Mono(600_000)));
    it.debt_mut().renew_again(NOW);
    assert_eq!(it.send_at(), Some(NOW));
}

#[test]
fn a_verdict_is_sent_when_that_may_be_tried_and_makes_room_where_nothing_lives() {
    for at in [At::Draining, At::Gone, At::GoneEarly] {
        let mut it = at.attempt();
        assert_eq!(it.makes_room(), !matches!(at, At::Draining));
        it.debt_mut().owe(crashed(), Mono(0));
        it.debt_mut().put_off(NOW);
        assert_eq!(sends(&it, Now { mono: Mono(NOW.0 - 1), unix: 0 }), []);
        let sent = sends(&it, Now { mono: NOW, unix: 0 });
        assert!(matches!(sent[..], [Change::Finish { .. }]), "{sent:?}");
        it.debt_mut().settle();
        assert!(!it.makes_room());
    }
}
