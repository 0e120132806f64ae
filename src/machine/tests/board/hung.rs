//! A board that does not answer in time, and its late answers.

use crate::machine::board::{Exchanging, Link};
use crate::machine::effect::{Effect, Report};
use crate::machine::event::Event;
use crate::machine::exchange::{Observation, Taken};
use crate::machine::fault::{Commit, FaultClass};
use crate::machine::hold::{BoardHold, End, Owner};
use crate::machine::ids::{BoardId, SpawnId};
use crate::machine::policy::Policy;
use crate::machine::tests::world::*;
use crate::machine::verdict::{Release, Verdict};

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
