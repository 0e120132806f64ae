//! A board whose directories refuse to have anything started in them.

use crate::machine::event::Event;
use crate::machine::exchange::{Observation, Taken};
use crate::machine::fault::Blame;
use crate::machine::hold::BoardHold;
use crate::machine::ids::SpawnId;
use crate::machine::tests::world::*;
use crate::machine::time::Mono;

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
