//! What the commands print: JSON for programs, and nothing that only a terminal understands.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use common::{BUG, seeds_that_break};

mod common;

const NO_ZOMBIE: &str = "no_zombie_outlives_a_tick";
const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios/no_zombie_outlives_a_tick.txt");

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sexton-sim")).args(arguments).output().unwrap()
}

/// What a command prints with `--json`, and whether it said anything besides.
fn json(arguments: &[&str], code: i32) -> (Value, String) {
    let output = sim(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (json, String::from_utf8(output.stderr).unwrap())
}

/// The fields that say what was broken.
fn broken(json: &Value) -> &Value {
    assert_eq!(json["promise"], NO_ZOMBIE);
    assert!(json["how"].is_string() && json["at_ms"].is_u64(), "{json}");
    json
}

#[test]
fn json_of_a_sweep_names_broken_promises_and_what_never_happened() {
    let seed = &seeds_that_break(NO_ZOMBIE)[0];
    let (of_a_bug, talk) = json(&["sweep", "--first", seed, "--seeds", "20", "--bug", BUG], 1);
    assert_eq!(broken(&of_a_bug["broken"][0])["seed"].to_string(), *seed);
    let count = of_a_bug["broken"].as_array().unwrap().len();
    assert!(count > 1 && talk.ends_with(&format!("{count} seeds break a promise\n")), "{talk}");
    let (of_too_few, talk) = json(&["sweep", "--seeds", "1"], 1);
    assert_eq!(of_too_few["broken"], json!([]));
    let missed = of_too_few["missed"].as_array().unwrap();
    assert!(!missed.is_empty());
    for name in missed {
        assert!(talk.contains(name.as_str().unwrap()), "{talk}");
    }
}

#[test]
fn json_of_a_replay_names_the_broken_promise_if_any() {
    let (kept, talk) = json(&["replay", "--seed", "62"], 0);
    assert_eq!((&kept["broken"], talk.as_str()), (&Value::Null, ""));
    assert!(kept["events"].is_u64() && kept["hash"].is_string() && kept.get("trace").is_none());
    let seed = &seeds_that_break(NO_ZOMBIE)[0];
    let (bad, talk) = json(&["replay", "--seed", seed, "--trace", "--bug", BUG], 1);
    assert!(talk.contains(broken(&bad["broken"])["how"].as_str().unwrap()), "{talk}");
    let trace = bad["trace"].as_array().unwrap();
    let last = trace.last().unwrap();
    assert_eq!((&last["kind"], &last["who"]), (&json!("broken"), &json!("world")));
    assert!(
        last["text"].as_str().unwrap().contains("## BROKEN no_zombie_outlives_a_tick"),
        "{last}"
    );
    let tick = trace.iter().find(|record| record["name"] == "Tick").unwrap();
    assert_eq!((&tick["kind"], &tick["who"]), (&json!("event"), &json!("dispatcher")));
}

#[test]
fn json_of_shrink_names_the_file() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("json.entropy");
    let name = file.to_str().unwrap();
    let seed = &seeds_that_break(NO_ZOMBIE)[0];
    let shrink = ["shrink", "--seed", seed, "--output", name, "--force", "--bug", BUG];
    let (small, talk) = json(&shrink, 0);
    assert_eq!((small["file"].as_str(), talk.as_str()), (Some(name), ""));
    assert_eq!(small["bytes"], std::fs::read(&file).unwrap().len());
    broken(&small["broken"]);
}

#[test]
fn json_of_exhaust_has_the_numbers() {
    let (found, talk) = json(&["exhaust", "--scope", "none"], 0);
    assert_eq!((&found["broken"], talk.as_str()), (&Value::Null, ""));
    assert!(found["states"].as_u64() > Some(1_000));
}

#[test]
fn json_of_bugs_names_each_bug_and_its_promise() {
    let (bugs, talk) = json(&["bugs", "--list"], 0);
    assert_eq!(talk, "");
    assert_eq!(bugs[0], json!({"bug": BUG, "promise": NO_ZOMBIE, "seeds": null}));
}

#[test]
fn json_of_play_has_the_answers_to_each_line() {
    let (played, talk) = json(&["play", SCRIPT], 0);
    assert_eq!(talk, "");
    let lines = played.as_array().unwrap();
    let ready = lines.iter().find(|line| line["line"] == "at 9 kernel-ready").unwrap();
    assert_eq!(ready["answers"], json!(["reap       #1"]));
}

#[test]
fn what_was_refused_prints_no_half_of_json() {
    for arguments in [
        &["sweep", "--seeds", "0"][..],
        &["replay", "--entropy", "no/such/file"],
        &["shrink", "--seed", "1", "--output", "no/such/file"],
        &["exhaust", "--jobs", "0"],
        &["bugs", "--no-such-option"],
        &["play", "no/such/file"],
    ] {
        let output = sim(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn output_that_is_not_a_terminal_gets_no_colour_and_no_progress() {
    for arguments in [
        &["--help"][..],
        &["sweep", "--help"],
        &["sweep", "--seeds", "0"],
        &["sweep", "--seeds", "100"],
        &["replay", "--seed", "62", "--trace"],
        &["exhaust", "--scope", "none"],
        &["bugs", "--list"],
        &["play", SCRIPT],
    ] {
        let output = sim(arguments);
        for bytes in [output.stdout, output.stderr] {
            assert!(!bytes.iter().any(|byte| [b'\x1b', b'\r'].contains(byte)), "{arguments:?}");
        }
    }
}

#[test]
fn a_terminal_with_no_color_gets_no_colour_and_no_progress() {
    let program = env!("CARGO_BIN_EXE_sexton-sim");
    let on_a_terminal = |no_color: &str| {
        // Of util-linux: runs a command on a terminal of its own.
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("'{program}' exhaust --scope none; '{program}' sweep --help"))
            .arg("/dev/null")
            .env_remove("CLICOLOR_FORCE")
            .envs([("TERM", "xterm"), ("NO_COLOR", no_color)])
            .stdin(std::process::Stdio::null())
            .output();
        let output = output.ok().filter(|output| output.status.success());
        output.map(|output| output.stdout.contains(&b'\x1b'))
    };
    match (on_a_terminal(""), on_a_terminal("1")) {
        (None, _) | (_, None) => eprintln!("script(1) is missing, so this tests nothing"),
        seen => assert_eq!(seen, (Some(true), Some(false))),
    }
}
