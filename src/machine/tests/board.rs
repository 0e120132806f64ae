//! A board that is opened, sick, slow, replaced, removed.

use super::world::*;
use crate::machine::board::{Exchanging, Link};
use crate::machine::effect::{Effect, Report};
use crate::machine::event::Event;
use crate::machine::exchange::{Observation, Taken};
use crate::machine::fault::{Blame, Commit, Fault, FaultClass};
use crate::machine::hold::{BoardHold, End, Owner};
use crate::machine::ids::{BoardId, SpawnId};
use crate::machine::policy::Policy;
use crate::machine::time::Mono;
use crate::machine::verdict::{Release, Verdict};

/// A board that cannot be opened, for this reason.
fn refused(class: FaultClass) -> (World, Vec<Effect>) {
    let mut world = World::new();
    world.step(Event::BoardAdded { board: B });
    world.step(Event::BoardsListed);
    let effects = world.connect_failed(B, fault(class));
    (world, effects)
}

fn sick(class: FaultClass, until: u64) -> Effect {
    report(Report::BoardSick(B, fault(class), Mono(until)))
}

#[test]
fn a_board_that_is_added_is_opened_immediately_and_only_once() {
    let mut world = World::new();
    assert_eq!(world.step(Event::BoardAdded { board: B }), [connect(B, 1, false)]);
    assert_eq!(world.step(Event::BoardAdded { board: B }), []);
    world.connected(B);
    assert_eq!(world.step(Event::BoardAdded { board: B }), []);
}

#[test]
fn a_board_that_cannot_be_opened_is_retried_after_the_wait_of_its_fault_class() {
    for (class, wait_ms, told) in [
        (FaultClass::Content, 300_000, true),
        (FaultClass::Access, 1_000, true),
        (FaultClass::Busy, 25, false),
    ] {
        let (mut world, effects) = refused(class);
        let expected: Vec<Effect> = told.then(|| sick(class, wait_ms)).into_iter().collect();
        assert_eq!(effects, expected);
        assert_eq!(world.wake, Some(wait_ms));
        assert_eq!(world.after(wait_ms - 1, Event::Wake), []);
        assert_eq!(world.after(1, Event::Wake), [connect(B, 2, false)]);
    }
    let (_, effects) = refused(FaultClass::Replaced);
    assert_eq!(effects, [connect(B, 2, false)]);
}

#[test]
fn a_fault_that_stays_is_reported_once_and_its_end_once() {
    let (mut world, _) = refused(FaultClass::Access);
    world.after(1_000, Event::Wake);
    assert_eq!(world.connect_failed(B, fault(FaultClass::Access)), []);
    assert_eq!(world.wake, Some(3_000), "it waits twice as long");
    world.after(2_000, Event::Wake);
    world.connected(B);
    let well = [report(Report::BoardWell(B))];
    assert_eq!(world.look_for(B, Observation::default()), well);
    world.step(Event::Tick);
    assert_eq!(world.look_for(B, Observation::default()), []);
}

#[test]
fn a_board_out_of_use_is_a_hold_until_it_takes_changes_again() {
    let (mut world, _) = refused(FaultClass::Access);
    let hold =
        |until| Some(BoardHold::Quarantined { class: FaultClass::Access, until: Mono(until) });
    assert_eq!(world.board(B).file_hold(), hold(1_000));
    assert_eq!(hold(1_000).unwrap().end(world.now()), End::At(EPOCH + 1));
    world.after(1_000, Event::Wake);
    assert_eq!(world.board(B).file_hold(), hold(1_000), "a retry under way is no news");
    world.connect_failed(B, fault(FaultClass::Access));
    assert_eq!(world.board(B).file_hold(), hold(3_000));
    world.after(2_000, Event::Wake);
    world.connected(B);
    world.look_for(B, Observation::default());
    assert_eq!(world.board(B).file_hold(), None);
    let (world, _) = refused(FaultClass::Busy);
    assert_eq!(world.board(B).file_hold(), None, "a lock is everyday life");
}

#[test]
fn a_board_that_does_not_answer_is_a_hold_that_its_operator_ends() {
    let mut world = World::new();
    world.add(B);
    world.after(9_999, Event::Wake);
    assert_eq!(world.board(B).file_hold(), None);
    world.after(1, Event::Wake);
    assert_eq!(world.board(B).file_hold(), Some(BoardHold::Hung));
    assert_eq!(BoardHold::Hung.end(world.now()), End::Owner(Owner::Operator));
    world.look_for(B, Observation::default());
    assert_eq!(world.board(B).file_hold(), None);
}

#[test]
fn a_lock_is_reported_only_when_it_stays() {
    let (mut world, _) = refused(FaultClass::Busy);
    let mut told = Vec::new();
    for n in 2..=7 {
        world.ms = world.wake.unwrap();
        world.step(Event::Wake);
        if !world.connect_failed(B, fault(FaultClass::Busy)).is_empty() {
            told.push(n);
        }
    }
    assert_eq!(told, [7]);
}

#[test]
fn bad_content_is_looked_at_on_each_tick_without_opening_what_has_not_changed() {
    let (mut world, _) = refused(FaultClass::Content);
    let effects = world.after(60_000, Event::Tick);
    assert_eq!(effects, [reap(1), Effect::ListBoards, connect(B, 2, true)]);
    let unchanged = Fault { class: FaultClass::Content, unchanged: true };
    assert_eq!(world.connect_failed(B, unchanged), []);
    // That was not a new failure: the time of the next full look stands.
    assert_eq!(world.after(239_999, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [connect(B, 3, false)]);
}

#[test]
fn bad_content_is_looked_at_a_tenth_of_a_second_after_a_change_notice() {
    let (mut world, _) = refused(FaultClass::Content);
    assert_eq!(world.step(Event::BoardChanged { board: B }), []);
    assert_eq!(world.after(99, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [connect(B, 2, true)]);
    assert_eq!(
        world.connected(B),
        [report(Report::BoardOpened(B)), world.exchange(3, true, 72, &[])]
    );
}

#[test]
fn notices_without_a_pause_do_not_put_the_look_at_bad_content_off() {
    let (mut world, _) = refused(FaultClass::Content);
    world.step(Event::BoardChanged { board: B });
    assert_eq!(world.after(99, Event::BoardChanged { board: B }), []);
    assert_eq!(world.after(1, Event::Wake), [connect(B, 2, true)]);
}

#[test]
fn a_change_notice_while_a_board_is_being_opened_is_not_forgotten() {
    let (mut world, _) = refused(FaultClass::Content);
    world.step(Event::BoardChanged { board: B });
    assert_eq!(world.after(100, Event::Wake), [connect(B, 2, true)]);
    world.step(Event::BoardChanged { board: B });
    world.connect_failed(B, fault(FaultClass::Content));
    assert_eq!(world.after(99, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [connect(B, 3, true)]);
}

#[test]
fn a_board_out_of_reach_is_tried_a_tenth_of_a_second_after_a_change_notice() {
    let (mut world, _) = refused(FaultClass::Access);
    world.step(Event::BoardChanged { board: B });
    assert_eq!(world.after(99, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [connect(B, 2, false)]);
}

#[test]
fn a_board_out_of_reach_is_not_tried_by_a_tick() {
    let (mut world, _) = refused(FaultClass::Access);
    assert_eq!(world.step(Event::Tick), [reap(1), Effect::ListBoards]);
}

#[test]
fn trouble_in_an_exchange_keeps_the_file_open_unless_its_content_is_wrong() {
    for class in [FaultClass::Access, FaultClass::Busy] {
        let mut world = World::open();
        world.step(Event::Tick);
        let effects = world.exchange_failed(B, class, Commit::No);
        assert!(!effects.contains(&Effect::Disconnect { board: B }));
        world.ms = world.wake.unwrap();
        let effects = world.step(Event::Wake);
        assert_eq!(effects, [world.exchange(4, true, 72, &[])], "{class:?}");
    }
    let mut world = World::open();
    world.step(Event::Tick);
    assert_eq!(
        world.exchange_failed(B, FaultClass::Content, Commit::No),
        [Effect::Disconnect { board: B }, sick(FaultClass::Content, 300_000)]
    );
}

#[test]
fn a_replaced_file_is_closed_and_the_new_one_opened_immediately() {
    let mut world = World::open();
    world.step(Event::Tick);
    assert_eq!(
        world.exchange_failed(B, FaultClass::Replaced, Commit::Maybe),
        [Effect::Disconnect { board: B }, connect(B, 4, false)]
    );
    // Replaced repeatedly: reopened immediately only the first time.
    assert_eq!(
        world.connect_failed(B, fault(FaultClass::Replaced)),
        [sick(FaultClass::Replaced, 1_000)]
    );
}

#[test]
fn what_was_seen_of_a_board_is_not_believed_after_a_fault() {
    let mut world = World::open_with(Policy { max_workers: 0, ..Policy::default() });
    world.step(Event::Tick);
    world.look_for(B, ready(&["t1"]));
    assert!(world.board(B).wants_slots(&world.dispatcher.shared));
    world.step(Event::Tick);
    world.exchange_failed(B, FaultClass::Busy, Commit::No);
    assert!(!world.board(B).wants_slots(&world.dispatcher.shared));
}

#[test]
fn a_board_that_does_not_answer_in_time_is_reported_once_and_still_waited_for() {
    let mut world = World::new();
    world.add(B);
    assert_eq!(world.after(9_999, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [report(Report::BoardHung(B))]);
    assert_eq!(world.after(10_000, Event::Wake), []);
    assert!(matches!(world.link(B), Link::Exchanging(Exchanging { deadline: None, .. })));
    assert_eq!(sent(&world.look_for(B, ready(&["t1"]))), [claim(1)]);
}

#[test]
fn a_connect_that_takes_too_long_is_reported_and_still_waited_for() {
    let mut world = World::new();
    world.step(Event::BoardAdded { board: B });
    assert_eq!(world.after(10_000, Event::Wake), [report(Report::BoardHung(B))]);
    assert_eq!(world.connected(B)[0], report(Report::BoardOpened(B)));
}

#[test]
fn a_board_that_hung_and_takes_changes_again_is_reported_well_once() {
    let well = [report(Report::BoardWell(B))];
    let mut world = World::new();
    world.add(B);
    world.after(10_000, Event::Wake);
    assert_eq!(world.board(B).file_hold(), Some(BoardHold::Hung));
    assert_eq!(world.look_for(B, Observation::default()), well);
    assert_eq!(world.board(B).file_hold(), None);
    world.step(Event::Tick);
    assert_eq!(world.look_for(B, Observation::default()), []);

    let mut world = World::new();
    world.step(Event::BoardAdded { board: B });
    world.after(10_000, Event::Wake);
    world.connected(B);
    assert_eq!(world.board(B).file_hold(), None);
    assert_eq!(world.look_for(B, Observation::default()), well, "open is not well yet");
}

#[test]
fn a_board_that_hung_is_reported_well_even_if_its_late_answer_was_a_transient_fault() {
    let mut world = World::new();
    world.add(B);
    world.after(10_000, Event::Wake);
    assert_eq!(world.exchange_failed(B, FaultClass::Busy, Commit::No), []);
    world.after(25, Event::Wake);
    assert_eq!(world.look_for(B, Observation::default()), [report(Report::BoardWell(B))]);
}

/// One slot; the claim of `B` hangs, and `C` has got the slot.
fn lent() -> World {
    let mut world = World::with(Policy { max_workers: 1, ..Policy::default() });
    world.add(B);
    world.add(C);
    assert_eq!(sent(&world.look_for(B, ready(&["t1"]))), [claim(1)]);
    assert_eq!(world.look_for(C, ready(&["t2"])), []);
    let effects = world.after(10_000, Event::Wake);
    assert_eq!(effects[0], report(Report::BoardHung(B)));
    assert_eq!(sent(&effects), [claim(2)]);
    world
}

#[test]
fn the_slots_of_a_board_that_hangs_go_to_others_and_its_late_claim_is_given_back() {
    let mut world = lent();
    world.answer(C, &[claimed(2)], None);
    assert_eq!(
        world.answer(B, &[claimed(1)], Some(ours(&[1]))),
        [
            report(Report::BoardWell(B)),
            note(1, Verdict::Released(Release::NotStarted)),
            report(Report::Claimed(fence(1), B)),
            world.exchange(4, false, 64, &[release(1, Release::NotStarted)]),
        ]
    );
}

#[test]
fn a_late_claim_is_still_spawned_if_its_slot_is_free() {
    let mut world = lent();
    world.answer(C, &[Taken::No(crate::machine::exchange::Refusal::Superseded)], None);
    assert_eq!(
        world.answer(B, &[claimed(1)], Some(ours(&[1]))),
        [report(Report::BoardWell(B)), spawn(1), report(Report::Claimed(fence(1), B))]
    );
}

#[test]
fn a_late_answer_settles_what_it_carried() {
    let mut world = World::running();
    world.exits(1, 0);
    world.after(10_000, Event::Wake);
    assert_eq!(
        world.answer(B, &[Taken::Yes], None),
        [
            report(Report::BoardWell(B)),
            report(Report::Recorded(SpawnId(1), Verdict::Completed)),
            Effect::Forget { spawn: SpawnId(1) },
        ]
    );
}

#[test]
fn an_answer_to_an_older_request_is_ignored() {
    let mut world = World::open();
    world.step(Event::Tick);
    let seq = world.seq(B) - 1;
    let (fault, commit) = (fault(FaultClass::Content), Commit::No);
    assert_eq!(
        world.step(Event::ExchangeFailed { board: B, seq, fault, commit }),
        [report(Report::Unexpected("ExchangeFailed"))]
    );
    assert!(matches!(world.link(B), Link::Exchanging(_)));
}

#[test]
fn a_board_that_is_removed_is_closed() {
    let mut world = World::open();
    assert_eq!(world.step(Event::BoardRemoved { board: B }), [Effect::Disconnect { board: B }]);
    assert_eq!(world.dispatcher.boards().count(), 0);
    assert_eq!(world.step(Event::BoardRemoved { board: B }), []);
}

#[test]
fn a_board_that_is_removed_while_it_has_a_request_under_way_is_closed_with_the_answer() {
    let mut world = World::new();
    world.add(B);
    assert_eq!(world.step(Event::BoardRemoved { board: B }), []);
    assert_eq!(world.look_for(B, ready(&["t1"])), [Effect::Disconnect { board: B }]);
}

#[test]
fn a_board_that_is_removed_while_a_run_of_it_lives_is_kept_until_its_end_is_recorded() {
    let mut world = World::running();
    assert_eq!(world.step(Event::BoardRemoved { board: B }), []);
    assert_eq!(sent(&world.exits(1, 0)), [finish(1, Verdict::Completed)]);
    assert_eq!(
        world.answer(B, &[Taken::Yes], Some(ready(&["t2"]))),
        [
            report(Report::Recorded(SpawnId(1), Verdict::Completed)),
            Effect::Forget { spawn: SpawnId(1) },
            Effect::Disconnect { board: B },
        ]
    );
}

#[test]
fn nothing_new_is_claimed_from_a_board_that_is_no_longer_listed_until_it_is_again() {
    let mut world = World::running();
    world.step(Event::BoardRemoved { board: B });
    world.step(Event::Tick);
    let seen = Observation { running: 1, ours: vec![fence(1)], ..ready(&["t2"]) };
    assert_eq!(world.look_for(B, seen), []);
    assert_eq!(sent(&world.step(Event::BoardAdded { board: B })), [claim(2)]);
}

#[test]
fn a_sick_board_that_is_listed_again_is_tried_immediately() {
    let mut world = World::running();
    world.exits(1, 0);
    world.exchange_failed(B, FaultClass::Content, Commit::No);
    assert_eq!(world.step(Event::BoardRemoved { board: B }), []);
    assert_eq!(world.step(Event::BoardAdded { board: B }), [connect(B, 6, false)]);
}

#[test]
fn what_changes_by_itself_is_looked_at_when_its_second_comes() {
    let mut world = World::new();
    world.add(B);
    let seen = Observation { due: Some(EPOCH + 3), ..Observation::default() };
    assert_eq!(world.look_for(B, seen), []);
    assert_eq!(world.wake, Some(3_000));
    assert_eq!(world.after(2_999, Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)), []);
}

#[test]
fn what_is_overdue_and_does_not_change_is_looked_at_once_a_second() {
    let mut world = World::new();
    world.add(B);
    let seen = || Observation { due: Some(EPOCH - 9), ..Observation::default() };
    assert_eq!(world.look_for(B, seen()), []);
    assert_eq!(sent(&world.after(1_000, Event::Wake)), []);
    assert_eq!(world.look_for(B, seen()), []);
}

#[test]
fn a_tick_looks_at_everything_once_in_five_minutes() {
    let mut world = World::open();
    for (minute, fresh) in [(1, false), (2, false), (3, false), (4, false), (5, true), (6, false)] {
        world.ms = minute * 60_000;
        let effects = world.step(Event::Tick);
        assert_eq!(effects[2], world.exchange(2 + minute, fresh, 72, &[]));
        world.look_for(B, Observation::default());
    }
}

#[test]
fn a_board_that_returns_ignores_answers_to_its_earlier_requests() {
    let mut world = World::open();
    world.step(Event::BoardRemoved { board: B });
    let effects = world.step(Event::BoardAdded { board: B });
    let again = effects.iter().find_map(|effect| match effect {
        Effect::Connect { seq, .. } => Some(*seq),
        _ => None,
    });
    for seq in 0..again.unwrap() {
        assert_eq!(
            world.step(Event::Connected { board: B, seq }),
            [report(Report::Unexpected("Connected"))]
        );
    }
}

#[test]
fn another_file_with_bad_content_is_a_new_fault_although_it_was_only_looked_at() {
    let (mut world, _) = refused(FaultClass::Content);
    world.after(60_000, Event::Tick);
    assert_eq!(world.connect_failed(B, fault(FaultClass::Content)), []);
    // It is as good as new: its time begins now.
    assert_eq!(world.after(299_999, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [connect(B, 3, false)]);
}

#[test]
fn a_tick_opens_even_unchanged_bad_content_when_its_time_has_come() {
    let (mut world, _) = refused(FaultClass::Content);
    let effects = world.after(300_000, Event::Tick);
    assert_eq!(effects[2..], [connect(B, 2, false)]);
}

/// The directories of board `B` refuse attempt `n`. Returns for how long the board rests.
fn directories_fail(world: &mut World, n: u64) -> u64 {
    world.step(Event::Tick);
    let claims = sent(&world.look_for(B, ready(&[&format!("t{n}")])));
    assert_eq!(claims, [claim(n)]);
    world.answer(B, &[claimed(n)], Some(ours(&[n])));
    let blame = Blame::Board;
    world.step(Event::SpawnFailed { spawn: SpawnId(n), blame, errno: 5 });
    world.answer(B, &[Taken::Yes], Some(Observation::default()));
    let Some(BoardHold::DirectoriesFail { until }) = world.board(B).directory_hold(Mono(world.ms))
    else {
        panic!()
    };
    let rest = until.since(Mono(world.ms));
    world.ms = until.0;
    rest
}

#[test]
fn directories_that_fail_hold_their_board_for_a_second_doubling_to_thirty() {
    let mut world = World::open();
    let rests: Vec<u64> = (1..=7).map(|n| directories_fail(&mut world, n)).collect();
    assert_eq!(rests, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
}

#[test]
fn directories_that_worked_in_between_are_given_the_shortest_rest_again() {
    let mut world = World::open();
    assert_eq!([1, 2].map(|n| directories_fail(&mut world, n)), [1_000, 2_000]);
    world.step(Event::Tick);
    world.look_for(B, ready(&["t3"]));
    world.answer(B, &[claimed(3)], Some(ours(&[3])));
    world.step(Event::SpawnOk { spawn: SpawnId(3), pid: pid(3) });
    world.exits(3, 0);
    world.answer(B, &[Taken::Yes, Taken::Yes], Some(Observation::default()));
    assert_eq!(directories_fail(&mut world, 4), 1_000);
}

#[test]
fn only_the_slots_of_the_board_that_hangs_go_to_others() {
    let third = BoardId(3);
    let mut world = World::with(Policy { max_workers: 2, ..Policy::default() });
    [B, C, third].into_iter().for_each(|board| world.add(board));
    world.look_for(third, Observation::default());
    assert_eq!(sent(&world.look_for(B, ready(&["t1"]))), [claim(1)]);
    world.ms = 5_000;
    world.look_for(C, Observation::default());
    world.step(Event::Tick);
    assert_eq!(sent(&world.look_for(C, ready(&["t2"]))), [claim(2)]);
    assert_eq!(world.look_for(third, ready(&["t3", "t4"])), []);
    let effects = world.after(5_000, Event::Wake);
    assert_eq!(effects[0], report(Report::BoardHung(B)));
    assert_eq!(sent(&effects), [claim(3)]);
}
