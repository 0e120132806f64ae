//! The names of the files beside a database.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The path with `suffix` appended to its file name.
pub(crate) fn beside(board: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(board);
    name.push(suffix);
    PathBuf::from(name)
}
