//! Ticks, the reaping step, shutdown, the host, and how things stand.

use super::world::*;
use crate::machine::Mode;
use crate::machine::board::Link;
use crate::machine::effect::{Effect, EndCause, Report};
use crate::machine::event::{Event, Group, Signal, SignalOutcome};
use crate::machine::exchange::{Observation, Refusal, Taken};
use crate::machine::fault::{Blame, FaultClass};
use crate::machine::hold::BoardHold;
use crate::machine::ids::{Pid, SpawnId};
use crate::machine::policy::Policy;
use crate::machine::time::Mono;
use crate::machine::verdict::{ExitStatus, Release, Verdict};

fn host_refuses(spawn: u64) -> Event {
    Event::SpawnFailed { spawn: SpawnId(spawn), blame: Blame::Host, errno: 11 }
}

#[test]
fn a_tick_begins_with_a_reap_regardless_of_the_boards() {
    let mut absent = World::new();
    let mut connecting = World::new();
    connecting.step(Event::BoardAdded { board: B });
    let mut exchanging = World::new();
    exchanging.add(B);
    let mut idle = World::open();
    let mut quarantined = World::new();
    quarantined.step(Event::BoardAdded { board: B });
    quarantined.connect_failed(B, fault(FaultClass::Content));
    assert!(matches!(quarantined.link(B), Link::Quarantined(_)));
    let mut hung = World::new();
    hung.add(B);
    hung.after(10_000, Event::Wake);
    assert!(matches!(hung.link(B), Link::Exchanging(_)) && hung.board(B).is_overdue());
    let mut draining = World::running();
    draining.step(Event::Drain { grace_ms: 0 });
    let mut aborting = World::running();
    aborting.step(Event::Abort);
    for world in [
        &mut absent,
        &mut connecting,
        &mut exchanging,
        &mut idle,
        &mut quarantined,
        &mut hung,
        &mut draining,
        &mut aborting,
    ] {
        let effects = world.after(1, Event::Tick);
        assert_eq!(effects[..2], [reap(1), Effect::ListBoards]);
    }
}

#[test]
fn a_sign_from_the_kernel_is_answered_by_a_reap_and_nothing_else() {
    let mut world = World::open();
    assert_eq!(world.step(Event::KernelReady), [reap_hinted(1)]);
    assert_eq!(world.step(Event::KernelReady), [reap_hinted(2)]);
}

#[test]
fn an_exit_at_the_moment_of_a_retry_begins_one_reaping_step() {
    let mut world = World::new();
    world.step(Event::KernelReady);
    world.step(Event::ReapFailed { seq: 1, errno: 5 });
    world.step(Event::ReapFailed { seq: 2, errno: 5 });
    assert_eq!(world.after(10, Event::KernelReady), [reap(3)]);
    // A success at that time needs no retry either.
    world.step(Event::ReapFailed { seq: 3, errno: 5 });
    let told = world.after(20, Event::Reaped { seq: 3 });
    assert_eq!(told, [report(Report::ReapRecovered)]);
}

#[test]
fn a_reap_that_failed_is_tried_again_immediately_and_then_after_ten_milliseconds() {
    let mut world = World::new();
    world.step(Event::KernelReady);
    assert_eq!(
        world.step(Event::ReapFailed { seq: 1, errno: 5 }),
        [report(Report::ReapFailing(5)), reap(2)]
    );
    assert_eq!(world.step(Event::ReapFailed { seq: 2, errno: 5 }), []);
    assert_eq!(world.wake, Some(10));
    assert_eq!(world.after(9, Event::Wake), []);
    assert_eq!(world.after(1, Event::Wake), [reap(3)]);
    assert_eq!(world.step(Event::Reaped { seq: 3 }), [report(Report::ReapRecovered)]);
}

#[test]
fn what_was_reaped_is_reported_when_the_step_is_over() {
    let mut world = World::new();
    world.step(Event::KernelReady);
    assert_eq!(world.step(Event::OrphanReaped { pid: Pid(7) }), []);
    let told = Report::Reaped { pids: vec![], orphans: 1 };
    assert_eq!(world.step(Event::Reaped { seq: 1 }), [report(told)]);
    assert_eq!(world.step(Event::Reaped { seq: 1 }), []);
}

#[test]
fn answers_without_a_request_are_reported_and_change_nothing() {
    let mut world = World::open();
    let before = world.dispatcher.attempts().count();
    for (event, name) in [
        (Event::Connected { board: B, seq: 1 }, "Connected"),
        (
            Event::ConnectFailed { board: C, seq: 1, fault: fault(FaultClass::Busy) },
            "ConnectFailed",
        ),
        (Event::SpawnOk { spawn: SpawnId(9), pid: Pid(9) }, "SpawnOk"),
        (host_refuses(9), "SpawnFailed"),
        (Event::SpawnCancelled { spawn: SpawnId(9) }, "SpawnCancelled"),
        (exit(9, 0), "ChildExited"),
    ] {
        assert_eq!(world.step(event), [report(Report::Unexpected(name))]);
    }
    assert_eq!(world.answer(B, &[], None), [report(Report::Unexpected("Exchanged"))]);
    assert_eq!(world.dispatcher.attempts().count(), before);
    assert_eq!(*world.link(B), Link::Idle);
}

#[test]
fn a_spawn_that_failed_although_its_worker_runs_changes_nothing() {
    for blame in [Blame::Host, Blame::Board] {
        let mut world = World::running();
        let before = world.dispatcher.clone();
        let effects = world.step(Event::SpawnFailed { spawn: SpawnId(1), blame, errno: 11 });
        assert_eq!(effects, [report(Report::Unexpected("SpawnFailed"))]);
        assert_eq!(world.dispatcher, before);
    }
}

#[test]
fn a_clock_that_goes_back_is_reported_and_ignored() {
    let mut world = World::open();
    world.after(1_000, Event::Wake);
    world.ms = 400;
    assert_eq!(world.step(Event::Wake), [report(Report::ClockWentBack(600))]);
}

#[test]
fn a_drain_lets_workers_finish_until_its_grace_is_over_and_then_ends_them() {
    let mut world = World::running();
    assert_eq!(world.step(Event::Drain { grace_ms: 1_000 }), []);
    assert_eq!(world.after(999, Event::Wake), []);
    assert_eq!(
        world.after(1, Event::Wake),
        [
            report(Report::Ending(SpawnId(1), EndCause::Shutdown)),
            Effect::Signal { spawn: SpawnId(1), signal: Signal::Term },
        ]
    );
    assert_eq!(world.dispatcher.mode(), Mode::Draining { deadline: None });
    let effects = world.step(Event::ChildExited {
        spawn: SpawnId(1),
        pid: pid(1),
        status: ExitStatus::Signal(15),
        group: Group::Gone,
    });
    assert_eq!(sent(&effects), [finish(1, Verdict::Released(Release::Shutdown))]);
}

#[test]
fn a_second_drain_does_not_put_the_end_off() {
    let mut world = World::open();
    world.step(Event::Drain { grace_ms: 10 });
    world.step(Event::Drain { grace_ms: 1_000 });
    assert_eq!(world.dispatcher.mode(), Mode::Draining { deadline: Some(Mono(10)) });
}

#[test]
fn an_abort_kills_what_runs_immediately() {
    let mut world = World::running();
    assert_eq!(
        world.step(Event::Abort),
        [
            report(Report::Ending(SpawnId(1), EndCause::Shutdown)),
            Effect::Signal { spawn: SpawnId(1), signal: Signal::Kill },
        ]
    );
}

#[test]
fn nothing_is_claimed_or_promoted_while_draining_or_aborting() {
    for event in [Event::Drain { grace_ms: 1_000 }, Event::Abort] {
        let mut world = World::new();
        world.add(B);
        world.step(event);
        let seen = Observation { promotable: vec![task("t2")], ..ready(&["t1"]) };
        assert_eq!(world.look_for(B, seen), []);
    }
}

#[test]
fn a_claim_that_took_after_the_shutdown_began_is_given_back_without_a_spawn() {
    let mut world = World::new();
    world.add(B);
    world.look_for(B, ready(&["t1"]));
    world.step(Event::Drain { grace_ms: 1_000 });
    let effects = world.answer(B, &[claimed(1)], Some(ours(&[1])));
    assert_eq!(
        effects,
        [
            note(1, Verdict::Released(Release::Shutdown)),
            report(Report::Claimed(fence(1), B)),
            world.exchange(4, false, 64, &[release(1, Release::Shutdown)]),
        ]
    );
}

#[test]
fn a_host_that_refuses_holds_all_boards_for_a_second_doubling_to_thirty() {
    let mut world = World::open();
    world.add(C);
    world.look_for(C, Observation::default());
    let mut waits = Vec::new();
    for n in 1..=7 {
        world.step(Event::Tick);
        world.look_for(C, Observation::default());
        assert_eq!(sent(&world.look_for(B, ready(&[&format!("t{n}")]))), [claim(n)]);
        world.answer(B, &[claimed(n)], Some(ours(&[n])));
        let effects = world.step(host_refuses(n));
        assert_eq!(sent(&effects), [release(n, Release::HostRefused)]);
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Report(Report::HostRefuses(11, Mono(at))) => Some(*at),
            _ => None,
        });
        let until = told.unwrap();
        waits.push(until - world.ms);
        world.answer(B, &[Taken::Yes], Some(Observation::default()));
        // The other board has work, and must wait as well.
        world.step(Event::Tick);
        world.look_for(B, Observation::default());
        assert_eq!(world.look_for(C, ready(&["u"])), []);
        world.ms = until - 1;
        assert_eq!(world.step(Event::Wake), []);
        world.step(Event::Tick);
        world.look_for(B, Observation::default());
        world.look_for(C, ready(&[]));
        world.ms = until;
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
}

#[test]
fn spawns_that_fail_together_are_one_refusal_of_the_host() {
    let mut world = World::new();
    world.add(B);
    world.look_for(B, ready(&["t1", "t2"]));
    world.answer(B, &[claimed(1), claimed(2)], Some(ours(&[1, 2])));
    let first = world.step(host_refuses(1));
    assert!(first.contains(&report(Report::HostRefuses(11, Mono(1_000)))));
    let hold = BoardHold::HostRefuses { errno: 11, until: Mono(1_000) };
    assert_eq!(world.dispatcher.host_hold(Mono(999)), Some(hold));
    assert_eq!(world.dispatcher.host_hold(Mono(1_000)), None, "it ends when it says");
    let told = Report::NotStarted(SpawnId(2), Blame::Host, 11);
    let noted = note(2, Verdict::Released(Release::HostRefused));
    assert_eq!(world.step(host_refuses(2)), [report(told), noted]);
}

#[test]
fn what_waits_for_the_host_is_claimed_when_the_wait_is_over() {
    let mut world = World::new();
    world.add(B);
    world.look_for(B, ready(&["t1"]));
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.step(host_refuses(1));
    world.answer(B, &[Taken::Yes], Some(ready(&["t2"])));
    assert_eq!(world.wake, Some(1_000));
    assert_eq!(sent(&world.after(1_000, Event::Wake)), [claim(2)]);
}

#[test]
fn it_is_idle_once_all_boards_are_listed_and_none_has_anything_to_do() {
    let mut world = World::new();
    assert!(!world.is_idle(0));
    world.step(Event::BoardsListed);
    assert!(world.is_idle(0));
    world.add(B);
    assert!(!world.is_idle(0));
    world.look_for(B, Observation::default());
    assert!(world.is_idle(0));
    world.step(Event::BoardChanged { board: B });
    assert!(!world.is_idle(0));
}

#[test]
fn a_hold_that_ends_within_a_minute_is_worth_waiting_for() {
    for (ahead, idle) in [(60, false), (61, true)] {
        let mut world = World::new();
        world.add(B);
        world.step(Event::BoardsListed);
        let seen = Observation { due: Some(EPOCH + ahead), ..Observation::default() };
        world.look_for(B, seen);
        assert_eq!(world.is_idle(0), idle, "{ahead} seconds");
    }
}

#[test]
fn a_transient_refusal_is_waited_for_but_not_forever() {
    let mut world = World::open();
    world.step(Event::Tick);
    world.look_for(B, ready(&["t1"]));
    for n in 0..3 {
        // Another dispatcher was quicker, and what it did may be undone.
        world.answer(B, &[Taken::No(Refusal::Superseded)], Some(ready(&["t1"])));
        assert_eq!(world.is_idle(2_000), n == 2, "after {n} seconds");
        world.ms += 1_000;
        assert_eq!(world.is_idle(2_000), n > 0, "the alarm clock is late, {n}");
        world.step(Event::Wake);
        world.look_for(B, ready(&["t1"]));
    }
    world.answer(B, &[claimed(4)], None);
    world.step(Event::SpawnOk { spawn: SpawnId(4), pid: pid(4) });
    world.after(5, Event::Wake);
    world.answer(B, &[Taken::Yes], None);
    world.exits(4, 0);
    world.answer(B, &[Taken::Yes], Some(ready(&["t1"])));
    world.answer(B, &[Taken::No(Refusal::Superseded)], Some(ready(&["t1"])));
    assert!(!world.is_idle(2_000), "what passed in between restarts the wait");
    world.after(1_000, Event::Wake);
    world.look_for(B, Observation::default());
    assert!(world.is_idle(2_000), "the task is gone");
}

#[test]
fn what_the_boards_own_rules_refuse_is_not_waited_for() {
    let mut world = World::open();
    world.step(Event::Tick);
    world.look_for(B, ready(&["t1"]));
    world.answer(B, &[Taken::No(Refusal::Rejected)], Some(ready(&["t1"])));
    assert!(world.is_idle(2_000));
}

#[test]
fn it_is_idle_only_when_the_last_exit_is_recorded() {
    let mut world = World::running();
    assert!(!world.is_idle(0));
    world.exits(1, 0);
    assert!(!world.is_idle(0));
    world.answer(B, &[Taken::Yes], Some(Observation::default()));
    assert!(world.is_idle(0));
}

#[test]
fn an_exit_is_not_waited_for_longer_than_the_grace_of_a_sick_board() {
    let mut world = World::running();
    world.exits(1, 0);
    world.exchange_failed(B, FaultClass::Content, crate::machine::fault::Commit::No);
    world.step(Event::Drain { grace_ms: 0 });
    assert!(!world.is_idle(1_000) && !world.is_drained(1_000));
    world.ms += 1_000;
    assert!(world.is_idle(1_000) && world.is_drained(1_000));
}

#[test]
fn it_is_drained_when_a_shutdown_has_nothing_left_to_wait_for() {
    let mut world = World::running();
    world.step(Event::Drain { grace_ms: 1_000 });
    assert!(!world.is_drained(0));
    world.exits(1, 0);
    assert!(!world.is_drained(0));
    world.answer(B, &[Taken::Yes], Some(Observation::default()));
    assert!(world.is_drained(0));
    assert!(!World::open().is_drained(0), "no shutdown was asked for");
}

#[test]
fn it_has_started_when_every_claim_has_led_to_a_worker_whose_pid_is_recorded() {
    let mut world = World::new();
    world.add(B);
    world.step(Event::BoardsListed);
    world.look_for(B, ready(&["t1"]));
    assert!(!world.has_started(0));
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    assert!(!world.has_started(0));
    world.step(Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) });
    assert!(!world.has_started(0));
    world.after(5, Event::Wake);
    world.answer(B, &[Taken::Yes], Some(ours(&[1])));
    assert!(world.has_started(0));
    assert!(!world.is_idle(0));
}

#[test]
fn a_new_policy_has_every_board_looked_at_again() {
    let mut world = World::open();
    let policy = Policy { max_workers: 3, ..Policy::default() };
    let effects = world.step(Event::PolicyChanged(Box::new(policy)));
    assert_eq!(effects, [world.exchange(3, true, 67, &[])]);
}

#[test]
fn what_a_worker_left_behind_is_ended_before_its_failure_is_recorded() {
    let mut world = World::running();
    let (spawn, status) = (SpawnId(1), ExitStatus::Code(1));
    assert_eq!(
        world.step(Event::ChildExited { spawn, pid: pid(1), status, group: Group::Alive }),
        [
            report(Report::Exited(spawn, status)),
            report(Report::Ending(spawn, EndCause::Leftovers)),
            Effect::Signal { spawn, signal: Signal::Term },
        ]
    );
    let outcome = SignalOutcome::Gone;
    let effects = world.step(Event::Signalled { spawn, signal: Signal::Probe, outcome });
    assert_eq!(sent(&effects), [finish(1, Verdict::Crashed(status))]);
}
