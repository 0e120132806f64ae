//! Finds the file of a command's program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use super::error::SpawnError;

/// Where `execvp` looks when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Returns the path to execute. It is looked up here, because `execvp` would search *our* `PATH`.
pub(super) fn find(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
) -> Result<PathBuf, SpawnError> {
    let name = argv.first().map_or(OsStr::new(""), OsString::as_os_str);
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let fail = |reason: String, errno| SpawnError::Program { program: name.into(), reason, errno };
    if name.is_empty() {
        return Err(fail("the command is empty; name a program".to_owned(), Errno::ENOENT));
    }
    let path = env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut unusable = None;
    for directory in std::env::split_paths(path) {
        // An empty or relative entry refers to the worker's directory, not ours.
        let candidate = cwd.join(directory).join(name);
        if !fs::metadata(&candidate).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        match eaccess(&candidate, AccessFlags::X_OK) {
            Ok(()) => return Ok(candidate),
            Err(errno) => unusable = unusable.or(Some((candidate, errno))),
        }
    }
    Err(match unusable {
        Some((found, errno)) => fail(format!("{} is not executable", found.display()), errno),
        None => fail(
            format!("not found on PATH ({}); install it or give its full path", path.display()),
            Errno::ENOENT,
        ),
    })
}
