//! Any observations and policies: what is chosen fits, is not held, and depends on nothing but what
//! was seen.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use sexton::machine::hold::{self, End, Hold};
use sexton::machine::hold::{Candidate, Lane, LastEnd};
use sexton::machine::ids::{TaskId, WorkerId};
use sexton::machine::plan::{self, Slots};
use sexton::machine::policy::{Completion, Policy, WorkerPolicy};

/// Plans for what `data` stands for.
pub fn check(data: &[u8]) {
    // Bytes that have run out read as zeroes: every input is a question.
    if let Ok(question) = Question::any(&mut Unstructured::new(data)) {
        question.ask();
    }
}

/// What the plan is asked.
struct Question {
    policy: Policy,
    ready: Vec<Candidate>,
    slots: Slots,
    unix: i64,
    busy: BTreeSet<TaskId>,
    /// Another order of the same candidates.
    shuffled: Vec<Candidate>,
    /// Where to stop and go on.
    part: u32,
}

fn pick<T: Copy>(u: &mut Unstructured<'_>, from: &[T]) -> Result<T> {
    u.choose(from).copied()
}

fn any_policy(u: &mut Unstructured<'_>) -> Result<Policy> {
    let count = u.int_in_range(0..=3_usize)?;
    let mut workers = Vec::new();
    for _ in 0..count {
        workers.push(WorkerPolicy {
            enabled: !u.ratio(1, 4)?,
            completion: pick(u, &[Completion::ExitStatus, Completion::Board])?,
            needs_body: u.ratio(1, 4)?,
            ..WorkerPolicy::default()
        });
    }
    let default = [None, Some(WorkerId(0)), Some(WorkerId(2)), Some(WorkerId(u16::MAX))];
    Ok(Policy {
        cooldown_s: pick(u, &[300, 0, 1, u32::MAX])?,
        default_worker: pick(u, &default)?,
        workers,
        ..Policy::default()
    })
}

fn any_time(u: &mut Unstructured<'_>, near: i64) -> Result<i64> {
    Ok(match u.int_in_range(0..=3)? {
        0 | 1 => near.saturating_add(u.int_in_range(-400..=400)?),
        2 => pick(u, &[0, -1, i64::MIN, i64::MAX])?,
        _ => u.arbitrary()?,
    })
}

fn any_task(u: &mut Unstructured<'_>) -> Result<TaskId> {
    // Few names, so that the same task comes up twice.
    let name = format!("t_{}", u.int_in_range(0..=40)?);
    TaskId::new(&name).ok_or(arbitrary::Error::IncorrectFormat)
}

fn any_candidate(u: &mut Unstructured<'_>, unix: i64) -> Result<Candidate> {
    let lane = match u.int_in_range(0..=6)? {
        0 => Lane::Unassigned,
        1 => Lane::Foreign,
        2 => Lane::Worker(WorkerId(u.arbitrary()?)),
        _ => Lane::Worker(WorkerId(u.int_in_range(0..=2)?)),
    };
    let ended = u.ratio(1, 3)?;
    Ok(Candidate {
        task: any_task(u)?,
        lane,
        priority: if u.ratio(3, 4)? { pick(u, &[0, 1, -1])? } else { u.arbitrary()? },
        created_at: if u.ratio(3, 4)? { pick(u, &[0, 1, unix])? } else { u.arbitrary()? },
        order: u.int_in_range(0..=2)?,
        has_body: u.arbitrary()?,
        failures: pick(u, &[0, 1, 2, 3, 8, 33, 34, 65, 66, u32::MAX])?,
        last_end: if ended {
            Some(LastEnd { at: any_time(u, unix)?, rate_limited: u.arbitrary()? })
        } else {
            None
        },
    })
}

impl Question {
    fn any(u: &mut Unstructured<'_>) -> Result<Question> {
        let policy = any_policy(u)?;
        let unix = any_time(u, 1_795_500_000)?;
        let slots = Slots {
            host: pick(u, &[3, 0, 1, 2, 8, u32::MAX])?,
            board: pick(u, &[3, 0, 1, 2, 8, u32::MAX])?,
        };
        let part = u.int_in_range(0..=4)?;
        let mut busy = BTreeSet::new();
        for _ in 0..u.int_in_range(0..=3)? {
            busy.insert(any_task(u)?);
        }
        let mut ready = Vec::new();
        while !u.is_empty() && ready.len() < 64 {
            ready.push(any_candidate(u, unix)?);
        }
        let mut shuffled = ready.clone();
        // An order that depends on the input, and needs no bytes of its own.
        shuffled.sort_by_key(|c| (c.task.as_str().len(), c.failures, c.has_body));
        shuffled.reverse();
        Ok(Question { policy, ready, slots, unix, busy, shuffled, part })
    }

    fn claims(&self, ready: &[Candidate], free: u32, more: &[TaskId]) -> Vec<(TaskId, WorkerId)> {
        let slots = Slots { host: free, board: self.slots.free().max(free) };
        let busy = |task| self.busy.contains(&task) || more.contains(&task);
        plan::claims(ready, slots, &self.policy, self.unix, busy)
    }

    fn ask(&self) {
        let busy = |task| self.busy.contains(&task);
        let chosen = plan::claims(&self.ready, self.slots, &self.policy, self.unix, busy);
        self.fits(&chosen);
        self.goes_on(&chosen);
        self.depends_on_no_order();
        self.ready.iter().for_each(|candidate| self.hold_ends(candidate));
    }

    /// No more than fit, each once, none of them held or busy, and none left out for nothing.
    fn fits(&self, chosen: &[(TaskId, WorkerId)]) {
        let free = self.slots.free();
        assert!(chosen.len() <= free as usize, "{} claims for {free} slots", chosen.len());
        let tasks: BTreeSet<TaskId> = chosen.iter().map(|(task, _)| *task).collect();
        assert_eq!(tasks.len(), chosen.len(), "a task twice: {chosen:?}");
        assert!(tasks.is_disjoint(&self.busy), "a busy task: {chosen:?}");
        let can_run = |c: &Candidate| hold::on(c, &self.policy, self.unix).is_none();
        for (task, worker) in chosen {
            let seen = self.ready.iter().any(|c| {
                c.task == *task && can_run(c) && plan::worker(c.lane, &self.policy) == Some(*worker)
            });
            assert!(seen, "{task} was not seen, or is held, or is not for {worker:?}");
            assert!(self.policy.worker(*worker).enabled, "{worker:?} is switched off");
        }
        if chosen.len() < free as usize {
            for candidate in self.ready.iter().filter(|c| can_run(c)) {
                let taken = tasks.contains(&candidate.task) || self.busy.contains(&candidate.task);
                assert!(taken, "{candidate:?} could run and there is room");
            }
        }
    }

    /// Checks that two equal requests have equal plans, that a plan in two parts is the same as a
    /// whole one, and that nothing is claimed twice.
    fn goes_on(&self, chosen: &[(TaskId, WorkerId)]) {
        let free = self.slots.free();
        assert_eq!(self.claims(&self.ready, free, &[]), chosen);
        let part = self.part.min(free);
        let mut steps = self.claims(&self.ready, part, &[]);
        let tasks: Vec<TaskId> = steps.iter().map(|(task, _)| *task).collect();
        steps.extend(self.claims(&self.ready, free - part, &tasks));
        assert_eq!(steps, chosen, "in two steps, {part} first");
        let tasks: Vec<TaskId> = chosen.iter().map(|(task, _)| *task).collect();
        for (task, _) in self.claims(&self.ready, free, &tasks) {
            assert!(!tasks.contains(&task), "{task} once more");
        }
    }

    /// The order in which candidates are listed does not matter. Rows of one task that differ only
    /// in what is not sorted by cannot be told apart; no board returns such a list.
    fn depends_on_no_order(&self) {
        let key = |c: &Candidate| (c.priority, c.created_at, c.order, c.task);
        let unlike: BTreeSet<_> = self.ready.iter().map(key).collect();
        if unlike.len() == self.ready.len() {
            let free = self.slots.free();
            let chosen = self.claims(&self.ready, free, &[]);
            assert_eq!(self.claims(&self.shuffled, free, &[]), chosen, "in another order");
        }
    }

    /// A hold has an owner, or an end that lies ahead, at which it is over.
    fn hold_ends(&self, candidate: &Candidate) {
        let backoff = hold::backoff_s(candidate.failures, candidate.task);
        assert!((0..=75).contains(&backoff), "{backoff} s");
        let Some(hold) = hold::on(candidate, &self.policy, self.unix) else { return };
        let End::At(until) = hold.end() else { return };
        assert!(until > self.unix, "{hold:?} is over at {}", self.unix);
        assert_eq!(hold::on(candidate, &self.policy, until), None, "{hold:?} outlives itself");
        let rule = match hold {
            Hold::Cooldown { .. } => i64::from(self.policy.cooldown_s),
            Hold::Backoff { .. } => backoff,
            Hold::ForeignLane | Hold::Unassigned | Hold::NeedsBody | Hold::Review => 0,
        };
        let wait = until.saturating_sub(self.unix);
        assert!(wait <= 2 * rule, "{hold:?}: {wait} s, the rule says {rule}");
    }
}
