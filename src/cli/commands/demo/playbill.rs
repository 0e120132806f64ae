//! What is on: the boards, their tasks, and how each task has to end.

/// The two boards that stay well.
pub const HEALTHY: [&str; 2] = ["default", "second"];
/// The board whose file is damaged before anything begins.
pub const TORN: &str = "torn";
/// The board whose file is damaged while its workers run.
pub const FALLING: &str = "falling";
/// How many workers of [`FALLING`] run when that happens: as many as one board may have.
pub const AT_THE_FALL: usize = 4;

/// How a task has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Done.
    Done,
    /// Given up after as many failures as are allowed.
    GaveUp,
    /// Resting: its worker reported a rate limit.
    Resting,
    /// Its board is out of use.
    OutOfUse,
}

/// One task.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// Its board.
    pub board: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What its worker does, in a few words.
    pub does: &'static str,
    /// The same for `sh`.
    pub body: &'static str,
    /// The title of the task that must be done first.
    pub after: Option<&'static str>,
    /// Seconds that it may take.
    pub limit_s: Option<i64>,
    /// How it has to end, and after how many attempts.
    pub end: (End, usize),
}

impl Act {
    const fn new(
        board: &'static str,
        title: &'static str,
        does: &'static str,
        body: &'static str,
        end: (End, usize),
    ) -> Act {
        Act { board, title, does, body, after: None, limit_s: None, end }
    }

    const fn after(self, parent: &'static str) -> Act {
        Act { after: Some(parent), ..self }
    }

    const fn within(self, seconds: i64) -> Act {
        Act { limit_s: Some(seconds), ..self }
    }
}

const DONE: (End, usize) = (End::Done, 1);
const SECOND_TRY: (End, usize) = (End::Done, 2);
const GAVE_UP: (End, usize) = (End::GaveUp, 2);
const RESTING: (End, usize) = (End::Resting, 1);
const CUT_OFF: (End, usize) = (End::OutOfUse, 1);
const NEVER: (End, usize) = (End::OutOfUse, 0);

const DEAF: &str = "trap '' TERM; while :; do sleep 0.2; done";
const WAIT: &str = "touch \"$CUES/started-$SEXTON_TASK_ID\"; \
                    until [ -e \"$CUES/fallen\" ]; do sleep 0.05; done; ";
const LAST_WAIT: &str = "touch \"$CUES/started-$SEXTON_TASK_ID\"; \
                         until [ -e \"$CUES/fallen\" ]; do sleep 0.05; done; exit 3";

/// All tasks, in the order in which they are made.
pub const ACTS: [Act; 30] = [
    Act::new("default", "deaf", "ignores TERM, has 1 s", DEAF, GAVE_UP).within(1),
    Act::new("default", "fork", "leaves a child of its own", "setsid sleep 0.8 & exit 0", DONE),
    Act::new("default", "linger", "leaves a job behind", "sleep 60 & exit 0", DONE),
    Act::new("default", "killed", "kill -9 each time", "sleep 0.2; kill -9 $$", GAVE_UP),
    Act::new("default", "fails", "exits with 3 each time", "sleep 0.2; exit 3", GAVE_UP),
    Act::new("default", "walled", "rate limited (exit 75)", "sleep 0.2; exit 75", RESTING),
    Act::new("default", "dig", "works", "sleep 0.5", DONE),
    Act::new("default", "line", "works, after `dig`", "sleep 0.5", DONE).after("dig"),
    Act::new("default", "fill", "works, after `line`", "sleep 0.3", DONE).after("line"),
    Act::new("default", "ring", "works", "sleep 0.4", DONE),
    Act::new("default", "sweep", "works", "sleep 0.6", DONE),
    Act::new("default", "quick", "works, very briefly", "exit 0", DONE),
    Act::new("second", "stubborn", "ignores TERM, has 1 s", DEAF, GAVE_UP).within(1),
    Act::new(
        "second",
        "lucky",
        "kill -9 the first time only",
        "[ -e \"$CUES/lucky\" ] || { touch \"$CUES/lucky\"; kill -9 $$; }",
        SECOND_TRY,
    ),
    Act::new(
        "second",
        "second-try",
        "exits with 1 the first time only",
        "[ -e \"$CUES/try\" ] || { touch \"$CUES/try\"; exit 1; }",
        SECOND_TRY,
    ),
    Act::new("second", "missing", "calls what is not there", "no-such-program", GAVE_UP),
    Act::new("second", "throttled", "rate limited (exit 75)", "exit 75", RESTING),
    Act::new("second", "mow", "works", "sleep 0.5", DONE),
    Act::new("second", "rake", "works, after `mow`", "sleep 0.4", DONE).after("mow"),
    Act::new("second", "plant", "works, after `rake`", "sleep 0.4", DONE).after("rake"),
    Act::new("second", "water", "works", "sleep 0.7", DONE),
    Act::new("second", "bell-1", "works", "sleep 0.3", DONE),
    Act::new("second", "bell-2", "works", "sleep 0.3", DONE),
    Act::new("falling", "caught-1", "ends after the damage", WAIT, CUT_OFF),
    Act::new("falling", "caught-2", "ends after the damage", WAIT, CUT_OFF),
    Act::new("falling", "caught-3", "ends after the damage", WAIT, CUT_OFF),
    Act::new("falling", "caught-4", "fails after the damage", LAST_WAIT, CUT_OFF),
    Act::new("falling", "too-late", "never begins", "exit 0", NEVER),
    Act::new("torn", "unseen-1", "never begins", "exit 0", NEVER),
    Act::new("torn", "unseen-2", "never begins", "exit 0", NEVER),
];
