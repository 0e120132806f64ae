//! Two dispatchers that differ only in when they live and in how attempts are numbered behave alike.

use super::*;

/// The same life for one dispatcher and another that differs from it only in when it lives and how
/// its attempts are numbered.
struct Twins {
    now: Now,
    of: [Dispatcher; 2],
    /// How the second sees what happens to the first.
    shift: Shift,
    seqs: [u64; 4],
}

/// From one frame of time and numbers to another.
pub trait Frame {
    fn now(&self, now: Now) -> Now;
    fn spawn(&self, spawn: SpawnId) -> SpawnId;
    fn seq(&self, board: BoardId, seq: u64) -> u64;
    fn reap(&self, seq: u64) -> u64;

    fn mono(&self, at: Mono) -> Mono {
        self.now(Now { mono: at, unix: 0 }).mono
    }

    fn second(&self, unix: i64) -> i64 {
        self.now(Now { mono: Mono(0), unix }).unix
    }

    fn fence(&self, fence: Fence) -> Fence {
        Fence { spawn: self.spawn(fence.spawn), ..fence }
    }

    fn event(&self, event: Event) -> Event {
        match event {
            Event::Reaped { seq } => Event::Reaped { seq: self.reap(seq) },
            Event::ReapFailed { seq, errno } => Event::ReapFailed { seq: self.reap(seq), errno },
            Event::ChildExited { spawn, pid, status, group } => {
                Event::ChildExited { spawn: self.spawn(spawn), pid, status, group }
            }
            Event::Connected { board, seq } => {
                Event::Connected { board, seq: self.seq(board, seq) }
            }
            Event::ConnectFailed { board, seq, fault } => {
                Event::ConnectFailed { board, seq: self.seq(board, seq), fault }
            }
            Event::Exchanged { board, seq, mut answer } => {
                if let Some(seen) = &mut answer.observation {
                    seen.due = seen.due.map(|due| self.second(due));
                    seen.ours.iter_mut().for_each(|fence| *fence = self.fence(*fence));
                    for end in seen.ready.iter_mut().flat_map(|r| &mut r.tasks) {
                        if let Some(end) = &mut end.last_end {
                            end.at = self.second(end.at);
                        }
                    }
                }
                Event::Exchanged { board, seq: self.seq(board, seq), answer }
            }
            Event::ExchangeFailed { board, seq, fault, commit } => {
                Event::ExchangeFailed { board, seq: self.seq(board, seq), fault, commit }
            }
            Event::SpawnOk { spawn, pid } => Event::SpawnOk { spawn: self.spawn(spawn), pid },
            Event::SpawnFailed { spawn, blame, errno } => {
                Event::SpawnFailed { spawn: self.spawn(spawn), blame, errno }
            }
            Event::SpawnCancelled { spawn } => Event::SpawnCancelled { spawn: self.spawn(spawn) },
            Event::Found { spawn, evidence } => Event::Found { spawn: self.spawn(spawn), evidence },
            Event::Signalled { spawn, signal, outcome } => {
                Event::Signalled { spawn: self.spawn(spawn), signal, outcome }
            }
            Event::Tick
            | Event::Wake
            | Event::KernelReady
            | Event::OrphanReaped { .. }
            | Event::BoardAdded { .. }
            | Event::BoardRemoved { .. }
            | Event::BoardsListed
            | Event::BoardChanged { .. }
            | Event::PolicyChanged(_)
            | Event::Drain { .. }
            | Event::Abort => event,
        }
    }

    fn change(&self, change: Change) -> Change {
        match change {
            Change::Claim { spawn, task, worker, ttl_s, cap } => {
                Change::Claim { spawn: self.spawn(spawn), task, worker, ttl_s, cap }
            }
            Change::Adopt { spawn, orphan, ttl_s } => {
                Change::Adopt { spawn: self.spawn(spawn), orphan, ttl_s }
            }
            Change::Started { fence, pid } => Change::Started { fence: self.fence(fence), pid },
            Change::Renew { fence, ttl_s, heartbeat } => {
                Change::Renew { fence: self.fence(fence), ttl_s, heartbeat }
            }
            Change::Finish { fence, pid, verdict, failure_limit } => {
                Change::Finish { fence: self.fence(fence), pid, verdict, failure_limit }
            }
            Change::Promote { .. } | Change::Reclaim { .. } => change,
        }
    }

    fn effect(&self, effect: Effect) -> Effect {
        match effect {
            Effect::Reap { seq, whom } => Effect::Reap { seq: self.reap(seq), whom },
            Effect::Signal { spawn, signal } => Effect::Signal { spawn: self.spawn(spawn), signal },
            Effect::Connect { board, seq, if_changed } => {
                Effect::Connect { board, seq: self.seq(board, seq), if_changed }
            }
            Effect::Exchange { board, seq, mut request } => {
                request.unix = self.second(request.unix);
                for change in &mut request.changes {
                    *change = self.change(*change);
                }
                Effect::Exchange { board, seq: self.seq(board, seq), request }
            }
            Effect::Spawn { spawn, board, task, run, worker } => {
                Effect::Spawn { spawn: self.spawn(spawn), board, task, run, worker }
            }
            Effect::CancelSpawn { spawn } => Effect::CancelSpawn { spawn: self.spawn(spawn) },
            Effect::Find { spawn } => Effect::Find { spawn: self.spawn(spawn) },
            Effect::Note { spawn, verdict } => Effect::Note { spawn: self.spawn(spawn), verdict },
            Effect::Forget { spawn } => Effect::Forget { spawn: self.spawn(spawn) },
            Effect::WakeAt(at) => Effect::WakeAt(self.mono(at)),
            Effect::Report(report) => Effect::Report(self.report(report)),
            Effect::ListBoards | Effect::SyncNotes | Effect::Disconnect { .. } => effect,
        }
    }

    fn report(&self, report: Report) -> Report {
        match report {
            Report::BoardSick(board, fault, until) => {
                Report::BoardSick(board, fault, self.mono(until))
            }
            Report::Claimed(fence, board) => Report::Claimed(self.fence(fence), board),
            Report::Adopted(fence, board) => Report::Adopted(self.fence(fence), board),
            Report::CannotTell(spawn) => Report::CannotTell(self.spawn(spawn)),
            Report::Found(spawn, pid) => Report::Found(self.spawn(spawn), pid),
            Report::Started(spawn, pid) => Report::Started(self.spawn(spawn), pid),
            Report::NotStarted(spawn, blame, errno) => {
                Report::NotStarted(self.spawn(spawn), blame, errno)
            }
            Report::Ending(spawn, cause) => Report::Ending(self.spawn(spawn), cause),
            Report::Exited(spawn, status) => Report::Exited(self.spawn(spawn), status),
            Report::Recorded(spawn, verdict) => Report::Recorded(self.spawn(spawn), verdict),
            Report::NotOurs(spawn) => Report::NotOurs(self.spawn(spawn)),
            Report::HostRefuses(errno, until) => Report::HostRefuses(errno, self.mono(until)),
            Report::Reaped { .. }
            | Report::ReapFailing(_)
            | Report::ReapRecovered
            | Report::BoardOpened(_)
            | Report::BoardHung(_)
            | Report::BoardWell(_)
            | Report::ClaimRefused(..)
            | Report::Promoted(..)
            | Report::Reclaimed(..)
            | Report::ClockWentBack(_)
            | Report::Unexpected(_) => report,
        }
    }
}

/// Everything later, and larger numbers.
#[derive(Clone, Copy, Debug)]
struct Shift {
    mono: u64,
    unix: i64,
    spawn: u64,
    reap: u64,
}

impl Frame for Shift {
    fn now(&self, now: Now) -> Now {
        Now { mono: now.mono.after(self.mono), unix: now.unix + self.unix }
    }

    fn spawn(&self, spawn: SpawnId) -> SpawnId {
        SpawnId(spawn.0 + self.spawn)
    }

    fn seq(&self, _: BoardId, seq: u64) -> u64 {
        seq
    }

    fn reap(&self, seq: u64) -> u64 {
        seq.wrapping_add(self.reap)
    }
}

impl Frame for Renaming {
    fn now(&self, now: Now) -> Now {
        Now { mono: self.moment(now.mono), unix: self.second(now.unix) }
    }

    fn spawn(&self, spawn: SpawnId) -> SpawnId {
        self.spawn(spawn).unwrap()
    }

    fn seq(&self, board: BoardId, seq: u64) -> u64 {
        self.seq(board, seq)
    }

    fn reap(&self, seq: u64) -> u64 {
        self.reap(seq)
    }
}

/// No times so far away that adding to them meets the end of time.
fn tame(event: &mut Event) {
    let near = |unix: &mut i64| *unix = (*unix).clamp(-(1 << 40), 1 << 40);
    match event {
        Event::Drain { grace_ms } => *grace_ms = (*grace_ms).min(1 << 40),
        Event::Exchanged { answer, .. } => {
            let Some(seen) = &mut answer.observation else { return };
            seen.due.iter_mut().for_each(near);
            let tasks = seen.ready.iter_mut().flat_map(|ready| &mut ready.tasks);
            tasks.filter_map(|task| task.last_end.as_mut()).for_each(|end| near(&mut end.at));
        }
        _ => {}
    }
}

/// Without what lets the clock itself decide for how long a board is left alone.
fn unlocked(event: &mut Event) {
    let Event::Exchanged { answer, .. } = event else { return };
    for taken in &mut answer.taken {
        if matches!(taken, Taken::No(Refusal::Locked | Refusal::Full)) {
            *taken = Taken::No(Refusal::Held(Hold::Review));
        }
    }
}

impl Twins {
    fn new(once: bool, policy: &Policy, shift: Shift, first: Mono) -> Twins {
        let new = || {
            let policy = policy.clone();
            if once { Dispatcher::once(policy) } else { Dispatcher::new(policy) }
        };
        let mut twins = Twins {
            now: Now { mono: first, unix: EPOCH },
            of: [new(), new()],
            shift,
            seqs: [0; 4],
        };
        let later = shift.now(twins.now);
        for _ in 0..shift.reap {
            twins.of[1].step(later, Event::KernelReady, &mut Vec::new());
        }
        twins.of[1].shared.next_attempt += shift.spawn;
        twins
    }

    fn moves(&mut self, moves: Moves) {
        let mono = (i128::from(self.now.mono.0) + moves.mono).max(0);
        let unix = self.now.unix.saturating_add(moves.unix).clamp(-(1 << 40), 1 << 40);
        self.now = Now { mono: Mono(u64::try_from(mono).unwrap()), unix };
    }

    /// The event that this is for the first of them.
    fn event(&self, happening: Happening) -> Event {
        let mut event = happening.event(|board| self.seqs[usize::try_from(board.0).unwrap()]);
        tame(&mut event);
        event
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.of[0].step(self.now, event, &mut effects);
        for effect in &effects {
            if let Effect::Connect { board, seq, .. } | Effect::Exchange { board, seq, .. } = effect
            {
                self.seqs[usize::try_from(board.0).unwrap()] = *seq;
            }
        }
        effects
    }

    fn step_both(&mut self, event: Event) {
        let (now, shifted) = (self.shift.now(self.now), self.shift.event(event.clone()));
        let mut theirs = Vec::new();
        self.of[1].step(now, shifted, &mut theirs);
        let ours: Vec<Effect> =
            self.step(event).into_iter().map(|effect| self.shift.effect(effect)).collect();
        assert_eq!(ours, theirs);
        assert_eq!(self.of[0].canonical(self.now), self.of[1].canonical(now));
    }

    /// Replaces the second by the canonical form of the first, as it looks `from`, and has both go
    /// on from there.
    fn step_from_canonical(&mut self, from: Now, now: Now, event: Event) {
        let frame = self.of[0].renaming(from, (0..9).map(SpawnId));
        let mut canonical = self.of[0].relative(&frame);
        let relative = (Frame::now(&frame, now), frame.event(event.clone()));
        let mut theirs = Vec::new();
        canonical.step(relative.0, relative.1, &mut theirs);
        self.now = now;
        let ours: Vec<Effect> =
            self.step(event).into_iter().map(|effect| frame.effect(effect)).collect();
        assert_eq!(ours, theirs);
        assert_eq!(self.of[0].canonical(now), canonical.canonical(relative.0));
        // A clock that went back is not looked at.
        let (now, then) = (self.of[0].clamped(now), canonical.clamped(relative.0));
        for grace_ms in [0, 1_000] {
            let stands = |of: &Dispatcher, now| {
                [
                    of.is_idle(now, grace_ms),
                    of.is_drained(now, grace_ms),
                    of.has_started(now, grace_ms),
                    of.is_settled(),
                ]
            };
            assert_eq!(stands(&self.of[0], now), stands(&canonical, then));
        }
    }

    /// Lists the boards that there are in the beginning.
    fn begin(&mut self) {
        for board in 1..3 {
            self.step_both(Event::BoardAdded { board: BoardId(board) });
        }
    }
}

impl Twins {
    fn goes_on(&mut self, ms: u64, happening: Happening) {
        let now = Now { mono: self.now.mono.after(ms), ..self.now };
        let event = self.event(happening);
        self.step_from_canonical(self.now, now, event);
    }

    /// Both boards are open and were found empty.
    fn open() -> Twins {
        let first = Mono(PRESENT.mono.0 % JITTER_MS);
        let mut twins = Twins::new(false, &Policy::default(), NO_SHIFT, first);
        twins.begin();
        twins.goes_on(0, Happening::Any(Event::BoardsListed));
        for board in [B, C] {
            twins.goes_on(0, Happening::Opens(board));
            twins.answers(0, &[], Observation::default(), board);
        }
        twins
    }

    fn answers(&mut self, ms: u64, taken: &[Taken], seen: Observation, board: BoardId) {
        let answer = Answer { taken: taken.to_vec(), observation: Some(seen) };
        self.goes_on(ms, Happening::Answers(board, answer));
    }
}

#[test]
fn a_board_that_fails_repeatedly_keeps_failing() {
    for class in [FaultClass::Busy, FaultClass::Access, FaultClass::Content, FaultClass::Replaced] {
        let mut twins = Twins::open();
        twins.goes_on(1, Happening::Any(Event::Tick));
        for _ in 0..20 {
            twins.goes_on(1, Happening::Fails(B, fault(class), Commit::No));
            twins.goes_on(0, Happening::OpensNot(B, fault(class)));
            twins.goes_on(300_000, Happening::Any(Event::Wake));
            twins.goes_on(0, Happening::Opens(B));
        }
    }
}

#[test]
fn a_board_that_is_locked_for_long_is_still_locked() {
    let mut twins = Twins::open();
    twins.goes_on(JITTER_MS, Happening::Any(Event::Tick));
    twins.answers(0, &[], ready(&["t1"]), B);
    twins.answers(0, &[], Observation::default(), C);
    let mut idle = Vec::new();
    for _ in 0..20 {
        twins.answers(0, &[Taken::No(Refusal::Locked)], ready(&["t1"]), B);
        idle.push(twins.of[0].is_idle(twins.now, 1_000));
        // Looked at, and claimed again.
        twins.goes_on(JITTER_MS, Happening::Any(Event::Wake));
    }
    assert!(idle.contains(&true) && idle.contains(&false), "{idle:?}");
}

#[test]
fn what_has_refused_to_start_anything_for_long_still_has() {
    for blame in [Blame::Host, Blame::Board] {
        let mut twins = Twins::open();
        twins.goes_on(1, Happening::Any(Event::Tick));
        twins.answers(0, &[], ready(&["t1"]), B);
        twins.answers(0, &[], Observation::default(), C);
        let idle = [1, 2].map(|n| {
            twins.answers(0, &[claimed(n)], ours(&[n]), B);
            let failed = Event::SpawnFailed { spawn: SpawnId(n), blame, errno: 11 };
            twins.goes_on(0, Happening::Any(failed));
            let next = format!("t{}", n + 1);
            twins.answers(0, &[Taken::Yes], ready(&[&next]), B);
            let idle = twins.of[0].is_idle(twins.now, 1_000);
            // The same task, claimed again.
            twins.goes_on(1_000, Happening::Any(Event::Wake));
            idle
        });
        assert_eq!(idle, [false, true], "{blame:?}");
    }
}

#[test]
fn others_that_have_written_for_long_still_have() {
    let mut twins = Twins::open();
    let idle = [(); 21].map(|()| {
        twins.goes_on(50, Happening::Any(Event::BoardChanged { board: B }));
        if twins.of[0].boards().any(|board| board.id() == B && is_under_way(board)) {
            twins.answers(0, &[], Observation::default(), B);
        }
        twins.goes_on(1, Happening::Any(Event::Wake));
        twins.answers(0, &[], Observation::default(), B);
        twins.of[0].is_idle(twins.now, 1_000)
    });
    assert!(idle[20] && !idle[19], "{idle:?}");
}

#[test]
fn a_run_that_is_ended_because_its_time_is_over_has_run_as_long_as_it_has() {
    let mut twins = Twins::open();
    twins.goes_on(1, Happening::Any(Event::Tick));
    twins.answers(1, &[], ready(&["t1"]), B);
    let taken = Taken::Claimed { run: fence(1).run, max_runtime_s: Some(60) };
    twins.answers(1, &[taken], ours(&[1]), B);
    let spawn_ok = Event::SpawnOk { spawn: SpawnId(1), pid: pid(1) };
    twins.goes_on(1, Happening::Any(spawn_ok));
    twins.goes_on(5, Happening::Any(Event::Wake));
    twins.answers(1, &[Taken::Yes], ours(&[1]), B);
    twins.goes_on(61_000, Happening::Any(Event::Wake));
    twins.goes_on(2_500, Happening::Any(exit(1, 0)));
    let (_, attempt) = twins.of[0].attempts().next().unwrap();
    let verdict = Verdict::TimedOut { elapsed_s: 63, limit_s: 60, killed: false };
    assert!(matches!(attempt.debt().end(), End::Owed { verdict: owed, .. } if owed == verdict));
}

#[test]
fn an_attempt_that_is_yet_to_come_takes_no_number_from_those_that_are_known() {
    let young = young();
    let (now, next) = (young.now(), SpawnId(2));
    assert_eq!(young.dispatcher.renaming(now, [next]), young.dispatcher.renaming(now, []));
    assert_eq!(young.dispatcher.renaming(now, []).spawn(next), Some(next));
}

#[test]
fn an_alarm_that_has_passed_is_as_good_as_one_that_was_given() {
    let (mut given, mut passed) = (World::open(), World::open());
    assert_eq!(given.wake, Some(10_000));
    given.after(10_000, Event::Wake);
    passed.ms = 10_000;
    assert_ne!(given.dispatcher, passed.dispatcher);
    assert_eq!(given.canonical(), passed.canonical());
}

#[test]
fn from_some_number_on_one_more_fault_is_the_same_situation() {
    let mut world = World::running();
    world.exits(1, 0);
    let mut forms = Vec::new();
    for _ in 0..14 {
        let effects = world.exchange_failed(B, FaultClass::Access, Commit::No);
        let told = effects.iter().filter(|effect| matches!(effect, Effect::Report(_)));
        assert!(told.count() <= 1, "told once");
        forms.push(world.canonical());
        // Listed again, it is tried immediately.
        world.step(Event::BoardRemoved { board: B });
        assert_eq!(sent(&world.step(Event::BoardAdded { board: B })).len(), 1);
    }
    assert_ne!(forms[0], forms[1]);
    assert_eq!(forms[11], forms[12]);
}

fn any_shift() -> impl Strategy<Value = Shift> {
    (0_u64..1 << 40, -(1_i64 << 40)..1 << 40, 0_u64..1 << 40, 0_u64..9)
        .prop_map(|(mono, unix, spawn, reap)| Shift { mono: mono * JITTER_MS, unix, spawn, reap })
}

const NO_SHIFT: Shift = Shift { mono: 0, unix: 0, spawn: 0, reap: 0 };

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_twin_that_lives_later_does_the_same(
        (once, policy, life) in any_life(),
        shift in any_shift(),
    ) {
        let mut twins = Twins::new(once, &policy, shift, Mono(0));
        twins.begin();
        for (moves, happening) in life {
            twins.moves(moves);
            let event = twins.event(happening);
            twins.step_both(event);
        }
    }

    #[test]
    fn what_goes_on_from_its_canonical_form_does_the_same(
        (once, policy, life) in any_life(),
        locks in any::<bool>(),
    ) {
        // Either there are locks, or the clock is arbitrary.
        let first = Mono(PRESENT.mono.0 % JITTER_MS);
        let mut twins = Twins::new(once, &policy, NO_SHIFT, first);
        twins.begin();
        for (n, (moves, happening)) in life.into_iter().enumerate() {
            let mut event = twins.event(happening);
            let before = twins.now;
            let mono = if locks { moves.mono * i128::from(JITTER_MS) } else { moves.mono };
            twins.moves(Moves { mono, ..moves });
            if locks {
                let step = twins.now.mono.since(first) / JITTER_MS * JITTER_MS;
                twins.now.mono = first.after(step);
            } else {
                unlocked(&mut event);
            }
            let now = twins.now;
            let from = if n % 2 == 0 && now.mono > before.mono { now } else { before };
            twins.step_from_canonical(from, now, event);
        }
    }

    #[test]
    fn a_canonical_form_is_its_own((once, policy, life) in any_life()) {
        let mut twins = Twins::new(once, &policy, NO_SHIFT, Mono(0));
        twins.begin();
        for (moves, happening) in life {
            twins.moves(moves);
            let event = twins.event(happening);
            twins.step(event);
            let canonical = twins.of[0].canonical(twins.now);
            assert_eq!(canonical.canonical(PRESENT), canonical);
            // Those who find themselves at another time find the same.
            let later = Now { mono: twins.now.mono.after(1), ..twins.now };
            let then = Now { mono: PRESENT.mono.after(1), ..PRESENT };
            if twins.of[0].clamped(twins.now) == twins.now {
                assert_eq!(twins.of[0].canonical(later), canonical.canonical(then));
            }
        }
    }
}
