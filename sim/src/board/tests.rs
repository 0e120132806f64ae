//! The rules, one by one. That they are those of the SQLite boards is shown in
//! `tests/it/conformance.rs` of the main package.

use std::collections::BTreeSet;

use sexton::machine::exchange::{Expired, Fence, LeaseEnd, Observation, Orphan, Refusal};
use sexton::machine::hold::{Hold, Lane};
use sexton::machine::ids::{RunId, WorkerId};
use sexton::machine::policy::WorkerPolicy;
use sexton::machine::verdict::{ExitStatus, Release};

use super::*;

const NOW: i64 = 1_000_000;
const US: Instance = Instance(0);
const THEM: Instance = Instance(1);
const LANE: Lane = Lane::Worker(WorkerId(0));

#[derive(Default)]
struct Host {
    workers: BTreeSet<Pid>,
    dispatchers: BTreeSet<Instance>,
    /// The records of dead dispatchers exist.
    recorded: bool,
}

impl Liveness for Host {
    fn worker(&self, pid: Pid) -> bool {
        self.workers.contains(&pid)
    }

    fn attempt(&self, _: Instance, _: SpawnId) -> bool {
        false
    }

    fn dispatcher(&self, instance: Instance) -> Dispatcher {
        match self.dispatchers.contains(&instance) {
            true => Dispatcher::Lives,
            false => Dispatcher::Dead { recorded: self.recorded },
        }
    }
}

struct World {
    board: ModelBoard,
    memories: [Memory; 2],
    policy: Policy,
    host: Host,
    contended: bool,
    unix: i64,
}

fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

fn claim(task: &str, spawn: u64) -> Change {
    let (spawn, worker) = (SpawnId(spawn), WorkerId(0));
    Change::Claim { spawn, task: id(task), worker, ttl_s: 900, cap: 2 }
}

impl World {
    fn with(tasks: &[&str]) -> World {
        let mut board = ModelBoard::new();
        for task in tasks {
            assert!(board.create(&NewTask::new(id(task), LANE), NOW - 100));
        }
        let policy = Policy { workers: vec![WorkerPolicy::default(); 2], ..Policy::default() };
        let memories = [Memory::default(), Memory::default()];
        World { board, memories, policy, host: Host::default(), contended: false, unix: NOW }
    }

    fn send(&mut self, owner: Instance, changes: &[Change], fresh: bool) -> Answer {
        let want = 2;
        let request =
            Request { changes: changes.to_vec(), fresh, relist: false, want, unix: self.unix };
        let env = Env { policy: &self.policy, liveness: &self.host, contended: self.contended };
        let memory = &mut self.memories[owner.0 as usize];
        self.board.exchange(owner, memory, &request, &env)
    }

    fn change(&mut self, owner: Instance, change: Change) -> Taken {
        self.send(owner, &[change], false).taken[0]
    }

    fn look(&mut self, owner: Instance) -> Observation {
        self.send(owner, &[], true).observation.unwrap()
    }

    fn start(&mut self, owner: Instance, task: &str, spawn: u64) -> Fence {
        let taken = self.change(owner, claim(task, spawn));
        let Taken::Claimed { run, .. } = taken else { panic!("{taken:?}") };
        let fence = Fence { task: id(task), run, spawn: SpawnId(spawn) };
        let pid = Pid(i32::try_from(spawn).unwrap());
        assert_eq!(self.change(owner, Change::Started { fence, pid }), Taken::Yes);
        fence
    }

    fn finish(&mut self, fence: Fence, verdict: Verdict) -> Taken {
        self.change(US, Change::Finish { fence, pid: None, verdict, failure_limit: 2 })
    }

    fn task(&self, task: &str) -> (Status, u32, bool) {
        let task = self.board.task(id(task)).unwrap();
        (task.status, task.failures, task.claim != Claim::default())
    }

    fn outcomes(&self) -> Vec<Option<&'static str>> {
        self.board.runs().iter().map(Run::outcome).collect()
    }

    fn ready(&mut self) -> Vec<TaskId> {
        self.look(US).ready.unwrap().tasks.iter().map(|candidate| candidate.task).collect()
    }
}

#[test]
fn a_claim_takes_once() {
    let mut world = World::with(&["t_1"]);
    let fence = world.start(US, "t_1", 7);
    let again = Taken::Claimed { run: fence.run, max_runtime_s: None };
    assert_eq!(world.change(US, claim("t_1", 7)), again);
    assert_eq!(world.change(US, claim("t_1", 8)), SUPERSEDED);
    assert_eq!(world.change(THEM, claim("t_1", 7)), SUPERSEDED);
    assert_eq!(world.look(US).ours, [fence]);
    assert_eq!(world.look(THEM).ours, []);
    assert_eq!(world.task("t_1"), (Status::Running, 0, true));
}

const SUPERSEDED: Taken = Taken::No(Refusal::Superseded);

#[test]
fn a_claim_beyond_the_cap_leaves_no_trace() {
    let mut world = World::with(&["t_1", "t_2", "t_3"]);
    let changes = [claim("t_1", 1), claim("t_2", 2), claim("t_3", 3)];
    let taken = world.send(US, &changes, false).taken;
    assert_eq!(taken[2], Taken::No(Refusal::Full));
    assert_eq!(world.task("t_3"), (Status::Ready, 0, false));
    assert_eq!(world.board.runs().len(), 2);
}

#[test]
fn a_claim_whose_parents_are_not_done_sends_the_task_back() {
    let mut world = World::with(&["t_0", "t_1"]);
    world.board.link(id("t_0"), id("t_1"));
    world.board.promote(id("t_1"), true);
    assert_eq!(world.change(US, claim("t_1", 1)), SUPERSEDED);
    assert_eq!(world.task("t_1").0, Status::Todo);
    world.board.archive(id("t_0"), NOW);
    assert_eq!(world.look(US).promotable, [id("t_1")]);
}

#[test]
fn an_unassigned_task_goes_to_the_default_worker() {
    let mut world = World::with(&[]);
    world.board.create(&NewTask::new(id("t_1"), Lane::Unassigned), NOW);
    assert_eq!(world.change(US, claim("t_1", 1)), Taken::No(Refusal::Held(Hold::Unassigned)));
    world.policy.default_worker = Some(WorkerId(0));
    world.start(US, "t_1", 1);
    assert_eq!(world.board.tasks()[0].lane, LANE);
}

#[test]
fn a_board_may_refuse_a_claim() {
    let mut world = World::with(&["t_1", "t_2"]);
    world.board.refuse(id("t_1"), true);
    let taken = world.send(US, &[claim("t_1", 1), claim("t_2", 2)], false).taken;
    assert_eq!(taken[0], Taken::No(Refusal::Rejected));
    assert!(matches!(taken[1], Taken::Claimed { .. }));
}

#[test]
fn every_write_to_a_run_is_fenced() {
    let mut world = World::with(&["t_1"]);
    let fence = world.start(US, "t_1", 1);
    let stale = Fence { spawn: SpawnId(9), ..fence };
    let old = Fence { run: RunId(99), ..fence };
    for fence in [stale, old] {
        assert_eq!(world.finish(fence, Verdict::Completed), SUPERSEDED);
        assert_eq!(world.change(US, Change::Started { fence, pid: Pid(1) }), SUPERSEDED);
        let renew = Change::Renew { fence, ttl_s: 900, heartbeat: false };
        assert_eq!(world.change(US, renew), SUPERSEDED);
    }
    assert_eq!(world.change(US, Change::Started { fence, pid: Pid(8) }), SUPERSEDED);
    assert!(world.board.reclaim(fence.task, NOW));
    assert_eq!(world.finish(fence, Verdict::Completed), SUPERSEDED);
    assert_eq!(world.task("t_1"), (Status::Ready, 0, false));
}

#[test]
fn failures_are_counted_until_the_breaker_trips() {
    let mut world = World::with(&["t_1"]);
    for (spawn, expected) in [(1, (Status::Ready, 1, false)), (2, (Status::Blocked, 2, false))] {
        let fence = world.start(US, "t_1", spawn);
        world.finish(fence, Verdict::Crashed(ExitStatus::Code(1)));
        assert_eq!(world.task("t_1"), expected);
    }
    assert_eq!(world.outcomes(), [Some("crashed"), Some("crashed")]);
    assert_eq!(world.look(US).promotable, [], "the breaker undid itself");
    world.policy.failure_limit = 3;
    assert_eq!(world.look(US).promotable, [id("t_1")]);
}

#[test]
fn a_spawn_that_failed_too_often_is_given_up() {
    let mut world = World::with(&["t_1"]);
    for spawn in [1, 2] {
        let fence = world.start(US, "t_1", spawn);
        world.finish(fence, Verdict::SpawnFailed);
    }
    assert_eq!(world.outcomes(), [Some("spawn_failed"), Some("gave_up")]);
    assert_eq!(world.task("t_1"), (Status::Blocked, 2, false));
}

#[test]
fn three_violations_block_for_good_and_rate_limits_do_not_end_the_row() {
    let mut world = World::with(&["t_1"]);
    for (spawn, verdict) in [
        (1, Verdict::ProtocolViolation),
        (2, Verdict::RateLimited),
        (3, Verdict::ProtocolViolation),
        (4, Verdict::ProtocolViolation),
    ] {
        let fence = world.start(US, "t_1", spawn);
        world.finish(fence, verdict);
        world.unix += 300;
    }
    assert_eq!(world.task("t_1"), (Status::Blocked, 2, false));
    world.policy.failure_limit = 9;
    assert_eq!(world.look(US).promotable, []);
    assert!(world.board.unblock(id("t_1"), world.unix));
    assert_eq!(world.task("t_1"), (Status::Ready, 0, false));
}

#[test]
fn a_released_run_counts_as_no_failure() {
    let mut world = World::with(&["t_1"]);
    let fence = world.start(US, "t_1", 1);
    world.finish(fence, Verdict::Released(Release::Shutdown));
    assert_eq!(world.task("t_1"), (Status::Ready, 0, false));
    assert_eq!(world.outcomes(), [Some("reclaimed")]);
}

#[test]
fn a_rate_limit_rests_for_the_cooldown() {
    let mut world = World::with(&["t_1"]);
    let fence = world.start(US, "t_1", 1);
    world.finish(fence, Verdict::RateLimited);
    let held = Hold::Cooldown { until: NOW + 300 };
    assert_eq!(world.change(US, claim("t_1", 2)), Taken::No(Refusal::Held(held)));
    let look = world.look(US);
    assert_eq!((look.due, look.ready.unwrap().tasks.len()), (Some(NOW + 300), 0));
    world.unix += 300;
    assert_eq!(world.send(US, &[], false).observation.unwrap().ready.unwrap().tasks.len(), 1);
}

#[test]
fn the_ready_list_has_the_boards_order_and_shows_whether_there_is_more() {
    let mut world = World::with(&["t_1", "t_2", "t_3", "t_4"]);
    world.board.prioritise(id("t_3"), 5);
    world.board.assign(id("t_1"), Lane::Foreign);
    let ready = world.look(US).ready.unwrap();
    assert!(ready.more);
    assert_eq!(world.ready(), [id("t_3"), id("t_2")]);
    world.board.archive(id("t_4"), NOW);
    assert!(!world.look(US).ready.unwrap().more);
}

#[test]
fn an_unchanged_board_is_not_looked_at() {
    let mut world = World::with(&["t_1"]);
    assert!(world.send(US, &[], false).observation.is_some());
    assert_eq!(world.send(US, &[], false).observation, None);
    let fence = world.start(US, "t_1", 1);
    assert_eq!(world.send(US, &[], false).observation, None, "only we wrote");
    world.board.heartbeat(id("t_1"), fence.run, NOW);
    assert!(world.send(US, &[], false).observation.is_some());
    world.policy.cooldown_s += 1;
    assert!(world.send(US, &[], false).observation.is_some());
    assert_eq!(world.send(US, &[], false).observation, None);
    world.memories[0] = Memory::default();
    assert!(world.send(US, &[], false).observation.unwrap().ready.is_some());
}

#[test]
fn a_list_that_cannot_have_improved_is_not_returned_again() {
    let mut world = World::with(&["t_1", "t_2", "t_3"]);
    world.look(US);
    let seen = world.send(US, &[claim("t_1", 1)], false).observation.unwrap();
    assert_eq!(seen.ready, None);
    let finish =
        |verdict| Change::Finish { fence: seen.ours[0], pid: None, verdict, failure_limit: 2 };
    let seen = world.send(US, &[finish(Verdict::Completed)], false).observation.unwrap();
    assert_eq!(seen.ready, None);
    let fence = world.start(US, "t_2", 2);
    let released = Verdict::Released(Release::Shutdown);
    let finish = Change::Finish { fence, pid: None, verdict: released, failure_limit: 2 };
    let seen = world.send(US, &[finish], false).observation.unwrap();
    assert_eq!(seen.ready.unwrap().tasks.len(), 2);
}

#[test]
fn the_claim_of_a_dispatcher_that_lives_is_left_to_it_for_a_further_lease() {
    let mut world = World::with(&["t_1"]);
    let fence = world.start(THEM, "t_1", 5);
    world.host.dispatchers.insert(THEM);
    let look = world.look(US);
    assert_eq!((look.expired, look.due), (vec![], Some(NOW + 1_801)));
    world.unix = NOW + 1_801;
    world.host.workers.insert(Pid(5));
    assert_eq!(world.look(US).expired, [], "its worker lives");
    world.host.workers.clear();
    let expired = Expired { task: id("t_1"), run: Some(fence.run), by: LeaseEnd::Neglected };
    assert_eq!(world.look(US).expired, [expired]);
    assert_eq!(world.look(THEM).expired, [], "it is theirs");
    let free = Change::Reclaim { expired, failure_limit: 2 };
    assert_eq!(world.change(US, free), Taken::Yes);
    assert_eq!(world.task("t_1"), (Status::Ready, 0, false));
    assert_eq!(world.change(US, free), SUPERSEDED);
}

#[test]
fn the_claim_of_a_dispatcher_that_died_is_adopted_once() {
    let mut world = World::with(&["t_1"]);
    let fence = world.start(THEM, "t_1", 5);
    let orphan = Orphan { task: fence.task, run: fence.run, worker: WorkerId(0) };
    let adopt = |spawn| Change::Adopt { spawn: SpawnId(spawn), orphan, ttl_s: 900 };
    let taken = Taken::Claimed { run: fence.run, max_runtime_s: None };
    world.host.dispatchers.insert(THEM);
    assert_eq!(world.change(US, adopt(7)), SUPERSEDED, "it lives");
    world.host.dispatchers = BTreeSet::from([US]);
    assert_eq!(world.look(US).orphans, [orphan]);
    assert_eq!(world.change(US, adopt(7)), taken);
    assert_eq!(world.look(US).ours, [Fence { spawn: SpawnId(7), ..fence }]);
    assert_eq!(world.look(US).orphans, [orphan], "the answer may have been lost");
    assert_eq!(world.change(US, adopt(8)), taken, "once more, under another number");
    assert_eq!(world.finish(Fence { spawn: SpawnId(7), ..fence }, Verdict::Completed), SUPERSEDED);
    assert_eq!(world.finish(Fence { spawn: SpawnId(8), ..fence }, Verdict::Completed), Taken::Yes);
}

#[test]
fn a_claim_of_the_dead_without_pid_or_records_waits_for_the_end_of_its_lease() {
    let mut world = World::with(&["t_1"]);
    world.change(THEM, claim("t_1", 1));
    let look = world.look(US);
    assert_eq!((look.orphans, look.due), (vec![], Some(NOW + 901)));
    world.host.recorded = true;
    assert_eq!(world.send(US, &[], true).observation.unwrap().orphans.len(), 1);
    world.host.recorded = false;
    world.unix = NOW + 901;
    assert_eq!(world.look(US).orphans.len(), 1);
}

#[test]
fn while_another_dispatcher_works_only_our_own_ends_are_recorded() {
    let mut world = World::with(&["t_1", "t_2"]);
    let fence = world.start(US, "t_1", 1);
    world.contended = true;
    assert_eq!(world.change(US, claim("t_2", 2)), Taken::No(Refusal::Locked));
    assert_eq!(world.finish(fence, Verdict::Completed), Taken::Yes);
}

#[test]
fn a_worker_that_is_no_longer_the_right_one_is_refused() {
    let mut world = World::with(&["t_0", "t_1"]);
    world.board.link(id("t_0"), id("t_1"));
    let fence = world.start(US, "t_0", 1);
    let done = |run| Complete { own_run: Some(run), told: false, failure_limit: 2 };
    assert!(!world.board.complete(id("t_0"), done(RunId(9)), NOW));
    assert!(!world.board.heartbeat(id("t_0"), RunId(9), NOW));
    assert!(world.board.complete(id("t_0"), done(fence.run), NOW));
    assert_eq!(world.task("t_0"), (Status::Done, 0, false));
    assert_eq!(world.task("t_1"), (Status::Ready, 0, false));
    assert_eq!(world.finish(fence, Verdict::Completed), SUPERSEDED);
    assert!(world.board.reopen(id("t_0"), Status::Ready, NOW));
    assert_eq!(world.task("t_1").0, Status::Todo);
}

#[test]
fn what_a_person_blocked_a_person_must_unblock() {
    let mut world = World::with(&["t_1", "t_2"]);
    assert!(world.board.block(id("t_1"), Block::default(), NOW));
    assert_eq!(world.look(US).promotable, []);
    assert!(world.board.unblock(id("t_1"), NOW));
    let kind = Some(BlockKind::Capability);
    for status in [Status::Blocked, Status::Triage] {
        world.board.block(id("t_1"), Block { kind, ..Block::default() }, NOW);
        assert_eq!(world.task("t_1").0, status);
        world.board.unblock(id("t_1"), NOW);
    }
    world.board.link(id("t_1"), id("t_2"));
    world.board.promote(id("t_2"), true);
    let kind = Some(BlockKind::Dependency);
    world.board.block(id("t_2"), Block { kind, ..Block::default() }, NOW);
    assert_eq!(world.task("t_2").0, Status::Todo);
}

#[test]
fn links_make_no_circle() {
    let mut world = World::with(&["t_1", "t_2", "t_3"]);
    assert!(world.board.link(id("t_1"), id("t_2")));
    assert!(world.board.link(id("t_2"), id("t_3")));
    assert!(!world.board.link(id("t_3"), id("t_1")));
    assert!(!world.board.link(id("t_1"), id("t_1")));
    assert!(world.board.delete(id("t_2")));
    assert!(world.board.link(id("t_3"), id("t_1")));
}

#[test]
fn a_deleted_parent_is_noticed_when_everything_is_looked_at() {
    let mut world = World::with(&["t_1", "t_2"]);
    world.board.link(id("t_1"), id("t_2"));
    world.look(US);
    world.board.delete(id("t_1"));
    assert_eq!(world.send(US, &[], false).observation.unwrap().promotable, []);
    world.unix += 300;
    world.board.comment(id("t_2"));
    assert_eq!(world.send(US, &[], false).observation.unwrap().promotable, [id("t_2")]);
}

#[test]
fn equal_boards_are_met_again() {
    let mut world = World::with(&["t_1", "t_2"]);
    world.look(US);
    world.look(THEM);
    let before = world.board.clone();
    world.board.prioritise(id("t_1"), 3);
    assert_ne!(world.board, before);
    world.board.prioritise(id("t_1"), 0);
    world.look(US);
    world.look(THEM);
    assert_eq!(world.board, before);
}
