//! One slot holds one attempt. Each of its parts is written in one call and has its own check.
//!
//! | bytes | part | check |
//! |---|---|---|
//! | 0..8 | state: zero or `intended` | is one of the two |
//! | 8..136 | intent: its check, attempt, run, task, board | FNV-1a |
//! | 136..144 | pid | its complement |
//! | 144..160 | start time | FNV-1a with the attempt |
//! | 160..184 | verdict | FNV-1a with the attempt |
//! | 184..256 | not used, zero | |
//!
//! The intent is written together with zeros for all parts after it, and a slot is freed by its state
//! alone. So wherever the dispatcher is killed, a slot is one of these: free, whatever its other bytes
//! are; in use with some of its parts; or, if the kernel can cut a call short within a page, damaged.
//! If an intent was cut short, no process was started; but later damage can produce the same bytes, so
//! a reader concludes nothing from them.
//!
//! Numbers are in the host's byte order: neither workers nor the file are used on another host.

use std::str;

use super::check::{check, of_twofold, twofold, word};
use super::end;
use crate::machine::ids::{Pid, RunId, SpawnId, TaskId};
use crate::machine::verdict::Verdict;

/// Length of a slot in bytes. No slot crosses a page.
pub(super) const SLOT: usize = 256;
/// Offset of the pid in a slot, in bytes.
pub(super) const PID: u64 = 136;

/// The state of a slot in use. A free slot has zero: no change of one byte makes a used slot free.
const USED: u64 = u64::from_ne_bytes(*b"intended");

const CHECK: usize = 8;
const SPAWN: usize = 16;
const RUN: usize = 24;
const TASK: usize = 32;
const BOARD: usize = 64;
const BOARD_END: usize = BOARD + 1 + MAX_BOARD;
const INTENT_END: usize = 136;
const START: u64 = 144;
const END: u64 = 160;

/// Maximum length of a slug that is kept, in bytes. No board has a longer one.
const MAX_BOARD: usize = 64;

/// What a process is to be started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Slug of the board. A slug of more than 64 bytes is cut.
    pub board: String,
    /// The task.
    pub task: TaskId,
    /// The run that its claim opened.
    pub run: RunId,
}

/// What a file says about an attempt of its dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The file is intact and has no intent: no process was started for this attempt, or its board has
    /// recorded its end.
    NoIntent,
    /// An intent, and no pid: if the lock is free, no program was executed.
    Intent {
        /// What the process was to be started for.
        intent: Intent,
        /// How the attempt ended, if that was written.
        end: Option<Verdict>,
    },
    /// The process with this pid was the worker.
    Started {
        /// What it was started for.
        intent: Intent,
        /// Its pid, as its dispatcher saw it.
        pid: Pid,
        /// When it started, in clock ticks since boot, if that was written.
        start: Option<u64>,
        /// How the attempt ended, if that was written.
        end: Option<Verdict>,
    },
    /// Unknown: what there is of the attempt is damaged, or a damaged slot could be the attempt's.
    /// While the dispatcher is alive, a slot that is being written can look like this too.
    Damaged,
}

/// Bytes that are written in one call, and their offset in the slot.
pub(super) struct Part<const N: usize> {
    pub(super) at: u64,
    pub(super) bytes: [u8; N],
}

/// Returns the bytes that free a slot.
pub(super) const FREE: Part<8> = Part { at: 0, bytes: [0; 8] };
/// Returns zeros for everything after the state of a free slot.
pub(super) const EMPTY: Part<{ SLOT - 8 }> = Part { at: 8, bytes: [0; SLOT - 8] };

/// Returns a whole slot, with an intent and nothing else.
pub(super) fn intended(spawn: SpawnId, intent: &Intent) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..CHECK].copy_from_slice(&USED.to_ne_bytes());
    bytes[SPAWN..RUN].copy_from_slice(&spawn.0.to_ne_bytes());
    bytes[RUN..TASK].copy_from_slice(&intent.run.0.to_ne_bytes());
    put_text(&mut bytes[TASK..BOARD], intent.task.as_str());
    let cut = intent.board.floor_char_boundary(MAX_BOARD);
    put_text(&mut bytes[BOARD..BOARD_END], &intent.board[..cut]);
    let sum = check(&[&bytes[SPAWN..INTENT_END]]);
    bytes[CHECK..SPAWN].copy_from_slice(&sum.to_ne_bytes());
    bytes
}

/// Returns the pid. A process writes its own pid in the same form, without this function.
pub(super) fn pid(pid: Pid) -> Part<8> {
    Part { at: PID, bytes: twofold(pid.0.cast_unsigned()).to_ne_bytes() }
}

/// Returns the start time.
pub(super) fn started(spawn: SpawnId, start: u64) -> Part<16> {
    Part { at: START, bytes: checked(spawn, start.to_ne_bytes()) }
}

/// Returns the verdict.
pub(super) fn ended(spawn: SpawnId, verdict: Verdict) -> Part<24> {
    let mut bytes = [0; 16];
    for (place, number) in bytes.chunks_exact_mut(4).zip(end::encode(verdict)) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    Part { at: END, bytes: checked(spawn, bytes) }
}

/// Returns a part followed by its check. The check covers the attempt, so that a part left by another
/// attempt is never taken for this one's.
fn checked<const N: usize, const M: usize>(spawn: SpawnId, part: [u8; N]) -> [u8; M] {
    let mut bytes = [0; M];
    bytes[..N].copy_from_slice(&part);
    bytes[N..].copy_from_slice(&check(&[&spawn.0.to_ne_bytes(), &part]).to_ne_bytes());
    bytes
}

/// Writes a text of less than 256 bytes that fits, preceded by its length.
fn put_text(place: &mut [u8], text: &str) {
    place[0] = text.len() as u8;
    place[1..=text.len()].copy_from_slice(text.as_bytes());
}

/// What a slot holds.
pub(super) enum Held {
    /// Never used, or cleared.
    Nothing,
    /// An attempt's record.
    Record(SpawnId, Found),
    /// Damaged: it may belong to any attempt.
    Damaged,
}

/// Reads the bytes of a slot, of which there may be too few.
pub(super) fn read(bytes: &[u8]) -> Held {
    let Some(bytes) = bytes.first_chunk::<SLOT>() else { return Held::Damaged };
    match word(bytes, 0) {
        Some(0) => Held::Nothing,
        Some(USED) => read_record(bytes).unwrap_or(Held::Damaged),
        Some(_) | None => Held::Damaged,
    }
}

/// Returns the record; `None` if the intent is damaged.
fn read_record(bytes: &[u8; SLOT]) -> Option<Held> {
    if word(bytes, CHECK)? != check(&[&bytes[SPAWN..INTENT_END]]) {
        return None;
    }
    let spawn = SpawnId(word(bytes, SPAWN)?);
    let intent = Intent {
        board: text(&bytes[BOARD..BOARD_END])?.to_owned(),
        task: TaskId::new(text(&bytes[TASK..BOARD])?)?,
        run: RunId(word(bytes, RUN)?.cast_signed()),
    };
    let end = read_end(spawn, bytes);
    let found = match word(bytes, PID as usize)? {
        0 => Found::Intent { intent, end },
        word => match read_pid(word) {
            Some(pid) => Found::Started { intent, pid, start: read_start(spawn, bytes), end },
            // Not the same as no pid: there was a process.
            None => Found::Damaged,
        },
    };
    Some(Held::Record(spawn, found))
}

fn read_pid(word: u64) -> Option<Pid> {
    let pid = of_twofold(word)?.cast_signed();
    (pid > 0).then_some(Pid(pid))
}

fn read_start(spawn: SpawnId, bytes: &[u8; SLOT]) -> Option<u64> {
    unchecked(spawn, &bytes[START as usize..]).map(u64::from_ne_bytes)
}

fn read_end(spawn: SpawnId, bytes: &[u8; SLOT]) -> Option<Verdict> {
    let bytes: [u8; 16] = unchecked(spawn, &bytes[END as usize..])?;
    let mut numbers = [0; 4];
    for (number, place) in numbers.iter_mut().zip(bytes.as_chunks().0) {
        *number = u32::from_ne_bytes(*place);
    }
    end::decode(numbers)
}

/// The reverse of [`checked`]; `None` if the part was not written, or not completely.
fn unchecked<const N: usize>(spawn: SpawnId, bytes: &[u8]) -> Option<[u8; N]> {
    let part: &[u8; N] = bytes.first_chunk()?;
    (word(bytes, N)? == check(&[&spawn.0.to_ne_bytes(), part])).then_some(*part)
}

fn text(place: &[u8]) -> Option<&str> {
    let (len, text) = place.split_first()?;
    str::from_utf8(text.get(..usize::from(*len))?).ok()
}
