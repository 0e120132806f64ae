//! The machine as a whole: *this state, this event, exactly these effects*.

mod dispatcher;
mod pass;
mod world;
