//! Any events in any order, answers to what was asked and plain nonsense alike, while the clocks
//! stand still, go on or jump.

mod any;
mod watched;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::machine::event::Event;
use crate::machine::exchange::Answer;
use crate::machine::fault::{Commit, Fault};
use crate::machine::ids::BoardId;

pub use any::any_life;

use watched::Watched;

const MAX_WORKERS: u32 = 2;

/// The next thing to happen in a generated history.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Whether or not it makes sense.
    Any(Event),
    /// The newest request to a board is answered like this.
    Opens(BoardId),
    OpensNot(BoardId, Fault),
    Answers(BoardId, Answer),
    Fails(BoardId, Fault, Commit),
}

/// How far the clocks move before it.
#[derive(Clone, Copy, Debug)]
pub struct Moves {
    pub mono: i128,
    pub unix: i64,
}

impl Happening {
    /// The event, where the newest request to each board has this number.
    pub fn event(self, seq: impl Fn(&BoardId) -> u64) -> Event {
        match self {
            Happening::Any(event) => event,
            Happening::Opens(board) => Event::Connected { board, seq: seq(&board) },
            Happening::OpensNot(board, fault) => {
                Event::ConnectFailed { board, seq: seq(&board), fault }
            }
            Happening::Answers(board, answer) => {
                Event::Exchanged { board, seq: seq(&board), answer: Box::new(answer) }
            }
            Happening::Fails(board, fault, commit) => {
                Event::ExchangeFailed { board, seq: seq(&board), fault, commit }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn no_events_in_any_order_break_what_must_always_hold((once, policy, life) in any_life()) {
        Watched::new(once, policy).live(life);
    }

    #[test]
    fn after_any_events_an_abort_comes_to_its_end((once, policy, life) in any_life()) {
        let mut watched = Watched::new(once, policy);
        watched.live(life);
        watched.end();
    }

    #[test]
    fn no_numbers_are_too_large(
        (once, policy, life) in any_life(),
        times in vec((any::<u64>(), any::<i64>()), 1..120),
    ) {
        let mut watched = Watched::new(once, policy);
        for ((_, happening), (mono, unix)) in life.into_iter().zip(times) {
            // The machine holds on to the latest moment; so must the watch.
            (watched.mono, watched.unix) = (watched.mono.max(mono), unix);
            watched.happens(happening);
        }
    }
}
