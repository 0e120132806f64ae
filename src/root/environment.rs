//! The environment variables as they were when the program began, so that path logic can be tested
//! with any.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

/// A copy of the environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
    home: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process. The home directory comes from the user database if `HOME`
    /// is not set.
    #[must_use]
    pub fn of_this_process() -> Environment {
        let vars = std::env::vars_os().collect();
        Environment { vars, home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) }
    }

    /// One made of these variables and nothing else.
    #[must_use]
    pub fn of(vars: &[(&str, &str)]) -> Environment {
        let vars: BTreeMap<OsString, OsString> =
            vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let home = vars.get(OsStr::new("HOME")).map(PathBuf::from);
        Environment { vars, home }
    }

    /// Returns the user's home directory.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// A variable as text, trimmed; `None` if it is unset or blank.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.vars.get(OsStr::new(name))?.to_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns a variable as a full path: trimmed, `~` expanded, from the current directory on;
    /// `None` if it is unset or blank.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.given(name).map(|path| absolute(&path).unwrap_or(path))
    }

    /// A variable as the path that it holds.
    fn given(&self, name: &str) -> Option<PathBuf> {
        let raw = self.vars.get(OsStr::new(name))?;
        let trimmed = OsStr::from_bytes(raw.as_bytes().trim_ascii());
        (!trimmed.is_empty()).then(|| self.expand(Path::new(trimmed)))
    }

    /// Returns an XDG base directory: the variable if it holds an absolute path, else `fallback` in
    /// the home.
    #[must_use]
    pub fn directory(&self, name: &str, fallback: &str) -> Option<PathBuf> {
        self.given(name)
            .filter(|path| path.is_absolute())
            .or_else(|| self.home().map(|home| home.join(fallback)))
    }

    /// Returns `path` with a leading `~` replaced by the home directory.
    #[must_use]
    pub fn expand(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.to_owned(),
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        }
    }
}
