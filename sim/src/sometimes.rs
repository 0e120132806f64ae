//! States that a sweep must have reached: one that never saw them has shown little.

use crate::ledger::{Ledger, News};

macro_rules! states {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal,)+) => {
        /// A state that a sweep should reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Sometimes {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Sometimes {
            /// All such states.
            pub const ALL: [Sometimes; Sometimes::COUNT] = [$(Sometimes::$name),+];
            /// How many there are.
            pub const COUNT: usize = [$($text),+].len();

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Sometimes::$name => $text),+ }
            }
        }
    };
}

states! {
    /// A tick began with something to reap.
    ATickFoundZombies "a tick found zombies",
    /// A child was reaped before its spawn's answer was read.
    AnExitCameBeforeItsSpawnsAnswer "an exit came before its spawn's answer",
    /// A reaping step failed with zombies left.
    AReapingWasCutShort "a reaping step was cut short",
    /// An adopted process was reaped.
    AnOrphanWasReaped "an orphan was reaped",
    /// All slots of the host were in use.
    TheHostWasFull "all slots of the host were in use",
    /// All slots of a board were in use.
    ABoardWasFull "all slots of a board were in use",
    /// A worker that did not end by TERM was killed.
    AWorkerWasKilledAfterTerm "a worker was killed after TERM",
    /// A worker used up its time.
    AWorkerRanOutOfTime "a worker ran out of time",
    /// A worker ended well without completing its task.
    AWorkerBrokeProtocol "a worker broke the protocol",
    /// A group lived on when its leader was reaped.
    AGroupOutlivedItsLeader "a group outlived its leader",
    /// A pid meant another process than before.
    APidCameBack "a pid came back",
    /// A task rested after a rate limit.
    ATaskCooledDown "a task cooled down",
    /// A waiting task became ready.
    ATaskWasPromoted "a task was promoted",
    /// A task was blocked after too many failures.
    TheBreakerTripped "the breaker tripped",
    /// A claim did not take.
    AClaimWasRefused "a claim was refused",
    /// The claim of a dead dispatcher, or of a client, ended by the rules.
    AClaimOfOthersEnded "a claim of others ended",
    /// The end of a run found it taken away.
    ARunWasTakenAway "a run was taken away",
    /// Nobody could say whether a commit took.
    ACommitWasAMaybe "a commit was a maybe",
    /// A claim without a run here was put back.
    AStrayWasPutBack "a stray claim was put back",
    /// A board thread or spawn thread did not answer in time.
    AThreadWasOverdue "a thread was overdue",
    /// A spawn was called off.
    ASpawnWasCalledOff "a spawn was called off",
    /// The host refused a process.
    TheHostRefused "the host refused a process",
    /// A board came back into use.
    ABoardCameBackIntoUse "a board came back into use",
    /// A dispatcher crashed.
    ADispatcherDied "a dispatcher died",
    /// Two dispatchers had workers at the same time.
    TwoDispatchersWorked "two dispatchers had workers at once",
    /// The claim of a dead dispatcher was adopted.
    AClaimWasAdopted "a claim was adopted",
    /// A claim was adopted from a dispatcher that had itself adopted it.
    AnAdoptersClaimWasAdopted "an adopter's claim was adopted",
    /// The worker of an adopted claim was found alive.
    AnAdoptedWorkerWasFound "an adopted worker was found",
    /// An adopter learned from a pidfd how a worker ended that was never its child.
    AnAdoptedExitWasReaped "an adopted worker's exit was reaped",
    /// An end that a dead dispatcher had noted was recorded.
    ANotedEndWasRecorded "a noted end was recorded",
    /// The evidence of how a worker ended was lost.
    AnEndWasUnknown "an end was unknown",
    /// A task was blocked after too many unknown ends in a row.
    UnknownEndsBlocked "unknown ends blocked a task",
    /// An adopted claim turned out to have no process.
    AnAdoptedClaimHadNoProcess "an adopted claim had no process",
    /// A child of a dead dispatcher had not yet executed its program when it was looked for.
    AChildWasExecuting "a child was executing when it was looked for",
    /// A group was adopted without its leader.
    AGroupWasAdopted "a group was adopted without its leader",
    /// A dispatcher that stopped left an adopted claim to the next one.
    AnAdoptionWasLeft "an adopted claim was left to the next",
    /// A dispatcher that had to stop immediately left a spawn to finish on its own.
    AShutdownLeftASpawn "a shutdown left a spawn under way",
    /// An adopted worker got a pid that another process had used before.
    AnAdoptedPidHadComeBack "an adopted worker's pid had come back",
    /// A claim was reclaimed whose dispatcher was alive but could not reach its board.
    ANeglectedClaimEnded "a neglected claim ended",
    /// A claim of another pid namespace ended when its lease expired.
    AClaimElsewhereEnded "a claim of another namespace ended",
    /// The pid 1 of a pid namespace died, and all other processes of the namespace with it.
    ANamespaceEnded "a pid namespace ended",
}

/// The states that the last event shows.
pub fn reached(ledger: &Ledger) -> impl Iterator<Item = Sometimes> {
    ledger.news.iter().filter_map(|news| match news {
        News::Tick { zombies: 1.., .. } => Some(Sometimes::ATickFoundZombies),
        News::Spawned { live, max_workers, .. } if live == max_workers => {
            Some(Sometimes::TheHostWasFull)
        }
        News::Spawned { live_there, max_in_progress, .. } if live_there == max_in_progress => {
            Some(Sometimes::ABoardWasFull)
        }
        News::Recorded { attempt: None, .. } => Some(Sometimes::AStrayWasPutBack),
        News::Recorded { attempt: Some(attempt), .. }
            if attempt.process.is_none() && attempt.failed.is_none() =>
        {
            Some(Sometimes::AStrayWasPutBack)
        }
        _ => None,
    })
}
