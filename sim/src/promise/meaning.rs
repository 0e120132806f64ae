//! What each promise means and why it matters, in words for a first-time reader.

/// A promise in plain words.
pub fn of(promise: &str) -> &'static str {
    match promise {
        "no_zombie_outlives_a_tick" => {
            "Every child that had ended when a tick began must have been reaped when the reaping of \
             that tick is over, and reaping must be the first thing that a tick does. Otherwise one \
             board that hangs or fails keeps dead workers in the process table, and the host runs \
             out of pids."
        }
        "no_task_has_two_workers" => {
            "A task must not be started again while an earlier worker of the same dispatcher, or \
             anything in that worker's process group, may still be alive. Otherwise two workers do \
             the same work at the same time."
        }
        "a_worker_follows_a_claim" => {
            "A worker may be started only for a claim that is in the board. Otherwise another \
             dispatcher may be working on the same task."
        }
        "caps_hold" => {
            "Live workers must never be more than the configured limits, of the dispatcher and of \
             the board; nor must the running rows of a board at a claim, of all dispatchers."
        }
        "every_write_is_fenced" => {
            "A run may be written only by the dispatcher whose run it is at that moment. Otherwise a \
             late write destroys what another dispatcher has recorded."
        }
        "a_sick_board_is_untouched" => {
            "Nothing may be written to a board whose file has failed its checks. Otherwise a damaged \
             file is damaged further."
        }
        "a_sick_board_is_alone" => {
            "A board that is corrupt, busy, full or hung must delay no other: each tick looks at \
             every board that is well and has nothing under way."
        }
        "one_request_at_a_time" => {
            "A board is asked one thing at a time, and only while it is open. Otherwise answers \
             cannot be told apart."
        }
        "only_our_own_is_signalled" => {
            "A signal must reach only the group of the worker that it is meant for. Pids come back: \
             a signal by number alone hits a stranger."
        }
        "term_comes_before_kill" => {
            "A worker must be asked to end before it is killed, unless everything must end immediately. \
             Otherwise it loses work that it could have saved."
        }
        "nothing_outlives_a_shutdown" => {
            "A dispatcher that was asked to stop must end every worker of its own before it ends \
             itself. Otherwise they run on and nothing records what they did."
        }
        "an_exit_is_recorded_once" => {
            "The end of an attempt must be applied to its run once. Otherwise one failure is counted \
             twice, or a new run is ended by an old exit."
        }
        "a_verdict_is_what_happened" => {
            "What is recorded of a worker's end must be how it ended, or that its dispatcher ended it."
        }
        "every_failure_is_counted" => {
            "An attempt that failed by its own fault must spend the task's budget. Otherwise a broken \
             task is tried forever."
        }
        "no_budget_pays_for_the_host" => {
            "Neither a host that refuses a process nor a failing disk may spend a task's budget. \
             Otherwise sound tasks are given up."
        }
        "a_worker_is_configured" => {
            "Nothing may be started for a worker that its owner has taken out of the configuration, \
             not even for a claim that was on its way."
        }
        "a_claim_of_the_living_stands" => {
            "While the worker of a claim is alive, no other dispatcher may end that claim, and while \
             its dispatcher is alive, none may adopt it. Otherwise a second worker is started beside \
             it."
        }
        "holders_record_before_rivals_free" => {
            "After an outage, a claim whose dispatcher is alive must not be ended before that \
             dispatcher could record how its worker ended; nor one whose dispatcher died, while \
             there is evidence of how its worker ended. Otherwise work that was done is done again."
        }
        "claims_of_the_dead_are_adopted" => {
            "The claims of a dead dispatcher must be adopted as soon as another can see them. Otherwise \
             their tasks wait for no reason."
        }
        "a_limit_counts_from_the_start" => {
            "The time limit of a worker must count from the worker's start, even after it is adopted. \
             Otherwise each restart of a dispatcher gives it its full time again."
        }
        "unknown_ends_block_in_the_end" => {
            "Unknown ends count as no failure, but three in a row must block the task. Otherwise it \
             could be tried forever, and no operator would be told."
        }
        "wakes_lie_ahead" => {
            "No wake-up may be asked for at a moment that has passed. Otherwise the dispatcher spins."
        }
        "a_failed_reaping_is_tried_again" => {
            "Reaping failed, and for more than a second and a half nothing tried it again."
        }
        "a_failed_reaping_is_made_good" => {
            "A reaping step that failed must in the end be followed by one that succeeds."
        }
        "spawned_is_reaped_and_alive" => {
            "Every process that was started must have been reaped, or be alive; when all is over, none \
             may be left."
        }
        "kill_follows_term" => {
            "A worker that is asked to end and does not must be killed. Otherwise it holds its place \
             forever."
        }
        "no_exit_is_lost" => {
            "Every exit that was reaped must be applied to its run: when all is over, none may be \
             open in its board."
        }
        "every_hold_has_an_end" => {
            "A hold that keeps a ready task from running must have an end, or an owner who can end it. \
             Otherwise the task waits forever without a visible reason."
        }
        "calm_drains_the_board" => {
            "Once faults have stopped, every task that can run must end. Here one did not, although \
             nothing stood in its way any more."
        }
        "nothing_is_kept_for_ever" => {
            "Of a run that is over nothing may be kept. Otherwise the dispatcher grows until it dies."
        }
        "same_seed_same_run" => {
            "The same beginning must lead to the same run. It did not, so something in the machine \
             depends on chance, and no failure could be played again."
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use crate::promise::{ALWAYS, EVENTUALLY, SAME_SEED_SAME_RUN};

    #[test]
    fn every_promise_is_explained() {
        let names = ALWAYS.iter().chain(EVENTUALLY).map(|promise| promise.name);
        let silent: Vec<_> =
            names.chain([SAME_SEED_SAME_RUN]).filter(|name| super::of(name).is_empty()).collect();
        assert_eq!(silent, Vec::<&str>::new());
    }
}
