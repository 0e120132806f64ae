//! Properties over entropy: every promise holds in every simulated world. Entropy that once broke
//! one stays in `tests/regressions/`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs, reason = "tests")]

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sexton::machine::hold;
use sexton::machine::hold::{Candidate, Lane, LastEnd};
use sexton::machine::ids::{TaskId, WorkerId};
use sexton::machine::plan::{self, Slots};
use sexton::machine::policy::{Policy, WorkerPolicy};
use sexton_sim::sweep::Sweep;
use sexton_sim::world::{Options, run};

fn config(cases: u32) -> ProptestConfig {
    let file = FileFailurePersistence::Direct("tests/regressions/properties.txt");
    ProptestConfig { cases, failure_persistence: Some(Box::new(file)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn no_entropy_breaks_a_promise(bytes in vec(any::<u8>(), 0..1_500)) {
        let run = run(bytes, Options::default());
        prop_assert_eq!(run.broken, None);
    }

    #[test]
    fn the_same_entropy_yields_the_same_run(bytes in vec(any::<u8>(), 0..600)) {
        let (first, second) =
            (run(bytes.clone(), Options::default()), run(bytes, Options::default()));
        prop_assert_eq!((first.hash, first.events), (second.hash, second.events));
    }

    #[test]
    fn looking_at_a_run_does_not_change_it(bytes in vec(any::<u8>(), 0..400)) {
        let looked = run(bytes.clone(), Options { trace: true, ..Options::default() });
        prop_assert_eq!(looked.hash, run(bytes, Options::default()).hash);
        prop_assert!(!looked.trace.is_empty());
    }
}

/// A ready task, as anything that a board may show.
fn candidate() -> impl Strategy<Value = Candidate> {
    let lane = prop_oneof![
        3 => (0..3_u16).prop_map(|worker| Lane::Worker(WorkerId(worker))),
        1 => Just(Lane::Unassigned),
        1 => Just(Lane::Foreign),
    ];
    let last_end = proptest::option::of((900..1_100_i64, any::<bool>()))
        .prop_map(|end| end.map(|(at, rate_limited)| LastEnd { at, rate_limited }));
    (0..20_i64, lane, -2..3_i64, 0..4_i64, any::<bool>(), 0..5_u32, last_end).prop_map(
        |(order, lane, priority, created_at, has_body, failures, last_end)| Candidate {
            task: TaskId::new(&format!("t{order}")).unwrap(),
            lane,
            priority,
            created_at,
            order,
            has_body,
            failures,
            last_end,
        },
    )
}

/// Each task once, as a board lists them.
fn ready() -> impl Strategy<Value = Vec<Candidate>> {
    vec(candidate(), 0..20).prop_map(|mut ready| {
        ready.sort_by_key(|candidate| candidate.order);
        ready.dedup_by_key(|candidate| candidate.order);
        ready
    })
}

fn owner() -> impl Strategy<Value = Policy> {
    (proptest::option::of(0..3_u16), any::<[bool; 2]>(), 0..60_u32).prop_map(
        |(default, [enabled, needs_body], cooldown_s)| Policy {
            default_worker: default.map(WorkerId),
            cooldown_s,
            workers: vec![
                WorkerPolicy { enabled, ..WorkerPolicy::default() },
                WorkerPolicy { needs_body, ..WorkerPolicy::default() },
            ],
            ..Policy::default()
        },
    )
}

const UNIX: i64 = 1_000;

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn the_plan_keeps_every_cap_and_no_held_task_is_in_it(
        ready in ready(), policy in owner(), host in 0..6_u32, board in 0..6_u32
    ) {
        let slots = Slots { host, board };
        let claims = plan::claims(&ready, slots, &policy, UNIX, |_| false);
        prop_assert!(claims.len() <= host.min(board) as usize);
        for (task, worker) in &claims {
            let seen = ready.iter().find(|candidate| candidate.task == *task).unwrap();
            prop_assert_eq!(hold::on(seen, &policy, UNIX), None);
            prop_assert_eq!(plan::worker(seen.lane, &policy), Some(*worker));
        }
        // And nothing that could run is left while there is room.
        let free = ready.iter().filter(|seen| hold::on(seen, &policy, UNIX).is_none()).count();
        prop_assert_eq!(claims.len(), free.min(host.min(board) as usize));
    }

    #[test]
    fn what_was_claimed_is_not_claimed_again_when_it_is_seen_again(
        ready in ready(), policy in owner(), host in 0..6_u32
    ) {
        let slots = Slots { host, board: host };
        let first = plan::claims(&ready, slots, &policy, UNIX, |_| false);
        let busy = |task| first.iter().any(|(claimed, _)| *claimed == task);
        let rest = Slots { host: host - first.len() as u32, board: host - first.len() as u32 };
        let again = plan::claims(&ready, rest, &policy, UNIX, busy);
        prop_assert_eq!(again, []);
    }

    #[test]
    fn the_order_in_which_tasks_are_listed_does_not_matter(
        (ready, mixed) in ready().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        policy in owner(),
        host in 0..6_u32
    ) {
        let slots = Slots { host, board: 4 };
        let claims = |ready: &[Candidate]| plan::claims(ready, slots, &policy, UNIX, |_| false);
        prop_assert_eq!(claims(&ready), claims(&mixed));
    }
}

/// Two hundred seeds, every fault struck or not: enough to notice a machine that is broken.
#[test]
fn a_short_sweep_is_clean() {
    let sweep = Sweep {
        seeds: 0..200,
        size: sexton_sim::sweep::SIZE,
        jobs: 2,
        options: Options::default(),
        stop_early: true,
    };
    assert_eq!(sweep.run(|_| true).broken, []);
}

#[test]
fn past_regressions_stay_fixed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "entropy") {
            let broken = run(fs::read(&path).unwrap(), Options::default()).broken;
            assert_eq!(broken, None, "{}", path.display());
        }
    }
}
