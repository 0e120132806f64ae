//! The promises, each one function over the ledger. `ALWAYS` is judged after every event,
//! `EVENTUALLY` when the faults have stopped and everything has had its time; `SOMETIMES` are states
//! that a sweep must have reached, or it has shown little.

pub mod meaning;

use sexton::machine::event::Signal;
use sexton::machine::fault::Blame;
use sexton::machine::verdict::{ExitStatus, Release, Verdict};

use crate::ledger::{Attempt, Ledger, News};

/// Something that must hold.
#[derive(Clone, Copy)]
pub struct Promise {
    /// By which it is known.
    pub name: &'static str,
    /// How it is broken, if it is.
    pub check: fn(&Ledger) -> Option<String>,
}

/// Judged after every event.
pub const ALWAYS: &[Promise] = &[
    Promise { name: "no_zombie_outlives_a_tick", check: no_zombie_outlives_a_tick },
    Promise { name: "a_failed_reaping_is_tried_again", check: a_failed_reaping_is_tried_again },
    Promise { name: "no_task_has_two_workers", check: no_task_has_two_workers },
    Promise { name: "a_worker_follows_a_claim", check: a_worker_follows_a_claim },
    Promise { name: "a_claim_of_the_living_stands", check: a_claim_of_the_living_stands },
    Promise { name: "holders_record_before_rivals_free", check: holders_record_before_rivals_free },
    Promise { name: "claims_of_the_dead_are_adopted", check: claims_of_the_dead_are_adopted },
    Promise { name: "a_worker_is_configured", check: a_worker_is_configured },
    Promise { name: "caps_hold", check: caps_hold },
    Promise { name: "an_exit_is_recorded_once", check: an_exit_is_recorded_once },
    Promise { name: "every_write_is_fenced", check: every_write_is_fenced },
    Promise { name: "a_sick_board_is_untouched", check: a_sick_board_is_untouched },
    Promise { name: "a_sick_board_is_alone", check: a_sick_board_is_alone },
    Promise { name: "one_request_at_a_time", check: one_request_at_a_time },
    Promise { name: "only_our_own_is_signalled", check: only_our_own_is_signalled },
    Promise { name: "term_comes_before_kill", check: term_comes_before_kill },
    Promise { name: "a_limit_counts_from_the_start", check: a_limit_counts_from_the_start },
    Promise { name: "every_failure_is_counted", check: every_failure_is_counted },
    Promise { name: "no_budget_pays_for_the_host", check: no_budget_pays_for_the_host },
    Promise { name: "unknown_ends_block_in_the_end", check: unknown_ends_block_in_the_end },
    Promise { name: "a_verdict_is_what_happened", check: a_verdict_is_what_happened },
    Promise { name: "nothing_outlives_a_shutdown", check: nothing_outlives_a_shutdown },
    Promise { name: "wakes_lie_ahead", check: wakes_lie_ahead },
];

/// Judged at the end.
pub const EVENTUALLY: &[Promise] = &[
    Promise { name: "kill_follows_term", check: kill_follows_term },
    Promise { name: "a_failed_reaping_is_made_good", check: a_failed_reaping_is_made_good },
    Promise { name: "spawned_is_reaped_and_alive", check: spawned_is_reaped_and_alive },
    Promise { name: "no_exit_is_lost", check: no_exit_is_lost },
    Promise { name: "every_hold_has_an_end", check: every_hold_has_an_end },
    Promise { name: "calm_drains_the_board", check: calm_drains_the_board },
    Promise { name: "nothing_is_kept_for_ever", check: nothing_is_kept_for_ever },
];

/// Milliseconds within which a failed reaping step is followed by another: the longest wait is 1 s.
const RETRY_MS: u64 = 1_500;

/// The name under which a run that differs from its twin is reported.
pub const SAME_SEED_SAME_RUN: &str = "same_seed_same_run";

/// The first of `news` for which `judge` has something to say.
fn first(ledger: &Ledger, judge: impl Fn(&News) -> Option<String>) -> Option<String> {
    ledger.news.iter().find_map(judge)
}

fn when(broken: bool, how: impl FnOnce() -> String) -> Option<String> {
    broken.then(how)
}

/// Every child that had exited when a tick began has been reaped when that tick's reaping step ends,
/// and that step comes before anything of the tick that can fail or block.
fn no_zombie_outlives_a_tick(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Tick { zombies, reaps_first } => when(*zombies > 0 && !reaps_first, || {
            format!("{zombies} zombie(s) when a tick began, and it did not begin with reaping")
        }),
        News::Reaped { left } => {
            when(*left > 0, || format!("{left} zombie(s) of before the tick left at its Reaped"))
        }
        _ => None,
    })
}

/// A task is never spawned again while an earlier worker of it, or any process of that worker's group,
/// may be alive. This includes workers of any other dispatcher of the same pid namespace, running or
/// dead, whose claim a dispatcher has ended.
fn no_task_has_two_workers(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Spawned { twin: true, .. } => {
            Some("a worker was started while something of the last one lives".to_owned())
        }
        _ => None,
    })
}

/// A worker is started only for a claim that is in its board.
fn a_worker_follows_a_claim(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Spawned { claimed: false, .. } => {
            Some("a worker was started for a claim that never took".to_owned())
        }
        _ => None,
    })
}

/// No dispatcher ends another's claim while its worker is alive, or adopts it while its dispatcher is
/// alive. So no second worker is started beside it.
fn a_claim_of_the_living_stands(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Reclaimed { living: true, .. } | News::Recorded { adopted_living: true, .. } => {
            Some("a claim was ended although its worker is alive".to_owned())
        }
        News::Adopted { living: true } => {
            Some("a claim was adopted although its dispatcher is alive".to_owned())
        }
        _ => None,
    })
}

/// After an outage, a claim whose dispatcher is alive is not ended before that dispatcher could renew
/// it. One whose dispatcher died is adopted, not ended, while there is evidence of how its worker
/// ended.
fn holders_record_before_rivals_free(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Reclaimed { hasty: true, .. } => Some(
            "a claim was ended before its dispatcher could renew it or record an end".to_owned(),
        ),
        News::Reclaimed { told: true, .. } => {
            Some("a claim was ended although it is known how its worker ended".to_owned())
        }
        _ => None,
    })
}

/// The claim of a dead dispatcher is adopted within a few ticks by a running dispatcher that can see
/// it.
fn claims_of_the_dead_are_adopted(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::LeftAlone { ms, most_ms } => when(ms > most_ms, || {
            format!("the claim of a dead dispatcher was left alone for {ms} ms")
        }),
        _ => None,
    })
}

/// The time limit of a worker counts from the worker's start, even after it is adopted.
fn a_limit_counts_from_the_start(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::RanOut { said_s, true_s } => when(said_s + 2 < *true_s, || {
            format!("a worker that had run for {true_s} s is said to have run for {said_s} s")
        }),
        _ => None,
    })
}

/// Nothing is started for a worker that the configuration no longer names.
fn a_worker_is_configured(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Spawned { configured: false, .. } => {
            Some("a worker was started that is no longer in the configuration".to_owned())
        }
        _ => None,
    })
}

/// Live workers of one dispatcher never exceed `max_workers` nor, of one board, `max_in_progress`;
/// running rows of all dispatchers never exceed `max_in_progress` at a claim.
fn caps_hold(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Spawned { live, max_workers, live_there, max_in_progress, .. } => {
            when(live > max_workers || live_there > max_in_progress, || {
                format!(
                    "{live} live workers of {max_workers}, {live_there} of {max_in_progress} on \
                     the board"
                )
            })
        }
        News::Claimed { running, cap } => {
            when(running > cap, || format!("{running} rows run after a claim, {cap} may"))
        }
        _ => None,
    })
}

/// A write to a run that has another owner now is refused.
fn every_write_is_fenced(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Wrote { ours: false } => Some("a run was written that is not ours".to_owned()),
        _ => None,
    })
}

/// Nothing is ever written to a file that failed its checks.
fn a_sick_board_is_untouched(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::WroteSick(board) => Some(format!("board {} was written while corrupt", board.0)),
        _ => None,
    })
}

/// A board that is corrupt, busy, read-only, full or hung delays no other board: each tick looks at
/// every board that is well and has nothing under way.
fn a_sick_board_is_alone(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::PassedOver(board) => {
            Some(format!("board {} is well and idle, and a tick passed it over", board.0))
        }
        _ => None,
    })
}

/// A board is asked one thing at a time, and only while its connection is open.
fn one_request_at_a_time(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Asked { board, busy, open } => when(*busy || !open, || {
            let why = if *busy { "something was under way there" } else { "it is not open" };
            format!("board {} was asked although {why}", board.0)
        }),
        _ => None,
    })
}

/// A signal reaches only the group of the worker that it is meant for.
fn only_our_own_is_signalled(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Signalled { own: false, signal, .. } => {
            Some(format!("{signal:?} went to a foreign process"))
        }
        _ => None,
    })
}

/// A worker is asked to end before it is killed, unless everything must end immediately.
fn term_comes_before_kill(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Signalled { signal: Signal::Kill, asked: false, .. } => {
            Some("a worker was killed that had not been asked to end".to_owned())
        }
        _ => None,
    })
}

/// The end of a run is applied to it once.
fn an_exit_is_recorded_once(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Recorded { attempt: Some(Attempt { recorded: 1.., .. }), .. } => {
            Some("the end of one attempt was recorded twice".to_owned())
        }
        _ => None,
    })
}

/// What is recorded of a worker's end is how it ended, or that we ended it.
fn a_verdict_is_what_happened(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Recorded { verdict, completion, attempt: Some(attempt), unrecorded, .. } => {
            let told = attempt.status.map(|status| Verdict::of(status, *completion));
            let fits = match verdict {
                Verdict::TimedOut { .. } => attempt.signalled.is_some(),
                Verdict::SpawnFailed => attempt.failed == Some(Blame::Task),
                Verdict::Released(Release::HostRefused) => {
                    matches!(attempt.failed, Some(Blame::Host | Blame::Board))
                }
                Verdict::Unknown => attempt.lost || attempt.status == Some(ExitStatus::Unknown),
                Verdict::Released(Release::NotStarted) => {
                    attempt.process.is_none() || (attempt.lost && *unrecorded)
                }
                Verdict::Released(Release::Shutdown | Release::Superseded) => {
                    attempt.process.is_none() || attempt.signalled.is_some()
                }
                Verdict::Completed
                | Verdict::Crashed(_)
                | Verdict::ProtocolViolation
                | Verdict::RateLimited
                | Verdict::CredentialsRefused => told == Some(*verdict),
            };
            when(!fits, || format!("{verdict:?} was recorded for {attempt:?}"))
        }
        _ => None,
    })
}

/// An attempt that failed by its own fault spends the task's budget.
fn every_failure_is_counted(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Recorded { verdict, attempt: Some(attempt), failures: (before, after), .. } => {
            let failed = matches!(
                attempt.status,
                Some(ExitStatus::Code(1..=74 | 76..=77 | 79..) | ExitStatus::Signal(_))
            );
            let spared =
                attempt.signalled.is_some() || attempt.lost || *verdict == Verdict::Completed;
            // Whatever we sent it, running out of time is its own fault; so is what cannot be run.
            let charged = matches!(verdict, Verdict::TimedOut { .. } | Verdict::SpawnFailed);
            when((charged || failed && !spared) && after <= before, || {
                format!("{verdict:?} of {attempt:?} left the failures at {after}")
            })
        }
        _ => None,
    })
}

/// A host, or a board's directory, that refuses a process spends no task's budget.
fn no_budget_pays_for_the_host(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Recorded {
            verdict,
            attempt: Some(attempt),
            failures: (before, after),
            blocked,
            ..
        } => {
            let host = matches!(attempt.failed, Some(Blame::Host | Blame::Board));
            let ours = matches!(verdict, Verdict::Released(_) | Verdict::RateLimited)
                || (*verdict == Verdict::Unknown && !blocked);
            when((host || ours) && after > before, || {
                format!("{verdict:?} of {attempt:?} was charged to the task: {before} -> {after}")
            })
        }
        _ => None,
    })
}

/// Unknown ends block a task at the third in a row, or at the task's own limit, and not before.
fn unknown_ends_block_in_the_end(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Recorded { verdict: Verdict::Unknown, blocked, unknown: (streak, limit), .. } => {
            when(*blocked != (streak >= limit), || {
                format!("{streak} unknown ends in a row of {limit}: blocked is {blocked}")
            })
        }
        _ => None,
    })
}

/// A dispatcher that was asked to stop leaves no worker of its own alive.
fn nothing_outlives_a_shutdown(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::Retired { left } => {
            when(*left > 0, || format!("a dispatcher ended and left {left} worker(s) alive"))
        }
        _ => None,
    })
}

/// Nobody asks to be woken at a moment that has passed.
fn wakes_lie_ahead(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::WakeAt(ms @ ..=0) => Some(format!("a wake-up was asked for {ms} ms from now")),
        _ => None,
    })
}

/// A reaping step that failed is followed by another within a second and a half.
fn a_failed_reaping_is_tried_again(ledger: &Ledger) -> Option<String> {
    first(ledger, |news| match news {
        News::ReapWaits { ms } => when(*ms > RETRY_MS, || {
            format!("a reaping step failed, and none was begun for {ms} ms")
        }),
        _ => None,
    })
}

/// A reaping step that failed is in the end followed by one that succeeds.
fn a_failed_reaping_is_made_good(ledger: &Ledger) -> Option<String> {
    when(!ledger.reap_failing.is_empty(), || {
        format!("the last reaping step of {:?} failed", ledger.reap_failing)
    })
}

/// What was spawned was reaped or is alive, and no zombie is left.
fn spawned_is_reaped_and_alive(ledger: &Ledger) -> Option<String> {
    let (spawned, reaped) = (ledger.spawned, ledger.reaped);
    let (alive, zombies) = (ledger.remains.alive.len(), ledger.remains.zombies.len());
    when(spawned != reaped + alive as u64 || zombies > 0, || {
        format!("{spawned} spawned, {reaped} reaped, {alive} alive, {zombies} zombie(s) left")
    })
}

/// A worker that is asked to end and does not is killed.
fn kill_follows_term(ledger: &Ledger) -> Option<String> {
    when(!ledger.deaf_left.is_empty(), || {
        format!("{:?} ignored TERM and lived on", ledger.deaf_left)
    })
}

/// Every reaped exit is applied to its run: none is open in its board.
fn no_exit_is_lost(ledger: &Ledger) -> Option<String> {
    ledger.remains.open.first().map(|(board, task)| {
        format!("the run of {task} on board {} is open although its worker was reaped", board.0)
    })
}

/// Every reason that keeps a ready task from running has an end, or a person who can end it.
fn every_hold_has_an_end(ledger: &Ledger) -> Option<String> {
    let (board, task) = ledger.remains.held.first()?;
    Some(format!(
        "{task} on board {} is ready, and no reason is known why it does not run",
        board.0
    ))
}

/// Once faults stop, every task that can run ends.
fn calm_drains_the_board(ledger: &Ledger) -> Option<String> {
    let (board, task, why) = ledger.remains.tasks.first()?;
    Some(format!("{task} on board {} {why}", board.0))
}

/// Of a run that is over, nothing is kept.
fn nothing_is_kept_for_ever(ledger: &Ledger) -> Option<String> {
    let (of, spawn) = ledger.remains.kept.first()?;
    Some(format!("dispatcher {} still keeps run {}", of.0, spawn.0))
}
