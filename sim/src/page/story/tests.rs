use sexton::machine::ids::{BoardId, Pid};
use sexton::machine::verdict::ExitStatus;

use super::*;
use crate::fault::Fault;

const US: Who = Who::Dispatcher(0);
const WORKER: Who = Who::Process(Uid(0));
const MEMBER: Who = Who::Process(Uid(1));

fn story(told: Vec<(Who, What)>) -> Story {
    let record = |(n, (who, what))| Record { at: n, who, what };
    Story::of(&(0..).zip(told).map(record).collect::<Vec<_>>())
}

fn note(text: &str) -> What {
    What::Note(text.to_owned())
}

fn asks(text: &str) -> What {
    What::Effect(text.to_owned())
}

fn begun() -> Vec<(Who, What)> {
    vec![
        (US, note("begins as 0")),
        (US, asks("Spawn { spawn: SpawnId(1), board: BoardId(0), task: b0t0, run: RunId(1) }")),
        (WORKER, What::Started { pid: Pid(2), task: "b0t0".to_owned() }),
    ]
}

#[test]
fn a_worker_that_nobody_reaps_is_a_zombie_to_the_end() {
    let mut told = begun();
    told.push((WORKER, What::Ended(ExitStatus::Code(1))));
    told.push((Who::World, What::Calm));
    let story = story(told);
    let worker = &story.processes[&Uid(0)];
    assert_eq!((worker.seat, worker.gone), (Some(0), Gone::Not));
    assert_eq!(worker.zombie(4), Some(3..4));
}

#[test]
fn pid_1_takes_what_a_dead_dispatcher_leaves() {
    let mut told = begun();
    told.extend([(WORKER, What::Ended(ExitStatus::Code(1))), (US, note("dies"))]);
    assert_eq!(story(told).processes[&Uid(0)].gone, Gone::WithDispatcher(4));
    let mut told = begun();
    told.extend([(US, note("dies")), (WORKER, What::Ended(ExitStatus::Code(1)))]);
    assert_eq!(story(told).processes[&Uid(0)].gone, Gone::AtOnce);
}

#[test]
fn a_member_of_a_group_is_its_leaders_until_that_ends() {
    let group = What::Started { pid: Pid(3), task: "a group".to_owned() };
    let ended = || What::Ended(ExitStatus::Code(0));
    let mut told = begun();
    told.extend([(WORKER, What::Fault(Fault::Leftovers)), (MEMBER, group)]);
    let mut first = told.clone();
    first.extend([(MEMBER, ended()), (WORKER, ended())]);
    let first = story(first);
    assert_eq!(first.processes[&Uid(1)].leader, Some(Uid(0)));
    assert_eq!(first.processes[&Uid(1)].gone, Gone::AtOnce);
    told.extend([(WORKER, ended()), (MEMBER, ended())]);
    assert_eq!(story(told).processes[&Uid(1)].gone, Gone::Not);
}

#[test]
fn an_exchange_lasts_from_its_request_to_its_answer() {
    let ask = "Exchange { board: BoardId(0), seq: 2, request: Request { changes: [Claim] } }";
    let answer = "Exchanged { board: BoardId(0), seq: 2, answer: Answer { taken: [Yes], ..";
    let told = vec![
        (US, note("begins as 0")),
        (US, asks(ask)),
        (Who::Board(BoardId(0)), What::Fault(Fault::DiskFull)),
        (US, What::Event(answer.to_owned())),
    ];
    let story = story(told);
    let board = &story.boards[&0];
    assert_eq!((board.asked[0].from, board.asked[0].to), (1, 3));
    assert_eq!(board.asked[0].outcome, Outcome::Wrote);
    assert_eq!((board.troubles[0].to, board.troubles[0].seen), (3, true));
}
