//! Where sexton keeps what must not lie on the boards' own disk.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Environment, RootError};

/// Returns the state directory of a root: the same for all paths to one root. It is not created.
pub fn state_directory(root: &Path, env: &Environment) -> Result<PathBuf, RootError> {
    let base = env.directory("XDG_STATE_HOME", ".local/state").ok_or(RootError::NoHome)?;
    let real =
        fs::canonicalize(root).map_err(|source| RootError::Io { path: root.to_owned(), source })?;
    Ok(base.join("sexton").join(name_of(&real)))
}

/// The first 16 hex digits of the path's SHA-256.
fn name_of(real: &Path) -> String {
    let digest = Sha256::digest(real.as_os_str().as_bytes());
    digest.iter().take(8).fold(String::new(), |mut name, byte| {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_one_state_directory_by_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let env = Environment::of(&[("XDG_STATE_HOME", "/state")]);
        let directory = state_directory(&real, &env).unwrap();
        assert_eq!(directory, state_directory(&link, &env).unwrap());
        assert_eq!(directory.parent(), Some(Path::new("/state/sexton")));
    }

    #[test]
    fn the_name_is_the_head_of_a_sha_256() {
        // printf /r | sha256sum
        assert_eq!(name_of(Path::new("/r")), "6588117f7b516232");
    }
}
