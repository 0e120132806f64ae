//! The boards of the demo, their tasks, and how each task must end.

use State::{Done, GaveUp, NotRecorded, NotStarted, Resting};
use serde::Serialize;

/// The board whose file is damaged while its workers run.
pub const FALLING: &str = "falling";
/// The board whose file is damaged before the start.
pub const TORN: &str = "torn";
/// The boards, in the order in which they are shown.
pub const BOARDS: [&str; 4] = ["default", "second", FALLING, TORN];
/// Tasks of [`FALLING`] whose workers run when it is damaged: as many as a board may have.
pub const CAUGHT: [&str; 4] = ["caught-1", "caught-2", "caught-3", "caught-4"];

pub const CONFIG: &str = r#"
dispatch = { interval = "1s", max_workers = 12, max_in_progress = 4, failure_limit = 2, keeper = false }
worker.shell = { command = ["sh", "-c", "{body}"], kill_after = "500ms" }
"#;

/// How a task stands, and the number of its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    GaveUp = 1,
    Done = 2,
    /// After a rate limit.
    Resting = 3,
    /// Its board is damaged and could not take the exit.
    NotRecorded = 5,
    Running = 6,
    /// Its board is damaged.
    NotStarted = 7,
    Waiting = 8,
}

/// Tasks that do the same: their name, how many each of [`BOARDS`] has, what they do, the same for
/// `sh`, how each must end, and after how many attempts.
pub type Kind = (&'static str, [usize; 4], &'static str, &'static str, State, usize);

/// May take a second.
pub const DEAF: &str = "trap '' TERM; while :; do sleep 0.2; done";
/// Each waits for the one before it.
pub const CHAINED: &str = "sleep 0.4";
const DIES_ONCE: &str = r#"[ -e "$CUES/died" ] || { touch "$CUES/died"; kill -9 $$; }"#;
const FAILS_ONCE: &str = r#"[ -e "$CUES/failed" ] || { touch "$CUES/failed"; exit 1; }"#;
const OUTLIVE: &str = r#"touch "$CUES/$SEXTON_TITLE"
    until [ -e "$CUES/fallen" ]; do sleep 0.05; done; [ "$SEXTON_TITLE" != caught-4 ] || exit 3"#;
const NEVER: &str = r#"touch "$CUES/$SEXTON_TITLE""#;

/// All tasks, in the order in which each board gets them.
pub const SCRIPT: [Kind; 14] = [
    ("deaf", [1, 1, 0, 0], "ignores TERM, has 1 s", DEAF, GaveUp, 2),
    ("fork", [1, 0, 0, 0], "leaves a child behind", "setsid sleep 0.8 & exit 0", Done, 1),
    ("job", [1, 0, 0, 0], "leaves a job behind", "sleep 60 & exit 0", Done, 1),
    ("killed", [1, 0, 0, 0], "is killed each time", "sleep 0.2; kill -9 $$", GaveUp, 2),
    ("fails", [1, 0, 0, 0], "fails each time", "sleep 0.2; exit 3", GaveUp, 2),
    ("missing", [0, 1, 0, 0], "command not found", "no-such-program", GaveUp, 2),
    ("walled", [1, 1, 0, 0], "hits a rate limit", "sleep 0.2; exit 75", Resting, 1),
    ("dies", [0, 1, 0, 0], "is killed once", DIES_ONCE, Done, 2),
    ("tries", [0, 1, 0, 0], "fails once", FAILS_ONCE, Done, 2),
    ("row", [3, 3, 0, 0], "works, one by one", CHAINED, Done, 1),
    ("work", [3, 3, 0, 0], "works", "sleep 0.5", Done, 1),
    ("caught", [0, 0, 4, 0], "ends after the damage", OUTLIVE, NotRecorded, 1),
    ("late", [0, 0, 1, 0], "comes too late", NEVER, NotStarted, 0),
    ("unseen", [0, 0, 0, 2], "comes too late", NEVER, NotStarted, 0),
];
