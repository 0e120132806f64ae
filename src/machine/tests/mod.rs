//! The machine as a whole: *this state, this event, exactly these effects*.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

mod any_events;
mod board;
mod canonical;
mod climb;
mod dispatcher;
mod header;
mod pass;
mod plan;
mod run;
mod standing;
mod world;
