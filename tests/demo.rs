//! The demo shows what it claims.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli_sandbox;

use cli_sandbox::{Sandbox, finish};
use serde_json::{Value, json};

#[test]
fn the_demo_reaps_every_worker_and_touches_no_sick_board() {
    let sandbox = Sandbox::empty();
    let done = finish(sandbox.bare().args(["demo", "--json"]));
    assert_eq!(done.code, 0, "{done:?}");
    let end: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(end["spawned"], end["reaped"]);
    assert_eq!(end["zombies_left"], 0);
    assert_eq!(end["unsettled"], 0);
    assert_eq!(end["untouched"], json!({"torn": true, "falling": true}));
    let lost = end["unrecorded"].as_array().unwrap();
    assert_eq!(lost.len(), 3, "the exits of the fallen board are named: {lost:?}");
    let tasks: i64 =
        end["tasks"].as_array().unwrap().iter().filter_map(|r| r["tasks"].as_i64()).sum();
    assert_eq!(tasks, 30);
}
