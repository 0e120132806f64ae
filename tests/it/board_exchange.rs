//! The exchange as a whole: one transaction, which takes everything or only what the board allows.
#![cfg(feature = "runtime")]

use crate::support::board::{NOW, World, rows, task};
use rusqlite::Connection;
use sexton::board::sql;
use sexton::machine::exchange::{Change, Refusal, Request, Taken};
use sexton::machine::fault::{Commit, FaultClass};
use sexton::machine::ids::Pid;
use sexton::machine::verdict::{ExitStatus, Release, Verdict};

/// A request that writes.
fn claiming(world: &World) -> Request {
    let changes = vec![world.claim_of("t_1", 1)];
    Request { changes, fresh: false, relist: false, want: 1, unix: NOW }
}

#[test]
fn a_change_that_the_board_refuses_costs_only_itself() {
    for action in ["ABORT", "FAIL", "ROLLBACK"] {
        let mut world = World::new();
        for id in ["t_1", "t_2", "t_3"] {
            world.add(id, "ready");
        }
        world.rival(&format!(
            "CREATE TRIGGER no BEFORE INSERT ON task_runs WHEN NEW.task_id = 't_2' \
             BEGIN SELECT RAISE({action}, 'no'); END"
        ));
        let claims = [world.claim_of("t_1", 1), world.claim_of("t_2", 2), world.claim_of("t_3", 3)];
        let taken = world.send(&claims, false).answer.taken;
        assert!(matches!(taken[0], Taken::Claimed { .. }), "{action}: {taken:?}");
        assert_eq!(taken[1], Taken::No(Refusal::Rejected), "{action}");
        assert!(matches!(taken[2], Taken::Claimed { .. }), "{action}: {taken:?}");
        assert_eq!(world.task("t_2"), "ready|-|-|-|-|0|-");
        assert!(world.events("t_2", 0).is_empty());
        assert_eq!(world.row("SELECT count(*) FROM task_runs"), "2");
    }
}

#[test]
fn a_rival_that_holds_the_board_makes_it_busy() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let rival = Connection::open(&world.path).expect("a rival");
    rival.execute("BEGIN IMMEDIATE", []).expect("its transaction");
    let failed = world.try_send(&claiming(&world)).expect_err("busy");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Busy, Commit::No));
    assert!(failed.to_string().contains("kanban.db"), "{failed}");
    rival.execute("ROLLBACK", []).expect("its end");
    assert!(world.try_send(&claiming(&world)).is_ok());
}

#[test]
fn a_commit_that_fails_may_have_happened() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let path = world.path.clone();
    drop(world.board);
    let other = Connection::open(&path).expect("a connection");
    sexton::board::sql::run(&other, "PRAGMA journal_mode = DELETE").expect("another mode");
    world.board = sexton::board::Board::open(&path).expect("an open board");
    // Without a write-ahead log a reader does not keep a writer from beginning, but from ending.
    other.execute("BEGIN", []).expect("a transaction");
    rows(&other, "SELECT * FROM tasks");
    let failed = world.try_send(&claiming(&world)).expect_err("busy");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Busy, Commit::Maybe));
    other.execute("COMMIT", []).expect("its end");
    assert_eq!(world.look().ours, []);
    assert!(world.try_send(&claiming(&world)).is_ok());
    assert_eq!(world.row("PRAGMA journal_mode"), "delete");
}

#[test]
fn while_another_dispatcher_works_only_our_own_ends_are_recorded() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.add("t_2", "ready");
    let fence = world.start("t_1", 1, 50);
    let lock_path = world.dir.path().join("kanban.db.dispatch.lock");
    let other = std::fs::File::open(&lock_path).expect("the lock file");
    other.try_lock().expect("free between exchanges");
    let finish =
        Change::Finish { fence, pid: Some(Pid(50)), verdict: Verdict::Completed, failure_limit: 2 };
    let claim = world.claim_of("t_2", 2);
    let taken = world.send(&[claim, finish], false).answer.taken;
    assert_eq!(taken, [Taken::No(Refusal::Locked), Taken::Yes]);
    other.unlock().expect("its end");
    assert!(matches!(world.change(claim), Taken::Claimed { .. }));
}

#[test]
fn the_wal_is_checkpointed_now_and_then() {
    let mut world = World::new();
    world.add("t_1", "ready");
    let fence = world.claim("t_1", 1);
    let renew = Change::Renew { fence, ttl_s: 900, heartbeat: true };
    for _ in 0..1200 {
        world.unix += 1;
        assert_eq!(world.change(renew), Taken::Yes);
    }
    let log = world.dir.path().join("kanban.db-wal").metadata().expect("a log").len();
    assert!(log < 1200 * 4096, "the log has {log} bytes");
}

#[test]
fn a_write_that_a_trigger_skips_is_not_reported_as_written() {
    let mut world = World::new();
    world.add("t_ready", "ready");
    world.add("t_todo", "todo");
    world.rival("CREATE TRIGGER d BEFORE UPDATE ON tasks BEGIN SELECT RAISE(IGNORE); END");
    let rejected = Taken::No(Refusal::Rejected);
    assert_eq!(world.change(world.claim_of("t_ready", 1)), rejected);
    let promote = Change::Promote { task: task("t_todo"), failure_limit: 2 };
    assert_eq!(world.change(promote), rejected);
    assert_eq!(world.rows("SELECT count(*) FROM task_runs"), ["0"]);
    assert_eq!(world.rows("SELECT count(*) FROM task_events"), ["0"]);
}

#[test]
fn a_claim_whose_run_a_trigger_skips_is_refused() {
    let mut world = World::new();
    world.add("t_1", "ready");
    world.add("t_2", "ready");
    let other = world.claim("t_1", 1);
    world.rival("CREATE TRIGGER r BEFORE INSERT ON task_runs BEGIN SELECT RAISE(IGNORE); END");
    assert_eq!(world.change(world.claim_of("t_2", 2)), Taken::No(Refusal::Rejected));
    assert_eq!(world.rows("SELECT id FROM tasks WHERE current_run_id IS NOT NULL"), ["t_1"]);
    let done =
        Change::Finish { fence: other, pid: None, verdict: Verdict::Completed, failure_limit: 2 };
    assert_eq!(world.change(done), Taken::Yes);
}

#[test]
fn an_end_that_its_run_does_not_take_is_not_told_as_recorded() {
    let limits = Verdict::TimedOut { elapsed_s: 2, limit_s: 1, killed: false };
    for when in [
        "BEFORE UPDATE ON task_runs BEGIN SELECT RAISE(IGNORE); END",
        "AFTER UPDATE OF ended_at ON task_runs WHEN NEW.ended_at IS NOT NULL BEGIN \
         UPDATE task_runs SET ended_at = NULL WHERE id = NEW.id; END",
    ] {
        for verdict in [
            Verdict::Completed,
            Verdict::RateLimited,
            Verdict::SpawnFailed,
            Verdict::Crashed(ExitStatus::Code(1)),
            Verdict::ProtocolViolation,
            Verdict::Released(Release::Shutdown),
            limits,
        ] {
            let mut world = World::new();
            world.add("t_1", "ready");
            let fence = world.start("t_1", 1, 50);
            let before = world.task("t_1");
            world.rival(&format!("CREATE TRIGGER o {when}"));
            let events = world.events("t_1", 0);
            let refused = Taken::No(Refusal::Rejected);
            assert_eq!(world.finish(fence, 50, verdict), refused, "{verdict:?} {when}");
            assert_eq!(world.task("t_1"), before);
            assert_eq!(world.events("t_1", 0), events);
            world.rival("DROP TRIGGER o");
            assert_eq!(world.finish(fence, 50, verdict), Taken::Yes);
        }
    }
}

#[test]
fn an_end_whose_run_another_process_has_ended_is_recorded() {
    for deed in ["DELETE FROM task_runs", "UPDATE task_runs SET ended_at = 1, outcome = 'x'"] {
        let mut world = World::new();
        world.add("t_1", "ready");
        let fence = world.start("t_1", 1, 50);
        world.rival(deed);
        assert_eq!(world.finish(fence, 50, Verdict::Completed), Taken::Yes, "{deed}");
        assert_eq!(world.task("t_1"), "done|-|-|-|-|0|-");
    }
}

#[test]
fn a_connection_that_may_not_write_any_more_asks_for_another() {
    let mut world = World::new();
    world.add("t_1", "ready");
    sql::run(world.board.connection(), "PRAGMA query_only = 1").expect("a setting");
    let failed = world.try_send(&claiming(&world)).expect_err("read-only");
    assert_eq!((failed.error.class, failed.commit), (FaultClass::Replaced, Commit::No));
    assert_eq!(world.task("t_1"), "ready|-|-|-|-|0|-");
}
