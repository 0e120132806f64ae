//! `exhaust`
use clap::Args;
use super::Failure;
/// placeholder
#[derive(Debug, Args)]
pub struct Exhaust {}
impl Exhaust {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> { Ok(()) }
}
