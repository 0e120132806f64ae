//! Claims of dead dispatchers: how they are adopted, what follows from the searches, and how long
//! other claims are left to their owners.

use super::world::*;
use crate::machine::adoption::{Evidence, Process, Record};
use crate::machine::attempt::{Limit, Running, Stage};
use crate::machine::effect::{Effect, EndCause, Report};
use crate::machine::event::{Event, Group, Signal, SignalOutcome};
use crate::machine::exchange::{
    Change, Expired, Fence, LeaseEnd, Observation, Orphan, Refusal, Taken,
};
use crate::machine::fault::{Commit, FaultClass};
use crate::machine::ids::{SpawnId, WorkerId};
use crate::machine::policy::{Policy, WorkerPolicy};
use crate::machine::time::Mono;
use crate::machine::verdict::{ExitStatus, Release, Verdict};

const GONE: Process = Process::None(Group::Gone);
const FIND: Effect = Effect::Find { spawn: SpawnId(1) };

/// Returns the claim that attempt `n` is to adopt.
fn orphan(n: u64) -> Orphan {
    let Fence { task, run, .. } = fence(n);
    Orphan { task, run, worker: WorkerId(0) }
}

fn orphans(numbers: &[u64]) -> Observation {
    let orphans: Vec<Orphan> = numbers.iter().map(|n| orphan(*n)).collect();
    Observation { running: 1, orphans, ..Observation::default() }
}

fn adopt(n: u64) -> Change {
    Change::Adopt { spawn: SpawnId(n), orphan: orphan(n), ttl_s: 900 }
}

fn found(record: Record, process: Process, noted: Option<Verdict>) -> Event {
    Event::Found { spawn: SpawnId(1), evidence: Evidence { record, process, noted } }
}

fn held(age_ms: u64) -> Event {
    found(Record::Started, Process::Held { pid: pid(1), age_ms }, None)
}

/// Attempt 1 has adopted the run of task `t1`, and its worker is being looked for.
fn finding(policy: Policy) -> World {
    let mut world = World::with(policy);
    world.add(B);
    world.step(Event::BoardsListed);
    world.ms = 50_000;
    assert_eq!(sent(&world.look_for(B, orphans(&[1]))), [adopt(1)]);
    let effects = world.answer(B, &[claimed(1)], Some(ours(&[1])));
    assert_eq!(effects, [report(Report::Adopted(fence(1), B)), FIND]);
    world
}

fn stage(world: &World) -> Stage {
    world.board(B).attempts().next().unwrap().stage()
}

#[test]
fn an_orphan_is_adopted_although_all_slots_are_in_use() {
    let mut world = World::with(Policy { max_workers: 1, ..Policy::default() });
    world.add(B);
    world.look_for(B, ready(&["t1"]));
    world.answer(B, &[claimed(1)], Some(Observation { orphans: vec![orphan(2)], ..ours(&[1]) }));
    assert_eq!(world.board(B).under_way(), [adopt(2)]);
}

#[test]
fn what_was_adopted_uses_up_the_slots_of_new_work() {
    let mut world = World::with(Policy { max_workers: 1, ..Policy::default() });
    world.add(B);
    let seen = Observation { running: 1, orphans: vec![orphan(1)], ..ready(&["t2"]) };
    assert_eq!(sent(&world.look_for(B, seen)), [adopt(1)]);
}

#[test]
fn a_claim_that_another_has_adopted_is_let_go() {
    let mut world = World::with(Policy::default());
    world.add(B);
    world.look_for(B, orphans(&[1]));
    let effects = world.answer(B, &[Taken::No(Refusal::Superseded)], Some(orphans(&[1])));
    assert_eq!(effects, [], "and left alone for a while");
    assert_eq!(world.dispatcher.attempts().count(), 0);
}

#[test]
fn a_claim_adopted_in_an_exchange_whose_answer_was_lost_is_adopted_again() {
    let mut world = World::with(Policy::default());
    world.add(B);
    world.look_for(B, orphans(&[1]));
    world.exchange_failed(B, FaultClass::Busy, Commit::Maybe);
    world.after(25, Event::Wake);
    // It is listed as one of ours, under an unknown number, but is not a stray to be put back.
    let seen = Observation { orphans: vec![orphan(1)], ..ours(&[1]) };
    let again = Change::Adopt { spawn: SpawnId(2), orphan: orphan(1), ttl_s: 900 };
    assert_eq!(sent(&world.look_for(B, seen)), [again]);
}

#[test]
fn an_attempt_of_ours_is_not_adopted_over_again() {
    let mut world = finding(Policy::default());
    world.step(Event::Tick);
    let seen = Observation { orphans: vec![orphan(1)], ..ours(&[1]) };
    assert_eq!(world.look_for(B, seen), []);
}

#[test]
fn a_worker_that_is_found_runs_from_when_it_started() {
    let workers = vec![WorkerPolicy { max_runtime_s: Some(60), ..WorkerPolicy::default() }];
    let mut world = finding(Policy { workers, ..Policy::default() });
    assert_eq!(world.step(held(20_000)), [report(Report::Found(SpawnId(1), pid(1)))]);
    let limit = Limit { began: Mono(30_000), limit_s: 60 };
    assert_eq!(stage(&world), Stage::Running(Running { limit: Some(limit), lost_at: None }));
    let effects = world.after(40_000, Event::Wake);
    let ends = report(Report::Ending(SpawnId(1), EndCause::Timeout { limit_s: 60 }));
    assert_eq!(effects, [ends, Effect::Signal { spawn: SpawnId(1), signal: Signal::Term }]);
}

#[test]
fn the_exit_of_an_adopted_worker_is_recorded_as_our_own() {
    let mut world = finding(Policy::default());
    world.step(held(5));
    let effects = world.exits(1, 0);
    assert_eq!(
        effects[..2],
        [report(Report::Exited(SpawnId(1), ExitStatus::Code(0))), note(1, Verdict::Completed)]
    );
    assert!(sent(&effects).contains(&finish(1, Verdict::Completed)), "{effects:?}");
    let effects = world.answer(B, &[Taken::Yes; 2], Some(Observation::default()));
    assert_eq!(effects.last(), Some(&Effect::Forget { spawn: SpawnId(1) }));
}

#[test]
fn an_exit_may_come_before_the_worker_is_found() {
    let mut world = finding(Policy::default());
    let effects = world.exits(1, 3);
    let failed = Verdict::Crashed(ExitStatus::Code(3));
    assert!(effects.contains(&note(1, failed)), "{effects:?}");
    assert_eq!(world.step(held(5)), [], "found too late");
}

#[test]
fn the_end_that_was_noted_is_recorded() {
    let mut world = finding(Policy::default());
    let effects = world.step(found(Record::Started, GONE, Some(Verdict::RateLimited)));
    assert_eq!(effects[0], note(1, Verdict::RateLimited));
    let changes = sent(&effects);
    assert!(matches!(
        changes[..],
        [Change::Finish { verdict: Verdict::RateLimited, pid: None, .. }]
    ));
}

#[test]
fn an_end_of_which_nothing_is_known_is_recorded_as_unknown() {
    let mut world = finding(Policy::default());
    let effects = world.step(found(Record::Started, GONE, None));
    assert_eq!(effects[0], note(1, Verdict::Unknown));
}

#[test]
fn a_claim_without_a_process_is_put_back_without_blame() {
    for record in [Record::NoIntent, Record::Intent, Record::Lost] {
        let mut world = finding(Policy::default());
        let effects = world.step(found(record, GONE, None));
        assert_eq!(sent(&effects), [release(1, Release::NotStarted)], "{record:?}");
    }
}

#[test]
fn a_group_that_lost_its_leader_is_ended_before_its_task_is_put_back() {
    let mut world = finding(Policy::default());
    let effects = world.step(found(Record::Started, Process::None(Group::Alive), None));
    let ends = report(Report::Ending(SpawnId(1), EndCause::Leftovers));
    let term = Effect::Signal { spawn: SpawnId(1), signal: Signal::Term };
    assert_eq!(effects, [ends, term]);
    let gone =
        Event::Signalled { spawn: SpawnId(1), signal: Signal::Probe, outcome: SignalOutcome::Gone };
    assert_eq!(world.step(gone)[0], note(1, Verdict::Unknown));
}

#[test]
fn what_cannot_be_told_is_looked_at_again_and_reported_once() {
    let mut world = finding(Policy::default());
    let hidden = || found(Record::Lost, Process::Hidden, None);
    assert_eq!(world.step(hidden()), [report(Report::CannotTell(SpawnId(1)))]);
    for wait_ms in [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000] {
        assert_eq!(world.after(wait_ms - 1, Event::Wake), [], "{wait_ms} ms");
        assert_eq!(world.after(1, Event::Wake), [FIND], "{wait_ms} ms");
        assert_eq!(world.step(hidden()), []);
    }
}

#[test]
fn the_lease_of_what_is_looked_for_is_renewed() {
    let mut world = finding(Policy::default());
    let renews = |change: &Change| matches!(change, Change::Renew { .. });
    assert!(sent(&world.after(300_000, Event::Wake)).iter().any(renews));
}

#[test]
fn a_shutdown_leaves_what_was_not_found_to_the_next_and_notes_nothing_of_it() {
    for stop in [Event::Drain { grace_ms: 0 }, Event::Abort] {
        let mut world = finding(Policy::default());
        assert_eq!(world.step(stop), [Effect::Forget { spawn: SpawnId(1) }]);
        assert!(world.is_drained(0));
        assert_eq!(world.step(held(5)), [], "its worker is not ended");
    }
}

#[test]
fn a_shutdown_ends_what_was_found() {
    let mut world = finding(Policy::default());
    world.step(held(5));
    let effects = world.step(Event::Drain { grace_ms: 0 });
    assert!(effects.contains(&Effect::Signal { spawn: SpawnId(1), signal: Signal::Term }));
}

#[test]
fn nothing_is_adopted_while_shutting_down() {
    let mut world = World::open();
    world.step(Event::Drain { grace_ms: 10_000 });
    world.step(Event::Tick);
    assert_eq!(world.look_for(B, orphans(&[1])), []);
}

#[test]
fn a_worker_whose_row_is_lost_is_ended_once_it_is_found() {
    let mut world = finding(Policy::default());
    world.step(Event::Tick);
    world.look_for(B, Observation::default());
    world.step(held(5));
    let grace_ms = Policy::default().ended_grace_ms;
    let effects = world.after(grace_ms, Event::Wake);
    assert!(effects.contains(&Effect::Signal { spawn: SpawnId(1), signal: Signal::Term }));
}

/// Returns how long after a board's return a claim that it lists is reclaimed.
fn reclaimed_after(by: LeaseEnd, fails: impl FnOnce(&mut World)) -> u64 {
    let mut world = World::open_with(Policy { claim_ttl_s: 60, ..Policy::default() });
    world.step(Event::Tick);
    fails(&mut world);
    let back_at = world.ms;
    let expired = Expired { task: task("u"), run: None, by };
    let seen = Observation { expired: vec![expired], ..Observation::default() };
    let mut effects = world.look_for(B, seen);
    while effects.iter().all(|effect| !matches!(effect, Effect::Exchange { .. })) {
        world.ms = world.wake.unwrap();
        effects = world.step(Event::Wake);
    }
    assert_eq!(sent(&effects), [Change::Reclaim { expired, failure_limit: 2 }]);
    world.ms - back_at
}

#[test]
fn after_an_outage_the_holders_of_claims_have_their_turn_first() {
    // A busy board's connection stays open, and one that hangs does not even fail.
    let busy = |world: &mut World| {
        world.exchange_failed(B, FaultClass::Busy, Commit::No);
        world.after(25, Event::Wake);
    };
    let replaced = |world: &mut World| {
        world.exchange_failed(B, FaultClass::Replaced, Commit::No);
        world.connected(B);
    };
    let hangs = |world: &mut World| {
        world.after(Policy::default().board_deadline_ms, Event::Wake);
    };
    for fails in [&busy as &dyn Fn(&mut World), &replaced, &hangs] {
        assert_eq!(reclaimed_after(LeaseEnd::Expired, fails), 5_000);
        assert_eq!(reclaimed_after(LeaseEnd::WorkerGone, fails), 5_000);
        assert_eq!(reclaimed_after(LeaseEnd::Neglected, fails), 60_000);
    }
    assert_eq!(reclaimed_after(LeaseEnd::Neglected, |_| {}), 0);
}

#[test]
fn a_board_that_fails_again_does_not_put_off_what_is_to_be_reclaimed() {
    let mut world = World::open_with(Policy::default());
    let expired = Expired { task: task("u"), run: None, by: LeaseEnd::Expired };
    let seen = || Observation { expired: vec![expired], ..Observation::default() };
    for _ in 0..3 {
        world.step(Event::Tick);
        world.exchange_failed(B, FaultClass::Busy, Commit::No);
        world.after(25, Event::Wake);
        assert_eq!(world.look_for(B, seen()), []);
        world.ms += 1_000;
    }
    world.ms = 5_024;
    assert_eq!(world.step(Event::Wake), []);
    assert_eq!(sent(&world.after(1, Event::Wake)).len(), 1);
}

#[test]
fn an_answer_about_an_attempt_that_is_unknown_changes_nothing() {
    let mut world = World::open();
    assert_eq!(world.step(held(5)), []);
}
