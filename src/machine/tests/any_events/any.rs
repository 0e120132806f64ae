//! Any policy, event, answer and history, and the likely ones more often.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Happening, MAX_WORKERS, Moves};
use crate::machine::adoption::{Evidence, Process, Record};
use crate::machine::event::{Event, Group, Signal, SignalOutcome};
use crate::machine::exchange::{
    Answer, Expired, Fence, LeaseEnd, Observation, Orphan, Ready, Refusal, Taken,
};
use crate::machine::fault::{Blame, Commit, Fault, FaultClass};
use crate::machine::hold::Hold;
use crate::machine::hold::{Candidate, Lane, LastEnd};
use crate::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use crate::machine::policy::{Completion, Policy, WorkerPolicy};
use crate::machine::tests::world::{EPOCH, task};
use crate::machine::verdict::{ExitStatus, Verdict};

fn policy(worker: WorkerPolicy, claim_ttl_s: u32, board_deadline_ms: u64) -> Policy {
    Policy {
        max_workers: MAX_WORKERS,
        max_in_progress: 2,
        claim_ttl_s,
        board_deadline_ms,
        lookahead: 4,
        workers: vec![worker],
        ..Policy::default()
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let worker = (any::<bool>(), any::<bool>(), option::of(0_u32..9), 0_u64..9_000).prop_map(
        |(own, keep_leftovers, max_runtime_s, kill_after_ms)| WorkerPolicy {
            completion: if own { Completion::Board } else { Completion::ExitStatus },
            max_runtime_s,
            kill_after_ms,
            keep_leftovers,
            ..WorkerPolicy::default()
        },
    );
    (worker, 0_u32..1_000, 0_u64..20_000).prop_map(|(w, ttl, lane)| policy(w, ttl, lane))
}

fn any_board() -> impl Strategy<Value = BoardId> {
    (1_u32..4).prop_map(BoardId)
}

fn any_task() -> impl Strategy<Value = TaskId> {
    prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(task)
}

fn any_spawn() -> impl Strategy<Value = SpawnId> {
    (1_u64..9).prop_map(SpawnId)
}

fn any_fence() -> impl Strategy<Value = Fence> {
    (any_task(), 1_i64..5, any_spawn()).prop_map(|(task, run, spawn)| Fence {
        task,
        run: RunId(run),
        spawn,
    })
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let classes =
        vec![FaultClass::Content, FaultClass::Access, FaultClass::Busy, FaultClass::Replaced];
    (prop::sample::select(classes), any::<bool>())
        .prop_map(|(class, unchanged)| Fault { class, unchanged })
}

fn any_commit() -> impl Strategy<Value = Commit> {
    prop::sample::select(vec![Commit::No, Commit::Maybe])
}

fn any_taken() -> impl Strategy<Value = Taken> {
    let refusals = vec![
        Refusal::Superseded,
        Refusal::Full,
        Refusal::Locked,
        Refusal::Held(Hold::Review),
        Refusal::Rejected,
    ];
    prop_oneof![
        3 => Just(Taken::Yes),
        6 => (1_i64..5, option::of(0_u32..9))
            .prop_map(|(run, max_runtime_s)| Taken::Claimed { run: RunId(run), max_runtime_s }),
        2 => prop::sample::select(refusals).prop_map(Taken::No),
    ]
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let lane = prop::sample::select(vec![
        Lane::Worker(WorkerId(0)),
        Lane::Worker(WorkerId(7)),
        Lane::Unassigned,
        Lane::Foreign,
    ]);
    let end = option::weighted(0.2, (any::<i64>(), any::<bool>()));
    (any_task(), lane, any::<i64>(), any::<u32>(), end).prop_map(
        |(task, lane, priority, failures, end)| Candidate {
            task,
            lane,
            priority,
            created_at: 0,
            order: 0,
            has_body: false,
            failures,
            last_end: end.map(|(at, rate_limited)| LastEnd { at, rate_limited }),
        },
    )
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let ready =
        (vec(any_candidate(), 0..6), any::<bool>()).prop_map(|(tasks, more)| Ready { tasks, more });
    let expired = any_task().prop_map(|task| Expired { task, run: None, by: LeaseEnd::Expired });
    let orphan =
        any_fence().prop_map(|Fence { task, run, .. }| Orphan { task, run, worker: WorkerId(0) });
    let due = prop_oneof![any::<i64>(), EPOCH - 9..EPOCH + 99];
    (
        0_u32..4,
        option::weighted(0.8, ready),
        vec(any_task(), 0..2),
        vec(expired, 0..2),
        vec(orphan, 0..2),
        vec(any_fence(), 0..3),
        option::of(due),
    )
        .prop_map(|(running, ready, promotable, expired, orphans, ours, due)| Observation {
            running,
            ready,
            promotable,
            expired,
            orphans,
            ours,
            due,
        })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    (vec(any_taken(), 0..6), option::weighted(0.7, any_observation()))
        .prop_map(|(taken, observation)| Answer { taken, observation })
}

fn any_signal() -> impl Strategy<Value = Signal> {
    prop::sample::select(vec![Signal::Probe, Signal::Term, Signal::Kill])
}

fn any_status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![
        prop::sample::select(vec![0, 1, 75, 78]).prop_map(ExitStatus::Code),
        Just(ExitStatus::Signal(9)),
        Just(ExitStatus::Unknown),
    ]
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let records = vec![Record::Lost, Record::NoIntent, Record::Intent, Record::Started];
    let record = prop::sample::select(records);
    let process = prop_oneof![
        // Nothing is older than its host, and a history has no beginning.
        any::<i32>().prop_map(|pid| Process::Held { pid: Pid(pid), age_ms: 0 }),
        Just(Process::Executing),
        Just(Process::Hidden),
        Just(Process::None(Group::Gone)),
        Just(Process::None(Group::Alive)),
    ];
    let verdicts = vec![None, None, Some(Verdict::Completed), Some(Verdict::RateLimited)];
    (record, process, prop::sample::select(verdicts))
        .prop_map(|(record, process, noted)| Evidence { record, process, noted })
}

fn worker_event() -> impl Strategy<Value = Event> {
    let pid = || any::<i32>().prop_map(Pid);
    let group = prop::sample::select(vec![Group::Gone, Group::Alive]);
    let blame = prop::sample::select(vec![Blame::Task, Blame::Host, Blame::Board]);
    let outcomes = vec![SignalOutcome::Delivered, SignalOutcome::Gone, SignalOutcome::Refused];
    let outcome = prop::sample::select(outcomes);
    prop_oneof![
        4 => (any_spawn(), pid()).prop_map(|(spawn, pid)| Event::SpawnOk { spawn, pid }),
        1 => (any_spawn(), blame).prop_map(|(spawn, blame)| {
            Event::SpawnFailed { spawn, blame, errno: 11 }
        }),
        1 => any_spawn().prop_map(|spawn| Event::SpawnCancelled { spawn }),
        3 => (any_spawn(), pid(), any_status(), group).prop_map(|(spawn, pid, status, group)| {
            Event::ChildExited { spawn, pid, status, group }
        }),
        3 => (any_spawn(), any_evidence()).prop_map(|(spawn, evidence)| {
            Event::Found { spawn, evidence }
        }),
        2 => (any_spawn(), any_signal(), outcome).prop_map(|(spawn, signal, outcome)| {
            Event::Signalled { spawn, signal, outcome }
        }),
    ]
}

fn board_event() -> impl Strategy<Value = Event> {
    let seq = || 0_u64..9;
    prop_oneof![
        4 => any_board().prop_map(|board| Event::BoardAdded { board }),
        1 => any_board().prop_map(|board| Event::BoardRemoved { board }),
        1 => Just(Event::BoardsListed),
        3 => any_board().prop_map(|board| Event::BoardChanged { board }),
        1 => (any_board(), seq()).prop_map(|(board, seq)| Event::Connected { board, seq }),
        1 => (any_board(), seq(), any_fault()).prop_map(|(board, seq, fault)| {
            Event::ConnectFailed { board, seq, fault }
        }),
        1 => (any_board(), seq(), any_answer()).prop_map(|(board, seq, answer)| {
            Event::Exchanged { board, seq, answer: Box::new(answer) }
        }),
        1 => (any_board(), seq(), any_fault(), any_commit()).prop_map(
            |(board, seq, fault, commit)| Event::ExchangeFailed { board, seq, fault, commit }
        ),
    ]
}

fn other_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => Just(Event::Tick),
        20 => Just(Event::Wake),
        5 => Just(Event::KernelReady),
        2 => any::<i32>().prop_map(|pid| Event::OrphanReaped { pid: Pid(pid) }),
        2 => any::<u64>().prop_map(|seq| Event::Reaped { seq }),
        2 => any::<u64>().prop_map(|seq| Event::ReapFailed { seq, errno: 5 }),
        2 => any_policy().prop_map(|policy| Event::PolicyChanged(Box::new(policy))),
        1 => prop_oneof![Just(0), Just(1_000), any::<u64>()]
            .prop_map(|grace_ms| Event::Drain { grace_ms }),
        1 => Just(Event::Abort),
    ]
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => board_event().prop_map(Happening::Any),
        4 => worker_event().prop_map(Happening::Any),
        3 => other_event().prop_map(Happening::Any),
        3 => any_board().prop_map(Happening::Opens),
        1 => (any_board(), any_fault()).prop_map(|(b, fault)| Happening::OpensNot(b, fault)),
        8 => (any_board(), any_answer()).prop_map(|(b, answer)| Happening::Answers(b, answer)),
        1 => (any_board(), any_fault(), any_commit())
            .prop_map(|(b, fault, commit)| Happening::Fails(b, fault, commit)),
    ]
}

fn any_moves() -> impl Strategy<Value = Moves> {
    let mono = prop_oneof![
        8 => Just(0_i128),
        8 => 0_i128..40,
        4 => 0_i128..20_000,
        1 => -5_000_i128..0,
        1 => 0_i128..1_000_000_000,
    ];
    let unix = prop_oneof![8 => Just(0_i64), 4 => 0_i64..20, 1 => -99_i64..0, 1 => any::<i64>()];
    (mono, unix).prop_map(|(mono, unix)| Moves { mono, unix })
}

pub fn any_life() -> impl Strategy<Value = (bool, Policy, Vec<(Moves, Happening)>)> {
    (any::<bool>(), any_policy(), vec((any_moves(), any_happening()), 1..120))
}
