//! The program as people and CI use it.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton-sim"));
    command.args(arguments);
    command
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_replay_line_of_a_broken_promise_breaks_the_same_promise_again() {
    let sweep = sim(&["sweep", "--seeds", "20", "--bug", "reap inside the pass"]).output().unwrap();
    assert_eq!(sweep.status.code(), Some(1));
    let text = out(&sweep);
    let mut lines = text.lines();
    let told = lines.next().unwrap().to_owned();
    let line = lines.next().unwrap().trim().strip_prefix("cargo sim ").unwrap();
    // As a shell would take it.
    let replay = Command::new("sh")
        .arg("-c")
        .arg(format!("\"$0\" {line}"))
        .arg(env!("CARGO_BIN_EXE_sexton-sim"))
        .output()
        .unwrap();
    assert_eq!(replay.status.code(), Some(1));
    let error = String::from_utf8(replay.stderr.clone()).unwrap();
    assert_eq!(error.trim(), format!("sexton-sim: {told}"));
    assert!(out(&replay).contains("## BROKEN no_zombie_outlives_a_tick"));
}

#[test]
fn a_sweep_is_the_same_in_every_surrounding() {
    let hash = |command: &mut Command| {
        let output = command.output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["broken"], serde_json::json!([]));
        (json["hash"].clone(), json["events"].clone(), json["fired"].clone())
    };
    let arguments = ["sweep", "--seeds", "300", "--json", "--jobs"];
    let one = hash(sim(&arguments).arg("1").env_clear().env("TZ", "Asia/Tokyo").current_dir("/"));
    let two = hash(sim(&arguments).arg("3").env("LANG", "C").env("SEXTON_ROOT", "/nowhere"));
    assert_eq!(one, two);
}

#[test]
fn what_makes_no_sense_is_refused_with_code_2() {
    for arguments in [
        &["sweep", "--bug", "no such bug"][..],
        &["replay"],
        &["shrink", "--seed", "1", "--output", "unused"],
        &["play", "/dev/null", "/dev/null"],
    ] {
        let output = sim(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = sim(&["replay", "--entropy", "no/such/file"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/file"));
}
