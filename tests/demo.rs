//! The demo, run as anybody would, and its claims checked one by one.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod cli_sandbox;
mod common;

use std::io::Read;

use cli_sandbox::{Done, Sandbox, finish};
use common::{children_of, pipe_with_room, wait_until};
use serde_json::Value;

const HEADLINE: &str = "\
sexton now runs 30 tasks from four boards. One board is damaged already, another will be while its \
workers run;
the other two must not notice, and every worker that ends must be cleared away.

";

const TORN: &str = "  the board `torn` is found damaged and left alone\n";

fn demo(args: &[&str]) -> Done {
    let sandbox = Sandbox::empty();
    let mut command = sandbox.bare();
    let temp = sandbox.path("temp");
    std::fs::create_dir(&temp).unwrap();
    command.env("TMPDIR", &temp).arg("demo").args(args);
    let done = finish(&mut command);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stderr, "");
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0, "it leaves nothing behind");
    done
}

fn tasks<'a>(report: &'a Value, board: &str) -> Vec<&'a Value> {
    let all = report["tasks"].as_array().unwrap();
    all.iter().filter(|task| task["board"] == board).collect()
}

#[test]
fn its_claims_are_true() {
    let report: Value = serde_json::from_str(&demo(&["--json"]).stdout).unwrap();
    assert_eq!(report["failed"], serde_json::json!([]));
    assert_eq!(report["spawned"], report["reaped"]);
    assert_eq!(report["spawned"], 34, "every attempt of the playbill, and no other");
    assert_eq!(report["zombies_left"], 0);
    assert_eq!(report["healthy_settled"], true);

    let ends = |board: &str, end: &str| {
        tasks(&report, board).iter().filter(|task| task["end"] == end).count()
    };
    assert_eq!((ends("default", "done"), ends("second", "done")), (8, 8));
    assert_eq!((ends("default", "gave_up"), ends("second", "gave_up")), (3, 2));
    assert_eq!((ends("default", "resting"), ends("second", "resting")), (1, 1));
    assert_eq!((tasks(&report, "default").len(), tasks(&report, "second").len()), (12, 11));
}

#[test]
fn damaged_boards_are_not_written_and_their_exits_are_named() {
    let report: Value = serde_json::from_str(&demo(&["--json"]).stdout).unwrap();
    let damaged = report["damaged"].as_array().unwrap();
    assert_eq!(damaged.len(), 2);
    for board in damaged {
        assert_eq!(board["unchanged"], true, "{board}");
        assert_eq!(board["after_damage"], board["at_the_end"]);
        assert_eq!(board["at_the_end"].as_str().unwrap().len(), 64);
    }
    let not_taken = report["not_taken"].as_array().unwrap();
    let mut titles: Vec<_> = not_taken.iter().map(|e| e["title"].as_str().unwrap()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["caught-1", "caught-2", "caught-3", "caught-4"]);
    assert!(tasks(&report, "torn").iter().all(|task| task["attempts"] == 0));
}

#[test]
fn it_reaps_although_nobody_reads_what_it_says() {
    let sandbox = Sandbox::empty();
    // No room for what is told while workers run.
    let (mut reader, writer) = pipe_with_room(HEADLINE.len() + TORN.len() + 10);
    let mut command = sandbox.bare();
    command.env("TMPDIR", sandbox.path("")).arg("demo").stdout(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let pid = i32::try_from(child.id()).unwrap();
    wait_until("its workers", || !children_of(pid).is_empty());
    wait_until("all of them to be reaped", || children_of(pid).is_empty());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.trim_start().starts_with(HEADLINE), "{text}");
}

#[test]
fn without_a_terminal_it_prints_plain_text() {
    let text = demo(&[]).stdout;
    assert!(text.starts_with("sexton now runs 30 tasks"), "{text}");
    assert!(text.contains("Every worker was reaped."), "{text}");
    assert!(!text.contains(['\x1b', '\r']), "{text}");
}
