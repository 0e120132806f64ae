//! What can be wrong with a board or a spawn, and who is charged for it.

/// Who is charged for a spawn that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// The task or its worker's command: it spends the task's budget.
    Task,
    /// The host (EAGAIN, EMFILE, ENOMEM…): everything waits a moment, no budget is touched.
    Host,
    /// The board's directories (workspaces, worker logs), which fail: this board alone waits a
    /// moment. No budget is touched.
    Board,
}

/// Whether the changes of a failed exchange may be in the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Commit {
    /// None of them is.
    No,
    /// They may be: the failure came at COMMIT, or the file was replaced meanwhile.
    Maybe,
}

/// What is wrong with a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// Decides when to try again and whether the file is closed.
    pub class: FaultClass,
    /// True if this is the very file that was refused before, looked at without opening it.
    pub unchanged: bool,
}

/// The classes of faults of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultClass {
    /// Its bytes are wrong: header, check, schema. Only another file, or time, can change that.
    Content,
    /// It cannot be opened, read or written: no file, no permission, EIO, read-only, full.
    Access,
    /// Another process holds its lock.
    Busy,
    /// The path leads to another file than the open one, or to none: the open one is closed.
    Replaced,
}
