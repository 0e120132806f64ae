//! Removes the files of dead dispatchers whose records have all been cleared.

use std::path::Path;

use super::RecordsError;
use super::file::{RecordsFile, names};
use super::image::Image;

/// Removes the files of dead dispatchers in which no record is left. Returns the names of the dead
/// dispatchers whose files stay: a record is still needed, a child has not executed yet, or the file
/// is damaged, unreadable or cannot be removed.
///
/// `is_alive` must also return true for a dispatcher that cannot be looked at, and for this process.
///
/// # Errors
/// [`RecordsError::System`] if the directory cannot be listed.
pub fn sweep(
    directory: &Path,
    is_alive: impl Fn(&str) -> bool,
) -> Result<Vec<String>, RecordsError> {
    let mut left = names(directory)?;
    // This test comes first: a dispatcher that has created its file and not locked it yet would find
    // it locked by this sweep.
    left.retain(|name| !is_alive(name) && !remove_if_disused(directory, name));
    Ok(left)
}

/// Returns true if the file is gone.
fn remove_if_disused(directory: &Path, name: &str) -> bool {
    let removed = RecordsFile::open(directory, name).and_then(|file| match file {
        Some(file) if is_disused(&file, name)? => file.remove().map(|()| true),
        Some(_) => Ok(false),
        // Another dispatcher removed it.
        None => Ok(true),
    });
    // A file that cannot be handled must not keep the others from being removed.
    removed.unwrap_or(false)
}

fn is_disused(file: &RecordsFile, name: &str) -> Result<bool, RecordsError> {
    if file.is_locked()? {
        return Ok(false);
    }
    let bytes = file.load()?;
    // Its dispatcher was killed before it wrote the header.
    let was_begun = !bytes.is_empty();
    Ok(!was_begun || Image::new(bytes, name).is_ok_and(|image| image.is_unused()))
}
