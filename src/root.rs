//! Where the boards are: which directory is the root, and the paths below it.
//!
//! Nothing here opens a board. Paths are computed from the caller's [`Environment`]; only [`Root::choose`], the board listing
//! and the state directory look at the file system.

mod boards;
mod environment;
mod slug;
mod state;

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};

pub use boards::{
    BoardPaths, DEFAULT_BOARD, Metadata, active_board, active_slug, board_exists, is_dispatched,
    list_boards, possible_boards,
};
pub use environment::Environment;
pub use slug::Slug;
pub use state::state_directory;

/// The directory that holds the boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The directory itself, by its full path. It need not exist yet.
    pub path: PathBuf,
    /// Why it is this one.
    pub origin: Origin,
}

/// What pointed to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The option `--root`.
    Flag,
    /// The variable `SEXTON_ROOT`.
    SextonRoot,
    /// The variable `HERMES_KANBAN_HOME`.
    HermesKanbanHome,
    /// The variable `HERMES_HOME`.
    HermesHome,
    /// `~/.hermes`, because boards are there already.
    ExistingHermes,
    /// The default: `sexton` in the XDG data directory.
    DataDirectory,
}

impl Origin {
    /// True if the variable or path that named it belongs to the Hermes client.
    #[must_use]
    pub fn is_hermes(self) -> bool {
        match self {
            Origin::HermesKanbanHome | Origin::HermesHome | Origin::ExistingHermes => true,
            Origin::Flag | Origin::SextonRoot | Origin::DataDirectory => false,
        }
    }
}

/// Why a root or a board of it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The root exists and is not a directory.
    #[error("the root {0} is not a directory; give a directory with --root or SEXTON_ROOT")]
    NotADirectory(PathBuf),
    /// No option or variable names the root, and `HOME` is not set.
    #[error("no root is known, because HOME is not set; give one with --root or SEXTON_ROOT")]
    NoHome,
    /// Not a name that a board can have.
    #[error(
        "`{0}` is not a board name; use up to 64 of a-z, 0-9, `_` and `-`, and begin with a \
         letter or digit"
    )]
    BadSlug(String),
    /// The board does not exist.
    #[error(
        "there is no board `{slug}` under {root}; `sexton boards list` shows which there are, \
         `sexton boards create {slug}` makes it"
    )]
    NoBoard {
        /// What was asked for.
        slug: Slug,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The path that could not be read.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Root {
    /// Returns the root that `flag` or the environment names. Fails if it exists and is not a
    /// directory.
    pub fn choose(flag: Option<&Path>, env: &Environment) -> Result<Root, RootError> {
        let mut root = decide(flag, env, holds_boards).ok_or(RootError::NoHome)?;
        // Workers start in other directories, and get paths below it.
        root.path = match absolute(&root.path) {
            Ok(path) => path,
            Err(source) => return Err(RootError::Io { path: root.path, source }),
        };
        match fs::metadata(&root.path) {
            Ok(found) if found.is_dir() => Ok(root),
            Ok(_) => Err(RootError::NotADirectory(root.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(root),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(RootError::NotADirectory(root.path))
            }
            Err(source) => Err(RootError::Io { path: root.path, source }),
        }
    }

    /// True if the directory exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }
}

/// Whether a directory is already used as a root.
fn holds_boards(directory: &Path) -> bool {
    directory.join("kanban.db").exists() || directory.join("kanban").is_dir()
}

/// The order of precedence, without a look at the file system except through `holds_boards`.
fn decide(
    flag: Option<&Path>,
    env: &Environment,
    holds_boards: impl Fn(&Path) -> bool,
) -> Option<Root> {
    let root = |path, origin| Some(Root { path, origin });
    if let Some(path) = flag {
        return root(path.to_owned(), Origin::Flag);
    }
    if let Some(path) = env.path("SEXTON_ROOT") {
        return root(path, Origin::SextonRoot);
    }
    if let Some(path) = env.path("HERMES_KANBAN_HOME") {
        return root(path, Origin::HermesKanbanHome);
    }
    if let Some(path) = env.path("HERMES_HOME") {
        return root(shared_by_profiles(&path, env.home()), Origin::HermesHome);
    }
    if let Some(hermes) = env.home().map(|home| home.join(".hermes"))
        && holds_boards(&hermes)
    {
        return root(hermes, Origin::ExistingHermes);
    }
    root(env.directory("XDG_DATA_HOME", ".local/share")?.join("sexton"), Origin::DataDirectory)
}

/// All profiles of a Hermes home share one root: that of the home, even if `HERMES_HOME` names the
/// directory of a profile.
fn shared_by_profiles(named: &Path, home: Option<&Path>) -> PathBuf {
    if let Some(hermes) = home.map(|home| home.join(".hermes"))
        && named.starts_with(&hermes)
    {
        return hermes;
    }
    match named.parent() {
        Some(parent) if parent.file_name().is_some_and(|name| name == "profiles") => {
            parent.parent().unwrap_or(named).to_owned()
        }
        _ => named.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flag: Option<&str>, vars: &[(&str, &str)], hermes: bool) -> (String, Origin) {
        let mut all = vec![("HOME", "/home/u")];
        all.extend_from_slice(vars);
        let env = Environment::of(&all);
        let root = decide(flag.map(Path::new), &env, |_| hermes).unwrap();
        (root.path.to_str().unwrap().to_owned(), root.origin)
    }

    #[test]
    fn the_first_setting_in_order_wins() {
        let vars = [
            ("HERMES_HOME", "/h"),
            ("HERMES_KANBAN_HOME", "/k"),
            ("SEXTON_ROOT", "/s"),
            ("XDG_DATA_HOME", "/x"),
        ];
        assert_eq!(chosen(Some("/f"), &vars, true), ("/f".into(), Origin::Flag));
        assert_eq!(chosen(None, &vars, true), ("/s".into(), Origin::SextonRoot));
        assert_eq!(chosen(None, &vars[..2], true), ("/k".into(), Origin::HermesKanbanHome));
        assert_eq!(chosen(None, &vars[..1], true), ("/h".into(), Origin::HermesHome));
        assert_eq!(chosen(None, &[], true), ("/home/u/.hermes".into(), Origin::ExistingHermes));
        assert_eq!(chosen(None, &vars[3..], false), ("/x/sexton".into(), Origin::DataDirectory));
        assert_eq!(
            chosen(None, &[], false),
            ("/home/u/.local/share/sexton".into(), Origin::DataDirectory)
        );
    }

    #[test]
    fn profiles_share_the_root_of_their_home() {
        for (named, root) in [
            ("/home/u/.hermes", "/home/u/.hermes"),
            ("/home/u/.hermes/profiles/shell", "/home/u/.hermes"),
            ("/srv/h/profiles/shell", "/srv/h"),
            ("/srv/h", "/srv/h"),
            ("~/.hermes/profiles/x", "/home/u/.hermes"),
        ] {
            assert_eq!(chosen(None, &[("HERMES_HOME", named)], false).0, root, "{named}");
        }
    }

    #[test]
    fn blank_variables_are_ignored_and_tildes_are_expanded() {
        let vars = [("SEXTON_ROOT", "  "), ("HERMES_KANBAN_HOME", " ~/k ")];
        assert_eq!(chosen(None, &vars, false).0, "/home/u/k");
    }

    #[test]
    fn without_a_home_there_is_no_root() {
        assert_eq!(decide(None, &Environment::of(&[]), |_| true), None);
    }
}
