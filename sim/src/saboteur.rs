//! Planted bugs: each breaks one promise, from between the machine and its world, and the sweep has
//! to find it by that promise's name. A check that cannot find its bug is worth nothing.

/// Defines the saboteurs once.
macro_rules! saboteurs {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal breaks [$($promise:literal),+],)+) => {
        /// A bug that can be planted, in the machine or around it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Saboteur {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Saboteur {
            /// All planted bugs.
            pub const ALL: &[Saboteur] = &[$(Saboteur::$name),+];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Saboteur::$name => $text),+ }
            }

            /// The promises by which it may be found; the first is the one that it is meant to break.
            #[must_use]
            pub fn breaks(self) -> &'static [&'static str] {
                match self { $(Saboteur::$name => &[$($promise),+]),+ }
            }
        }
    };
}

saboteurs! {
    /// The historical bug: reaping is a part of the pass, after steps that may fail.
    ReapInsideThePass "reap inside the pass" breaks ["no_zombie_outlives_a_tick"],
    /// Reaping waits until no board is out of use.
    ReapWhenBoardsAreWell "reap only when all boards are well" breaks ["no_zombie_outlives_a_tick"],
    /// Each reaping step stops after the first zombie.
    ReapOne "reap one zombie a tick" breaks ["no_zombie_outlives_a_tick"],
    /// A verdict whose commit failed is dropped.
    DropVerdictOnFailure "drop a verdict whose commit failed" breaks ["no_exit_is_lost"],
    /// A failed commit is taken for "nothing was written", and what is seen later is not believed.
    FailureIsNotCommitted "a failed commit was no commit" breaks ["calm_drains_the_board"],
    /// A failed commit is taken for "everything was written".
    FailureIsCommitted "a failed commit was a commit"
        breaks ["a_worker_follows_a_claim", "no_exit_is_lost"],
    /// A worker is started although its claim was lost.
    SpawnAfterLostClaim "spawn after a lost claim" breaks ["a_worker_follows_a_claim"],
    /// A task is run again while processes of its last worker live.
    RespawnWhileGroupLives "respawn while the group lives" breaks ["no_task_has_two_workers"],
    /// Signals go to the process that has the pid now.
    SignalByPid "signal by pid" breaks ["only_our_own_is_signalled"],
    /// TERM is never followed by KILL.
    NeverKill "TERM is never escalated" breaks ["kill_follows_term"],
    /// Workers are killed without being asked to end.
    KillAtOnce "KILL without TERM" breaks ["term_comes_before_kill"],
    /// A worker that was removed from the configuration is started for what it was claimed for.
    StartRemoved "removed worker started" breaks ["a_worker_is_configured"],
    /// Workers of other dispatchers are taken for dead.
    FreeTheLiving "claims of the living ended" breaks ["a_claim_of_the_living_stands"],
    /// Other dispatchers are taken for dead.
    AdoptTheLiving "claims of the living adopted" breaks ["a_claim_of_the_living_stands"],
    /// A claim is adopted without a check of its present owner.
    AdoptTwice "a claim adopted by two" breaks ["a_claim_of_the_living_stands"],
    /// A worker that the host does not show is taken for gone.
    HiddenIsGone "hidden taken for gone" breaks ["a_claim_of_the_living_stands"],
    /// A child that has not executed its program is taken for gone.
    ExecutingIsGone "executing taken for gone"
        breaks ["a_claim_of_the_living_stands", "no_task_has_two_workers"],
    /// A claim whose row has no pid is freed without a look at its record.
    NoPidIsNoProcess "no pid taken for no process"
        breaks ["a_verdict_is_what_happened", "a_claim_of_the_living_stands"],
    /// A worker whose end is unknown is recorded as crashed.
    UnknownIsCrash "unknown recorded as a crash" breaks ["a_verdict_is_what_happened"],
    /// A worker whose end is unknown is recorded as having completed its task.
    UnknownIsSuccess "unknown recorded as a success" breaks ["a_verdict_is_what_happened"],
    /// A noted end is applied again although the board already has it.
    ApplyNotedTwice "a noted end applied twice" breaks ["an_exit_is_recorded_once"],
    /// The time limit of an adopted worker counts from the adoption.
    AgeIsForgotten "a limit counted from the adoption" breaks ["a_limit_counts_from_the_start"],
    /// Claims of dead dispatchers are not listed.
    LeaveOrphans "claims of the dead left alone" breaks ["claims_of_the_dead_are_adopted"],
    /// Writes do not ask whose run it is.
    IgnoreFence "fence ignored" breaks ["every_write_is_fenced"],
    /// A rest after a failure never ends.
    HoldWithoutEnd "hold without end" breaks ["every_hold_has_an_end"],
    /// The limit of running rows is not checked by the claim.
    IgnoreCap "cap not checked by the claim" breaks ["caps_hold"],
    /// A slot is free as soon as a worker was signalled.
    SlotFreeTooSoon "slot free before the exit" breaks ["caps_hold", "no_task_has_two_workers"],
    /// A board that was out of use once is never tried again.
    NeverLift "quarantine never lifted" breaks ["every_hold_has_an_end", "no_exit_is_lost"],
    /// A file that failed its checks is used nevertheless.
    WriteSickBoard "quarantined board written" breaks ["a_sick_board_is_untouched"],
    /// While one board's answer is outstanding for long, the others wait.
    AwaitHungBoard "hung board awaited" breaks ["a_sick_board_is_alone"],
    /// The order of what is claimed comes from a hash with a random key.
    HashOrder "order from a hash" breaks ["same_seed_same_run"],
    /// A host that refuses a process is charged to the task.
    ChargeHostToTask "host's refusal charged to the task" breaks ["no_budget_pays_for_the_host"],
    /// A failed attempt is not counted.
    ForgetFailure "failure not counted" breaks ["every_failure_is_counted"],
    /// What was kept for a run is never let go.
    NeverForget "finished runs never forgotten" breaks ["nothing_is_kept_for_ever"],
    /// A dispatcher that is asked to stop exits immediately.
    AbandonWorkers "workers abandoned at shutdown" breaks ["nothing_outlives_a_shutdown"],
    /// A failed reaping step is never tried again, and ticks no longer reap either.
    ReapNeverAgain "no reaping after a failed one"
        breaks [
            "a_failed_reaping_is_tried_again",
            "no_zombie_outlives_a_tick",
            "a_failed_reaping_is_made_good"
        ],
}
