//! A board that is added, removed and listed again, and answers to what was asked of it before.

use crate::machine::board::Link;
use crate::machine::effect::{Effect, Report};
use crate::machine::event::Event;
use crate::machine::exchange::{Observation, Taken};
use crate::machine::fault::{Commit, FaultClass};
use crate::machine::ids::SpawnId;
use crate::machine::tests::world::*;
use crate::machine::verdict::Verdict;

#[test]
fn a_board_that_is_added_is_opened_immediately_and_only_once() {
    let mut world = World::new();
    assert_eq!(world.step(Event::BoardAdded { board: B }), [connect(B, 1, false)]);
    assert_eq!(world.step(Event::BoardAdded { board: B }), []);
    world.connected(B);
    assert_eq!(world.step(Event::BoardAdded { board: B }), []);
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
