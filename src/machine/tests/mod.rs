//! The machine as a whole: *this state, this event, exactly these effects*.

mod any_events;
mod board;
mod dispatcher;
mod pass;
mod world;
