//! The machine as a whole: *this state, this event, exactly these effects*.

mod dispatcher;
mod world;
