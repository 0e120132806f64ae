//! The dispatcher's own machine in a simulated world.
//!
//! So far a world of one line at a time: [`script`] plays hand-written events to the machine and
//! writes down what it answers.

pub mod script;
