//! The demo, run as a user would, and its claims checked one by one.
//!
//! A program of its own: the script of the demo runs against the clock, beside no other test.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support {
    pub mod pipe;
    pub mod process;
    pub mod sandbox;
    pub mod wait;
}

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use crate::support::pipe::pipe_with_room;
use crate::support::process::children_of;
use crate::support::sandbox::{Done, Sandbox, finish};
use crate::support::wait::wait_until;
use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};

const HEADLINE: &str = "\
sexton runs 30 tasks from four boards. One board is damaged already, another
will be while its workers run. The other two must not notice, and every worker
must be reaped.

";

const LAST_WORDS: &str = "
Every worker was reaped. No zombie is left. Nothing was written to the damaged
boards. All tasks of the other boards ended as they must.
";

/// Runs it in a directory for temporary files that must be empty afterwards.
fn demo(args: &[&str]) -> Done {
    let sandbox = Sandbox::empty();
    let mut command = sandbox.bare();
    // With a blank, as a user's may have.
    let temp = sandbox.path("temporary files");
    std::fs::create_dir(&temp).unwrap();
    command.env("TMPDIR", &temp).arg("demo").args(args);
    let done = finish(&mut command);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stderr, "");
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0, "it leaves nothing behind");
    assert_eq!(std::fs::read_dir(sandbox.path("home")).unwrap().count(), 0, "nor at home");
    done
}

fn tasks<'a>(report: &'a Value, board: &str) -> Vec<&'a Value> {
    let all = report["tasks"].as_array().unwrap();
    all.iter().filter(|task| task["board"] == board).collect()
}

#[test]
fn its_claims_are_true() {
    let report: Value = serde_json::from_str(&demo(&["--json"]).stdout).unwrap();
    assert_eq!(report["failed"], json!([]));
    assert_eq!(report["sexton"]["spawned"], report["sexton"]["reaped"]);
    assert_eq!(report["sexton"]["spawned"], 34, "every attempt of the script, and no other");
    assert_eq!(report["observer"]["left"], 0);
    assert!(report["observer"]["looks"].as_u64().unwrap() > 10, "{report}");

    let ends = |board: &str, state: &str| {
        tasks(&report, board).iter().filter(|task| task["state"] == state).count()
    };
    assert_eq!((ends("default", "done"), ends("second", "done")), (8, 8));
    assert_eq!((ends("default", "gave_up"), ends("second", "gave_up")), (3, 2));
    assert_eq!((ends("default", "resting"), ends("second", "resting")), (1, 1));
    assert_eq!((tasks(&report, "default").len(), tasks(&report, "second").len()), (12, 11));
    for task in report["tasks"].as_array().unwrap() {
        assert_eq!(json!([task["state"], task["attempts"]]), task["must_end"], "{task}");
    }
}

#[test]
fn damaged_boards_are_not_written_and_their_exits_are_named() {
    let report: Value = serde_json::from_str(&demo(&["--json"]).stdout).unwrap();
    let damaged = report["damaged"].as_object().unwrap();
    assert_eq!(damaged.keys().collect::<Vec<_>>(), ["falling", "torn"]);
    for (board, digests) in damaged {
        assert_eq!(digests[0], digests[1], "{board}: after the damage, and at the end");
        assert_eq!(digests[1].as_str().unwrap().len(), 64);
    }
    let mut lost = tasks(&report, "falling");
    lost.retain(|task| task["state"] == "not_recorded");
    let mut titles: Vec<_> = lost.iter().map(|task| task["title"].as_str().unwrap()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["caught-1", "caught-2", "caught-3", "caught-4"]);
    let unrecorded = report["sexton"]["unrecorded"].as_array().unwrap();
    assert_eq!(unrecorded.len(), 4);
    for task in lost {
        let own = |exit: &&Value| exit["board"] == "falling" && exit["task"] == task["id"];
        assert_eq!(unrecorded.iter().find(own).unwrap()["verdict"], task["exit"], "{task}");
    }
    assert!(tasks(&report, "torn").iter().all(|task| task["attempts"] == 0));
    let boards = report["sexton"]["boards"].as_array().unwrap();
    let out_of_use =
        |name| boards.iter().any(|b| b["board"] == name && b["out_of_use"].is_string());
    assert!(out_of_use("torn") && out_of_use("falling"), "{boards:?}");
}

#[test]
fn it_reaps_although_its_output_has_no_reader() {
    let sandbox = Sandbox::empty();
    // No room for what is printed while workers run.
    let (mut reader, writer) = pipe_with_room(HEADLINE.len() + 10);
    let mut command = sandbox.bare();
    command.env("TMPDIR", sandbox.path("")).arg("demo").stdout(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let pid = i32::try_from(child.id()).unwrap();
    wait_until("sexton", || !children_of(pid).is_empty());
    let sexton = children_of(pid)[0];
    wait_until("its workers", || !children_of(sexton).is_empty());
    wait_until("all of them and sexton to be reaped", || children_of(pid).is_empty());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.trim_start().starts_with(HEADLINE), "{text}");
    assert!(text.ends_with(LAST_WORDS), "{text}");
}

#[test]
fn without_a_terminal_it_prints_plain_text() {
    is_plain(&demo(&[]).stdout);
}

#[test]
fn on_a_terminal_that_is_dumb_it_prints_plain_text() {
    is_plain(&on_terminal(&[("TERM", "dumb")]));
}

#[test]
fn on_a_terminal_without_colours_it_prints_plain_text() {
    is_plain(&on_terminal(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]));
}

#[test]
fn on_a_terminal_bars_show_every_outcome_in_its_colour() {
    let text = on_terminal(&[("TERM", "xterm-256color")]);
    let (_, last) = text.rsplit_once("\x1b[6A").unwrap();
    let (red, green, yellow) = ("\x1b[38;5;1m", "\x1b[38;5;2m", "\x1b[38;5;3m");
    let bar = |gave_up: usize, done: usize| {
        let cells = |colour, count| format!("{colour}{}\x1b[0m", "━".repeat(count));
        format!("{}{}{}", cells(red, gave_up), cells(green, done), cells(yellow, 1))
    };
    assert!(last.contains(&format!("  default  {}  3 gave up · 8 done · 1 resting", bar(3, 8))));
    assert!(last.contains(&format!("  second   {}   2 gave up · 8 done · 1 resting", bar(2, 8))));
    let plain = without_escapes(last);
    assert!(plain.contains("  4 not recorded · 1 not started\n"), "{plain}");
    assert!(plain.contains("\n  0 zombies\n\nPASSED: "), "a blank line parts them: {plain}");
    is_narrow(&without_escapes(&text));
}

/// What it prints on a terminal of 80 columns.
fn on_terminal(env: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::empty();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let mut command = sandbox.bare();
    command.env("TMPDIR", sandbox.path("")).envs(env.iter().copied()).arg("demo");
    let mut child = command.stdout::<OwnedFd>(pty.slave).spawn().unwrap();
    drop(command);
    let (mut terminal, mut bytes) = (File::from(pty.master), Vec::new());
    // It ends with EIO, when the last one who could write is gone.
    assert!(terminal.read_to_end(&mut bytes).is_err());
    let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

/// No escapes, and all of the text in its order.
fn is_plain(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    let verdict = text.split_once("\n\nPASSED: ").unwrap().0;
    assert!(text.starts_with(HEADLINE) && verdict.contains(" workers run"), "{text}");
    assert!(text.ends_with(LAST_WORDS), "{text}");
    is_narrow(text);
}

/// At most 80 columns, no word broken, and no row of a table in two lines.
fn is_narrow(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?} is too long");
    }
    let (_, tasks) = text.split_once("\nTasks\n").unwrap();
    let (tasks, _) = tasks.split_once("\n\nWorkers\n").unwrap();
    let mut rows = tasks.lines();
    let header = rows.next().unwrap();
    let result = header.find("RESULT").unwrap();
    for row in rows {
        let (board, result) = (row.split_whitespace().next().unwrap(), &row[result..]);
        assert!(["default", "second", "falling", "torn"].contains(&board), "{row}");
        let (result, attempts) = result.trim_end().rsplit_once(' ').unwrap();
        let ends = ["done", "resting", "not started", "not recorded: completed"];
        let exits = ["not recorded: exited with code ", "gave up: exited with code "];
        let limits = ["gave up: killed by signal 9", "gave up: elapsed 1s > limit 1s"];
        let is_whole = ends.contains(&result.trim_end())
            || limits.contains(&result.trim_end())
            || exits.iter().any(|exit| result.starts_with(exit));
        assert!(is_whole && attempts.parse::<u8>().is_ok(), "{row}");
    }
}

/// A text without colours and other requests to a terminal.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        plain.push_str(&part[end + 1..]);
    }
    plain
}
