//! A board that cannot be opened, or fails in use: when it is tried again, and what is told of it.

use crate::machine::effect::{Effect, Report};
use crate::machine::event::Event;
use crate::machine::exchange::Observation;
use crate::machine::fault::{Commit, Fault, FaultClass};
use crate::machine::hold::{BoardHold, End};
use crate::machine::policy::Policy;
use crate::machine::tests::world::*;
use crate::machine::time::Mono;

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
