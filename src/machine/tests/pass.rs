//! What an exchange carries, and what its answer calls for.

use super::world::*;
use crate::machine::Dispatcher;
use crate::machine::effect::{Effect, EndCause, Report};
use crate::machine::event::{Event, Signal};
use crate::machine::exchange::{
    Change, Expired, LeaseEnd, Observation, Ready, Refusal, Request, Taken,
};
use crate::machine::fault::{Blame, Commit, FaultClass};
use crate::machine::hold::{BoardHold, Hold};
use crate::machine::hold::{Candidate, Lane};
use crate::machine::ids::{BoardId, SpawnId};
use crate::machine::policy::{Policy, WorkerPolicy};
use crate::machine::time::Mono;
use crate::machine::verdict::{ExitStatus, Release, Verdict};

fn spawn_ok(n: u64) -> Event {
    Event::SpawnOk { spawn: SpawnId(n), pid: pid(n) }
}

/// Board `B` shows one ready task, whose claim is under way.
fn claiming() -> World {
    let mut world = World::new();
    world.add(B);
    world.step(Event::BoardsListed);
    world.look_for(B, ready(&["t1"]));
    world
}

fn promote(id: &str) -> Change {
    Change::Promote { task: task(id), failure_limit: 2 }
}

#[test]
fn a_board_that_was_opened_is_looked_at_in_full() {
    let mut world = World::new();
    world.step(Event::BoardAdded { board: B });
    let effects = world.connected(B);
    assert_eq!(effects, [report(Report::BoardOpened(B)), world.exchange(2, true, 72, &[])]);
}

#[test]
fn ready_tasks_are_claimed_in_the_boards_order_as_soon_as_they_are_seen() {
    let mut world = World::new();
    world.add(B);
    let effects = world.look_for(B, ready(&["t1", "t2"]));
    assert_eq!(effects, [world.exchange(3, false, 70, &[claim(1), claim(2)])]);
}

#[test]
fn no_exchange_is_sent_while_one_is_under_way() {
    let mut world = claiming();
    for event in [
        Event::Wake,
        Event::BoardChanged { board: B },
        Event::PolicyChanged(Box::default()),
        Event::BoardAdded { board: B },
    ] {
        assert_eq!(world.after(1, event), []);
    }
    assert_eq!(world.step(Event::Tick), [reap(1), Effect::ListBoards]);
}

#[test]
fn claims_under_way_hold_their_slots_on_every_board() {
    let mut world = World::with(Policy { max_workers: 3, ..Policy::default() });
    world.add(B);
    world.add(C);
    assert_eq!(sent(&world.look_for(B, ready(&["t1", "t2"]))).len(), 2);
    assert_eq!(sent(&world.look_for(C, ready(&["u1", "u2"]))).len(), 1);
}

#[test]
fn a_board_is_not_asked_for_more_than_it_may_run_counting_the_work_of_others() {
    let mut world = World::with(Policy { max_in_progress: 3, ..Policy::default() });
    world.add(B);
    let seen = Observation { running: 1, ..ready(&["t1", "t2", "t3"]) };
    let changes = sent(&world.look_for(B, seen));
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| matches!(change, Change::Claim { cap: 3, .. })));
}

#[test]
fn a_slot_that_an_exit_freed_is_filled_in_the_exchange_that_records_the_exit() {
    let mut world = World::with(Policy { max_workers: 1, ..Policy::default() });
    world.add(B);
    world.look_for(B, ready(&["t1", "t2"]));
    world.answer(B, &[claimed(1)], None);
    world.step(spawn_ok(1));
    let effects = world.exits(1, 0);
    assert_eq!(sent(&effects), [started(1), finish(1, Verdict::Completed), claim(2)]);
}

#[test]
fn a_claim_that_took_is_spawned() {
    let mut world = claiming();
    assert_eq!(
        world.answer(B, &[claimed(1)], Some(ours(&[1]))),
        [spawn(1), report(Report::Claimed(fence(1), B))]
    );
}

#[test]
fn a_claim_that_is_superseded_held_or_rejected_is_reported_and_its_task_left_alone_for_a_while() {
    for (refusal, rest_ms) in [
        (Refusal::Superseded, 1_000),
        (Refusal::Held(Hold::Review), 1_000),
        (Refusal::Rejected, 30_000),
    ] {
        let mut world = claiming();
        assert_eq!(
            world.answer(B, &[Taken::No(refusal)], Some(ready(&["t1"]))),
            [report(Report::ClaimRefused(task("t1"), B, refusal))]
        );
        assert_eq!(world.dispatcher.attempts().count(), 0);
        assert_eq!(world.wake, Some(rest_ms), "{refusal:?}");
        assert_eq!(world.after(rest_ms - 1, Event::Wake), []);
        // Then it is looked for again, and claimed if it is still there.
        let effects = world.after(1, Event::Wake);
        assert_eq!(effects, [world.exchange(4, true, 72, &[])]);
        assert_eq!(sent(&world.look_for(B, ready(&["t1"]))), [claim_of(task("t1"), 2)]);
    }
}

#[test]
fn a_claim_that_met_another_dispatcher_is_tried_again_after_a_moment() {
    let mut world = claiming();
    assert_eq!(world.answer(B, &[Taken::No(Refusal::Locked)], None), []);
    let until = world.wake.unwrap();
    assert!((10..50).contains(&until), "{until}");
    assert_eq!(world.after(until - 1, Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)), [claim_of(task("t1"), 2)]);
}

#[test]
fn a_board_that_is_full_after_all_is_asked_again_only_once_it_was_seen_to_have_room() {
    let mut world = claiming();
    assert_eq!(world.answer(B, &[Taken::No(Refusal::Full)], None), []);
    let until = world.wake.unwrap();
    let effects = world.after(until, Event::Wake);
    assert_eq!(sent(&effects), []);
    assert_eq!(sent(&world.look_for(B, ready(&["t1"]))), [claim_of(task("t1"), 2)]);
}

#[test]
fn an_answer_without_a_result_for_a_claim_refuses_it() {
    let mut world = claiming();
    let told = Report::ClaimRefused(task("t1"), B, Refusal::Superseded);
    assert_eq!(world.answer(B, &[], None), [report(told)]);
}

#[test]
fn an_exit_is_sent_to_its_board_immediately() {
    let mut world = World::running();
    let effects = world.exits(1, 3);
    let status = ExitStatus::Code(3);
    assert_eq!(
        effects,
        [
            report(Report::Exited(SpawnId(1), status)),
            note(1, Verdict::Crashed(status)),
            world.exchange(5, false, 72, &[finish(1, Verdict::Crashed(status))]),
        ]
    );
    assert_eq!(
        world.answer(B, &[Taken::Yes], None),
        [
            report(Report::Recorded(SpawnId(1), Verdict::Crashed(status))),
            Effect::Forget { spawn: SpawnId(1) },
        ]
    );
}

#[test]
fn a_pid_is_sent_after_five_milliseconds() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    assert_eq!(world.step(spawn_ok(1)), [report(Report::Started(SpawnId(1), pid(1)))]);
    assert_eq!(world.wake, Some(5));
    assert_eq!(world.after(4, Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)), [started(1)]);
    assert_eq!(world.answer(B, &[Taken::Yes], None), []);
    assert_eq!(world.after(5, Event::Wake), []);
}

#[test]
fn a_pid_rides_along_with_what_cannot_wait() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.step(spawn_ok(1));
    assert_eq!(sent(&world.exits(1, 0)), [started(1), finish(1, Verdict::Completed)]);
}

#[test]
fn a_mere_look_carries_no_pid() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.step(spawn_ok(1));
    assert_eq!(sent(&world.step(Event::Tick)), []);
    world.answer(B, &[], None);
    assert_eq!(sent(&world.after(5, Event::Wake)), [started(1)]);
}

#[test]
fn a_finish_whose_exchange_failed_is_sent_again_and_applied_once() {
    for commit in [Commit::No, Commit::Maybe] {
        let mut world = World::running();
        let change = [finish(1, Verdict::Completed)];
        assert_eq!(sent(&world.exits(1, 0)), change);
        let failed = world.exchange_failed(B, FaultClass::Busy, commit);
        assert_eq!(failed, [Effect::SyncNotes], "it may be long until the board takes it");
        assert_eq!(world.after(24, Event::Wake), []);
        assert_eq!(sent(&world.after(1, Event::Wake)), change);
        let effects = world.answer(B, &[Taken::Yes], None);
        assert_eq!(
            effects,
            [
                report(Report::Recorded(SpawnId(1), Verdict::Completed)),
                Effect::Forget { spawn: SpawnId(1) },
            ]
        );
        assert_eq!(sent(&world.step(Event::Tick)), []);
    }
}

#[test]
fn a_finish_that_had_taken_before_its_failure_is_settled_when_its_fence_is_gone() {
    let mut world = World::running();
    world.exits(1, 0);
    world.exchange_failed(B, FaultClass::Busy, Commit::Maybe);
    world.after(25, Event::Wake);
    assert_eq!(
        world.answer(B, &[Taken::No(Refusal::Superseded)], None),
        [report(Report::NotOurs(SpawnId(1))), Effect::Forget { spawn: SpawnId(1) }]
    );
}

#[test]
fn a_finish_that_the_board_rejects_is_sent_again_after_half_a_minute() {
    let mut world = World::running();
    world.exits(1, 0);
    assert_eq!(world.answer(B, &[Taken::No(Refusal::Rejected)], None), []);
    assert_eq!(world.after(29_999, Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)), [finish(1, Verdict::Completed)]);
}

#[test]
fn a_finish_that_met_a_lock_is_sent_again_after_five_milliseconds() {
    let mut world = World::running();
    world.exits(1, 0);
    world.answer(B, &[Taken::No(Refusal::Locked)], None);
    assert_eq!(world.after(4, Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)), [finish(1, Verdict::Completed)]);
}

#[test]
fn a_claim_whose_exchange_failed_is_dropped_and_put_back_if_it_took_after_all() {
    for commit in [Commit::No, Commit::Maybe] {
        let mut world = claiming();
        world.exchange_failed(B, FaultClass::Busy, commit);
        assert_eq!(world.dispatcher.attempts().count(), 0);
        let effects = world.after(25, Event::Wake);
        assert_eq!(effects, [world.exchange(4, true, 72, &[])]);
        // No run of ours stands behind what the board shows.
        let effects = world.look_for(B, ours(&[1]));
        assert_eq!(sent(&effects), [release(1, Release::NotStarted)]);
        assert_eq!(world.answer(B, &[Taken::Yes], None), []);
        assert_eq!(world.after(1, Event::Wake), []);
    }
}

#[test]
fn a_stray_that_is_refused_is_not_sent_again_and_again() {
    let mut world = World::new();
    world.add(B);
    assert_eq!(sent(&world.look_for(B, ours(&[7]))), [release(7, Release::NotStarted)]);
    assert_eq!(world.answer(B, &[Taken::No(Refusal::Rejected)], Some(ours(&[7]))), []);
}

#[test]
fn a_run_that_is_no_longer_in_its_board_is_ended_after_a_grace() {
    let mut world = World::running();
    let started = world.ms;
    world.step(Event::Tick);
    assert_eq!(world.look_for(B, Observation::default()), []);
    assert_eq!(world.wake, Some(started + 10_000));
    assert_eq!(world.after(9_999, Event::Wake), []);
    assert_eq!(
        world.after(1, Event::Wake),
        [
            report(Report::Ending(SpawnId(1), EndCause::Superseded)),
            Effect::Signal { spawn: SpawnId(1), signal: Signal::Term },
        ]
    );
}

#[test]
fn a_run_that_is_seen_again_within_the_grace_lives_on() {
    let mut world = World::running();
    world.step(Event::Tick);
    world.look_for(B, Observation::default());
    world.step(Event::Tick);
    world.look_for(B, ours(&[1]));
    assert_eq!(world.after(10_000, Event::Wake), []);
}

#[test]
fn a_spawn_called_off_for_a_lost_row_may_come_if_the_row_is_ours_again() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(Observation::default()));
    let call_off = Effect::CancelSpawn { spawn: SpawnId(1) };
    assert_eq!(world.after(10_000, Event::Wake), [call_off]);
    world.step(Event::Tick);
    world.look_for(B, ours(&[1]));
    assert_eq!(world.step(spawn_ok(1)), [report(Report::Started(SpawnId(1), pid(1)))]);
}

#[test]
fn a_lease_is_renewed_at_a_third_of_it() {
    let mut world = World::running();
    world.ms = 299_999;
    world.step(Event::Wake);
    let effects = world.after(1, Event::Wake);
    let renew = Change::Renew { fence: fence(1), ttl_s: 900, heartbeat: true };
    assert_eq!(sent(&effects), [renew]);
    assert_eq!(world.answer(B, &[Taken::Yes], None), []);
    assert_eq!(world.wake, Some(600_000));
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let mut world = claiming();
    world.ms = 250_000;
    assert_eq!(world.answer(B, &[claimed(1)], Some(ours(&[1])))[0], spawn(1));
    world.step(spawn_ok(1));
    world.after(5, Event::Wake);
    world.answer(B, &[Taken::Yes], None);
    let renew = Change::Renew { fence: fence(1), ttl_s: 900, heartbeat: true };
    for (asked, answered) in [(300_000, 590_000), (600_000, 600_100)] {
        assert_eq!(world.wake, Some(asked));
        world.ms = asked;
        assert_eq!(sent(&world.step(Event::Wake)), [renew]);
        world.ms = answered;
        world.answer(B, &[Taken::Yes], None);
    }
    assert_eq!(world.wake, Some(900_000));
}

#[test]
fn a_renewal_that_failed_is_due_immediately() {
    let mut world = World::running();
    world.ms = 300_000;
    let renew = Change::Renew { fence: fence(1), ttl_s: 900, heartbeat: true };
    assert_eq!(sent(&world.step(Event::Wake)), [renew]);
    world.exchange_failed(B, FaultClass::Busy, Commit::Maybe);
    assert_eq!(sent(&world.after(1_000, Event::Wake)), [renew]);
}

#[test]
fn a_claim_that_took_when_its_lease_was_to_be_renewed_is_given_back() {
    let mut world = claiming();
    world.ms = 301_000;
    let effects = world.answer(B, &[claimed(1)], Some(ours(&[1])));
    assert_eq!(sent(&effects), [release(1, Release::NotStarted)]);
    assert!(!effects.contains(&spawn(1)), "{effects:?}");
}

#[test]
fn promotions_and_reclaims_are_sent_immediately_and_reported() {
    let mut world = World::new();
    world.add(B);
    let expired = Expired { task: task("u"), run: None, by: LeaseEnd::Expired };
    let seen = Observation {
        promotable: vec![task("p")],
        expired: vec![expired],
        ..Observation::default()
    };
    let free = Change::Reclaim { expired, failure_limit: 2 };
    assert_eq!(sent(&world.look_for(B, seen)), [promote("p"), free]);
    assert_eq!(
        world.answer(B, &[Taken::Yes, Taken::Yes], None),
        [report(Report::Promoted(task("p"), B)), report(Report::Reclaimed(task("u"), B))]
    );
}

#[test]
fn a_promotion_that_met_a_lock_is_kept_for_later_and_a_refused_one_is_dropped() {
    let seen = || Observation { promotable: vec![task("p")], ..Observation::default() };
    let mut locked = World::new();
    locked.add(B);
    locked.look_for(B, seen());
    assert_eq!(locked.answer(B, &[Taken::No(Refusal::Locked)], None), []);
    let until = locked.wake.unwrap();
    assert_eq!(sent(&locked.after(until, Event::Wake)), [promote("p")]);
    let mut refused = World::new();
    refused.add(B);
    refused.look_for(B, seen());
    assert_eq!(refused.answer(B, &[Taken::No(Refusal::Superseded)], Some(seen())), []);
    assert_eq!(sent(&refused.step(Event::Tick)), []);
}

#[test]
fn the_ready_list_is_asked_for_again_when_most_of_it_is_used_and_there_is_more() {
    let mut world = World::with(Policy { lookahead: 4, ..Policy::default() });
    world.add(B);
    let Observation { ready: Some(Ready { tasks, .. }), .. } = ready(&["t1", "t2"]) else {
        panic!()
    };
    let first: Vec<Candidate> = tasks;
    let seen = Ready { tasks: first, more: true };
    world.look_for(B, Observation { ready: Some(seen), ..Observation::default() });
    let effects = world.answer(B, &[claimed(1), claimed(2)], Some(ours(&[1, 2])));
    let unix = EPOCH;
    let request = Request { changes: vec![], fresh: false, relist: true, want: 10, unix };
    assert_eq!(effects[4], Effect::Exchange { board: B, seq: 4, request });
    // The answer has no list: it is not asked for again without end.
    assert_eq!(world.answer(B, &[], Some(ours(&[1, 2]))), []);
}

#[test]
fn once_claims_the_ready_tasks_of_a_board_a_single_time() {
    let mut world = World::of(Dispatcher::once(Policy::default()));
    world.add(B);
    world.step(Event::BoardsListed);
    assert_eq!(sent(&world.look_for(B, ready(&["t1"]))), [claim(1)]);
    let seen = Observation { running: 1, ours: vec![fence(1)], ..ready(&["t2"]) };
    assert_eq!(
        world.answer(B, &[claimed(1)], Some(seen)),
        [spawn(1), report(Report::Claimed(fence(1), B))]
    );
    world.step(spawn_ok(1));
    assert_eq!(sent(&world.exits(1, 0)), [started(1), finish(1, Verdict::Completed)]);
    world.answer(B, &[Taken::Yes, Taken::Yes], Some(ready(&["t2"])));
    assert!(world.is_idle(0), "the ready task that is left is not waited for");
}

#[test]
fn once_tries_again_what_was_only_locked() {
    let mut world = World::of(Dispatcher::once(Policy::default()));
    world.add(B);
    world.look_for(B, ready(&["t1"]));
    world.answer(B, &[Taken::No(Refusal::Locked)], None);
    let until = world.wake.unwrap();
    assert_eq!(sent(&world.after(until, Event::Wake)), [claim_of(task("t1"), 2)]);
}

#[test]
fn what_ended_is_recorded_while_draining_and_aborting() {
    for event in [Event::Drain { grace_ms: 60_000 }, Event::Abort] {
        let mut world = World::running();
        world.step(event);
        assert_eq!(sent(&world.exits(1, 0)).len(), 1);
    }
}

#[test]
fn a_spawn_that_fails_by_its_task_is_recorded_as_its_failure() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    let failed = Event::SpawnFailed { spawn: SpawnId(1), blame: Blame::Task, errno: 2 };
    let effects = world.step(failed);
    let verdict = Verdict::SpawnFailed;
    let change = Change::Finish { fence: fence(1), pid: None, verdict, failure_limit: 2 };
    assert_eq!(
        effects,
        [
            report(Report::NotStarted(SpawnId(1), Blame::Task, 2)),
            note(1, verdict),
            world.exchange(4, false, 72, &[change]),
        ]
    );
}

#[test]
fn a_spawn_that_fails_by_its_boards_directories_holds_that_board_for_a_second() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.step(Event::SpawnFailed { spawn: SpawnId(1), blame: Blame::Board, errno: 5 });
    assert_eq!(world.answer(B, &[Taken::Yes], Some(ready(&["t2"]))).len(), 2);
    assert_eq!(world.wake, Some(1_000));
    let hold = BoardHold::DirectoriesFail { until: Mono(1_000) };
    assert_eq!(world.board(B).directory_hold(Mono(0)), Some(hold));
    assert_eq!(world.board(B).directory_hold(Mono(1_000)), None);
    assert_eq!(world.after(999, Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)), [claim(2)]);
}

#[test]
fn a_spawn_that_misses_its_deadline_is_called_off() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    let effects = world.after(90_000, Event::Wake);
    assert_eq!(effects, [Effect::CancelSpawn { spawn: SpawnId(1) }]);
    let effects = world.step(Event::SpawnCancelled { spawn: SpawnId(1) });
    assert_eq!(sent(&effects), [release(1, Release::NotStarted)]);
}

#[test]
fn a_task_whose_worker_may_be_alive_is_not_claimed_again_however_ready_it_looks() {
    let mut world = World::running();
    world.step(Event::Tick);
    assert_eq!(world.look_for(B, ready(&["t1"])), []);
    assert_eq!(sent(&world.exits(1, 0)), [finish(1, Verdict::Completed)]);
    let effects = world.answer(B, &[Taken::No(Refusal::Superseded)], Some(ready(&["t1"])));
    assert_eq!(sent(&effects), [claim_of(task("t1"), 2)]);
}

#[test]
fn a_worker_that_is_reaped_before_its_spawn_is_answered_is_reported_to_have_started_once() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    let effects = world.exits(1, 0);
    assert_eq!(
        effects[..2],
        [
            report(Report::Started(SpawnId(1), pid(1))),
            report(Report::Exited(SpawnId(1), ExitStatus::Code(0))),
        ]
    );
    assert_eq!(sent(&effects), [started(1), finish(1, Verdict::Completed)]);
    // It is kept until no answer is outstanding.
    let recorded = report(Report::Recorded(SpawnId(1), Verdict::Completed));
    assert_eq!(world.answer(B, &[Taken::Yes, Taken::Yes], None), [recorded]);
    assert_eq!(world.step(spawn_ok(1)), [Effect::Forget { spawn: SpawnId(1) }]);
}

#[test]
fn boards_take_turns_at_the_last_slot_of_the_host() {
    let claims = |effects: &[Effect]| -> Vec<BoardId> {
        let claims = |effect: &Effect| match effect {
            Effect::Exchange { board, request, .. } => {
                let is_claim = |change: &Change| matches!(change, Change::Claim { .. });
                request.changes.iter().any(is_claim).then_some(*board)
            }
            _ => None,
        };
        effects.iter().filter_map(claims).collect()
    };
    let mut world = World::with(Policy { max_workers: 1, ..Policy::default() });
    world.add(B);
    world.add(C);
    assert_eq!(claims(&world.look_for(B, ready(&["t1", "t2", "t3"]))), [B]);
    assert_eq!(claims(&world.look_for(C, ready(&["u1", "u2", "u3"]))), []);
    for (n, whose, next) in [(1, B, C), (2, C, B), (3, B, C), (4, C, B)] {
        world.answer(whose, &[claimed(n)], None);
        world.step(spawn_ok(n));
        world.after(5, Event::Wake);
        world.answer(whose, &[Taken::Yes], None);
        assert_eq!(claims(&world.exits(n, 0)), [next]);
        world.answer(whose, &[Taken::Yes], None);
    }
}

#[test]
fn looks_at_a_locked_board_do_not_hide_how_long_it_has_been_locked() {
    let mut world = World::new();
    world.add(B);
    world.step(Event::BoardsListed);
    let seen = Observation { promotable: vec![task("p")], ..Observation::default() };
    let mut effects = world.look_for(B, seen);
    while world.ms < 1_000 {
        assert!(!world.is_idle(1_000), "it may be let go of at any time");
        assert_eq!(sent(&effects), [promote("p")]);
        world.answer(B, &[Taken::No(Refusal::Locked)], None);
        assert_eq!(sent(&world.after(3, Event::Tick)), [], "a mere look");
        world.answer(B, &[], None);
        effects = world.after(50, Event::Wake);
    }
    world.answer(B, &[Taken::No(Refusal::Locked)], None);
    while !world.is_idle(1_000) {
        assert!(world.ms < 3_000, "it is never closed");
        effects = world.after(50, Event::Wake);
        let changes = sent(&effects);
        world.answer(B, &vec![Taken::No(Refusal::Locked); changes.len()], None);
    }
}

#[test]
fn an_answer_to_a_spawn_whose_end_is_recorded_asks_for_no_exchange() {
    let mut world = claiming();
    world.answer(B, &[claimed(1)], Some(ours(&[1])));
    world.exits(1, 0);
    world.answer(B, &[Taken::Yes, Taken::Yes], None);
    assert_eq!(world.step(spawn_ok(1)), [Effect::Forget { spawn: SpawnId(1) }]);
    assert_eq!(world.after(5, Event::Wake), []);
}

#[test]
fn a_board_is_full_by_its_own_runs_and_by_no_others() {
    let mut world = World::with(Policy { max_in_progress: 1, ..Policy::default() });
    world.add(B);
    world.add(C);
    assert_eq!(sent(&world.look_for(B, ready(&["t1", "t2"]))).len(), 1);
    assert_eq!(sent(&world.look_for(C, ready(&["u1", "u2"]))).len(), 1);
    let seen = Observation { running: 1, ours: vec![fence(1)], ..ready(&["t2"]) };
    assert_eq!(world.answer(B, &[claimed(1)], Some(seen)).len(), 2);
    world.step(spawn_ok(1));
    assert_eq!(sent(&world.after(5, Event::Wake)), [started(1)]);
}

#[test]
fn a_run_whose_end_was_rejected_fills_its_board_until_that_is_sent_again() {
    let mut world = World::with(Policy { max_in_progress: 1, ..Policy::default() });
    world.add(B);
    world.look_for(B, ready(&["t1", "t2"]));
    world.answer(B, &[claimed(1)], None);
    world.step(spawn_ok(1));
    assert_eq!(sent(&world.exits(1, 0)).len(), 3, "its pid, its end, and a claim");
    let no = Taken::No(Refusal::Rejected);
    world.answer(B, &[Taken::Yes, no, Taken::No(Refusal::Locked)], None);
    let until = world.wake.unwrap();
    assert!(until < 100, "{until}");
    assert_eq!(sent(&world.after(until, Event::Wake)), [], "no claim");
    world.answer(B, &[], None);
    world.ms = 30_000;
    let changes = sent(&world.step(Event::Wake));
    assert_eq!(changes[0], finish(1, Verdict::Completed));
    assert!(matches!(changes[1..], [Change::Claim { spawn: SpawnId(3), cap: 1, .. }]));
}

#[test]
fn a_row_that_bears_the_token_of_the_next_attempt_is_not_that_attempt() {
    let mut world = World::new();
    world.add(B);
    let seen = Observation { running: 1, ours: vec![fence(1)], ..ready(&["t2"]) };
    let changes = [release(1, Release::NotStarted), claim_of(task("t2"), 1)];
    assert_eq!(sent(&world.look_for(B, seen)), changes);
    let effects = world.answer(B, &[Taken::Yes, claimed(2)], None);
    assert!(matches!(effects[0], Effect::Spawn { spawn: SpawnId(1), .. }), "{effects:?}");
    assert_eq!(effects.len(), 2, "{effects:?}");
}

#[test]
fn a_full_host_asks_for_no_new_list() {
    let mut world = World::with(Policy { lookahead: 4, max_workers: 2, ..Policy::default() });
    world.add(B);
    let Observation { ready: Some(Ready { tasks, .. }), .. } = ready(&["t1", "t2"]) else {
        panic!()
    };
    let seen = Ready { tasks, more: true };
    world.look_for(B, Observation { ready: Some(seen), ..Observation::default() });
    let effects = world.answer(B, &[claimed(1), claimed(2)], Some(ours(&[1, 2])));
    assert_eq!(effects.len(), 4, "{effects:?}");
}

/// One of two ready tasks runs, and the list was returned while there was no room for the other.
fn full_with_more_behind() -> World {
    let policy = Policy { lookahead: 0, max_workers: 1, ..Policy::default() };
    let mut world = World::with(policy);
    world.add(B);
    world.look_for(B, ready(&["t1"]));
    let seen = Ready { tasks: vec![], more: true };
    let seen = Observation { ready: Some(seen), ..ours(&[1]) };
    world.answer(B, &[claimed(1)], Some(seen));
    world
}

#[test]
fn a_list_that_had_no_room_for_any_task_is_asked_for_again_when_there_is_room() {
    let mut world = full_with_more_behind();
    world.step(Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) });
    let effects = world.exits(1, 0);
    let Some(Effect::Exchange { request, .. }) = effects.last() else { panic!("{effects:?}") };
    assert!(request.relist);
}

#[test]
fn a_list_that_had_no_room_is_asked_for_again_when_the_host_may_start_processes() {
    let mut world = full_with_more_behind();
    world.step(Event::SpawnFailed { spawn: SpawnId(1), blame: Blame::Host, errno: 11 });
    world.answer(B, &[Taken::Yes], None);
    assert_eq!(world.wake, Some(1_000));
    let effects = world.after(1_000, Event::Wake);
    let Some(Effect::Exchange { request, .. }) = effects.last() else { panic!("{effects:?}") };
    assert!(request.relist);
}

#[test]
fn the_ready_list_is_asked_for_again_when_a_quarter_of_what_is_kept_in_view_is_left() {
    for (left, relists) in [(2, true), (3, false)] {
        let mut world = World::with(Policy { lookahead: 8, ..Policy::default() });
        world.add(B);
        let Observation { ready: Some(Ready { tasks, .. }), .. } =
            ready(&["t1", "u", "v", "w"][..=left])
        else {
            panic!()
        };
        let foreign = |c: Candidate| match c.order {
            0 => c,
            _ => Candidate { lane: Lane::Foreign, ..c },
        };
        let seen = Ready { tasks: tasks.into_iter().map(foreign).collect(), more: true };
        let seen = Observation { ready: Some(seen), ..Observation::default() };
        assert_eq!(sent(&world.look_for(B, seen)), [claim(1)]);
        let effects = world.answer(B, &[claimed(1)], Some(ours(&[1])));
        assert_eq!(effects.len(), if relists { 3 } else { 2 }, "{effects:?}");
    }
}

#[test]
fn rivals_that_meet_a_lock_at_different_moments_wait_for_different_times() {
    let mut waits: Vec<u64> = (0..40)
        .map(|ms| {
            let mut world = claiming();
            world.after(ms, Event::Wake);
            world.answer(B, &[Taken::No(Refusal::Locked)], None);
            world.wake.unwrap() - ms
        })
        .collect();
    waits.sort_unstable();
    assert_eq!(waits, (10..50).collect::<Vec<u64>>());
}

#[test]
fn claims_that_a_lowered_limit_of_their_board_leaves_no_room_for_are_given_back() {
    let mut world = World::new();
    world.add(B);
    world.look_for(B, ready(&["t1", "t2"]));
    let policy = Policy { max_in_progress: 1, ..Policy::default() };
    world.step(Event::PolicyChanged(Box::new(policy)));
    let effects = world.answer(B, &[claimed(1), claimed(2)], Some(ours(&[1, 2])));
    assert_eq!(sent(&effects), [release(1, Release::NotStarted)]);
    let spawns: Vec<&Effect> =
        effects.iter().filter(|effect| matches!(effect, Effect::Spawn { .. })).collect();
    assert!(matches!(spawns[..], [Effect::Spawn { spawn: SpawnId(2), .. }]), "{effects:?}");
}

#[test]
fn a_full_board_gives_back_no_claim_of_another() {
    let mut world = World::with(Policy { max_in_progress: 1, ..Policy::default() });
    world.add(B);
    world.add(C);
    world.look_for(B, ready(&["t1"]));
    world.look_for(C, ready(&["u1"]));
    assert_eq!(world.answer(B, &[claimed(1)], Some(ours(&[1])))[0], spawn(1));
    assert!(matches!(
        world.answer(C, &[claimed(2)], None)[0],
        Effect::Spawn { spawn: SpawnId(2), board: C, .. }
    ));
}

#[test]
fn a_claim_for_a_worker_that_is_no_longer_configured_is_given_back() {
    let mut world = claiming();
    let gone = WorkerPolicy { enabled: false, ..WorkerPolicy::default() };
    let policy = Policy { workers: vec![gone], ..Policy::default() };
    world.step(Event::PolicyChanged(Box::new(policy)));
    assert_eq!(
        sent(&world.answer(B, &[claimed(1)], Some(ours(&[1])))),
        [release(1, Release::NotStarted)]
    );
}
