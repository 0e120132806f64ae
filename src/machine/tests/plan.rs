//! The plan on its own: *these ready tasks, these slots, exactly these claims*.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::world::task;
use crate::machine::hold;
use crate::machine::hold::{Candidate, Lane, LastEnd};
use crate::machine::ids::{TaskId, WorkerId};
use crate::machine::plan::{self, Slots};
use crate::machine::policy::{Policy, WorkerPolicy};

const NOW: i64 = 1_000;
const PLENTY: Slots = Slots { host: 99, board: 99 };
/// In the policy of these tests: anything goes; needs a body; is switched off.
const W: WorkerId = WorkerId(0);
const READER: WorkerId = WorkerId(1);
const OFF: WorkerId = WorkerId(2);

fn policy() -> Policy {
    let reader = WorkerPolicy { needs_body: true, ..WorkerPolicy::default() };
    let off = WorkerPolicy { enabled: false, ..WorkerPolicy::default() };
    Policy { workers: vec![WorkerPolicy::default(), reader, off], ..Policy::default() }
}

fn candidate(id: &str) -> Candidate {
    Candidate {
        task: task(id),
        lane: Lane::Worker(W),
        priority: 0,
        created_at: 0,
        order: 0,
        has_body: false,
        failures: 0,
        last_end: None,
    }
}

fn claims_with(ready: &[Candidate], slots: Slots, policy: &Policy) -> Vec<(TaskId, WorkerId)> {
    plan::claims(ready, slots, policy, NOW, |_| false)
}

/// The names of the tasks that are claimed.
fn claims(ready: &[Candidate], slots: Slots) -> Vec<String> {
    claims_with(ready, slots, &policy()).iter().map(|(task, _)| task.to_string()).collect()
}

#[test]
fn no_more_is_claimed_than_the_tighter_of_the_two_caps_leaves() {
    let ready = ["a", "b", "c"].map(candidate);
    for (host, board, expected) in [
        (0, 0, 0),
        (0, 9, 0),
        (9, 0, 0),
        (1, 9, 1),
        (9, 1, 1),
        (2, 2, 2),
        (3, 9, 3),
        (9, 9, 3),
        (u32::MAX, u32::MAX, 3),
    ] {
        let slots = Slots { host, board };
        assert_eq!(slots.free(), host.min(board));
        assert_eq!(claims(&ready, slots), ["a", "b", "c"][..expected], "{slots:?}");
    }
}

#[test]
fn nothing_ready_is_nothing_claimed() {
    assert_eq!(claims(&[], PLENTY), Vec::<String>::new());
}

#[test]
fn without_a_slot_no_task_is_checked_for_being_busy() {
    let asked = |_| panic!("asked");
    let none = Slots { host: 0, board: 9 };
    assert_eq!(plan::claims(&[candidate("a")], none, &policy(), NOW, asked), []);
}

#[test]
fn the_order_is_by_priority_then_age_then_insertion_then_name() {
    let of = |id, priority, created_at, order| Candidate {
        priority,
        created_at,
        order,
        ..candidate(id)
    };
    // Each is second best in all that comes after what makes it better than the next.
    let ready = [
        of("e", 0, 5, 4),
        of("c", 1, 7, 8),
        of("a", i64::MAX, 9, 9),
        of("f", 0, 5, 4),
        of("d", 0, 5, 3),
        of("b", 1, 6, 9),
        of("h", i64::MIN, i64::MIN, i64::MIN),
        of("g", 0, 6, 1),
    ];
    assert_eq!(claims(&ready, PLENTY), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    let three = Slots { host: 3, board: 9 };
    assert_eq!(claims(&ready, three), ["a", "b", "c"]);
}

#[test]
fn each_lane_is_claimed_for_its_worker_if_it_has_one_of_ours() {
    let default = Policy { default_worker: Some(READER), ..policy() };
    let off = Policy { default_worker: Some(OFF), ..policy() };
    for (lane, policy, worker) in [
        (Lane::Worker(W), policy(), Some(W)),
        (Lane::Worker(READER), policy(), Some(READER)),
        (Lane::Worker(OFF), policy(), None),
        // The configuration no longer names it; until the machine learns that, it is like any
        // other.
        (Lane::Worker(WorkerId(9)), policy(), Some(WorkerId(9))),
        (Lane::Unassigned, policy(), None),
        (Lane::Unassigned, default.clone(), Some(READER)),
        (Lane::Unassigned, off, None),
        (Lane::Foreign, policy(), None),
        (Lane::Foreign, default, None),
    ] {
        let ready = [Candidate { lane, has_body: true, ..candidate("a") }];
        let expected: Vec<_> = worker.map(|worker| (task("a"), worker)).into_iter().collect();
        assert_eq!(claims_with(&ready, PLENTY, &policy), expected, "{lane:?}");
    }
}

#[test]
fn the_worker_of_a_lane_is_its_own_or_the_default_one() {
    let default = Policy { default_worker: Some(READER), ..policy() };
    assert_eq!(plan::worker(Lane::Worker(W), &default), Some(W));
    assert_eq!(plan::worker(Lane::Unassigned, &default), Some(READER));
    assert_eq!(plan::worker(Lane::Unassigned, &policy()), None);
    assert_eq!(plan::worker(Lane::Foreign, &default), None);
}

#[test]
fn what_is_held_is_passed_over_and_takes_no_slot() {
    let lane = Lane::Worker(READER);
    let ended = |seconds_ago, rate_limited| Some(LastEnd { at: NOW - seconds_ago, rate_limited });
    for held in [
        Candidate { lane, ..candidate("a") },
        Candidate { lane: Lane::Foreign, ..candidate("a") },
        Candidate { lane: Lane::Unassigned, ..candidate("a") },
        Candidate { last_end: ended(299, true), ..candidate("a") },
        Candidate { last_end: ended(59, false), failures: 99, ..candidate("a") },
    ] {
        let first = Candidate { priority: 1, ..held };
        let one = Slots { host: 1, board: 1 };
        assert_eq!(claims(&[first, candidate("b")], one), ["b"], "{held:?}");
    }
    for free in [
        Candidate { lane, has_body: true, ..candidate("a") },
        Candidate { last_end: ended(300, true), ..candidate("a") },
        Candidate { last_end: ended(75, false), failures: 99, ..candidate("a") },
        Candidate { last_end: ended(0, false), failures: 1, ..candidate("a") },
    ] {
        assert_eq!(claims(&[free], PLENTY), ["a"], "{free:?}");
    }
}

#[test]
fn what_is_busy_is_passed_over_and_takes_no_slot() {
    let ready = ["a", "b", "c"].map(candidate);
    let busy = |busy: TaskId| busy == task("a");
    let two = Slots { host: 2, board: 2 };
    let claims = plan::claims(&ready, two, &policy(), NOW, busy);
    assert_eq!(claims, [(task("b"), W), (task("c"), W)]);
    assert_eq!(plan::claims(&ready, two, &policy(), NOW, |_| true), []);
}

#[test]
fn a_task_that_is_listed_twice_is_claimed_once_by_what_ranks_better() {
    let other = Candidate { lane: Lane::Worker(READER), has_body: true, ..candidate("a") };
    let better = Candidate { priority: 1, ..other };
    let ready = [candidate("a"), candidate("b"), better];
    let expected = [(task("a"), READER), (task("b"), W)];
    assert_eq!(claims_with(&ready, PLENTY, &policy()), expected);
    // The second of them takes no slot, and counts only if the first is held.
    let two = Slots { host: 2, board: 2 };
    assert_eq!(claims_with(&ready, two, &policy()), expected);
    let held = Candidate { lane: Lane::Foreign, ..better };
    assert_eq!(claims(&[held, candidate("b"), candidate("a")], PLENTY), ["a", "b"]);
}

fn any_candidate(id: &'static str) -> impl Strategy<Value = Candidate> {
    let lane = prop::sample::select(vec![
        Lane::Worker(W),
        Lane::Worker(READER),
        Lane::Worker(OFF),
        Lane::Unassigned,
        Lane::Foreign,
    ]);
    let end = option::weighted(0.3, (NOW - 400..NOW + 400, any::<bool>()));
    (lane, -2_i64..3, 0_i64..3, 0_i64..3, any::<bool>(), 0_u32..9, end).prop_map(
        move |(lane, priority, created_at, order, has_body, failures, end)| Candidate {
            lane,
            priority,
            created_at,
            order,
            has_body,
            failures,
            last_end: end.map(|(at, rate_limited)| LastEnd { at, rate_limited }),
            ..candidate(id)
        },
    )
}

/// Some tasks, some of them several times over.
fn any_ready() -> impl Strategy<Value = Vec<Candidate>> {
    let each: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(any_candidate).into();
    (each, vec(0_usize..8, 0..20))
        .prop_map(|(each, chosen)| chosen.into_iter().map(|n| each[n]).collect())
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![None, Some(W), Some(READER), Some(OFF)])
        .prop_map(|default_worker| Policy { default_worker, ..policy() })
}

fn any_busy() -> impl Strategy<Value = Vec<TaskId>> {
    prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..4)
        .prop_map(|ids| ids.into_iter().map(task).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_list_does_not_change_what_is_claimed(
        (ready, shuffled) in any_ready().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        policy in any_policy(),
        busy in any_busy(),
        (host, board) in (0_u32..9, 0_u32..9),
    ) {
        let of = |ready: &[Candidate]| {
            let slots = Slots { host, board };
            plan::claims(ready, slots, &policy, NOW, |task| busy.contains(&task))
        };
        prop_assert_eq!(of(&ready), of(&shuffled));
    }

    #[test]
    fn with_fewer_slots_the_best_of_the_same_are_claimed(
        ready in any_ready(),
        policy in any_policy(),
        busy in any_busy(),
        free in 0_u32..9,
    ) {
        let of = |free| {
            let slots = Slots { host: free, board: 99 };
            plan::claims(&ready, slots, &policy, NOW, |task| busy.contains(&task))
        };
        let all = of(99);
        prop_assert_eq!(of(free), &all[..all.len().min(free as usize)]);
    }

    #[test]
    fn with_slots_for_all_every_task_that_may_run_is_claimed_once(
        ready in any_ready(),
        policy in any_policy(),
        busy in any_busy(),
    ) {
        let may_run = |c: &&Candidate| {
            hold::on(c, &policy, NOW).is_none() && !busy.contains(&c.task)
        };
        let mut expected: Vec<TaskId> = ready.iter().filter(may_run).map(|c| c.task).collect();
        expected.sort();
        expected.dedup();
        let claims = plan::claims(&ready, PLENTY, &policy, NOW, |task| busy.contains(&task));
        let mut claimed: Vec<TaskId> = claims.iter().map(|(task, _)| *task).collect();
        claimed.sort();
        prop_assert_eq!(claimed, expected);
    }
}
