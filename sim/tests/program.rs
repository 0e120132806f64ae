//! The program as people and CI use it.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use common::{BUG, seeds_that_break};
use sexton_sim::saboteur::Saboteur;

mod common;

fn sim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton-sim"));
    command.args(arguments);
    command
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_replay_line_of_a_broken_promise_breaks_the_same_promise_again() {
    let seed = &seeds_that_break("no_zombie_outlives_a_tick")[0];
    let sweep = sim(&["sweep", "--first", seed, "--seeds", "1", "--bug", BUG]).output().unwrap();
    assert_eq!(sweep.status.code(), Some(1));
    let text = out(&sweep);
    let mut lines = text.lines().rev();
    let line = lines.next().unwrap().trim().strip_prefix("cargo sim ").unwrap();
    let told = lines.next().unwrap().to_owned();
    // As a shell would take it.
    let replay = Command::new("sh")
        .arg("-c")
        .arg(format!("\"$0\" {line}"))
        .arg(env!("CARGO_BIN_EXE_sexton-sim"))
        .output()
        .unwrap();
    assert_eq!(replay.status.code(), Some(1));
    assert_eq!(error(&replay).trim(), format!("sexton-sim: {told}"));
    assert!(out(&replay).contains("## BROKEN no_zombie_outlives_a_tick"));
}

#[test]
fn findings_are_grouped_by_promise_and_the_smallest_run_stands_last() {
    let sweep = |more: &[&str]| {
        let sweep = sim(&["sweep", "--seeds", "40", "--bug", BUG]).args(more).output().unwrap();
        assert_eq!(sweep.status.code(), Some(1));
        out(&sweep)
    };
    let json: serde_json::Value = serde_json::from_str(&sweep(&["--json"])).unwrap();
    let text = sweep(&[]);
    let findings = json["broken"].as_array().unwrap();
    let smallest = findings.iter().min_by_key(|of| of["events"].as_u64()).unwrap();
    let replay = format!("cargo sim replay --seed {} --bug '{BUG}' --trace", smallest["seed"]);
    assert_eq!(text.lines().next_back().unwrap().trim(), replay);
    let promises: BTreeSet<&str> =
        findings.iter().map(|of| of["promise"].as_str().unwrap()).collect();
    assert!(promises.len() > 1, "{text}");
    for promise in promises {
        let seeds = findings.iter().filter(|of| of["promise"] == promise);
        let heading = format!("\n{promise}: broken by {} seed", seeds.count());
        let (_, group) = text.split_once(&heading).unwrap();
        let events: Vec<u64> = group
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .filter_map(|line| line.trim().split_once(" events: ")?.0.parse().ok())
            .collect();
        assert!(!events.is_empty() && events.is_sorted(), "{text}");
    }
}

#[test]
fn a_list_of_bugs_has_a_line_for_each_and_no_table() {
    let list = out(&sim(&["bugs", "--list"]).output().unwrap());
    assert_eq!(list.lines().count(), Saboteur::ALL.len());
    for line in list.lines() {
        let (bug, promise) = line.split_once("  ").unwrap();
        let bug = Saboteur::ALL.iter().find(|known| known.name() == bug);
        assert_eq!(bug.unwrap().breaks()[0], promise.trim(), "{line}");
    }
}

#[test]
fn the_page_names_the_planted_bug_and_how_to_run_it_again() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("run.html");
    let run = ["replay", "--seed", "0", "--size", "512", "--bug", BUG];
    let output = sim(&run).arg("--html").arg(&file).output().unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"run\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["bug"], "reap inside the pass");
    assert_eq!(
        data["replay"],
        "cargo sim replay --seed 0 --size 512 --bug 'reap inside the pass' --trace"
    );
    let outcome = match data["broken"]["promise"].as_str() {
        Some(promise) => format!("{promise} is broken"),
        None => "every promise is kept".to_owned(),
    };
    assert!(page.contains(&format!("<title>seed 0: {outcome}</title>")));
    assert_eq!(output.status.code(), Some(i32::from(!data["broken"].is_null())));
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
fn a_sweep_ends_at_its_last_seed_although_it_has_minutes_left() {
    let arguments = ["sweep", "--seeds", "3", "--minutes", "1000", "--json"];
    let output = sim(&arguments).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["seeds"], 3);
}

#[test]
fn help_of_every_command_has_an_example_of_it() {
    for command in ["sweep", "replay", "shrink", "exhaust", "bugs", "play"] {
        let help = out(&sim(&[command, "--help"]).output().unwrap());
        let (_, examples) = help.split_once("\nExample").unwrap();
        assert!(examples.contains(&format!("\n  sexton-sim {command} ")), "{help}");
    }
}

#[test]
fn replay_and_shrink_without_a_seed_or_entropy_name_both_options() {
    for command in ["replay", "shrink"] {
        let help = out(&sim(&[command, "--help"]).output().unwrap());
        assert!(help.contains("<--seed <S>|--entropy <FILE>>"), "{help}");
        for example in ["--seed", "--entropy"] {
            assert!(help.contains(&format!("\n  sexton-sim {command} {example} ")), "{help}");
        }
        let refused = error(&sim(&[command]).output().unwrap());
        assert!(refused.contains("<--seed <S>|--entropy <FILE>>"), "{refused}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_code_2() {
    for arguments in [
        &["sweep", "--bug", "no such bug"][..],
        &["sweep", "--seeds", "0"],
        &["sweep", "--seeds", "0", "--minutes", "1"],
        &["sweep", "--minutes", "0"],
        &["sweep", "--jobs", "0"],
        &["replay"],
        &["replay", "--seed", "1", "--entropy", "/dev/null"],
        &["replay", "--size", "512", "--entropy", "/dev/null"],
        &["shrink"],
        &["shrink", "--seed", "1", "--output", "unused"],
        &["play", "/dev/null", "/dev/null"],
    ] {
        let output = sim(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_used_is_wrong_usage_and_the_message_has_a_remedy() {
    let seed = &seeds_that_break("no_zombie_outlives_a_tick")[0];
    let bug = ["--seed", seed, "--bug", BUG];
    for (arguments, told) in [
        (
            &["replay", "--entropy", "no/such/file"][..],
            "cannot read the entropy in 'no/such/file': No such file or directory (os error 2); name \
             a file that `shrink` or the fuzzer wrote, or give --seed",
        ),
        (
            &["shrink", "--entropy", "no/such/file", "--output", "unused"],
            "cannot read the entropy in 'no/such/file': No such file or directory (os error 2); name \
             a file that `shrink` or the fuzzer wrote, or give --seed",
        ),
        (
            &["replay", "--seed", "62", "--html", "no/such/folder.html"],
            "cannot write the page 'no/such/folder.html': No such file or directory (os error 2); \
             name a file in a directory that is there",
        ),
        (
            &["play", "no/such/script"],
            "cannot read the script 'no/such/script': No such file or directory (os error 2); \
             tests/scenarios/ has scripts to play",
        ),
        (
            &[&["shrink", "--output", "no/such/file"], &bug[..]].concat(),
            "cannot write into the directory 'no/such': No such file or directory (os error 2); run at \
             the top of the project, make the directory, or name a file with --output",
        ),
        (
            &[&["shrink"], &bug[..]].concat(),
            "cannot write into the directory 'tests/regressions': No such file or directory (os error \
             2); run at the top of the project, make the directory, or name a file with --output",
        ),
    ] {
        let output = sim(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(error(&output), format!("sexton-sim: {told}\n"), "{arguments:?}");
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_not_a_broken_promise() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sim(&["replay", "--seed", "62"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).starts_with("sexton-sim: cannot write the output: "));
}
