//! A dispatcher as it looks from the present, and that it goes on from there as it was.

mod twins;

use proptest::prelude::*;

use super::any_events::{Happening, Moves, any_life};
use super::world::*;
use crate::machine::attempt::{End, Lease};
use crate::machine::canonical::{PRESENT, Renaming};
use crate::machine::effect::{Effect, Report};
use crate::machine::event::Event;
use crate::machine::exchange::{Answer, Change, Fence, Observation, Refusal, Taken};
use crate::machine::fault::{Blame, Commit, FaultClass};
use crate::machine::hold::Hold;
use crate::machine::ids::{BoardId, SpawnId};
use crate::machine::policy::Policy;
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::Verdict;
use crate::machine::{Dispatcher, Mode};

/// The clock shows other numbers alike in all that decides how long a locked board is left alone if
/// they differ by a multiple of this.
const JITTER_MS: u64 = 160;

impl World {
    fn canonical(&self) -> Dispatcher {
        self.dispatcher.canonical(self.now())
    }
}

/// A worker of task `t1` has run for 7 milliseconds, as attempt `n`.
fn starts(world: &mut World, n: u64) {
    world.step(Event::PolicyChanged(Box::default()));
    world.answer(B, &[], Some(ready(&["t1"])));
    world.answer(B, &[claimed(1)], Some(Observation::default()));
    world.step(Event::SpawnOk { spawn: SpawnId(n), pid: pid(1) });
    world.after(5, Event::Wake);
    let ours = vec![Fence { spawn: SpawnId(n), ..fence(1) }];
    world.answer(B, &[Taken::Yes], Some(Observation { running: 1, ours, ..ready(&[]) }));
    world.after(2, Event::Wake);
}

fn young() -> World {
    let mut world = World::open();
    starts(&mut world, 1);
    world
}

/// The same, hours and two attempts later.
fn old() -> World {
    let mut world = World::open();
    for n in 1..3 {
        starts(&mut world, n);
        world.after(3_600_000, Event::KernelReady);
        let spawn = SpawnId(n);
        // The lease is renewed meanwhile.
        world.answer(B, &[Taken::Yes], None);
        let Event::ChildExited { pid, status, group, .. } = exit(1, 0) else { panic!() };
        world.step(Event::ChildExited { spawn, pid, status, group });
        world.step(Event::Reaped { seq: n });
        world.answer(B, &[Taken::Yes], Some(Observation::default()));
    }
    world.after(123_456, Event::Wake);
    starts(&mut world, 3);
    world
}

#[test]
fn the_same_situation_is_the_same_regardless_of_time_and_history() {
    let (young, old) = (young(), old());
    assert_ne!(young.dispatcher, old.dispatcher);
    assert_eq!(young.canonical(), old.canonical());
}

#[test]
fn the_same_situation_stays_the_same_after_any_event() {
    let (mut young, mut old) = (young(), old());
    let exits = |n| match exit(1, 3) {
        Event::ChildExited { pid, status, group, .. } => {
            Event::ChildExited { spawn: SpawnId(n), pid, status, group }
        }
        _ => panic!(),
    };
    for event in [|_| Event::Tick, |_| Event::Drain { grace_ms: 50 }, exits] {
        young.after(9, event(1));
        old.after(9, event(3));
        assert_eq!(young.canonical(), old.canonical());
    }
}

#[test]
fn situations_that_differ_in_what_is_to_come_are_not_the_same() {
    type Make = fn(&mut World);
    let likes: [(&str, Make); 9] = [
        ("as it was", |_| {}),
        ("later", |w| w.ms += 1),
        ("ticked", |w| drop(w.step(Event::Tick))),
        ("a phase", |w| drop(w.step(Event::Abort))),
        ("a verdict that is owed", |w| drop(w.exits(1, 0))),
        ("another one", |w| drop(w.exits(1, 3))),
        ("a deadline", |w| drop(w.step(Event::Drain { grace_ms: 1_000 }))),
        ("another one", |w| drop(w.step(Event::Drain { grace_ms: 1_001 }))),
        ("a row that is gone", |w| {
            w.step(Event::Tick);
            w.look_for(B, Observation::default());
        }),
    ];
    let forms = likes.map(|(what, make)| {
        let mut world = young();
        make(&mut world);
        (what, world.canonical())
    });
    for (n, (what, form)) in forms.iter().enumerate() {
        for (other, other_form) in &forms[..n] {
            assert_ne!(form, other_form, "{what}, {other}");
        }
    }
}

#[test]
fn what_has_passed_is_the_same_however_long_ago() {
    let mut world = World::open();
    let fresh = world.canonical();
    // Only the time for looking at everything comes closer.
    world.ms += 300_000;
    let long_after = world.canonical();
    assert_ne!(fresh, long_after);
    world.ms += 86_400_000;
    assert_eq!(long_after, world.canonical());
}

#[test]
fn the_age_of_an_attempt_matters_only_while_it_can_become_too_long() {
    for (max_runtime_s, same) in [(None, true), (Some(60), false)] {
        let [one, two] = [0, 30_000].map(|ms| {
            let mut world = World::open();
            world.step(Event::Tick);
            world.look_for(B, ready(&["t1"]));
            let taken = Taken::Claimed { run: fence(1).run, max_runtime_s };
            world.answer(B, &[taken], Some(ours(&[1])));
            world.step(Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) });
            world.after(5, Event::Wake);
            world.answer(B, &[Taken::Yes], None);
            world.after(ms, Event::Wake);
            let canonical = world.canonical();
            let mut attempt = canonical.attempts().next().unwrap().1.clone();
            // Its lease does not matter here.
            attempt.debt_mut().renew(Lease::begin(PRESENT, 900));
            attempt
        });
        assert_eq!(one == two, same);
    }
}

#[test]
fn a_shutdown_that_is_out_of_patience_lives_at_the_present() {
    let mut world = young();
    world.step(Event::Drain { grace_ms: 50 });
    let deadline = Some(PRESENT.mono.after(50));
    assert_eq!(world.canonical().mode(), Mode::Draining { deadline });
    world.ms += 1_000;
    assert_eq!(world.canonical().mode(), Mode::Draining { deadline: Some(PRESENT.mono) });
}

#[test]
fn attempts_are_numbered_from_one_in_their_order_and_the_next_ones_after_them() {
    let mut world = World::open();
    for (n, name) in [(1, "t1"), (2, "t2"), (3, "t3"), (4, "t4")] {
        world.step(Event::Tick);
        world.look_for(B, ready(&[name]));
        world.answer(B, &[claimed(n)], Some(ours(&[n])));
        if n == 1 || n == 3 {
            world.step(Event::SpawnFailed { spawn: SpawnId(n), blame: Blame::Task, errno: 2 });
            world.answer(B, &[Taken::Yes], None);
        }
    }
    let renaming = world.dispatcher.renaming(world.now(), []);
    let renamed = |n| renaming.spawn(SpawnId(n)).map(|spawn| spawn.0);
    let all: Vec<Option<u64>> = (0..=7).map(renamed).collect();
    assert_eq!(all, [None, None, Some(1), None, Some(2), Some(3), Some(4), Some(5)]);
    let numbers: Vec<u64> = world.canonical().attempts().map(|(_, a)| a.id().0).collect();
    assert_eq!(numbers, [1, 2]);
    // Whoever still knows a forgotten one has it numbered along.
    let renaming = world.dispatcher.renaming(world.now(), [SpawnId(3), SpawnId(3), SpawnId(9)]);
    let all: Vec<_> = (2..6).map(|n| renaming.spawn(SpawnId(n)).unwrap().0).collect();
    assert_eq!(all, [1, 2, 3, 4]);
}

#[test]
fn attempts_have_the_same_number_wherever_they_stand() {
    let mut world = young();
    // This dispatcher does not remember the claim, and must put it back.
    let stray = Fence { spawn: SpawnId(0), ..fence(7) };
    let seen = Observation { running: 2, ours: vec![stray, fence(1)], ..ready(&["t2"]) };
    world.step(Event::Tick);
    let sent = sent(&world.look_for(B, seen));
    let of: Vec<_> = sent.iter().map(|change| change.spawn().unwrap().0).collect();
    assert_eq!(of, [0, 2]);
    let canonical = world.canonical();
    let board = canonical.boards().next().unwrap();
    let of: Vec<_> = board.under_way().iter().map(|change| change.spawn().unwrap().0).collect();
    assert_eq!(of, [1, 3]);
    assert_eq!(board.strays().iter().map(|fence| fence.spawn.0).collect::<Vec<_>>(), [1]);
    assert_eq!(canonical.attempts().map(|(_, a)| a.id().0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn the_newest_request_is_number_zero() {
    let world = young();
    let renaming = world.dispatcher.renaming(world.now(), []);
    let newest = world.seq(B);
    assert_eq!([newest, newest + 1].map(|seq| renaming.seq(B, seq)), [0, 1]);
    assert_ne!(renaming.seq(B, newest - 1), 0);
    assert_eq!(world.canonical().boards().next().unwrap().seq(), 0);
}

#[test]
fn the_end_of_time_stays_the_end_of_time() {
    let mut world = young();
    world.step(Event::Drain { grace_ms: u64::MAX });
    let end = Mode::Draining { deadline: Some(Mono(u64::MAX)) };
    assert_eq!(world.canonical().mode(), end);
    assert_eq!(world.canonical().canonical(PRESENT).mode(), end);
}
