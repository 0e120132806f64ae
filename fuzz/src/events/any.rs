//! Anything at all, drawn from the input.

use arbitrary::{Result, Unstructured};
use sexton::machine::adoption::{Evidence, Process, Record};
use sexton::machine::event::{Event, Group, Signal, SignalOutcome};
use sexton::machine::exchange::{
    Expired, Fence, LeaseEnd, Observation, Orphan, Ready, Refusal, Taken,
};
use sexton::machine::fault::{Blame, Fault, FaultClass};
use sexton::machine::hold::Hold;
use sexton::machine::hold::{Candidate, Lane, LastEnd};
use sexton::machine::ids::{BoardId, Pid, RunId, SpawnId, TaskId, WorkerId};
use sexton::machine::policy::{Completion, Policy, WorkerPolicy};
use sexton::machine::verdict::{ExitStatus, Verdict};

pub(super) fn pick<T: Copy>(u: &mut Unstructured<'_>, from: &[T]) -> Result<T> {
    u.choose(from).copied()
}

pub(super) fn any_policy(u: &mut Unstructured<'_>) -> Result<Policy> {
    let workers = u.int_in_range(0..=2_usize)?;
    let workers = (0..workers).map(|_| any_worker(u)).collect::<Result<Vec<_>>>()?;
    Ok(Policy {
        max_workers: u.int_in_range(0..=4)?,
        max_in_progress: u.int_in_range(0..=4)?,
        failure_limit: u.int_in_range(0..=3)?,
        claim_ttl_s: pick(u, &[900, 0, 1, 9, u32::MAX])?,
        cooldown_s: pick(u, &[300, 0, u32::MAX])?,
        ended_grace_ms: pick(u, &[10_000, 0, u64::MAX])?,
        board_deadline_ms: pick(u, &[10_000, 0, 5, u64::MAX])?,
        spawn_deadline_ms: pick(u, &[90_000, 0, 5, u64::MAX])?,
        lookahead: pick(u, &[4, 0, 64, u32::MAX])?,
        default_worker: pick(u, &[None, Some(WorkerId(0)), Some(WorkerId(7))])?,
        workers,
        ..Policy::default()
    })
}

pub(super) fn any_worker(u: &mut Unstructured<'_>) -> Result<WorkerPolicy> {
    Ok(WorkerPolicy {
        enabled: !u.ratio(1, 8)?,
        completion: pick(u, &[Completion::ExitStatus, Completion::Board])?,
        needs_body: u.ratio(1, 8)?,
        max_runtime_s: pick(u, &[None, Some(0), Some(5), Some(u32::MAX)])?,
        kill_after_ms: pick(u, &[5_000, 0, 1, u64::MAX])?,
        keep_leftovers: u.arbitrary()?,
    })
}

pub(super) fn any_board(u: &mut Unstructured<'_>) -> Result<BoardId> {
    Ok(BoardId(u.int_in_range(0..=3)?))
}

pub(super) fn any_task(u: &mut Unstructured<'_>) -> Result<TaskId> {
    let name = pick(u, &["a", "b", "c", "d", "e", "f"])?;
    TaskId::new(name).ok_or(arbitrary::Error::IncorrectFormat)
}

pub(super) fn any_fence(u: &mut Unstructured<'_>) -> Result<Fence> {
    let spawn = SpawnId(u.int_in_range(0..=15)?);
    Ok(Fence { task: any_task(u)?, run: RunId(u.int_in_range(0..=5)?), spawn })
}

pub(super) fn any_fault(u: &mut Unstructured<'_>) -> Result<Fault> {
    let classes = [FaultClass::Content, FaultClass::Access, FaultClass::Busy, FaultClass::Replaced];
    Ok(Fault { class: pick(u, &classes)?, unchanged: u.ratio(1, 4)? })
}

pub(super) fn any_unix(u: &mut Unstructured<'_>, unix: i64) -> Result<i64> {
    Ok(match u.int_in_range(0..=3)? {
        0 => unix.saturating_add(u.int_in_range(0..=99)?),
        1 => unix.saturating_sub(u.int_in_range(0..=999)?),
        2 => pick(u, &[0, 1, -1, i64::MIN, i64::MAX])?,
        _ => u.arbitrary()?,
    })
}

pub(super) fn any_taken(u: &mut Unstructured<'_>) -> Result<Taken> {
    const REFUSALS: [Refusal; 5] = [
        Refusal::Superseded,
        Refusal::Full,
        Refusal::Locked,
        Refusal::Held(Hold::Review),
        Refusal::Rejected,
    ];
    Ok(match u.int_in_range(0..=11)? {
        0..=5 => Taken::Claimed {
            run: RunId(u.int_in_range(1..=5)?),
            max_runtime_s: pick(u, &[None, Some(0), Some(3), Some(u32::MAX)])?,
        },
        6 | 7 => Taken::Yes,
        _ => Taken::No(pick(u, &REFUSALS)?),
    })
}

pub(super) fn any_candidate(u: &mut Unstructured<'_>, unix: i64) -> Result<Candidate> {
    let lanes = [
        Lane::Worker(WorkerId(0)),
        Lane::Worker(WorkerId(1)),
        Lane::Worker(WorkerId(9)),
        Lane::Unassigned,
        Lane::Foreign,
    ];
    let ended = u.ratio(1, 6)?;
    Ok(Candidate {
        task: any_task(u)?,
        lane: pick(u, &lanes)?,
        priority: pick(u, &[0, 1, -1, i64::MIN, i64::MAX])?,
        created_at: 0,
        order: 0,
        has_body: u.arbitrary()?,
        failures: pick(u, &[0, 1, 2, 5, u32::MAX])?,
        last_end: if ended {
            Some(LastEnd { at: any_unix(u, unix)?, rate_limited: u.arbitrary()? })
        } else {
            None
        },
    })
}

pub(super) fn some<T>(
    u: &mut Unstructured<'_>,
    most: usize,
    one: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=most)?;
    (0..count).map(|_| one(u)).collect()
}

pub(super) fn any_observation(u: &mut Unstructured<'_>, unix: i64) -> Result<Observation> {
    let listed = !u.ratio(1, 5)?;
    let due = u.ratio(1, 3)?;
    Ok(Observation {
        running: pick(u, &[0, 1, 2, 5, u32::MAX])?,
        ready: if listed {
            Some(Ready { tasks: some(u, 6, |u| any_candidate(u, unix))?, more: u.arbitrary()? })
        } else {
            None
        },
        promotable: some(u, 2, any_task)?,
        expired: some(u, 2, |u| {
            Ok(Expired {
                task: any_task(u)?,
                run: pick(u, &[None, Some(RunId(1))])?,
                by: pick(u, &[LeaseEnd::Expired, LeaseEnd::WorkerGone, LeaseEnd::Neglected])?,
            })
        })?,
        orphans: some(u, 2, |u| {
            Ok(Orphan {
                task: any_task(u)?,
                run: RunId(u.int_in_range(0..=5)?),
                worker: WorkerId(u.int_in_range(0..=2)?),
            })
        })?,
        ours: some(u, 3, any_fence)?,
        due: if due { Some(any_unix(u, unix)?) } else { None },
    })
}

fn any_evidence(u: &mut Unstructured<'_>) -> Result<Evidence> {
    let records = [Record::Lost, Record::NoIntent, Record::Intent, Record::Started];
    let age_ms = pick(u, &[0, 5_000, u64::MAX])?;
    let processes = [
        Process::Held { pid: Pid(u.arbitrary()?), age_ms },
        Process::Executing,
        Process::Hidden,
        Process::None(Group::Gone),
        Process::None(Group::Alive),
    ];
    let noted = [None, Some(Verdict::Completed), Some(Verdict::RateLimited)];
    Ok(Evidence {
        record: pick(u, &records)?,
        process: pick(u, &processes)?,
        noted: pick(u, &noted)?,
    })
}

pub(super) fn worker_event(
    u: &mut Unstructured<'_>,
    spawn: impl Fn(&mut Unstructured<'_>) -> Result<SpawnId>,
) -> Result<Event> {
    let spawn = spawn(u)?;
    let statuses = [
        ExitStatus::Code(0),
        ExitStatus::Code(1),
        ExitStatus::Code(75),
        ExitStatus::Code(78),
        ExitStatus::Signal(9),
        ExitStatus::Unknown,
    ];
    Ok(match u.int_in_range(0..=9)? {
        0..=3 => Event::SpawnOk { spawn, pid: Pid(u.arbitrary()?) },
        4 => Event::SpawnFailed {
            spawn,
            blame: pick(u, &[Blame::Task, Blame::Host, Blame::Board])?,
            errno: 11,
        },
        5 => Event::SpawnCancelled { spawn },
        6 | 7 => Event::ChildExited {
            spawn,
            pid: Pid(u.arbitrary()?),
            status: pick(u, &statuses)?,
            group: pick(u, &[Group::Gone, Group::Alive])?,
        },
        8 | 9 => Event::Found { spawn, evidence: any_evidence(u)? },
        _ => Event::Signalled {
            spawn,
            signal: pick(u, &[Signal::Probe, Signal::Term, Signal::Kill])?,
            outcome: pick(
                u,
                &[SignalOutcome::Delivered, SignalOutcome::Gone, SignalOutcome::Refused],
            )?,
        },
    })
}
