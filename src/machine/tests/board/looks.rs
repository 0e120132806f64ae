//! A board that is looked at because time has passed.

use crate::machine::event::Event;
use crate::machine::exchange::Observation;
use crate::machine::tests::world::*;

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
