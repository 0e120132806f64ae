//! What happened, as numbers.

use std::collections::BTreeSet;

use crate::machine::effect::Report;
use crate::machine::ids::{BoardId, Pid, SpawnId, TaskId};
use crate::machine::verdict::Verdict;

/// What has happened since the daemon began, or since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Workers that were reaped.
    pub reaped: u64,
    /// Adopted processes that were reaped.
    pub orphans: u64,
    /// Reaping steps that failed first and then went well again.
    pub reap_failures: u64,
    /// Workers that were started.
    pub spawned: u64,
    /// Workers that could not be started.
    pub not_started: u64,
    /// Ends that were recorded.
    pub recorded: u64,
    /// Ends of runs that were no longer ours.
    pub not_ours: u64,
    /// Boards that fell sick, or did not answer.
    pub sick: BTreeSet<BoardId>,
    /// One by one, in order, unless it is [only counted](Tally::count_only).
    pub each: Each,
    only_counts: bool,
}

/// What happened, one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Each {
    /// The workers that were reaped.
    pub reaped: Vec<Pid>,
    /// Tasks that were claimed.
    pub claimed: Vec<(BoardId, TaskId)>,
    /// Tasks that were made ready.
    pub promoted: Vec<(BoardId, TaskId)>,
    /// Tasks that were reclaimed, because their claim had ended.
    pub freed: Vec<(BoardId, TaskId)>,
    /// Ends that were recorded.
    pub recorded: Vec<(SpawnId, Verdict)>,
}

impl Tally {
    /// What became of the workers, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let Tally { spawned, reaped, recorded, .. } = self;
        format!("{spawned} started, {reaped} reaped, {recorded} recorded")
    }

    /// From now on keeps no lists.
    pub fn count_only(&mut self) {
        self.only_counts = true;
    }

    /// An empty one of the same kind.
    #[must_use]
    pub fn emptied(&self) -> Tally {
        Tally { only_counts: self.only_counts, ..Tally::default() }
    }

    /// Adds a report to the counters.
    pub fn count(&mut self, report: &Report) {
        match report {
            Report::Reaped { pids, orphans } => {
                self.reaped += pids.len() as u64;
                self.orphans += u64::from(*orphans);
            }
            Report::ReapFailing(_) => self.reap_failures += 1,
            Report::Started(..) => self.spawned += 1,
            Report::NotStarted(..) => self.not_started += 1,
            Report::Recorded(..) => self.recorded += 1,
            Report::NotOurs(_) => self.not_ours += 1,
            Report::BoardSick(board, ..) | Report::BoardHung(board) => {
                self.sick.insert(*board);
            }
            Report::ReapRecovered
            | Report::BoardOpened(_)
            | Report::BoardWell(_)
            | Report::Claimed(..)
            | Report::Adopted(..)
            | Report::CannotTell(_)
            | Report::Found(..)
            | Report::ClaimRefused(..)
            | Report::Promoted(..)
            | Report::Reclaimed(..)
            | Report::Ending(..)
            | Report::Exited(..)
            | Report::HostRefuses(..)
            | Report::ClockWentBack(_)
            | Report::Unexpected(_) => {}
        }
        if !self.only_counts {
            self.each.note(report);
        }
    }
}

impl Each {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest is counted at most")]
    fn note(&mut self, report: &Report) {
        match report {
            Report::Reaped { pids, .. } => self.reaped.extend(pids),
            Report::Claimed(fence, board) => self.claimed.push((*board, fence.task)),
            Report::Promoted(task, board) => self.promoted.push((*board, *task)),
            Report::Reclaimed(task, board) => self.freed.push((*board, *task)),
            Report::Recorded(spawn, verdict) => self.recorded.push((*spawn, *verdict)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_that_hangs_is_among_the_sick_and_only_counting_keeps_no_list() {
        let mut tally = Tally::default();
        let reaped = Report::Reaped { pids: vec![Pid(7), Pid(8)], orphans: 1 };
        tally.count(&Report::BoardHung(BoardId(3)));
        tally.count(&reaped);
        assert_eq!(tally.sick, [BoardId(3)].into());
        assert_eq!((tally.reaped, tally.each.reaped.as_slice()), (2, &[Pid(7), Pid(8)][..]));
        tally.count_only();
        let mut tally = tally.emptied();
        tally.count(&reaped);
        assert_eq!((tally.reaped, tally.each), (2, Each::default()));
    }
}
