//! The looks that follow a change notice.

use super::world::*;
use crate::machine::event::Event;
use crate::machine::exchange::{Observation, Taken};

#[test]
fn a_change_notice_is_followed_by_looks_at_growing_distances() {
    let mut world = World::open();
    assert_eq!(world.step(Event::BoardChanged { board: B }), []);
    let mut looks = Vec::new();
    while world.ms < 1_000 {
        if !world.after(1, Event::Wake).is_empty() {
            looks.push(world.ms);
            assert_eq!(world.answer(B, &[], None), []);
        }
    }
    // 1, 2, 4, 8, 16, 32, 64, 128 milliseconds apart.
    assert_eq!(looks, [1, 3, 7, 15, 31, 63, 127, 255]);
    assert!(world.is_idle(0));
}

#[test]
fn each_step_of_the_recheck_schedule_is_woken_for() {
    let mut world = World::open();
    world.step(Event::BoardChanged { board: B });
    let mut wakes = Vec::new();
    for _ in 0..8 {
        world.ms = world.wake.unwrap();
        wakes.push(world.ms);
        assert_eq!(sent(&world.step(Event::Wake)), []);
        world.answer(B, &[], None);
    }
    assert_eq!(wakes, [1, 3, 7, 15, 31, 63, 127, 255]);
}

#[test]
fn notices_without_a_pause_do_not_put_the_next_look_off() {
    let mut world = World::open();
    world.step(Event::BoardChanged { board: B });
    assert_eq!(sent(&world.after(1, Event::BoardChanged { board: B })), []);
}

#[test]
fn a_notice_about_a_board_that_is_not_known_is_nothing() {
    assert_eq!(World::open().step(Event::BoardChanged { board: C }), []);
}

#[test]
fn who_may_hide_behind_our_own_write_is_looked_for_but_not_waited_for() {
    let after_self_notice = || {
        let mut world = World::running();
        world.exits(1, 0);
        world.answer(B, &[Taken::Yes], None);
        world.step(Event::BoardChanged { board: B });
        world
    };
    // A rival whose commit is slow on the disk causes a notice before the commit is visible.
    assert_eq!(looks(&mut after_self_notice()), [16, 48, 112, 240]);
    let mut world = after_self_notice();
    world.after(16, Event::Wake);
    assert!(!world.is_idle(0));
    world.answer(B, &[], None);
    assert!(world.is_idle(0));
}

/// When board `B` is looked at during the next quarter of a second.
fn looks(world: &mut World) -> Vec<u64> {
    let begin = world.ms;
    let mut looks = Vec::new();
    while world.ms < begin + 250 {
        if !world.after(1, Event::Wake).is_empty() {
            looks.push(world.ms - begin);
            assert_eq!(world.answer(B, &[], None), []);
        }
    }
    looks
}

/// Board `B` is asked for a claim.
fn writing() -> World {
    let mut world = World::open();
    world.step(Event::Tick);
    world.look_for(B, ready(&["t1"]));
    world
}

#[test]
fn a_notice_while_we_write_is_taken_for_a_self_notice() {
    let mut world = writing();
    world.step(Event::BoardChanged { board: B });
    world.answer(B, &[claimed(1)], None);
    assert_eq!(looks(&mut world), [16, 48, 112, 240]);
}

#[test]
fn a_notice_within_twenty_milliseconds_of_our_write_is_a_self_notice() {
    for (ms, expected) in [(19, &[16, 48, 112, 240][..]), (20, &[1, 3, 7, 15, 31, 63, 127])] {
        let mut world = writing();
        world.answer(B, &[claimed(1)], None);
        world.after(ms, Event::BoardChanged { board: B });
        assert_eq!(looks(&mut world), expected, "after {ms} milliseconds");
    }
}

#[test]
fn a_notice_while_we_only_look_is_not_a_self_notice() {
    let mut world = World::open();
    world.step(Event::Tick);
    world.step(Event::BoardChanged { board: B });
    world.look_for(B, Observation::default());
    assert_eq!(looks(&mut world), [1, 3, 7, 15, 31, 63, 127]);
}

#[test]
fn a_second_self_notice_does_not_restart_the_recheck_schedule() {
    let mut world = writing();
    world.step(Event::BoardChanged { board: B });
    world.step(Event::BoardChanged { board: B });
    world.answer(B, &[claimed(1)], None);
    assert_eq!(looks(&mut world), [16, 48, 112, 240]);
}
