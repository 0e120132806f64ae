//! What a dead dispatcher left: its record of an attempt, the process, and how that ended, taken
//! together. Absence of evidence is no evidence of absence: only what proves that no process is left
//! ends an attempt.

use super::event::Group;
use super::ids::Pid;
use super::verdict::Verdict;

/// What was found of an attempt whose claim was adopted. Stored by the runtime, judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    /// What the dead dispatcher had written down.
    pub record: Record,
    /// What is seen of the process.
    pub process: Process,
    /// The end that a dispatcher had noted before it died.
    pub noted: Option<Verdict>,
}

/// What a dispatcher had written down about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// There is no record, or it is damaged, and its row has no pid: nothing follows from that.
    Lost,
    /// The record is sound, and has no intent to start a process.
    NoIntent,
    /// It was about to start a process. A process writes its pid there before it executes anything.
    Intent,
    /// There was a process.
    Started,
}

/// What is seen of the process of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// It is held by a pidfd, so its exit will be, or was, found by the reaper.
    Held {
        /// Pid of the leader.
        pid: Pid,
        /// Milliseconds since it started.
        age_ms: u64,
    },
    /// A child of the dead dispatcher has not executed its program yet, and may be it.
    Executing,
    /// The host does not show enough.
    Hidden,
    /// There is none. What is left of its group is held.
    None(Group),
}

/// What is to become of an adopted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// Its worker runs, or its exit is about to be found: it is as our own from here on.
    Runs {
        /// Pid of the leader.
        pid: Pid,
        /// Milliseconds since it started.
        age_ms: u64,
    },
    /// Its worker has ended: this is the verdict.
    Ended(Verdict),
    /// Its leader has ended, with this verdict; others of its group live.
    LeftOver(Verdict),
    /// No process was ever started.
    NeverStarted,
    /// It cannot be told yet: look again.
    Wait,
}

/// The table.
#[must_use]
pub fn judge(evidence: Evidence) -> Finding {
    use {Process as P, Record as R};
    match (evidence.record, evidence.process, evidence.noted) {
        (_, P::Executing | P::Hidden, _) => Finding::Wait,
        (_, P::None(Group::Gone), Some(verdict)) => Finding::Ended(verdict),
        (_, P::None(Group::Alive), Some(verdict)) => Finding::LeftOver(verdict),
        // Its leader is not reaped, so what was noted cannot be its end.
        (_, P::Held { pid, age_ms }, _) => Finding::Runs { pid, age_ms },
        (R::Started, P::None(Group::Gone), None) => Finding::Ended(Verdict::Unknown),
        (R::Started, P::None(Group::Alive), None) => Finding::LeftOver(Verdict::Unknown),
        // Looked at only when its lease is over, and no process bears its token.
        (R::Lost, P::None(Group::Gone), None) => Finding::NeverStarted,
        (R::NoIntent | R::Intent, P::None(Group::Gone), None) => Finding::NeverStarted,
        // A group without a process that led it: what is seen does not fit together.
        (R::Lost | R::NoIntent | R::Intent, P::None(Group::Alive), None) => Finding::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const HELD: Process = Process::Held { pid: Pid(7), age_ms: 5 };
    const RECORDS: [Record; 4] = [Record::Lost, Record::NoIntent, Record::Intent, Record::Started];

    fn all(process: Process, noted: Option<Verdict>) -> Vec<Finding> {
        RECORDS.map(|record| judge(Evidence { record, process, noted })).to_vec()
    }

    #[test]
    fn nothing_is_concluded_while_a_process_may_be_there() {
        for process in [Process::Executing, Process::Hidden] {
            for noted in [None, Some(Verdict::Completed)] {
                assert_eq!(all(process, noted), [Finding::Wait; 4], "{process:?}");
            }
        }
    }

    #[test]
    fn a_process_that_is_held_runs_or_is_about_to_be_reaped() {
        let runs = Finding::Runs { pid: Pid(7), age_ms: 5 };
        assert_eq!(all(HELD, None), [runs; 4]);
        assert_eq!(all(HELD, Some(Verdict::Completed)), [runs; 4]);
    }

    #[test]
    fn an_end_that_was_noted_stands() {
        let noted = Some(Verdict::RateLimited);
        let ended = Finding::Ended(Verdict::RateLimited);
        assert_eq!(all(Process::None(Group::Gone), noted), [ended; 4]);
        let left_over = Finding::LeftOver(Verdict::RateLimited);
        assert_eq!(all(Process::None(Group::Alive), noted), [left_over; 4]);
    }

    #[test]
    fn a_worker_that_is_gone_without_a_trace_is_no_crash_and_no_success() {
        let found = all(Process::None(Group::Gone), None);
        let (never, unknown) = (Finding::NeverStarted, Finding::Ended(Verdict::Unknown));
        assert_eq!(found, [never, never, never, unknown]);
        let found = all(Process::None(Group::Alive), None);
        let left_over = Finding::LeftOver(Verdict::Unknown);
        assert_eq!(found, [Finding::Wait, Finding::Wait, Finding::Wait, left_over]);
    }
}
