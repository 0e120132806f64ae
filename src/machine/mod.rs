//! The pure machine: events in, effects out. No I/O, no clock, no randomness, no panic.
//!
//! [`Dispatcher::step`] is the only way in. Start reading there:
//!
//! * `dispatcher`: routes an event to the board that owns it, serves timers, begins passes.
//! * `board/`: `link` (its file, a table), `attention` (when to look), `view` (what was observed),
//!   `attempts` (its attempts, and indexes over them), `pass` (sends a request, takes its answer).
//! * `attempt/`: `table` (from stage and input to the next stage), `acts` (the effects of its arms),
//!   `stage` (the data of each stage), `debt` (what the board has yet to record).
//! * `plan`, `hold`, `verdict`, `adoption`, `header`: pure functions. `event`, `effect`, `exchange`, `fault`,
//!   `policy`, `ids`: the vocabulary.
//! * `time`: the timers, on two clocks. `backoff`, `escalation`, `quarantine`, `reaper`, `host`: one
//!   rule each. `turn`: what a part may change outside itself.
//! * `standing`: what is left to wait for. `canonical`: on top of all others; no module imports it.
//!
//! A worker's exit is handled in this order: `KernelReady` → `Effect::Reap` → `ChildExited` → the
//! board of the attempt → the stage table, which notes the verdict as a debt → the next pass sends it
//! in an `Exchange` → `Exchanged` settles the debt, and the attempt is forgotten.
//!
#![doc = include_str!("table.md")]

pub mod adoption;
pub mod attempt;
mod backoff;
pub mod board;
pub mod canonical;
mod dispatcher;
pub mod effect;
pub mod escalation;
pub mod event;
pub mod exchange;
pub mod fault;
pub mod header;
pub mod hold;
mod host;
pub mod ids;
pub mod plan;
pub mod policy;
pub mod quarantine;
pub mod reaper;
mod renamer;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod standing;
#[cfg(test)]
mod tests;
pub mod time;
mod turn;
pub mod verdict;

pub use dispatcher::Dispatcher;
pub use turn::Mode;
