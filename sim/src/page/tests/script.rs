//! What the page's script makes of records. It runs where there is a `node`; without one this shows
//! nothing.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use sexton::machine::event::Event;
use sexton::machine::exchange::{Answer, Change, Request, Taken};
use sexton::machine::ids::{Pid, TaskId};
use sexton::machine::verdict::ExitStatus;

use super::*;
use crate::board::Instance;
use crate::kernel::Uid;
use crate::trace::Origin;

const US: Who = Who::Dispatcher(0);
const WORKER: Who = Who::Process(Uid(0));
const MEMBER: Who = Who::Process(Uid(1));

/// Runs a script; `None` where node is missing.
fn node(script: &str) -> Option<String> {
    let mut command = Command::new("node");
    let child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        // The test harness shows it only if it is written like this.
        let _no_other_place = io::stderr().write_all(b"SKIPPED: node is missing\n");
        return None;
    };
    let mut input = child.stdin.take().expect("its input");
    input.write_all(script.as_bytes()).expect("it reads the script");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the script fails");
    Some(String::from_utf8(output.stdout).expect("text"))
}

/// Returns the value of an expression in the page's script, for these records.
fn said(told: Vec<(Who, What)>, expression: &str) -> Option<Value> {
    let record = |(at, (who, what))| Record { at, who, what };
    let records: Vec<Record> = (0..).zip(told).map(record).collect();
    let data = json!({"trace": trace(&records, &(0..0)), "cut": [0, 0]});
    let stub = format!(
        "const document = {{ getElementById: () => ({{ textContent: {:?} }}) }};",
        data.to_string()
    );
    let (story, words) = (include_str!("../story.js"), include_str!("../words.js"));
    let print = format!("console.log(JSON.stringify({expression}));");
    let answer = node(&[&stub, story, words, &print].join("\n"))?;
    Some(serde_json::from_str(&answer).expect("JSON"))
}

fn task() -> TaskId {
    TaskId::new("b0t0").expect("a task")
}

fn begun() -> Vec<(Who, What)> {
    let origin = Origin::Worker { seat: 0, task: task() };
    vec![(US, What::Begins(Instance(0))), (WORKER, What::Started { pid: Pid(2), origin })]
}

fn ended(reaper: Option<usize>) -> What {
    What::Ended { status: ExitStatus::Code(1), reaper }
}

const FATES: &str = "STORY.processes.map((it) => [it.of, it.gone, it.ended, it.zombieTo])";

#[test]
fn a_worker_that_is_not_reaped_is_a_zombie_to_the_end() {
    let mut told = begun();
    told.extend([(WORKER, ended(Some(0))), (Who::World, What::Calm)]);
    let Some(fates) = said(told, FATES) else { return };
    assert_eq!(fates, json!([[0, "zombie", 2, 3]]));
}

#[test]
fn pid_1_takes_what_a_dead_dispatcher_leaves() {
    let mut told = begun();
    told.extend([(WORKER, ended(Some(0))), (US, What::Dies)]);
    let Some(fates) = said(told, FATES) else { return };
    assert_eq!(fates, json!([[0, "orphaned", 2, 3]]));
    let mut told = begun();
    told.extend([(US, What::Dies), (WORKER, ended(None))]);
    assert_eq!(said(told, FATES), Some(json!([[0, "at once", 3, null]])));
}

#[test]
fn a_member_of_a_group_belongs_to_the_leader_until_that_ends() {
    let origin = Origin::Member { leader: Uid(0) };
    let mut told = begun();
    told.extend([
        (MEMBER, What::Started { pid: Pid(3), origin }),
        (WORKER, ended(Some(0))),
        (MEMBER, ended(Some(0))),
        (WORKER, What::Reaped),
    ]);
    let Some(fates) = said(told.clone(), FATES) else { return };
    assert_eq!(fates, json!([[0, "reaped", 3, 5], [0, "zombie", 4, 5]]));
    let whose = said(told, "STORY.processes.map(whose)");
    assert_eq!(whose, Some(json!(["task b0t0 of sexton 0", "left by process 0 of sexton 0"])));
}

#[test]
fn an_exchange_lasts_from_its_request_to_its_answer() {
    let changes = vec![Change::Promote { task: task(), failure_limit: 1 }];
    let request = Request { changes, fresh: false, relist: false, want: 0, unix: 0 };
    let answer = Box::new(Answer { taken: vec![Taken::Yes], observation: None });
    let (board, seq) = (BoardId(0), 2);
    let told = vec![
        (US, What::Begins(Instance(0))),
        (US, What::Effect(Effect::Exchange { board, seq, request })),
        (Who::Board(board), What::Fault(Fault::DiskFull)),
        (US, What::Event(Event::Exchanged { board, seq, answer })),
    ];
    let facts = "STORY.boards.flatMap((it) => [...it.requests.map((r) => [r.from, r.to, r.outcome]), \
                 ...it.troubles.map((t) => [t.from, t.to, t.seen])])";
    let Some(facts) = said(told, facts) else { return };
    assert_eq!(facts, json!([[1, 3, "wrote"], [2, 3, true]]));
}

#[test]
fn words_name_what_a_record_is_about() {
    let told = vec![
        (US, What::Event(Event::BoardAdded { board: BoardId(2) })),
        (US, What::Effect(Effect::Report(Report::BoardHung(BoardId(1))))),
        (US, What::Event(Event::OrphanReaped { pid: Pid(7) })),
    ];
    let Some(words) = said(told, "RECORDS.map(words)") else { return };
    let expected = json!([
        "board 2 is listed",
        "reports: board 1 hung",
        "a process that it adopted was reaped (pid 7)"
    ]);
    assert_eq!(words, expected);
    let told = said(Vec::new(), "[7, 1250, 180000, 9000000].map(lasting)");
    assert_eq!(told, Some(json!(["7 ms", "1.2 s", "3 min", "2.5 h"])));
}

#[test]
fn time_never_goes_back_and_hours_take_no_more_room_than_seconds() {
    let draw = include_str!("../draw.js");
    let (_, scale) = draw.split_once("const GAP_MS").expect("the axis");
    let (scale, _) = scale.split_once("// -- The lanes").expect("its end");
    let data = |cut: [usize; 2]| {
        let moments = [0, 0, 1, 900, 2_000, 9_000_000, 9_000_001].into_iter().enumerate();
        let record = |(n, at)| json!({"n": n, "at_ms": at, "who": "world", "kind": "calm"});
        json!({"trace": moments.map(record).collect::<Vec<_>>(), "cut": cut}).to_string()
    };
    let run = |cut| {
        let stub = format!(
            "const document = {{ getElementById: () => ({{ textContent: {:?} }}) }};",
            data(cut)
        );
        let (story, words) = (include_str!("../story.js"), include_str!("../words.js"));
        let print = "scale(); console.log(JSON.stringify({ X, gaps: GAPS.map((gap) => gap.passed), WIDTH }));";
        let scale = format!("const GAP_MS{scale}");
        node(&[&stub, story, words, &scale, print].join("\n"))
    };
    let Some(whole) = run([0, 0]) else { return };
    let whole: Value = serde_json::from_str(&whole).expect("JSON");
    let places: Vec<u64> =
        whole["X"].as_array().expect("places").iter().filter_map(Value::as_u64).collect();
    assert!(places.is_sorted() && places.len() == 7);
    assert_eq!(whole["gaps"], json!([1_100, 8_998_000]));
    assert!(whole["WIDTH"].as_u64() < Some(300));
    let cut: Value = serde_json::from_str(&run([2, 6]).expect("node")).expect("JSON");
    assert_eq!((&cut["X"][2], cut["gaps"].as_array().map(Vec::len)), (&cut["X"][5], Some(1)));
}

#[test]
fn the_rest_of_the_script_can_be_read() {
    for script in [include_str!("../draw.js"), include_str!("../page.js")] {
        let _no_error = node(&format!("new (require('vm').Script)({script:?});"));
    }
}
