//! Two dispatchers that differ only in when they live and in how attempts are numbered behave alike.

mod frame;
mod situations;

use super::*;
use frame::Frame;

/// The same life for one dispatcher and another that differs from it only in when it lives and how
/// its attempts are numbered.
struct Twins {
    now: Now,
    of: [Dispatcher; 2],
    /// How the second sees what happens to the first.
    shift: Shift,
    seqs: [u64; 4],
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
