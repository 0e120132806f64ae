//! Kills a dispatcher at any byte of any write: what is read afterwards is the state before that write
//! or after it, or unknown.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::machine::verdict::{ExitStatus, Release};

/// What to do to one of the attempts that have a record; if there is none, a record is begun. Each
/// part is written once.
#[derive(Clone, Copy, Debug)]
enum Act {
    Intend,
    Pid(i32),
    Start(u64),
    End(Verdict),
    Clear,
}

/// The true state of each attempt.
type Truth = BTreeMap<SpawnId, Found>;

/// The history of a file.
struct History {
    steps: Vec<Step>,
    /// The true state after each number of steps. The first is the newly created file.
    truths: Vec<(usize, Truth)>,
}

impl History {
    fn of(acts: &[(Act, usize)]) -> History {
        let state = tempfile::tempdir().unwrap();
        let records = small(state.path());
        let taken = || records.file.steps.lock().unwrap().len();
        let mut truth = Truth::new();
        let mut truths = vec![(taken(), truth.clone())];
        for (act, which) in acts {
            act.take(&records, *which, &mut truth);
            truths.push((taken(), truth.clone()));
        }
        let steps = records.file.steps.lock().unwrap().clone();
        History { steps, truths }
    }

    /// Checks what is read if the dispatcher is killed after `steps` and `bytes` of the next one.
    fn judge(&self, steps: usize, bytes: usize) {
        let image = Image::new(self.file(steps, bytes), NAME);
        let made = self.truths.partition_point(|(taken, _)| *taken <= steps);
        let Some((taken, before)) = made.checked_sub(1).map(|last| &self.truths[last]) else {
            // The file was not created yet, so there is no attempt.
            return;
        };
        let Ok(image) = image else {
            let cut = &self.steps[steps];
            let is_growth = matches!(cut, Step::Write { at: header::SLOTS, .. });
            assert!(is_growth && bytes > 0, "{steps}+{bytes}: the header is damaged by {cut:?}");
            return;
        };
        let is_between = *taken < steps || bytes > 0;
        let after = if is_between { &self.truths[made].1 } else { before };
        for number in 0..=after.len() as u64 {
            let spawn = SpawnId(number);
            let of = |truth: &Truth| truth.get(&spawn).cloned().unwrap_or(Found::NoIntent);
            let (found, before, after) = (image.find(spawn), of(before), of(after));
            let is_concerned = before != after || before == Found::NoIntent;
            let may_be_damaged = bytes > 0 && is_concerned;
            let is_right =
                found == before || found == after || (found == Found::Damaged && may_be_damaged);
            assert!(is_right, "{steps}+{bytes}: {found:?}, not {before:?} or {after:?}");
        }
    }

    /// Returns the file as it is then.
    fn file(&self, steps: usize, bytes: usize) -> Vec<u8> {
        let mut file = Vec::new();
        let cut = self.steps.get(steps).map(|step| step.cut(bytes));
        for step in self.steps[..steps].iter().chain(&cut) {
            step.apply(&mut file);
        }
        file
    }
}

impl Act {
    /// Carries it out, and updates the true state.
    fn take(self, records: &Records, which: usize, truth: &mut Truth) {
        let in_use: Vec<SpawnId> =
            truth.iter().filter(|(_, found)| **found != Found::NoIntent).map(|(s, _)| *s).collect();
        let next = SpawnId(truth.len() as u64);
        let spawn = if in_use.is_empty() { next } else { in_use[which % in_use.len()] };
        match self {
            Act::Pid(pid) if !in_use.is_empty() => {
                if let Some(Found::Intent { intent, end }) = truth.get(&spawn).cloned() {
                    records.pid_known(spawn, Pid(pid)).unwrap();
                    let started = Found::Started { intent, pid: Pid(pid), start: None, end };
                    truth.insert(spawn, started);
                }
            }
            Act::Start(ticks) if !in_use.is_empty() => {
                if let Some(Found::Started { start: start @ None, .. }) = truth.get_mut(&spawn) {
                    records.started(spawn, ticks).unwrap();
                    *start = Some(ticks);
                }
            }
            Act::End(verdict) if !in_use.is_empty() => {
                if let Some(
                    Found::Intent { end: end @ None, .. } | Found::Started { end: end @ None, .. },
                ) = truth.get_mut(&spawn)
                {
                    records.ended(spawn, verdict).unwrap();
                    *end = Some(verdict);
                }
            }
            Act::Clear if !in_use.is_empty() => {
                records.clear(spawn).unwrap();
                truth.insert(spawn, Found::NoIntent);
            }
            Act::Intend | Act::Pid(_) | Act::Start(_) | Act::End(_) | Act::Clear => {
                let intent = intent(next.0);
                records.intend(next, &intent).unwrap();
                truth.insert(next, Found::Intent { intent, end: None });
            }
        }
    }
}

impl Step {
    /// Returns how many bytes it writes.
    fn len(&self) -> usize {
        match self {
            Step::Allocate { .. } => 1,
            Step::Write { bytes, .. } => bytes.len(),
        }
    }

    /// Returns the first bytes of it. Blocks are allocated completely or not at all.
    fn cut(&self, len: usize) -> Step {
        match self {
            Step::Allocate { .. } => Step::Write { at: 0, bytes: vec![] },
            Step::Write { at, bytes } => Step::Write { at: *at, bytes: bytes[..len].to_vec() },
        }
    }

    fn apply(&self, file: &mut Vec<u8>) {
        let until = match self {
            Step::Allocate { until } => *until as usize,
            Step::Write { at, bytes } => *at as usize + bytes.len(),
        };
        file.resize(file.len().max(until), 0);
        if let Step::Write { at, bytes } = self {
            file[*at as usize..until].copy_from_slice(bytes);
        }
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Completed),
        Just(Verdict::Released(Release::Superseded)),
        any::<i32>().prop_map(|code| Verdict::Crashed(ExitStatus::Code(code))),
        any::<(u32, u32, bool)>().prop_map(|(elapsed_s, limit_s, killed)| {
            Verdict::TimedOut { elapsed_s, limit_s, killed }
        }),
    ]
}

fn any_acts() -> impl Strategy<Value = Vec<(Act, usize)>> {
    let act = prop_oneof![
        2 => Just(Act::Intend),
        2 => (1..i32::MAX).prop_map(Act::Pid),
        2 => any::<u64>().prop_map(Act::Start),
        1 => any_verdict().prop_map(Act::End),
        2 => Just(Act::Clear),
    ];
    vec((act, any::<usize>()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_kill_at_any_write_leaves_a_beginning_of_the_truth(
        acts in any_acts(),
        within in vec(any::<usize>(), 8),
    ) {
        let history = History::of(&acts);
        for (steps, step) in history.steps.iter().enumerate() {
            history.judge(steps, 0);
            for within in &within {
                history.judge(steps, within % step.len());
            }
        }
        history.judge(history.steps.len(), 0);
    }
}

#[test]
fn a_kill_at_any_byte_leaves_a_beginning_of_the_truth() {
    let verdict = Verdict::Crashed(ExitStatus::Code(3));
    let life = [Act::Intend, Act::Pid(77), Act::Start(88), Act::End(verdict)];
    let mut acts = life.map(|act| (act, 0)).to_vec();
    // The slot of one attempt is reused by the next, which gets as far as its pid.
    acts.extend([Act::Clear, Act::Intend, Act::Pid(99)].map(|act| (act, 0)));
    // Then the file grows.
    acts.extend([Act::Intend, Act::Intend].map(|act| (act, 0)));
    let history = History::of(&acts);
    for (steps, step) in history.steps.iter().enumerate() {
        for bytes in 0..step.len() {
            history.judge(steps, bytes);
        }
    }
    history.judge(history.steps.len(), 0);
}
