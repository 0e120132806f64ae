//! The model board answers as the SQLite one does, and leaves the same behind: the same requests and
//! the same deeds of others go to both, and answers and rows are compared after each step.
#![cfg(feature = "runtime")]

mod pair;

use pair::step::{Op, Walk, ops};
use pair::verb::Verb;
use pair::{NOW, Pair, Step, Twist, claim, task};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use sexton::machine::exchange::{
    Change, Expired, Fence, LeaseEnd, Observation, Refusal, Request, Taken,
};
use sexton::machine::hold::Hold;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{Pid, RunId, SpawnId, WorkerId};
use sexton::machine::verdict::{ExitStatus, Release, Verdict};
use sexton_sim::board::{BlockKind, Holder, NewTask, Status};

const SUPERSEDED: Taken = Taken::No(Refusal::Superseded);
const CRASHED: Verdict = Verdict::Crashed(ExitStatus::Code(1));

fn seen(answer: sexton::machine::exchange::Answer) -> Observation {
    answer.observation.expect("a look")
}

#[test]
fn a_claim_and_its_end() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    let fence = pair.start("t_1", 1)?;
    assert_eq!(pair.row("t_1"), ("running", 0, true));
    assert!(matches!(pair.change(claim("t_1", 1))?, Taken::Claimed { .. }), "sent again");
    assert_eq!(pair.change(claim("t_1", 2))?, SUPERSEDED);
    let renew = Change::Renew { fence, ttl_s: 900, heartbeat: true };
    pair.unix += 300;
    assert_eq!(pair.change(renew)?, Taken::Yes);
    assert_eq!(pair.finish(fence, Verdict::Completed)?, Taken::Yes);
    assert_eq!(pair.row("t_1"), ("done", 0, false));
    for lost in [renew, Change::Started { fence, pid: Pid(9) }] {
        assert_eq!(pair.change(lost)?, SUPERSEDED);
    }
    assert_eq!(pair.outcomes(), ["completed"]);
    Ok(())
}

#[test]
fn a_claim_that_a_rival_was_quicker_to_make() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    pair.look()?;
    assert!(pair.verb(&Verb::Claim(task("t_1"), Holder::Neighbour, Some(Pid(5))))?);
    assert_eq!(pair.change(claim("t_1", 1))?, SUPERSEDED);
    pair.start("t_2", 2)?;
    pair.sit(1);
    assert_eq!(pair.change(claim("t_2", 2))?, SUPERSEDED, "the same number, another dispatcher");
    assert_eq!(seen(pair.look()?).ours, []);
    pair.sit(0);
    assert_eq!(seen(pair.look()?).ours.len(), 1);
    Ok(())
}

#[test]
fn a_fence_that_is_lost() -> Step<()> {
    let mut pair = Pair::with(&["t_1"]);
    let fence = pair.start("t_1", 1)?;
    assert!(pair.verb(&Verb::Reclaim(task("t_1")))?);
    assert_eq!(pair.finish(fence, CRASHED)?, SUPERSEDED);
    let next = pair.start("t_1", 2)?;
    assert_eq!(pair.finish(fence, CRASHED)?, SUPERSEDED);
    assert_eq!(pair.finish(Fence { spawn: SpawnId(1), ..next }, CRASHED)?, SUPERSEDED);
    assert_eq!(pair.finish(Fence { run: RunId(1), ..next }, CRASHED)?, SUPERSEDED);
    assert_eq!(pair.finish(next, CRASHED)?, Taken::Yes);
    assert_eq!(pair.row("t_1"), ("ready", 1, false));
    Ok(())
}

#[test]
fn archived_underneath_us() -> Step<()> {
    let mut pair = Pair::with(&["t_1"]);
    let fence = pair.start("t_1", 1)?;
    assert!(pair.verb(&Verb::Archive(task("t_1")))?);
    assert_eq!(seen(pair.send(&[])?).ours, []);
    assert_eq!(pair.finish(fence, Verdict::Completed)?, SUPERSEDED);
    assert_eq!(pair.row("t_1"), ("archived", 0, false));
    Ok(())
}

#[test]
fn a_worker_that_ends_its_task_itself() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    let ids = ["t_1", "t_2"].map(task);
    let [first, second] = [pair.start("t_1", 1)?, pair.start("t_2", 2)?];
    assert!(!pair.verb(&Verb::Complete(ids[0], Some(second.run), false))?);
    assert!(pair.verb(&Verb::Heartbeat(ids[0], first.run))?);
    assert!(pair.verb(&Verb::Complete(ids[0], Some(first.run), true))?);
    assert!(pair.verb(&Verb::Block(ids[1], Some(second.run), true, None))?);
    assert_eq!(pair.finish(first, Verdict::Completed)?, SUPERSEDED);
    assert_eq!(pair.finish(second, Verdict::ProtocolViolation)?, SUPERSEDED);
    assert_eq!(pair.outcomes(), ["completed", "blocked"]);
    assert_eq!(seen(pair.look()?).promotable, []);
    Ok(())
}

#[test]
fn more_than_the_cap() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2", "t_3"]);
    let taken = pair.send(&[claim("t_1", 1), claim("t_2", 2), claim("t_3", 3)])?.taken;
    assert_eq!(taken[2], Taken::No(Refusal::Full));
    assert_eq!(pair.row("t_3"), ("ready", 0, false));
    Ok(())
}

#[test]
fn waiting_and_promotion() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    let ids = ["t_1", "t_2"].map(task);
    pair.look()?;
    assert!(pair.verb(&Verb::Link(ids[0], ids[1]))?);
    assert!(!pair.verb(&Verb::Link(ids[1], ids[0]))?);
    let promote = Change::Promote { task: ids[1], failure_limit: 2 };
    assert_eq!(pair.change(promote)?, SUPERSEDED);
    let fence = pair.start("t_1", 1)?;
    let verdict = Verdict::Completed;
    let finish = Change::Finish { fence, pid: None, verdict, failure_limit: 2 };
    assert_eq!(seen(pair.send(&[finish])?).promotable, [ids[1]]);
    assert_eq!(pair.change(promote)?, Taken::Yes);
    assert!(pair.verb(&Verb::Reopen(ids[0], Status::Todo))?);
    assert_eq!(pair.row("t_2").0, "todo");
    assert!(pair.verb(&Verb::Promote(ids[1], true))?);
    assert_eq!(pair.change(claim("t_2", 2))?, SUPERSEDED);
    assert_eq!(pair.row("t_2").0, "todo", "its claim sent it back");
    Ok(())
}

#[test]
fn blocked_by_a_person_and_by_the_breaker() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2", "t_3"]);
    let ids = ["t_1", "t_2", "t_3"].map(task);
    pair.verb(&Verb::Block(ids[0], None, false, Some(BlockKind::NeedsInput)))?;
    for spawn in 1..3 {
        let fence = pair.start("t_2", spawn)?;
        pair.finish(fence, CRASHED)?;
    }
    let fence = pair.start("t_3", 3)?;
    pair.finish(fence, Verdict::CredentialsRefused)?;
    assert_eq!(pair.row("t_2"), ("blocked", 2, false));
    assert_eq!(seen(pair.look()?).promotable, []);
    pair.policy.failure_limit = 9;
    assert_eq!(seen(pair.send(&[])?).promotable, [ids[1]]);
    for id in ids {
        assert!(pair.verb(&Verb::Unblock(id))?);
    }
    assert_eq!(pair.row("t_3"), ("ready", 0, false));
    pair.verb(&Verb::Block(ids[0], None, false, Some(BlockKind::NeedsInput)))?;
    assert_eq!(pair.row("t_1").0, "triage");
    Ok(())
}

#[test]
fn a_breaker_that_trips_again() -> Step<()> {
    let mut pair = Pair::with(&["t_1"]);
    let id = task("t_1");
    let fence = pair.start("t_1", 1)?;
    pair.finish(fence, Verdict::CredentialsRefused)?;
    pair.policy.failure_limit = 9;
    assert_eq!(seen(pair.look()?).promotable, []);
    pair.verb(&Verb::Promote(id, false))?;
    pair.unix += 75;
    let fence = pair.start("t_1", 2)?;
    pair.finish(fence, CRASHED)?;
    assert_eq!(pair.row("t_1"), ("blocked", 3, false));
    assert_eq!(seen(pair.look()?).promotable, [id], "the second trip was not for good");
    Ok(())
}

#[test]
fn claims_without_a_dispatcher_are_reclaimed() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    pair.verb(&Verb::Claim(task("t_1"), Holder::Neighbour, Some(Pid(5))))?;
    pair.verb(&Verb::Claim(task("t_2"), Holder::Neighbour, None))?;
    pair.host.workers.insert(5);
    pair.look()?;
    assert_eq!(pair.send(&[])?.observation, None);
    // Nobody writes that a worker died, so it is looked at now and then.
    pair.host.workers.clear();
    pair.unix += 30;
    assert_eq!(seen(pair.send(&[])?).expired.len(), 1);
    // Before that second the second claim, which names no worker, is good.
    pair.unix = NOW + 900;
    assert_eq!(seen(pair.look()?).expired.len(), 1);
    pair.unix += 1;
    assert_eq!(seen(pair.send(&[])?).expired.len(), 2);
    Ok(())
}

#[test]
fn one_answer_holds_a_bounded_number_of_ended_claims() -> Step<()> {
    let mut pair = Pair::new();
    for n in 0..300 {
        let id = task(&format!("t_{n}"));
        for verb in [Verb::create(id), Verb::Claim(id, Holder::Elsewhere, None)] {
            assert!(verb.on_model(&mut pair.model, NOW) && verb.on_real(&pair.real, NOW));
        }
    }
    pair.unix += 1_000;
    let look = seen(pair.look()?);
    assert_eq!((look.expired.len(), look.due), (256, Some(pair.unix)));
    assert_eq!(seen(pair.send(&[])?).expired, look.expired, "there is more to be told");
    let free = |expired: &_| Change::Reclaim { expired: *expired, failure_limit: 2 };
    let look = seen(pair.send(&look.expired.iter().map(free).collect::<Vec<_>>())?);
    assert_eq!((look.expired.len(), look.due), (44, None));
    assert_eq!(pair.send(&[])?.observation, None);
    Ok(())
}

#[test]
fn a_running_task_without_a_claim() -> Step<()> {
    let mut pair = Pair::with(&["t_1"]);
    let fence = pair.start("t_1", 1)?;
    assert!(pair.verb(&Verb::Disown(fence.task))?);
    assert_eq!(pair.finish(fence, Verdict::Completed)?, SUPERSEDED);
    let look = seen(pair.look()?);
    assert_eq!((look.expired.len(), look.due), (0, Some(NOW + 900)));
    pair.unix += 900;
    let expired = seen(pair.send(&[])?).expired[0];
    assert_eq!(pair.change(Change::Reclaim { expired, failure_limit: 2 })?, Taken::Yes);
    assert_eq!(pair.row("t_1"), ("ready", 0, false));
    Ok(())
}

#[test]
fn a_wait_for_others_does_not_undo_a_persons_block() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    let ids = ["t_1", "t_2"].map(task);
    pair.verb(&Verb::Block(ids[1], None, true, None))?;
    pair.verb(&Verb::Promote(ids[1], false))?;
    pair.verb(&Verb::Link(ids[0], ids[1]))?;
    pair.verb(&Verb::Promote(ids[1], true))?;
    pair.verb(&Verb::Block(ids[1], None, false, Some(BlockKind::Dependency)))?;
    assert_eq!(pair.row("t_2").0, "todo");
    pair.verb(&Verb::Complete(ids[0], None, false))?;
    for spawn in 1..3 {
        let fence = pair.start("t_2", spawn)?;
        pair.finish(fence, CRASHED)?;
    }
    assert_eq!(pair.row("t_2").0, "blocked");
    pair.policy.failure_limit = 9;
    assert_eq!(seen(pair.look()?).promotable, []);
    Ok(())
}

#[test]
fn cooldown_backoff_and_the_other_holds() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    let fence = pair.start("t_1", 1)?;
    pair.finish(fence, Verdict::RateLimited)?;
    let look = seen(pair.look()?);
    assert_eq!((look.due, look.ready.expect("a list").tasks.len()), (Some(NOW + 300), 1));
    let held = Taken::No(Refusal::Held(Hold::Cooldown { until: NOW + 300 }));
    assert_eq!(pair.change(claim("t_1", 2))?, held);
    assert_eq!(pair.send(&[])?.observation, None);
    pair.unix += 300;
    assert_eq!(seen(pair.send(&[])?).ready.expect("a list").tasks.len(), 2);
    for lane in [Lane::Foreign, Lane::Unassigned, Lane::Worker(WorkerId(2))] {
        pair.verb(&Verb::Assign(task("t_2"), lane))?;
        assert!(matches!(pair.change(claim("t_2", 3))?, Taken::No(Refusal::Held(_))));
    }
    pair.verb(&Verb::Assign(task("t_2"), Lane::Worker(WorkerId(1))))?;
    pair.verb(&Verb::Edit(task("t_2"), false))?;
    assert_eq!(pair.change(claim("t_2", 3))?, Taken::No(Refusal::Held(Hold::NeedsBody)));
    pair.verb(&Verb::Edit(task("t_2"), true))?;
    assert_eq!(pair.change(claim("t_2", 3))?, SUPERSEDED, "another worker's");
    Ok(())
}

#[test]
fn ends_that_lie_ahead_hide_none_that_follow() -> Step<()> {
    // A crash holds its task for less than a rate limit does, so less of what lies ahead is a time.
    for (verdict, ahead) in [(Verdict::RateLimited, 301), (CRASHED, 200), (CRASHED, 1_000_000)] {
        let mut pair = Pair::with(&["t_1"]);
        pair.unix += ahead;
        let fence = pair.start("t_1", 1)?;
        pair.finish(fence, verdict)?;
        pair.unix -= ahead;
        let fence = pair.start("t_1", 2)?;
        pair.finish(fence, Verdict::RateLimited)?;
        let held = Taken::No(Refusal::Held(Hold::Cooldown { until: NOW + 300 }));
        assert_eq!(pair.change(claim("t_1", 3))?, held, "{verdict:?} {ahead}");
        pair.look()?;
    }
    Ok(())
}

#[test]
fn every_verdict() -> Step<()> {
    for (verdict, after, outcome) in [
        (Verdict::Completed, ("done", 0, false), "completed"),
        (CRASHED, ("ready", 1, false), "crashed"),
        (Verdict::ProtocolViolation, ("ready", 0, false), "crashed"),
        (Verdict::RateLimited, ("ready", 0, false), "rate_limited"),
        (Verdict::CredentialsRefused, ("blocked", 2, false), "crashed"),
        (
            Verdict::TimedOut { elapsed_s: 2, limit_s: 1, killed: true },
            ("ready", 1, false),
            "timed_out",
        ),
        (Verdict::SpawnFailed, ("ready", 1, false), "spawn_failed"),
        (Verdict::Released(Release::Superseded), ("ready", 0, false), "reclaimed"),
    ] {
        let mut pair = Pair::with(&["t_1"]);
        let fence = pair.start("t_1", 1)?;
        pair.finish(fence, verdict)?;
        assert_eq!((pair.row("t_1"), pair.outcomes()), (after, vec![outcome]), "{verdict:?}");
    }
    Ok(())
}

#[test]
fn budgets_of_a_tasks_own() -> Step<()> {
    let mut pair = Pair::new();
    let new = NewTask {
        max_retries: Some(1),
        max_runtime_s: Some(60),
        ..NewTask::new(task("t_1"), Lane::Worker(WorkerId(0)))
    };
    pair.verb(&Verb::Create(new))?;
    let Taken::Claimed { run, max_runtime_s: Some(60) } = pair.change(claim("t_1", 1))? else {
        panic!("not claimed");
    };
    let fence = Fence { task: task("t_1"), run, spawn: SpawnId(1) };
    pair.finish(fence, Verdict::SpawnFailed)?;
    assert_eq!((pair.row("t_1"), pair.outcomes()), (("blocked", 1, false), vec!["gave_up"]));
    Ok(())
}

#[test]
fn claims_of_others_that_end() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2", "t_3"]);
    pair.verb(&Verb::Claim(task("t_1"), Holder::Neighbour, Some(Pid(5))))?;
    pair.verb(&Verb::Claim(task("t_2"), Holder::Elsewhere, Some(Pid(5))))?;
    pair.sit(1);
    pair.host.dispatchers.insert(1);
    let fence = pair.start("t_3", 7);
    assert!(fence.is_err(), "the board is full");
    pair.verb(&Verb::Reclaim(task("t_2")))?;
    let fence = pair.start("t_3", 7)?;
    pair.sit(0);
    assert_eq!(seen(pair.send(&[])?).due, Some(NOW + 30));
    pair.unix += 30;
    let gone = |id, run, by| Expired { task: task(id), run: Some(RunId(run)), by };
    let expired = gone("t_1", 1, LeaseEnd::WorkerGone);
    assert_eq!(seen(pair.send(&[])?).expired, [expired]);
    let free = |expired| Change::Reclaim { expired, failure_limit: 2 };
    assert_eq!(pair.change(free(expired))?, Taken::Yes);
    assert_eq!(pair.row("t_1"), ("ready", 1, false));
    pair.unix += 901;
    assert_eq!(seen(pair.send(&[])?).expired, [], "its dispatcher lives, and has its turn");
    pair.unix += 900;
    let expired = gone("t_3", fence.run.0, LeaseEnd::Neglected);
    assert_eq!(seen(pair.send(&[])?).expired, [expired]);
    pair.host.workers.insert(107);
    assert_eq!(pair.change(free(expired))?, SUPERSEDED);
    pair.host.workers.clear();
    assert_eq!(pair.change(free(expired))?, Taken::Yes);
    assert_eq!(pair.row("t_3"), ("ready", 0, false));
    Ok(())
}

#[test]
fn another_dispatcher_at_work() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    let fence = pair.start("t_1", 1)?;
    pair.contended = true;
    assert_eq!(pair.change(claim("t_2", 2))?, Taken::No(Refusal::Locked));
    assert_eq!(pair.finish(fence, CRASHED)?, Taken::Yes);
    pair.contended = false;
    pair.start("t_2", 2)?;
    Ok(())
}

#[test]
fn a_board_that_refuses_one_claim() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2"]);
    pair.policy.default_worker = Some(WorkerId(0));
    pair.verb(&Verb::Assign(task("t_1"), Lane::Unassigned))?;
    pair.verb(&Verb::Refuse(task("t_1"), true))?;
    let taken = pair.send(&[claim("t_1", 1), claim("t_2", 2)])?.taken;
    assert_eq!(taken[0], Taken::No(Refusal::Rejected));
    assert!(matches!(taken[1], Taken::Claimed { .. }));
    Ok(())
}

#[test]
fn lists_are_returned_only_when_they_may_be_better() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2", "t_3", "t_4"]);
    let list = seen(pair.send(&[])?).ready.expect("a list");
    assert!(list.more);
    assert_eq!(pair.send(&[])?.observation, None);
    assert_eq!(seen(pair.send(&[claim("t_1", 1)])?).ready, None);
    let relist = Request { changes: vec![], fresh: false, relist: true, want: 3, unix: pair.unix };
    let list = seen(pair.exchange(&relist)?).ready.expect("a list");
    assert_eq!((list.tasks.len(), list.more), (3, false));
    assert_eq!(seen(pair.exchange(&relist)?).ready, None);
    pair.verb(&Verb::Prioritise(task("t_4"), 3))?;
    let list = seen(pair.send(&[])?).ready.expect("a list");
    assert_eq!(list.tasks[0].task, task("t_4"));
    Ok(())
}

#[test]
fn a_deleted_parent_is_found_missing_in_time() -> Step<()> {
    let mut pair = Pair::with(&["t_1", "t_2", "t_3"]);
    let ids = ["t_1", "t_2", "t_3"].map(task);
    pair.verb(&Verb::Link(ids[0], ids[1]))?;
    pair.look()?;
    pair.verb(&Verb::Comment(ids[2]))?;
    pair.verb(&Verb::Delete(ids[0]))?;
    assert_eq!(seen(pair.send(&[])?).promotable, []);
    pair.unix += 300;
    pair.verb(&Verb::Comment(ids[2]))?;
    assert_eq!(seen(pair.send(&[])?).promotable, [ids[1]]);
    Ok(())
}

fn walk(ops: &[Op], twist: Twist) -> Step<()> {
    Walk::new(Pair::twisted(twist)).all(ops)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_agree_after_any_history(ops in ops()) {
        walk(&ops, |_, _| {}).map_err(TestCaseError::fail)?;
    }
}

/// Deviations from the rules, each of which the comparison must find.
const DEVIATIONS: [(&str, Twist); 4] = [
    ("a claim beyond the cap", |_, request| {
        for change in &mut request.changes {
            if let Change::Claim { cap, .. } = change {
                *cap = u32::MAX;
            }
        }
    }),
    ("a fence that is not looked at", |board, request| {
        for change in &mut request.changes {
            if let Change::Finish { fence, .. } = change {
                let claim = board.task(fence.task).map(|task| task.claim);
                fence.run = claim.and_then(|claim| claim.run).unwrap_or(fence.run);
                if let Some(Holder::Sexton(_, spawn)) = claim.and_then(|claim| claim.holder) {
                    fence.spawn = spawn;
                }
            }
        }
    }),
    ("a lease that is too short", |_, request| {
        for change in &mut request.changes {
            if let Change::Renew { ttl_s, .. } = change {
                *ttl_s -= 1;
            }
        }
    }),
    ("a list that is too short", |_, request| request.want = request.want.min(1)),
];

#[test]
fn a_deviation_is_found() {
    for (name, twist) in DEVIATIONS {
        let config = ProptestConfig {
            cases: 256,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let run = TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        )
        .run(&ops(), |ops| walk(&ops, twist).map_err(TestCaseError::fail));
        assert!(matches!(run, Err(TestError::Fail(..))), "{name}: {run:?}");
    }
}
