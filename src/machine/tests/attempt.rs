//! One attempt on its own: *in this stage, this input, exactly these effects and this next stage*.

use super::world::{fence, pid, report, task};
use crate::machine::attempt::{
    Attempt, Draining, End, Ending, Input, Lease, Limit, Preparing, Running, Stage, Why,
};
use crate::machine::effect::{Effect, EndCause, Report};
use crate::machine::escalation::{Escalation, Probes};
use crate::machine::event::{Group, Signal, SignalOutcome};
use crate::machine::exchange::Change;
use crate::machine::fault::Blame;
use crate::machine::ids::{Pid, SpawnId, WorkerId};
use crate::machine::policy::{Completion, Policy, WorkerPolicy};
use crate::machine::time::{Mono, Now};
use crate::machine::verdict::{ExitStatus, Release, Verdict};

const SPAWN: SpawnId = SpawnId(1);
/// When making ready will have taken too long.
const DEADLINE: Mono = Mono(90_000);
const GRACE_MS: u64 = 10_000;
const LIMIT_S: u32 = 60;
/// When what happens in a test happens, unless it is about time. Everything before was at 0.
const NOW: Mono = Mono(2_500);
const FAILED: ExitStatus = ExitStatus::Code(3);

/// Every situation in which an input can meet an attempt.
#[derive(Clone, Copy, Debug)]
enum At {
    Claiming,
    Preparing,
    /// Called off because its spawn thread took too long.
    Cancelling,
    Running,
    /// Ended by a shutdown.
    Ending,
    /// Its leader failed, and its group lives.
    Draining,
    /// It failed, and `Spawn` is not answered.
    DrainingEarly,
    /// It failed, and its group is gone.
    Gone,
    /// It failed, and `Spawn` is not answered.
    GoneEarly,
}

impl At {
    const ALL: [At; 9] = [
        At::Claiming,
        At::Preparing,
        At::Cancelling,
        At::Running,
        At::Ending,
        At::Draining,
        At::DrainingEarly,
        At::Gone,
        At::GoneEarly,
    ];

    fn attempt(self) -> Attempt {
        self.limited(None)
    }

    /// An attempt with this limit in seconds.
    fn limited(self, limit_s: Option<u32>) -> Attempt {
        let before = |at: At| at.limited(limit_s);
        match self {
            At::Claiming => {
                let now = Now { mono: Mono(0), unix: 0 };
                Attempt::new(SPAWN, task("t1"), WorkerId(0), now, 900)
            }
            At::Preparing => {
                let mut attempt = before(At::Claiming);
                attempt.claimed(fence(1).run);
                attempt.gets(took(limit_s), Mono(0));
                attempt
            }
            At::Cancelling => before(At::Preparing).with(|it| it.wakes(DEADLINE)),
            At::Running => before(At::Preparing).with(|it| it.gets(ok(), Mono(0))),
            At::Ending => before(At::Running).with(|it| it.gets(Input::Stop, Mono(0))),
            At::Draining => before(At::Running).with(|it| it.fails(Group::Alive, Mono(0))),
            At::DrainingEarly => before(At::Preparing).with(|it| it.fails(Group::Alive, Mono(0))),
            At::Gone => before(At::Running).with(|it| it.fails(Group::Gone, Mono(0))),
            At::GoneEarly => before(At::Preparing).with(|it| it.fails(Group::Gone, Mono(0))),
        }
    }
}

/// What the tests do to an attempt. Each returns what it calls for.
trait Live: Sized {
    fn gets(&mut self, input: Input, now: Mono) -> Vec<Effect>;
    fn gets_with(&mut self, input: Input, now: Mono, worker: WorkerPolicy) -> Vec<Effect>;
    /// Its leader exits with this status.
    fn exits(
        &mut self,
        status: ExitStatus,
        group: Group,
        now: Mono,
        worker: WorkerPolicy,
    ) -> Vec<Effect>;
    /// Time passes up to `now`.
    fn wakes(&mut self, now: Mono) -> Vec<Effect>;
    fn end(&self) -> End;
    fn with(self, act: impl FnOnce(&mut Self) -> Vec<Effect>) -> Self;

    fn fails(&mut self, group: Group, now: Mono) -> Vec<Effect> {
        self.exits(FAILED, group, now, WorkerPolicy::default())
    }
}

impl Live for Attempt {
    fn gets(&mut self, input: Input, now: Mono) -> Vec<Effect> {
        self.gets_with(input, now, WorkerPolicy::default())
    }

    fn gets_with(&mut self, input: Input, now: Mono, worker: WorkerPolicy) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take_in(input, now, &policy(worker), &mut effects);
        effects
    }

    fn exits(
        &mut self,
        status: ExitStatus,
        group: Group,
        now: Mono,
        worker: WorkerPolicy,
    ) -> Vec<Effect> {
        let exit = self.exit(pid(1), status, group, now, &policy(worker));
        self.gets_with(Input::Exited(exit), now, worker)
    }

    fn wakes(&mut self, now: Mono) -> Vec<Effect> {
        match self.stage().alarm() {
            Some(at) if at <= now => self.gets(Input::Alarm, now),
            _ => vec![],
        }
    }

    fn end(&self) -> End {
        self.debt().end()
    }

    fn with(mut self, act: impl FnOnce(&mut Self) -> Vec<Effect>) -> Self {
        act(&mut self);
        self
    }
}

fn policy(worker: WorkerPolicy) -> Policy {
    Policy { workers: vec![worker], ..Policy::default() }
}

fn ok() -> Input {
    Input::SpawnOk(pid(1))
}

fn took(limit_s: Option<u32>) -> Input {
    Input::ClaimTook(Preparing { deadline: DEADLINE, limit_s, lost_at: None })
}

fn row(lost_at: Option<Mono>) -> Input {
    Input::Row { lost_at }
}

fn owed(verdict: Verdict, now: Mono) -> End {
    End::Owed { verdict, send_at: now }
}

fn unexpected(what: &'static str) -> Vec<Effect> {
    vec![report(Report::Unexpected(what))]
}

fn signal(signal: Signal) -> Effect {
    Effect::Signal { spawn: SPAWN, signal }
}

fn cancel() -> Effect {
    Effect::CancelSpawn { spawn: SPAWN }
}

fn started() -> Effect {
    report(Report::Started(SPAWN, pid(1)))
}

fn ending(cause: EndCause) -> Effect {
    report(Report::Ending(SPAWN, cause))
}

fn told_exit(status: ExitStatus) -> Effect {
    report(Report::Exited(SPAWN, status))
}

fn released(why: Release) -> Verdict {
    Verdict::Released(why)
}

fn crashed() -> Verdict {
    Verdict::Crashed(FAILED)
}

/// Its row is not ours any more since 0.
fn lost(at: At) -> Attempt {
    at.limited(Some(LIMIT_S)).with(|it| it.gets(row(Some(Mono(GRACE_MS))), Mono(0)))
}

/// An attempt that is being called off, by a shutdown or for a lost row.
fn called_off() -> [(Attempt, Why); 2] {
    let stopped = At::Preparing.attempt().with(|it| it.gets(Input::Stop, Mono(0)));
    let lost = lost(At::Preparing).with(|it| it.wakes(Mono(GRACE_MS)));
    [(stopped, Why::Shutdown), (lost, Why::Superseded)]
}

// What its spawn thread answers.

#[test]
fn a_process_is_taken_in_where_one_is_waited_for() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets(ok(), NOW);
        match at {
            At::Preparing | At::Cancelling => {
                assert_eq!(effects, [started()], "{at:?}");
                assert_eq!(it.stage(), Stage::Running(Running { limit: None, lost_at: None }));
                assert_eq!(it.debt().owed_pid(), Some(pid(1)));
            }
            // This was the missing answer, and it brings no news.
            At::DrainingEarly | At::GoneEarly => {
                assert_eq!(effects, [], "{at:?}");
                assert!(before.stage().awaits_spawn() && !it.stage().awaits_spawn());
                assert_eq!(it.debt(), before.debt());
            }
            At::Claiming | At::Running | At::Ending | At::Draining | At::Gone => {
                assert_eq!((&it, effects), (&before, unexpected("SpawnOk")), "{at:?}");
            }
        }
        // A second one is not waited for.
        let once = it.clone();
        assert_eq!((it.gets(ok(), NOW), it), (unexpected("SpawnOk"), once), "{at:?}");
    }
}

#[test]
fn a_process_that_was_called_off_too_late_is_ended_for_the_same_reason() {
    let worker = WorkerPolicy { kill_after_ms: 700, ..WorkerPolicy::default() };
    for (mut it, why) in called_off() {
        let effects = it.gets_with(ok(), NOW, worker);
        assert_eq!(effects, [started(), ending(why.cause()), signal(Signal::Term)]);
        assert_eq!(
            it.stage(),
            Stage::Ending(Ending { why, escalation: Escalation::begin(NOW, 700) })
        );
        assert_eq!(it.debt().owed_pid(), Some(pid(1)));
    }
}

#[test]
fn a_spawn_that_failed_ends_an_attempt_that_waits_for_it() {
    for at in At::ALL {
        for (blame, verdict) in [
            (Blame::Task, Verdict::SpawnFailed),
            (Blame::Host, released(Release::HostRefused)),
            (Blame::Board, released(Release::HostRefused)),
        ] {
            let failed = Input::SpawnFailed(blame, 11);
            let before = at.attempt();
            let mut it = before.clone();
            let effects = it.gets(failed, NOW);
            match at {
                At::Preparing | At::Cancelling => {
                    assert_eq!(effects, [report(Report::NotStarted(SPAWN, blame, 11))]);
                    assert_eq!(it.stage(), Stage::Gone { answered: true }, "{at:?}");
                    assert_eq!((it.end(), it.debt().pid()), (owed(verdict, NOW), None));
                }
                // There was a process, so that is odd; but it is an answer.
                At::DrainingEarly | At::GoneEarly => {
                    assert_eq!(effects, unexpected("SpawnFailed"), "{at:?}");
                    assert!(before.stage().awaits_spawn() && !it.stage().awaits_spawn());
                    assert_eq!(it.debt(), before.debt());
                }
                At::Claiming | At::Running | At::Ending | At::Draining | At::Gone => {
                    assert_eq!((&it, effects), (&before, unexpected("SpawnFailed")), "{at:?}");
                }
            }
            let once = it.clone();
            assert_eq!((it.gets(failed, NOW), it), (unexpected("SpawnFailed"), once), "{at:?}");
        }
    }
}

#[test]
fn only_what_was_called_off_can_be_cancelled() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets(Input::SpawnCancelled, NOW);
        match at {
            At::Cancelling => {
                assert_eq!(effects, []);
                assert_eq!(it.stage(), Stage::Gone { answered: true });
                assert_eq!(it.end(), owed(released(Release::NotStarted), NOW));
                assert_eq!(it.debt().pid(), None);
            }
            At::Claiming
            | At::Preparing
            | At::Running
            | At::Ending
            | At::Draining
            | At::DrainingEarly
            | At::Gone
            | At::GoneEarly => {
                assert_eq!((it, effects), (before, unexpected("SpawnCancelled")), "{at:?}");
            }
        }
    }
}

#[test]
fn what_was_called_off_in_time_is_given_back_for_the_reason_it_was_called_off_for() {
    for (mut it, why) in called_off() {
        assert_eq!(it.gets(Input::SpawnCancelled, NOW), []);
        assert_eq!(it.end(), owed(why.verdict(NOW, false), NOW), "{why:?}");
    }
}

// The ways in which it ends.

#[test]
fn an_exit_that_leaves_nothing_behind_is_the_end() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.fails(Group::Gone, NOW);
        let (expected, verdict, answered) = match at {
            // The answer of its spawn thread is still on its way; its report is made here.
            At::Preparing | At::Cancelling => {
                (vec![started(), told_exit(FAILED)], crashed(), false)
            }
            At::Running => (vec![told_exit(FAILED)], crashed(), true),
            At::Ending => (vec![told_exit(FAILED)], released(Release::Shutdown), true),
            At::Claiming | At::Draining | At::DrainingEarly | At::Gone | At::GoneEarly => {
                assert_eq!((it, effects), (before, unexpected("ChildExited")), "{at:?}");
                continue;
            }
        };
        assert_eq!((effects, it.end()), (expected, owed(verdict, NOW)), "{at:?}");
        assert_eq!(it.stage(), Stage::Gone { answered });
        assert_eq!(it.debt().owed_pid(), Some(pid(1)));
    }
}

#[test]
fn an_exit_that_leaves_something_behind_is_the_end_of_the_leader_only() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.fails(Group::Alive, NOW);
        let end_them = [ending(EndCause::Leftovers), signal(Signal::Term)];
        let begun = Draining {
            verdict: crashed(),
            escalation: Escalation::begin(NOW, 5_000),
            probes: Probes::after_signal(NOW),
            answered: true,
        };
        let (expected, group) = match at {
            At::Preparing | At::Cancelling => {
                let told = [started(), told_exit(FAILED)];
                ([&told[..], &end_them].concat(), Draining { answered: false, ..begun })
            }
            At::Running => ([&[told_exit(FAILED)][..], &end_them].concat(), begun),
            // They are being ended already.
            At::Ending => {
                let escalation = Escalation::begin(Mono(0), 5_000);
                let verdict = released(Release::Shutdown);
                let probes = Probes::at_once(NOW);
                (vec![told_exit(FAILED)], Draining { verdict, escalation, probes, ..begun })
            }
            At::Claiming | At::Draining | At::DrainingEarly | At::Gone | At::GoneEarly => {
                assert_eq!((it, effects), (before, unexpected("ChildExited")), "{at:?}");
                continue;
            }
        };
        assert_eq!((effects, it.stage()), (expected, Stage::Draining(group)), "{at:?}");
        assert!(matches!(it.end(), End::Open(_)), "its task must not come back yet");
    }
}

#[test]
fn a_pid_that_is_known_is_not_replaced_by_that_of_the_exit() {
    let mut it = At::Running.attempt();
    let policy = policy(WorkerPolicy::default());
    let exit = it.exit(Pid(7), FAILED, Group::Gone, NOW, &policy);
    it.gets(Input::Exited(exit), NOW);
    assert_eq!(it.debt().pid(), Some(pid(1)));
}

#[test]
fn an_exit_of_an_attempt_that_is_not_being_ended_means_what_its_status_means() {
    for (status, completion, verdict) in [
        (ExitStatus::Code(0), Completion::ExitStatus, Verdict::Completed),
        (ExitStatus::Code(0), Completion::Board, Verdict::ProtocolViolation),
        (ExitStatus::Code(75), Completion::Board, Verdict::RateLimited),
        (ExitStatus::Signal(9), Completion::ExitStatus, Verdict::Crashed(ExitStatus::Signal(9))),
    ] {
        let worker = WorkerPolicy { completion, ..WorkerPolicy::default() };
        // Calling off has ended nothing yet.
        let [(called_off, _), _] = called_off();
        for mut it in [At::Preparing.attempt(), At::Running.attempt(), called_off] {
            it.exits(status, Group::Gone, NOW, worker);
            assert_eq!(it.end(), owed(verdict, NOW), "{status:?}");
        }
    }
}

#[test]
fn an_exit_of_an_attempt_that_is_being_ended_means_what_it_is_ended_for() {
    let ended = |how: fn(&mut Attempt)| {
        let mut it = At::Running.limited(Some(LIMIT_S));
        how(&mut it);
        it
    };
    let timeout = |it: &mut Attempt| drop(it.wakes(Mono(60_000)));
    let stopped = |it: &mut Attempt| drop(it.gets(Input::Stop, Mono(60_000)));
    let superseded = |it: &mut Attempt| {
        it.gets(row(Some(Mono(59_000))), Mono(59_000));
        it.wakes(Mono(59_000));
    };
    for killed in [false, true] {
        let timed_out = Verdict::TimedOut { elapsed_s: 66, limit_s: LIMIT_S, killed };
        for (it, verdict) in [
            (ended(timeout), timed_out),
            (ended(stopped), released(Release::Shutdown)),
            (ended(superseded), released(Release::Superseded)),
        ] {
            let mut it = it;
            if killed {
                assert_eq!(it.wakes(Mono(65_000)), [signal(Signal::Kill)]);
            }
            let worker = WorkerPolicy::default();
            it.exits(ExitStatus::Code(0), Group::Gone, Mono(66_999), worker);
            assert_eq!(it.end(), owed(verdict, Mono(66_999)));
        }
    }
}

#[test]
fn a_completed_verdict_is_owed_immediately_even_with_leftovers() {
    let completed = owed(Verdict::Completed, NOW);
    for (keep_leftovers, status, drains, end) in [
        (false, ExitStatus::Code(0), true, Some(completed)),
        (true, ExitStatus::Code(0), false, Some(completed)),
        (true, FAILED, true, None),
    ] {
        let worker = WorkerPolicy { keep_leftovers, ..WorkerPolicy::default() };
        let mut it = At::Running.attempt();
        let effects = it.exits(status, Group::Alive, NOW, worker);
        let owed = Some(it.end()).filter(|end| !matches!(end, End::Open(_)));
        assert_eq!(owed, end, "{keep_leftovers} {status:?}");
        assert_eq!(matches!(it.stage(), Stage::Draining(_)), drains);
        assert_eq!(effects.len() > 1, drains, "{effects:?}");
        assert_eq!(it.stage().uses_host_slot(), drains);
    }
}

#[test]
fn a_group_that_is_gone_ends_an_attempt_without_a_leader_and_no_other() {
    for at in At::ALL {
        for outcome in [SignalOutcome::Delivered, SignalOutcome::Gone, SignalOutcome::Refused] {
            let before = at.attempt();
            let mut it = before.clone();
            let effects = it.gets(Input::Signalled(outcome), NOW);
            match (at, outcome) {
                (At::Draining | At::DrainingEarly, SignalOutcome::Gone) => {
                    let answered = !before.stage().awaits_spawn();
                    assert_eq!(effects, []);
                    assert_eq!(it.stage(), Stage::Gone { answered });
                    assert_eq!(it.end(), owed(crashed(), NOW));
                }
                (
                    At::Draining
                    | At::DrainingEarly
                    | At::Running
                    | At::Ending
                    | At::Gone
                    | At::GoneEarly,
                    _,
                ) => assert_eq!((it, effects), (before, vec![]), "{at:?} {outcome:?}"),
                (At::Claiming | At::Preparing | At::Cancelling, _) => {
                    assert_eq!((it, effects), (before, unexpected("Signalled")), "{at:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_owed_is_not_replaced_when_the_rest_of_the_group_is_gone() {
    for settled in [false, true] {
        let mut it = At::Running.attempt();
        it.exits(ExitStatus::Code(0), Group::Alive, Mono(0), WorkerPolicy::default());
        if settled {
            it.debt_mut().settle();
        }
        let before = it.end();
        it.gets(Input::Signalled(SignalOutcome::Gone), NOW);
        assert_eq!((it.stage(), it.end()), (Stage::Gone { answered: true }, before));
    }
}

// How it is ended.

#[test]
fn a_shutdown_stops_what_is_not_ended_yet() {
    let worker = WorkerPolicy { kill_after_ms: 700, ..WorkerPolicy::default() };
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets_with(Input::Stop, NOW, worker);
        match at {
            At::Preparing => {
                assert_eq!(effects, [cancel()]);
                assert!(matches!(it.stage(), Stage::Cancelling(_)));
            }
            // Its process is ended if it comes: see above.
            At::Cancelling => {
                assert_eq!(effects, []);
                assert_ne!(it, before);
            }
            At::Running => {
                let (why, escalation) = (Why::Shutdown, Escalation::begin(NOW, 700));
                assert_eq!(effects, [ending(EndCause::Shutdown), signal(Signal::Term)]);
                assert_eq!(it.stage(), Stage::Ending(Ending { why, escalation }));
            }
            At::Claiming
            | At::Ending
            | At::Draining
            | At::DrainingEarly
            | At::Gone
            | At::GoneEarly => assert_eq!((it, effects), (before, vec![]), "{at:?}"),
        }
    }
}

#[test]
fn killing_kills_immediately() {
    for at in At::ALL {
        let before = at.attempt();
        let mut it = before.clone();
        let effects = it.gets(Input::Kill, NOW);
        let kill = signal(Signal::Kill);
        let expected = match at {
            At::Preparing => vec![cancel()],
            At::Running => vec![ending(EndCause::Shutdown), kill],
            At::Ending | At::Draining | At::DrainingEarly => vec![kill],
            At::Claiming | At::Cancelling | At::Gone | At::GoneEarly => vec![],
        };
        assert_eq!(effects, expected, "{at:?}");
        match at {
            At::Running | At::Ending => assert_eq!(it.stage().alarm(), Some(NOW.after(5_000))),
            At::Draining | At::DrainingEarly => {
                assert_eq!(it.stage().alarm(), Some(NOW.after(5)), "and probed soon");
            }
            At::Preparing | At::Cancelling => {
                it.gets(Input::SpawnCancelled, NOW);
                assert_eq!(it.end(), owed(released(Release::Shutdown), NOW));
            }
            At::Claiming | At::Gone | At::GoneEarly => assert_eq!(it, before, "{at:?}"),
        }
    }
}

#[test]
fn what_was_killed_is_given_back_as_by_a_shutdown() {
    for at in [At::Running, At::Ending] {
        let mut it = at.attempt();
        it.gets(Input::Kill, NOW);
        it.exits(ExitStatus::Signal(9), Group::Gone, NOW, WorkerPolicy::default());
        assert_eq!(it.end(), owed(released(Release::Shutdown), NOW), "{at:?}");
    }
}

#[test]
fn killing_again_kills_no_sooner_than_a_repeat_is_due() {
    for at in [At::Running, At::Ending, At::Draining] {
        let mut it = at.attempt();
        let mut effects = it.gets(Input::Kill, NOW);
        effects.extend(it.gets(Input::Kill, NOW.after(1)));
        effects.extend(it.wakes(NOW.after(1)));
        assert_eq!(effects.iter().filter(|e| **e == signal(Signal::Kill)).count(), 1);
    }
}

// The effects of time alone.

#[test]
fn each_stage_waits_for_its_own_moment() {
    for at in At::ALL {
        let alarm = at.limited(Some(LIMIT_S)).stage().alarm();
        let expected = match at {
            At::Claiming | At::Cancelling | At::Gone | At::GoneEarly => None,
            At::Preparing => Some(DEADLINE),
            At::Running => Some(Mono(60_000)),
            At::Ending => Some(Mono(5_000)),
            // It is probed whether anything is left.
            At::Draining | At::DrainingEarly => Some(Mono(5)),
        };
        assert_eq!(alarm, expected, "{at:?}");
    }
}

#[test]
fn when_its_moment_has_come_it_is_done() {
    let timeout = EndCause::Timeout { limit_s: LIMIT_S };
    for at in At::ALL {
        let mut it = at.limited(Some(LIMIT_S));
        let Some(alarm) = it.stage().alarm() else { continue };
        let effects = it.wakes(alarm);
        let expected = match at {
            At::Claiming | At::Cancelling | At::Gone | At::GoneEarly => panic!("{at:?}"),
            At::Preparing => vec![cancel()],
            At::Running => vec![ending(timeout), signal(Signal::Term)],
            At::Ending => vec![signal(Signal::Kill)],
            At::Draining | At::DrainingEarly => vec![signal(Signal::Probe)],
        };
        assert_eq!(effects, expected, "{at:?}");
        let next = it.stage().alarm();
        assert!(next.is_none_or(|at| at > alarm), "{at:?} waits for what is over");
    }
}

#[test]
fn an_alarm_that_was_not_asked_for_does_nothing() {
    for at in [At::Claiming, At::Cancelling, At::Running, At::Gone, At::GoneEarly] {
        let before = at.attempt();
        let mut it = before.clone();
        assert_eq!((it.gets(Input::Alarm, NOW), it), (vec![], before), "{at:?}");
    }
}

#[test]
fn a_group_without_a_leader_is_killed_when_its_patience_is_over() {
    for at in [At::Draining, At::DrainingEarly] {
        let mut it = at.attempt();
        assert_eq!(it.wakes(Mono(5_000)), [signal(Signal::Kill)]);
        assert_eq!(it.stage().alarm(), Some(Mono(5_005)), "and probed again");
    }
}

#[test]
fn an_attempt_without_a_limit_is_never_out_of_time() {
    assert_eq!(At::Running.attempt().stage().alarm(), None);
}

#[test]
fn time_runs_from_when_its_process_was_made() {
    let mut it = At::Cancelling.limited(Some(LIMIT_S));
    it.gets(ok(), Mono(100_000));
    assert_eq!(it.wakes(Mono(159_999)), []);
    let limit = Limit { began: Mono(100_000), limit_s: LIMIT_S };
    assert_eq!(it.stage(), Stage::Running(Running { limit: Some(limit), lost_at: None }));
    it.wakes(Mono(160_000));
    assert!(matches!(it.end(), End::Open(_)));
    it.fails(Group::Gone, Mono(162_500));
    let verdict = Verdict::TimedOut { elapsed_s: 62, limit_s: LIMIT_S, killed: false };
    assert_eq!(it.end(), owed(verdict, Mono(162_500)));
}

// Whose its row is.

#[test]
fn an_attempt_whose_row_is_lost_is_ended_after_a_grace_wherever_it_can_be() {
    for at in At::ALL {
        let mut it = lost(at);
        let superseded = EndCause::Superseded;
        match at {
            At::Preparing => {
                assert_eq!(it.wakes(Mono(GRACE_MS - 1)), []);
                assert_eq!(it.wakes(Mono(GRACE_MS)), [cancel()]);
                it.gets(Input::SpawnCancelled, NOW);
                assert_eq!(it.end(), owed(released(Release::Superseded), NOW));
            }
            At::Running => {
                assert_eq!(it.wakes(Mono(GRACE_MS - 1)), []);
                let effects = it.wakes(Mono(GRACE_MS));
                assert_eq!(effects, [ending(superseded), signal(Signal::Term)]);
            }
            // Once its process has come.
            At::Cancelling => {
                assert_eq!(it.wakes(Mono(GRACE_MS)), []);
                assert_eq!(it.gets(ok(), Mono(GRACE_MS)), [started()]);
                let effects = it.wakes(Mono(GRACE_MS));
                assert_eq!(effects, [ending(superseded), signal(Signal::Term)]);
            }
            // Nothing is left to end, or it is being ended.
            At::Claiming
            | At::Ending
            | At::Draining
            | At::DrainingEarly
            | At::Gone
            | At::GoneEarly => {
                assert_eq!(it, at.limited(Some(LIMIT_S)), "{at:?}");
                assert!(!it.stage().is_lost());
            }
        }
    }
}

#[test]
fn a_row_that_is_ours_again_is_not_ended() {
    for at in [At::Preparing, At::Cancelling, At::Running] {
        let mut it = lost(at);
        assert!(it.stage().is_lost());
        it.gets(row(None), NOW);
        assert_eq!(it, at.limited(Some(LIMIT_S)), "{at:?}");
    }
}

#[test]
fn an_attempt_that_was_called_off_for_a_lost_row_goes_on_if_its_row_is_ours_again() {
    let mut it = lost(At::Preparing);
    it.wakes(Mono(GRACE_MS));
    it.gets(row(None), Mono(GRACE_MS));
    // Its process started nevertheless: no reason is left to end it.
    let now = Mono(GRACE_MS + 1);
    let mut came = it.clone();
    assert_eq!(came.gets(ok(), now), [started()]);
    assert_eq!(came.wakes(now), []);
    assert!(matches!(came.stage(), Stage::Running(Running { lost_at: None, .. })));
    // It was called off in time: nothing has been superseded.
    let gone = it.clone().with(|it| it.gets(Input::SpawnCancelled, now));
    assert_eq!(gone.end(), owed(released(Release::NotStarted), now));
    // Lost once more, it has its grace again.
    it.gets(row(Some(now.after(GRACE_MS))), now);
    it.gets(ok(), now);
    assert_eq!(it.stage().alarm(), Some(now.after(GRACE_MS)));
}

#[test]
fn an_attempt_that_a_shutdown_called_off_is_ended_even_if_its_row_is_ours() {
    let [(mut it, _), _] = called_off();
    it.gets(row(Some(NOW)), NOW);
    it.gets(row(None), NOW);
    assert_eq!(it.gets(ok(), NOW)[1], ending(EndCause::Shutdown));
    assert!(matches!(it.stage(), Stage::Ending(_)));
}

// What it uses, and what is owed.

#[test]
fn a_claim_that_took_is_prepared_and_one_that_is_of_no_use_is_given_back() {
    for lent in [false, true] {
        let mut claiming = At::Claiming.attempt();
        if lent {
            claiming.gets(Input::Lend, NOW);
        }
        let mut it = claiming.clone();
        it.claimed(fence(1).run);
        assert_eq!(it.gets(took(Some(LIMIT_S)), NOW), []);
        let (deadline, limit_s, lost_at) = (DEADLINE, Some(LIMIT_S), None);
        assert_eq!(it.stage(), Stage::Preparing(Preparing { deadline, limit_s, lost_at }));
        assert_eq!(it.fence(), Some(fence(1)));
        for why in [Release::Shutdown, Release::NotStarted] {
            let mut it = claiming.clone();
            it.claimed(fence(1).run);
            it.gets(Input::ClaimInVain(why), NOW);
            assert_eq!(it.stage(), Stage::Gone { answered: true });
            assert_eq!((it.end(), it.debt().pid()), (owed(released(why), NOW), None));
        }
    }
}

#[test]
fn an_answer_to_a_claim_that_was_answered_is_unexpected() {
    for at in At::ALL.into_iter().filter(|at| !matches!(at, At::Claiming)) {
        for input in [took(None), Input::ClaimInVain(Release::Shutdown)] {
            let before = at.attempt();
            let mut it = before.clone();
            assert_eq!((it.gets(input, NOW), it), (unexpected("Claimed"), before), "{at:?}");
        }
    }
}

#[test]
fn it_uses_a_slot_of_the_host_while_a_process_of_it_may_live() {
    for at in At::ALL {
        let mut it = at.attempt();
        let expected = !matches!(at, At::Gone | At::GoneEarly);
        assert_eq!(it.stage().uses_host_slot(), expected, "{at:?}");
        // A slot can be lent only before there is anything in it.
        it.gets(Input::Lend, NOW);
        let expected = expected && !matches!(at, At::Claiming);
        assert_eq!(it.stage().uses_host_slot(), expected, "{at:?}, lent");
    }
}

#[test]
fn it_is_over_when_nothing_lives_nothing_is_owed_and_no_answer_is_outstanding() {
    for at in At::ALL {
        let mut it = at.attempt();
        assert!(!it.is_over(), "{at:?}");
        it.debt_mut().settle();
        assert_eq!(it.is_over(), matches!(at, At::Gone), "{at:?}");
    }
}

/// What is owed to the board at `now`.
fn sends(it: &Attempt, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    it.owed_changes(now, &policy(WorkerPolicy::default()), &mut changes);
    changes.retain(|change| !matches!(change, Change::Started { .. }));
    changes
}

#[test]
fn its_lease_is_renewed_while_its_end_is_not_known() {
    let third = Mono(300_000);
    for at in At::ALL {
        let mut it = at.attempt();
        let renewed = match at {
            At::Preparing
            | At::Cancelling
            | At::Running
            | At::Ending
            | At::Draining
            | At::DrainingEarly => true,
            At::Claiming | At::Gone | At::GoneEarly => false,
        };
        let is_renewed = |it: &Attempt, now| {
            let changes = sends(it, now);
            changes.iter().any(|change| matches!(change, Change::Renew { .. }))
        };
        assert_eq!(it.send_at(), renewed.then_some(third).or(it.fence().map(|_| Mono(0))));
        assert!(!is_renewed(&it, Now { mono: Mono(299_999), unix: 0 }), "{at:?}");
        assert_eq!(is_renewed(&it, Now { mono: third, unix: 0 }), renewed, "{at:?}");
        // A host that slept has less of the lease left than it has run.
        assert!(!is_renewed(&it, Now { mono: Mono(0), unix: 300 }), "{at:?}");
        assert_eq!(is_renewed(&it, Now { mono: Mono(0), unix: 301 }), renewed, "{at:?}");
        it.debt_mut().settle();
        assert_eq!(sends(&it, Now { mono: third, unix: 301 }), []);
        assert_eq!((it.send_at(), it.renew_by()), (None, None));
    }
}

#[test]
fn a_renewal_that_may_not_have_taken_is_asked_for_again_immediately() {
    let mut it = At::Running.attempt();
    it.debt_mut().renew(Lease::begin(Now { mono: Mono(300_000), unix: 300 }, 900));
    assert_eq!(it.send_at(), Some(Mono(600_000)));
    it.debt_mut().renew_again(NOW);
    assert_eq!(it.send_at(), Some(NOW));
}

#[test]
fn a_verdict_is_sent_when_that_may_be_tried_and_makes_room_where_nothing_lives() {
    for at in [At::Draining, At::Gone, At::GoneEarly] {
        let mut it = at.attempt();
        assert_eq!(it.makes_room(), !matches!(at, At::Draining));
        it.debt_mut().owe(crashed(), Mono(0));
        it.debt_mut().put_off(NOW);
        assert_eq!(sends(&it, Now { mono: Mono(NOW.0 - 1), unix: 0 }), []);
        let sent = sends(&it, Now { mono: NOW, unix: 0 });
        assert!(matches!(sent[..], [Change::Finish { .. }]), "{sent:?}");
        it.debt_mut().settle();
        assert!(!it.makes_room());
    }
}
