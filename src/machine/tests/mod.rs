//! The machine as a whole: *this state, this event, exactly these effects*.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

mod adoption;
mod any_events;
mod attempt;
mod board;
mod canonical;
mod dispatcher;
mod header;
mod pass;
mod plan;
mod recheck;
mod standing;
mod world;
