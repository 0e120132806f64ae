//! How things stand, where it hangs on more than one thing.

use super::world::*;
use crate::machine::Dispatcher;
use crate::machine::effect::{Effect, Report};
use crate::machine::event::{Event, Group};
use crate::machine::exchange::{Expired, LeaseEnd, Observation, Ready, Refusal, Taken};
use crate::machine::fault::{Blame, Commit, FaultClass};
use crate::machine::ids::SpawnId;
use crate::machine::policy::Policy;
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::{ExitStatus, Release, Verdict};

fn promotable() -> Observation {
    Observation { promotable: vec![task("p")], ..Observation::default() }
}

#[test]
fn what_a_tick_began_has_ended_when_no_board_is_being_opened_or_talked_to() {
    let mut world = World::new();
    assert!(!world.dispatcher.is_settled(), "it is not known which boards there are");
    world.step(Event::BoardsListed);
    assert!(world.dispatcher.is_settled());
    world.step(Event::BoardAdded { board: B });
    assert!(!world.dispatcher.is_settled(), "it is being opened");
    world.connected(B);
    assert!(!world.dispatcher.is_settled(), "it is being looked at");
    world.look_for(B, Observation::default());
    assert!(world.dispatcher.is_settled());
    world.step(Event::BoardAdded { board: C });
    assert!(!world.dispatcher.is_settled(), "another one is being opened");
    world.connect_failed(C, fault(FaultClass::Content));
    assert!(world.dispatcher.is_settled(), "nothing more comes of that one now");
    // Whatever runs, and however long.
    world.step(Event::Tick);
    assert!(!world.dispatcher.is_settled());
    world.connect_failed(C, fault(FaultClass::Content));
    world.look_for(B, ready(&["t1"]));
    assert!(!world.dispatcher.is_settled());
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    assert!(world.dispatcher.is_settled());
    assert!(!world.is_idle(0));
}

#[test]
fn a_worker_that_is_alive_is_waited_for_however_long_its_board_is_out_of_use() {
    let mut world = World::running();
    world.step(Event::Tick);
    world.exchange_failed(B, FaultClass::Content, Commit::No);
    world.ms += 60_000;
    assert!(!world.is_idle(1_000));
    world.step(Event::Drain { grace_ms: 60_000 });
    assert!(!world.is_drained(1_000));
}

#[test]
fn what_a_completed_worker_left_behind_is_waited_for_although_its_end_is_owed() {
    let mut world = World::running();
    let (spawn, status) = (SpawnId(1), ExitStatus::Code(0));
    world.step(Event::ChildExited { spawn, pid: pid(1), status, group: Group::Alive });
    world.exchange_failed(B, FaultClass::Content, Commit::No);
    world.ms += 60_000;
    assert!(!world.is_idle(1_000));
}

#[test]
fn an_answer_that_is_outstanding_is_waited_for_although_the_end_is_recorded() {
    let mut world = World::new();
    world.add(B);
    world.step(Event::BoardsListed);
    world.look_for(B, ready(&["t1"]));
    world.answer(B, &[claimed(1)], None);
    world.exits(1, 0);
    world.answer(B, &[Taken::Yes, Taken::Yes], Some(Observation::default()));
    assert!(world.dispatcher.is_settled());
    assert!(!world.is_idle(0));
    world.step(Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) });
    assert!(world.is_idle(0));
}

#[test]
fn an_end_that_its_board_rejects_is_not_waited_for_until_it_is_sent_again() {
    let mut world = World::running();
    world.exits(1, 0);
    world.answer(B, &[Taken::No(Refusal::Rejected)], Some(Observation::default()));
    world.step(Event::Drain { grace_ms: 0 });
    assert!(world.is_idle(60_000) && world.is_drained(60_000));
    world.ms += 29_999;
    assert!(world.is_idle(60_000) && world.is_drained(60_000));
    world.ms += 1;
    assert!(!world.is_idle(60_000) && !world.is_drained(60_000));
}

#[test]
fn what_is_to_be_put_right_is_waited_for_while_another_dispatcher_is_at_work() {
    let expired = Expired { task: task("u"), run: None, by: LeaseEnd::Expired };
    let freeable = Observation { expired: vec![expired], ..Observation::default() };
    for seen in [promotable(), freeable] {
        let mut world = World::new();
        world.add(B);
        world.step(Event::BoardsListed);
        world.look_for(B, seen.clone());
        world.answer(B, &[Taken::No(Refusal::Locked)], None);
        assert!(!world.is_idle(1), "{seen:?}");
        assert!(world.is_idle(0), "not waited for without a grace");
    }
}

#[test]
fn a_promotion_that_is_refused_repeatedly_is_not_waited_for_forever() {
    let mut world = World::open();
    world.step(Event::Tick);
    world.look_for(B, promotable());
    let refused = [Taken::No(Refusal::Superseded)];
    for n in 0..3 {
        world.answer(B, &refused, Some(promotable()));
        assert_eq!(world.is_idle(2_000), n == 2, "after {n} seconds");
        assert_eq!(sent(&world.after(1_000, Event::Wake)), []);
        assert_eq!(sent(&world.look_for(B, promotable())).len(), 1);
    }
    // When it is gone, so is the memory of it.
    world.answer(B, &refused, Some(Observation::default()));
    world.after(1_000, Event::Wake);
    world.look_for(B, Observation::default());
    world.step(Event::Tick);
    world.look_for(B, promotable());
    world.answer(B, &refused, Some(promotable()));
    assert!(!world.is_idle(2_000));
}

#[test]
fn what_others_fill_a_board_with_is_not_waited_for() {
    for (running, idle) in [(1, false), (2, true), (3, true)] {
        let policy = Policy { max_in_progress: 2, ..Policy::default() };
        let mut world = World::open_with(policy);
        world.step(Event::Tick);
        world.look_for(B, Observation { running, ..ready(&["t1"]) });
        if !idle {
            world.answer(B, &[Taken::No(Refusal::Locked)], None);
        }
        assert_eq!(world.is_idle(1), idle, "{running}");
    }
}

#[test]
fn a_tick_that_only_starts_does_not_wait_for_a_slot() {
    let policy = Policy { max_workers: 1, ..Policy::default() };
    let mut world = World::of(Dispatcher::once(policy));
    world.add(B);
    world.add(C);
    world.step(Event::BoardsListed);
    world.look_for(B, ready(&["t1"]));
    world.look_for(C, ready(&["u1"]));
    assert!(!world.has_started(0), "the slot may yet come free");
    world.answer(B, &[claimed(1)], None);
    world.step(Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) });
    world.after(5, Event::Wake);
    world.answer(B, &[Taken::Yes], None);
    assert!(world.has_started(0));
    assert!(!world.is_idle(0));
    world.exits(1, 0);
    world.answer(B, &[Taken::Yes], None);
    assert!(!world.is_idle(0), "who waits for the end has it started, too");
    assert!(!world.has_started(0));
}

#[test]
fn one_tick_does_not_follow_what_others_change() {
    let mut world = World::of(Dispatcher::once(Policy::default()));
    world.add(B);
    world.add(C);
    world.step(Event::BoardsListed);
    world.look_for(B, ready(&["t1"]));
    world.step(Event::BoardChanged { board: C });
    assert!(!world.has_started(0), "it is not yet known what is there");
    world.look_for(C, Observation::default());
    world.answer(B, &[claimed(1)], None);
    world.step(Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) });
    world.after(5, Event::Wake);
    world.answer(B, &[Taken::Yes], None);
    world.look_for(C, Observation::default());
    world.step(Event::BoardChanged { board: B });
    world.step(Event::BoardChanged { board: C });
    assert!(world.has_started(60_000));
    world.exits(1, 0);
    assert!(!world.is_idle(0));
    world.answer(B, &[Taken::Yes], None);
    assert!(world.is_idle(60_000));
}

/// Another process has written, and a tenth of a second has passed. Every notice is looked after.
fn others_write(world: &mut World) {
    world.step(Event::BoardChanged { board: B });
    for wait in [1, 99] {
        if is_under_way(world.board(B)) {
            world.look_for(B, ours(&[]));
        }
        world.after(wait, Event::Wake);
    }
    if is_under_way(world.board(B)) {
        world.look_for(B, ours(&[]));
    }
}

#[test]
fn others_that_write_without_a_pause_are_waited_for_no_longer_than_our_patience() {
    let mut world = World::open();
    for tenths in 1..40 {
        others_write(&mut world);
        assert_eq!(world.is_idle(2_000), tenths >= 20, "{tenths}");
        assert_eq!(world.is_idle(0), tenths >= 3, "one notice is followed to its end, {tenths}");
    }
    // What is left is followed, and the next notice is another one.
    for _ in 0..8 {
        world.after(128, Event::Wake);
        world.look_for(B, Observation::default());
    }
    assert!(world.is_idle(2_000));
    others_write(&mut world);
    assert!(!world.is_idle(2_000));
}

#[test]
fn our_own_write_restarts_the_patience_with_others() {
    let mut world = World::running();
    for _ in 0..30 {
        world.step(Event::BoardChanged { board: B });
        world.after(1, Event::Wake);
        world.look_for(B, ours(&[1]));
        world.ms += 99;
    }
    world.exits(1, 0);
    world.answer(B, &[Taken::Yes], Some(Observation::default()));
    for tenths in 0..30 {
        assert_eq!(world.is_idle(2_000), tenths >= 20, "{tenths}");
        others_write(&mut world);
    }
}

/// The spawn of attempt `n`, whose claim is under way, fails; its task, then called otherwise, is
/// ready again.
fn spawn_fails(world: &mut World, n: u64, blame: Blame) {
    world.answer(B, &[claimed(n)], Some(ours(&[n])));
    world.step(Event::SpawnFailed { spawn: SpawnId(n), blame, errno: 11 });
    world.answer(B, &[Taken::Yes], Some(ready(&[&format!("t{}", n + 1)])));
    assert_eq!(world.dispatcher.attempts().count(), 0);
}

#[test]
fn tasks_behind_the_listed_ones_are_waited_for_while_the_host_refuses() {
    let mut world = World::with(Policy { lookahead: 1, max_workers: 1, ..Policy::default() });
    world.add(B);
    world.step(Event::BoardsListed);
    let Observation { ready: Some(Ready { tasks, .. }), .. } = ready(&["t1"]) else { panic!() };
    let seen = Ready { tasks, more: true };
    world.look_for(B, Observation { ready: Some(seen), ..Observation::default() });
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.step(Event::SpawnFailed { spawn: SpawnId(1), blame: Blame::Host, errno: 11 });
    world.answer(B, &[Taken::Yes], None);
    assert!(!world.is_idle(1_000), "the list is used up, and there is more");
    world.ms = world.wake.unwrap();
    let effects = world.step(Event::Wake);
    assert!(matches!(&effects[..], [Effect::Exchange { request, .. }] if request.relist));
}

#[test]
fn a_host_or_directories_that_refuse_are_waited_for_but_not_forever() {
    for blame in [Blame::Host, Blame::Board] {
        let mut world = World::new();
        world.add(B);
        world.step(Event::BoardsListed);
        world.look_for(B, ready(&["t1"]));
        for n in 1..5 {
            spawn_fails(&mut world, n, blame);
            // At 0, 1, 3 and 7 seconds.
            assert_eq!(world.is_idle(7_000), n == 4, "{blame:?} refused {n} times");
            assert!(!world.is_idle(7_001));
            world.ms = world.wake.unwrap();
            assert_eq!(sent(&world.step(Event::Wake)), [claim(n + 1)]);
        }
        // A start is proof, even if the process ends before the start is reported.
        world.answer(B, &[claimed(5)], Some(ours(&[5])));
        world.exits(5, 0);
        world.answer(B, &[Taken::Yes, Taken::Yes], None);
        world.step(Event::SpawnOk { spawn: SpawnId(5), pid: pid(5) });
        world.step(Event::Tick);
        world.look_for(B, ready(&["t6"]));
        spawn_fails(&mut world, 6, blame);
        assert!(!world.is_idle(1));
        assert!(world.is_idle(0), "not waited for without a grace");
    }
}

#[test]
fn directories_that_refuse_are_no_reason_to_leave_another_board() {
    let mut world = World::new();
    world.add(B);
    world.add(C);
    world.step(Event::BoardsListed);
    world.look_for(B, ready(&["t1"]));
    world.look_for(C, Observation::default());
    spawn_fails(&mut world, 1, Blame::Board);
    assert!(world.is_idle(0));
    world.step(Event::Tick);
    world.look_for(B, ready(&["t1"]));
    world.look_for(C, ready(&["u1"]));
    world.answer(C, &[Taken::No(Refusal::Locked)], None);
    assert!(!world.is_idle(1));
}

/// Board `B` was open, and its file has just been replaced: the new one is being opened.
fn reopening() -> World {
    let mut world = World::open();
    world.step(Event::Tick);
    let effects = world.exchange_failed(B, FaultClass::Replaced, Commit::No);
    assert_eq!(effects[1], connect(B, 4, false));
    world
}

#[test]
fn a_board_that_was_never_open_is_waited_for_only_until_its_first_fault() {
    let mut world = World::new();
    world.step(Event::BoardsListed);
    world.step(Event::BoardAdded { board: B });
    assert!(!world.is_idle(60_000), "nothing is known of it");
    world.connect_failed(B, fault(FaultClass::Access));
    assert!(world.is_idle(60_000));
    assert_eq!(world.after(1_000, Event::Wake), [connect(B, 2, false)]);
    assert!(world.is_idle(60_000), "it is tried again");
    let mut hung = World::new();
    hung.step(Event::BoardsListed);
    hung.step(Event::BoardAdded { board: B });
    hung.after(9_999, Event::Wake);
    assert!(!hung.is_idle(60_000));
    hung.after(1, Event::Wake);
    assert!(hung.is_idle(60_000));
}

#[test]
fn a_board_that_is_opened_again_is_waited_for_until_that_takes_too_long_for_our_patience() {
    let mut world = reopening();
    world.ms += 9_999;
    assert!(!world.is_idle(0), "it may answer in time");
    world.after(1, Event::Wake);
    assert!(!world.is_idle(60_000));
    assert!(world.is_idle(10_000));
}

#[test]
fn a_board_that_is_talked_to_is_waited_for_until_that_takes_too_long_for_our_patience() {
    let mut world = reopening();
    world.ms += 5_000;
    world.connected(B);
    assert!(!world.is_idle(0), "sick for long, but it may answer in time");
    let told = world.after(10_000, Event::Wake);
    assert_eq!(told, [report(Report::BoardHung(B))]);
    assert!(!world.is_idle(15_001));
    assert!(world.is_idle(15_000));
}

#[test]
fn an_alarm_that_stands_is_not_asked_for_again() {
    let mut world = World::new();
    let mut effects = Vec::new();
    let mut step = |dispatcher: &mut Dispatcher, event| {
        effects.clear();
        dispatcher.step(Now::default(), event, &mut effects);
        effects.clone()
    };
    let wake = Effect::WakeAt(Mono(1_000));
    let drain = Event::Drain { grace_ms: 1_000 };
    assert_eq!(step(&mut world.dispatcher, drain), std::slice::from_ref(&wake));
    let reap = reap_hinted(1);
    assert_eq!(step(&mut world.dispatcher, Event::KernelReady), [reap]);
    // It was given too soon, and does not stand any more.
    assert_eq!(step(&mut world.dispatcher, Event::Wake), [wake]);
}

#[test]
fn only_a_board_with_ready_tasks_is_woken_for_when_the_host_may_start_again() {
    let mut world = World::new();
    world.add(B);
    world.look_for(B, ready(&["t1"]));
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.wake = None;
    world.step(Event::SpawnFailed { spawn: SpawnId(1), blame: Blame::Host, errno: 11 });
    let recorded = Report::Recorded(SpawnId(1), Verdict::Released(Release::HostRefused));
    let effects = world.answer(B, &[Taken::Yes], Some(Observation::default()));
    assert_eq!(effects[0], report(recorded));
    assert_ne!(world.wake, Some(1_000));
    world.step(Event::Tick);
    world.look_for(B, ready(&["t2"]));
    assert_eq!(world.wake, Some(1_000));
}

#[test]
fn ready_tasks_without_a_slot_are_nothing_to_be_woken_for() {
    let mut world = World::open_with(Policy { max_workers: 0, ..Policy::default() });
    world.step(Event::Tick);
    world.wake = None;
    world.look_for(B, ready(&["t1"]));
    assert_eq!(world.wake, None);
}
