//! Whether claims of dead dispatchers are adopted in time.

use std::collections::BTreeMap;

use sexton::machine::Mode;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{BoardId, RunId};

use super::{FINE, Seen, World};
use crate::board::{Holder, Status, Task};
use crate::ledger::News;

/// How many milliseconds, beside two ticks, a dispatcher that was already running may take to notice
/// that another died: it checks the workers of others every 30 s, and after a refusal waits as long.
const PATIENCE_MS: u64 = 70_000;
/// The same for a dispatcher that started later: it looks at everything first.
const PATIENCE_OF_THE_NEW_MS: u64 = 5_000;

/// A claim of a dead dispatcher.
struct Orphaned {
    board: BoardId,
    run: RunId,
    died: u64,
}

impl World {
    /// At a tick: this dispatcher must have adopted every claim of a dead dispatcher that it was able
    /// to adopt for long enough.
    pub(super) fn judge_the_orphaned(&mut self, seat: usize, interval_ms: u64) {
        let here = &self.seats[seat];
        let runs = here.machine.as_ref().is_some_and(|machine| machine.mode() == Mode::Running);
        // If ticks are rare, or the wall clock has gone back, looks are late.
        if self.rare_ticks || !runs || self.ahead < self.most_ahead {
            return self.seats[seat].chances.clear();
        }
        let now = self.moment / FINE;
        let (mut chances, mut news) = (BTreeMap::new(), Vec::new());
        for Orphaned { board, run, died } in self.orphaned(seat) {
            let since = here.chances.get(&(board, run)).copied().unwrap_or(now);
            let is_new = died < here.began;
            let patience_ms = if is_new { PATIENCE_OF_THE_NEW_MS } else { PATIENCE_MS };
            chances.insert((board, run), since);
            news.push(News::LeftAlone { ms: now - since, most_ms: 2 * interval_ms + patience_ms });
        }
        self.seats[seat].chances = chances;
        if !news.is_empty() {
            self.ledger.news = news;
            self.judge();
            self.ledger.news.clear();
        }
    }

    /// Returns the claims of dead dispatchers that this dispatcher could adopt now.
    fn orphaned(&self, seat: usize) -> impl Iterator<Item = Orphaned> + '_ {
        let here = &self.seats[seat];
        let is_at_hand = move |board: &&Seen| {
            here.well.contains(&board.id) && !here.under_way.contains(&board.id) && board.present
        };
        self.boards.iter().filter(is_at_hand).flat_map(move |board| {
            board.model.tasks().iter().filter_map(move |task| {
                let (run, died) = self.orphan(seat, task)?;
                Some(Orphaned { board: board.id, run, died })
            })
        })
    }

    /// Returns the run of this task, and when its dispatcher died, if the dispatcher in this seat may
    /// adopt it.
    fn orphan(&self, seat: usize, task: &Task) -> Option<(RunId, u64)> {
        let here = &self.seats[seat];
        let Some(Holder::Sexton(owner, _)) = task.claim.owner() else { return None };
        let died = self.dead_since(owner).filter(|_| task.status == Status::Running)?;
        let near = self.domain_of(owner) == here.domain;
        let shown = task.claim.pid.is_some() || self.estate.has_records_of(owner);
        let ours = match task.lane {
            Lane::Worker(_) => true,
            Lane::Unassigned => here.policy.default_worker.is_some(),
            Lane::Foreign => false,
        };
        task.claim.run.filter(|_| near && shown && ours).map(|run| (run, died))
    }
}
