//! Single situations: what has lasted, or has happened often, still has in its canonical form.

use super::*;

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
