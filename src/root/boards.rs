//! The boards of a root: their files, which of them there are, and which one a command means.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::regular;

use super::{Environment, Root, RootError, Slug};

/// The board that every root has.
pub const DEFAULT_BOARD: &str = "default";

/// Where a board keeps what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardPaths {
    /// Name of the board, as in `--board`.
    pub slug: Slug,
    /// Path of the database.
    pub db: PathBuf,
    /// `board.json`, which may be missing.
    pub metadata: PathBuf,
    /// Under it, one scratch directory for each task.
    pub workspaces: PathBuf,
    /// In it, one log file for each task.
    pub logs: PathBuf,
}

impl BoardPaths {
    /// The paths of `slug` under `root`. `HERMES_KANBAN_WORKSPACES_ROOT` moves the workspaces.
    #[must_use]
    pub fn new(root: &Path, slug: Slug, env: &Environment) -> BoardPaths {
        let kanban = root.join("kanban");
        let own = kanban.join("boards").join(slug.as_str());
        let is_default = slug.as_str() == DEFAULT_BOARD;
        let (db, base) = if is_default {
            (root.join("kanban.db"), &kanban)
        } else {
            (own.join("kanban.db"), &own)
        };
        BoardPaths {
            db,
            metadata: own.join("board.json"),
            workspaces: env
                .path("HERMES_KANBAN_WORKSPACES_ROOT")
                .unwrap_or_else(|| base.join("workspaces")),
            logs: base.join("logs"),
            slug,
        }
    }

    /// The log file of a task; `None` if no file name can be made of its id.
    #[must_use]
    pub fn log(&self, task: &str) -> Option<PathBuf> {
        let harmless = !task.is_empty() && !task.contains(['/', '\0']) && !task.starts_with('.');
        harmless.then(|| self.logs.join(format!("{task}.log")))
    }
}

/// The content of `board.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The name that people see.
    pub name: String,
    /// One line on what it is for.
    pub description: String,
    /// An emoji, or nothing.
    pub icon: String,
    /// A colour, or nothing.
    pub color: String,
    /// Where worktrees are made.
    pub default_workdir: Option<String>,
    /// When it was created, in seconds since 1970.
    pub created_at: Option<i64>,
    /// Hidden from listing and dispatch.
    pub archived: bool,
}

impl Metadata {
    /// Reads it. A file that is missing, malformed or not regular counts as empty.
    #[must_use]
    pub fn read(board: &BoardPaths) -> Metadata {
        let file = regular::read(&board.metadata).ok();
        let value: Value = file.and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        Metadata::from_value(&value, &board.slug)
    }

    /// What is taken for true of a board of which nothing is said.
    #[must_use]
    pub fn none(slug: &Slug) -> Metadata {
        Metadata::from_value(&Value::Null, slug)
    }

    fn from_value(value: &Value, slug: &Slug) -> Metadata {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Metadata {
            name: text("name").filter(|name| !name.is_empty()).unwrap_or_else(|| slug.title()),
            description: text("description").unwrap_or_default(),
            icon: text("icon").unwrap_or_default(),
            color: text("color").unwrap_or_default(),
            default_workdir: text("default_workdir").filter(|path| !path.is_empty()),
            created_at: value.get("created_at").and_then(Value::as_i64),
            archived: value.get("archived").is_some_and(is_truthy),
        }
    }
}

/// The client is written in Python and hides a board whose flag is anything but empty: even `"no"`.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// The boards that are dispatched: `default` first if it has a database, then the others by name,
/// without those that are archived.
pub fn list_boards(root: &Path, env: &Environment) -> Result<Vec<BoardPaths>, RootError> {
    Ok(possible_boards(root, env)?.into_iter().filter(is_dispatched).collect())
}

/// Returns the default board, and all directories that are boards or could become some, by name.
/// Nothing that belongs to a single board is looked at, since it may hang.
pub fn possible_boards(root: &Path, env: &Environment) -> Result<Vec<BoardPaths>, RootError> {
    let default = BoardPaths::new(root, DEFAULT_BOARD.parse()?, env);
    Ok([vec![default], named_boards(root, env)?].concat())
}

/// Whether a board is there and not archived.
#[must_use]
pub fn is_dispatched(board: &BoardPaths) -> bool {
    if board.slug.as_str() == DEFAULT_BOARD {
        return may_exist(&board.db);
    }
    is_there(board) && !Metadata::read(board).archived
}

/// Without the default one. `Foo` and `foo` are one name.
fn named_boards(root: &Path, env: &Environment) -> Result<Vec<BoardPaths>, RootError> {
    let directory = root.join("kanban/boards");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RootError::Io { path: directory, source }),
    };
    let mut slugs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| RootError::Io { path: directory.clone(), source })?;
        let slug = entry.file_name().to_str().and_then(|name| name.parse::<Slug>().ok());
        slugs.extend(slug.filter(|slug| slug.as_str() != DEFAULT_BOARD));
    }
    slugs.sort();
    slugs.dedup();
    Ok(slugs.into_iter().map(|slug| BoardPaths::new(root, slug, env)).collect())
}

/// A board exists if its directory holds metadata or a database.
fn is_there(board: &BoardPaths) -> bool {
    may_exist(&board.metadata) || may_exist(&board.db)
}

/// False only if the file is known not to be there. One that cannot be looked at, for lack of
/// permission or on a failing disk, is trouble with a board, not the end of it.
fn may_exist(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(_) => true,
        Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Whether `slug` names a board of `root`. `default` always does.
#[must_use]
pub fn board_exists(root: &Path, slug: &Slug) -> bool {
    slug.as_str() == DEFAULT_BOARD
        || is_there(&BoardPaths::new(root, slug.clone(), &Environment::default()))
}

/// The board that a command means, see [`active_slug`].
///
/// `HERMES_KANBAN_DB` replaces the database only where nothing was said on the command line, so
/// that an explicit choice of board or root is never overruled by a leftover variable.
pub fn active_board(
    root: &Root,
    said: Option<&Slug>,
    env: &Environment,
) -> Result<BoardPaths, RootError> {
    let slug = active_slug(root, said, env, |slug| board_exists(&root.path, slug))?;
    let mut board = BoardPaths::new(&root.path, slug, env);
    if said.is_none()
        && root.origin != super::Origin::Flag
        && let Some(db) = env.path("HERMES_KANBAN_DB")
    {
        board.db = db;
    }
    Ok(board)
}

/// Returns the name of the board that a command means: `--board`, else `HERMES_KANBAN_BOARD`, else
/// `kanban/current`, else `default`. The board of an option must exist; the others are skipped if
/// they do not.
pub fn active_slug(
    root: &Root,
    said: Option<&Slug>,
    env: &Environment,
    exists: impl Fn(&Slug) -> bool,
) -> Result<Slug, RootError> {
    if let Some(slug) = said {
        let missing = || RootError::NoBoard { slug: slug.clone(), root: root.path.clone() };
        return exists(slug).then(|| slug.clone()).ok_or_else(missing);
    }
    let from_env = env.text("HERMES_KANBAN_BOARD").map(str::to_owned);
    let current = || regular::read_to_string(&root.path.join("kanban/current")).ok();
    let usable = |text: String| text.parse::<Slug>().ok().filter(&exists);
    match from_env.and_then(usable).or_else(|| current().and_then(usable)) {
        Some(slug) => Ok(slug),
        None => Ok(DEFAULT_BOARD.parse()?),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    fn slug(text: &str) -> Slug {
        text.parse().unwrap()
    }

    fn touch(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn slugs(boards: &[BoardPaths]) -> Vec<&str> {
        boards.iter().map(|board| board.slug.as_str()).collect()
    }

    #[test]
    fn the_paths_are_those_of_the_format() {
        let env = Environment::default();
        let default = BoardPaths::new(Path::new("/r"), slug("default"), &env);
        assert_eq!(default.db, Path::new("/r/kanban.db"));
        assert_eq!(default.metadata, Path::new("/r/kanban/boards/default/board.json"));
        assert_eq!(default.workspaces, Path::new("/r/kanban/workspaces"));
        assert_eq!(default.logs, Path::new("/r/kanban/logs"));
        let beta = BoardPaths::new(Path::new("/r"), slug("beta"), &env);
        assert_eq!(beta.db, Path::new("/r/kanban/boards/beta/kanban.db"));
        assert_eq!(beta.metadata, Path::new("/r/kanban/boards/beta/board.json"));
        assert_eq!(beta.workspaces, Path::new("/r/kanban/boards/beta/workspaces"));
        assert_eq!(beta.logs, Path::new("/r/kanban/boards/beta/logs"));
        let env = Environment::of(&[("HERMES_KANBAN_WORKSPACES_ROOT", "/w")]);
        assert_eq!(
            BoardPaths::new(Path::new("/r"), slug("beta"), &env).workspaces,
            Path::new("/w")
        );
    }

    #[test]
    fn a_board_that_cannot_be_looked_at_is_still_a_board() {
        let dir = tempfile::tempdir().unwrap();
        let board = BoardPaths::new(dir.path(), slug("beta"), &Environment::default());
        assert!(!is_dispatched(&board));
        fs::create_dir_all(board.db.parent().unwrap()).unwrap();
        assert!(!is_dispatched(&board));
        // A link to itself, which not even root can follow.
        std::os::unix::fs::symlink(&board.db, &board.db).unwrap();
        assert!(is_dispatched(&board));
    }

    #[test]
    fn a_log_file_stays_in_its_directory() {
        let board = BoardPaths::new(Path::new("/r"), slug("default"), &Environment::default());
        assert_eq!(board.log("t_1"), Some("/r/kanban/logs/t_1.log".into()));
        for id in ["", "..", "../x", "a/b", "a\0b"] {
            assert_eq!(board.log(id), None, "{id:?}");
        }
    }

    #[test]
    fn boards_are_listed_in_order_without_the_archived() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(slugs(&list_boards(root, &Environment::default()).unwrap()), [""; 0]);
        touch(&root.join("kanban.db"), "");
        for (name, text) in [
            ("beta/board.json", "{}"),
            ("alpha/kanban.db", ""),
            ("_archived/kanban.db", ""),
            ("gone/board.json", "{\"archived\": \"no\"}"),
            ("kept/board.json", "{\"archived\": 0}"),
            ("broken/board.json", "{"),
            ("empty/notes.txt", ""),
        ] {
            touch(&root.join("kanban/boards").join(name), text);
        }
        let boards = list_boards(root, &Environment::default()).unwrap();
        assert_eq!(slugs(&boards), ["default", "alpha", "beta", "broken", "kept"]);
    }

    #[test]
    fn an_option_beats_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let mut root = Root { path: dir.path().to_owned(), origin: Origin::SextonRoot };
        for name in ["alpha", "beta", "gamma"] {
            touch(&dir.path().join("kanban/boards").join(name).join("board.json"), "{}");
        }
        let env =
            Environment::of(&[("HERMES_KANBAN_BOARD", "Beta"), ("HERMES_KANBAN_DB", "/x.db")]);
        let said = active_board(&root, Some(&slug("alpha")), &env).unwrap();
        assert_eq!(said.db, dir.path().join("kanban/boards/alpha/kanban.db"));
        let set = active_board(&root, None, &env).unwrap();
        assert_eq!((set.slug.as_str(), set.db), ("beta", PathBuf::from("/x.db")));
        root.origin = Origin::Flag;
        let of_root = active_board(&root, None, &env).unwrap();
        assert_eq!(of_root.db, dir.path().join("kanban/boards/beta/kanban.db"));
        let unknown = active_board(&root, Some(&slug("delta")), &env);
        assert!(matches!(unknown, Err(RootError::NoBoard { .. })));
    }

    #[test]
    fn candidates_that_do_not_exist_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root { path: dir.path().to_owned(), origin: Origin::DataDirectory };
        let env = Environment::of(&[("HERMES_KANBAN_BOARD", "nowhere")]);
        assert_eq!(active_board(&root, None, &env).unwrap().slug.as_str(), "default");
        touch(&dir.path().join("kanban/boards/beta/board.json"), "{}");
        touch(&dir.path().join("kanban/current"), "beta\n");
        assert_eq!(active_board(&root, None, &env).unwrap().slug.as_str(), "beta");
        touch(&dir.path().join("kanban/current"), "../..\n");
        assert_eq!(active_board(&root, None, &env).unwrap().slug.as_str(), "default");
    }
}
