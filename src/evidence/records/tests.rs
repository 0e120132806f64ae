//! Shared by the tests of records.

mod cuts;
mod reading;
mod sweeping;
mod writing;

use std::path::Path;

use super::image::Image;
use super::*;
use crate::machine::ids::{RunId, TaskId};

/// The name of a dispatcher.
const NAME: &str = "4242.0f6b3c1e-1b5c-4f0e-9a57-3d4b6a7c8d9e.4026531836.4026531834.123456";

/// One operation on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The file reads as zeros up to this offset, from where it ended before.
    Allocate { until: u64 },
    /// These bytes were written at this offset.
    Write { at: u64, bytes: Vec<u8> },
}

fn intent(number: u64) -> Intent {
    Intent {
        board: format!("board-{number}"),
        task: TaskId::new(&format!("t_{number}")).unwrap(),
        run: RunId(number as i64 + 1000),
    }
}

/// Creates records that grow by two slots at a time.
fn small(directory: &Path) -> Records {
    Records::create_with(directory, NAME, 2).unwrap()
}
