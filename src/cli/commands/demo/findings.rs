//! What came of it, and whether that is what was promised.

use super::live::Attempts;
use super::playbill::{Act, End, FALLING, HEALTHY};
use super::stage::{Made, Stage};
use super::zombies::Seen;
use crate::board::card::{self, Opened, Wait};
use crate::cli::failure::Failure;
use crate::machine::hold::Hold;
use crate::runtime::clock;
use crate::runtime::daemon::Outcome;
use crate::runtime::report::{Tally, meaning};

/// Digests of the damaged files.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The one that was damaged first: before anything began.
    pub torn_before: String,
    /// And when all was over.
    pub torn_after: String,
    /// The other: right after the damage; `None` if none was done.
    pub falling_damaged: Option<String>,
    /// And when all was over.
    pub falling_after: String,
}

/// What became of one task.
#[derive(Clone, Debug)]
pub struct Fate {
    /// What it was to do.
    pub act: Act,
    /// Its id.
    pub id: String,
    /// How it ended; `None` if it has not.
    pub end: Option<End>,
    /// The same in words.
    pub outcome: String,
    /// How many workers were started for it.
    pub attempts: usize,
}

impl Fate {
    /// Whether it ended as it had to.
    #[must_use]
    pub fn is_right(&self) -> bool {
        (self.end, self.attempts) == (Some(self.act.end.0), self.act.end.1)
    }
}

/// An exit that the fallen board did not take.
#[derive(Clone, Debug)]
pub struct Untaken {
    /// The task.
    pub title: &'static str,
    /// Its id.
    pub id: String,
    /// What the exit means.
    pub verdict: String,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Workers that were started.
    pub spawned: u64,
    /// Workers that were reaped.
    pub reaped: u64,
    /// Processes that workers left behind, and that were reaped too.
    pub orphans: u64,
    /// What the observer saw.
    pub zombies: Seen,
    /// What became of each task.
    pub tasks: Vec<Fate>,
    /// Exits that the fallen board did not take.
    pub untaken: Vec<Untaken>,
    /// The damaged files.
    pub files: Files,
}

impl Findings {
    /// Puts it together. Reads the healthy boards, so nobody here may have them open.
    pub fn gather(
        stage: &Stage,
        tally: &Tally,
        outcome: &Outcome,
        attempts: &Attempts,
        zombies: Seen,
        files: Files,
    ) -> Result<Findings, Failure> {
        let mut tasks = Vec::new();
        for name in HEALTHY {
            let opened = card::open_for_reading(&stage.board(name)?.db)?;
            for made in stage.tasks.iter().filter(|made| made.act.board == name) {
                tasks.push(on_healthy(stage, &opened, made, attempts)?);
            }
        }
        let untaken = untaken(stage, outcome);
        let sick = stage.tasks.iter().filter(|made| !HEALTHY.contains(&made.act.board));
        tasks.extend(sick.map(|made| on_sick(made, attempts, &untaken)));
        Ok(Findings {
            spawned: tally.spawned,
            reaped: tally.reaped,
            orphans: tally.orphans,
            zombies,
            tasks,
            untaken,
            files,
        })
    }

    /// Whether every task of the healthy boards ended as it had to.
    #[must_use]
    pub fn healthy_are_settled(&self) -> bool {
        self.tasks.iter().filter(|t| HEALTHY.contains(&t.act.board)).all(Fate::is_right)
    }

    /// Whether the file that was damaged first is as it was.
    #[must_use]
    pub fn torn_is_unchanged(&self) -> bool {
        self.files.torn_before == self.files.torn_after
    }

    /// Whether the other is as it was right after the damage.
    #[must_use]
    pub fn falling_is_unchanged(&self) -> bool {
        self.files.falling_damaged.as_ref() == Some(&self.files.falling_after)
    }

    /// What was promised and is not so.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        let mut failed: Vec<String> = Vec::new();
        let mut claim = |holds: bool, words: &str| {
            if !holds {
                failed.push(words.to_owned());
            }
        };
        let all_reaped = self.spawned == self.reaped && self.spawned > 0;
        claim(all_reaped, "not every worker that was started was reaped");
        claim(self.zombies.left == 0, "zombies are left");
        claim(self.files.falling_damaged.is_some(), "the second board was never damaged");
        claim(self.torn_is_unchanged(), "the file of `torn` was changed");
        claim(self.falling_is_unchanged(), "the file of `falling` was changed after the damage");
        for task in self.tasks.iter().filter(|task| !task.is_right()) {
            let (board, title) = (task.act.board, task.act.title);
            let (outcome, attempts) = (&task.outcome, task.attempts);
            claim(false, &format!("{board}: `{title}` ended otherwise: {outcome} ({attempts}×)"));
        }
        failed
    }
}

fn on_healthy(
    stage: &Stage,
    opened: &Opened,
    made: &Made,
    attempts: &Attempts,
) -> Result<Fate, Failure> {
    let task = card::find(&opened.conn, &opened.columns, &made.id)?;
    let config = &stage.config;
    let judge = config.judge(clock::unix());
    let (end, outcome) = match (task.status.as_str(), card::wait(&opened.conn, judge, &task)?) {
        ("done", _) => (Some(End::Done), "done".to_owned()),
        (_, Some(Wait::GaveUp { error })) => (Some(End::GaveUp), gave_up(error)),
        (_, Some(Wait::Hold(Hold::Cooldown { .. }))) => {
            (Some(End::Resting), "rests for 5 minutes, then tried again".to_owned())
        }
        (status, _) => (None, format!("still {status}")),
    };
    Ok(Fate { act: made.act, id: made.id.clone(), end, outcome, attempts: count(made, attempts) })
}

fn gave_up(error: Option<String>) -> String {
    error.map_or_else(|| "given up".to_owned(), |error| format!("given up: {}", error.trim()))
}

fn on_sick(made: &Made, attempts: &Attempts, untaken: &[Untaken]) -> Fate {
    let attempts = count(made, attempts);
    let kept = untaken.iter().find(|exit| exit.id == made.id);
    let (end, outcome) = match (kept, attempts) {
        (Some(exit), _) => (Some(End::OutOfUse), format!("{}; reaped", exit.verdict)),
        (None, 0) => (Some(End::OutOfUse), "not started".to_owned()),
        (None, _) => (None, "recorded before the damage".to_owned()),
    };
    Fate { act: made.act, id: made.id.clone(), end, outcome, attempts }
}

fn count(made: &Made, attempts: &Attempts) -> usize {
    attempts.values().filter(|(board, id)| board == made.act.board && *id == made.id).count()
}

fn untaken(stage: &Stage, outcome: &Outcome) -> Vec<Untaken> {
    let exits = outcome.unrecorded.iter().filter(|(board, ..)| board == FALLING);
    let named = exits.filter_map(|(_, id, verdict)| {
        let made = stage.tasks.iter().find(|made| made.id == *id)?;
        let verdict = meaning(*verdict);
        Some(Untaken { title: made.act.title, id: id.clone(), verdict })
    });
    named.collect()
}
