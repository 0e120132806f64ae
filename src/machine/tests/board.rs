//! A board that is opened, sick, slow, replaced, removed.

mod directories;
mod hung;
mod listed;
mod looks;
mod unusable;
