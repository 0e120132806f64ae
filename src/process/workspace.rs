//! The directory in which a worker runs.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use thiserror::Error;

use super::spawn::{SpawnError, blame_for_directory, errno_of};
use super::{git, name};
use crate::machine::fault::Blame;

/// The kinds of workspace, as named in `tasks.workspace_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory for this task alone, removed when it is done.
    Scratch,
    /// A directory that the task names.
    Dir,
    /// A git worktree on a branch of its own.
    Worktree,
}

impl Kind {
    /// Returns `None` if the word is unknown. The task is then refused: a guess could hit the wrong
    /// directory.
    #[must_use]
    pub fn parse(text: &str) -> Option<Kind> {
        match text {
            "scratch" => Some(Kind::Scratch),
            "dir" => Some(Kind::Dir),
            "worktree" => Some(Kind::Worktree),
            _ => None,
        }
    }
}

/// What a task and its board say about where its worker should run.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The task's `tasks.id`.
    pub task: &'a str,
    /// The kind of workspace.
    pub kind: Kind,
    /// `tasks.workspace_path`, if not empty.
    pub path: Option<&'a Path>,
    /// `tasks.branch_name`, if not empty.
    pub branch: Option<&'a str>,
    /// The board's directory of scratch workspaces.
    pub root: &'a Path,
    /// The board's `default_workdir`: where worktrees without a path come from.
    pub default_workdir: Option<&'a Path>,
}

/// A workspace that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// The absolute path of the directory.
    pub path: PathBuf,
    /// For worktrees the branch that is checked out; `None` if none is.
    pub branch: Option<String>,
}

/// Why a workspace could not be prepared.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// What the task asks for cannot be.
    #[error("{0}")]
    Request(String),
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    System {
        /// The action that failed, as a verb phrase.
        what: &'static str,
        /// The path that it concerned.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// Git could not be started.
    #[error(transparent)]
    Start(#[from] SpawnError),
    /// A git command failed.
    #[error("`{command}` failed: {said}")]
    Git {
        /// The git command line.
        command: String,
        /// The end of what it said.
        said: String,
    },
    /// Git took too long and was ended.
    #[error(
        "`{command}` was not done after {seconds} s and was ended; is a hook waiting, or the disk?"
    )]
    Timeout {
        /// The git command line.
        command: String,
        /// The time that it had, with the git calls before it.
        seconds: u64,
    },
}

impl WorkspaceError {
    /// Who is charged: a failing disk is not the task's fault.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            WorkspaceError::Request(_) | WorkspaceError::Timeout { .. } => Blame::Task,
            WorkspaceError::System { source, .. } => blame_for_directory(errno_of(source)),
            WorkspaceError::Start(error) => error.blame(),
            WorkspaceError::Git { .. } => {
                let errno = self.errno();
                if errno == 0 { Blame::Task } else { blame_for_directory(Errno::from_raw(errno)) }
            }
        }
    }

    /// Returns the errno; 0 without a failed call.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            WorkspaceError::Request(_) => Errno::EINVAL as i32,
            WorkspaceError::System { source, .. } => source.raw_os_error().unwrap_or(0),
            WorkspaceError::Start(error) => error.errno(),
            // Git exits with the same code for everything, but is run in the C locale.
            WorkspaceError::Git { said, .. } => {
                [Errno::ENOSPC, Errno::EIO, Errno::EROFS, Errno::EDQUOT]
                    .into_iter()
                    .find(|errno| said.contains(errno.desc()))
                    .map_or(0, |errno| errno as i32)
            }
            WorkspaceError::Timeout { .. } => Errno::ETIMEDOUT as i32,
        }
    }
}

/// Makes the workspace, or finds it. Git gets a minute for all that it has to do.
///
/// # Errors
/// See [`WorkspaceError`]. What was made until then stays.
pub fn prepare(request: &Request<'_>) -> Result<Workspace, WorkspaceError> {
    if let Some(path) = request.path.filter(|path| !path.is_absolute()) {
        return Err(refuse(format!("{} is not an absolute path; set one", path.display())));
    }
    match request.kind {
        Kind::Scratch => match request.path {
            Some(path) => directory(path),
            None => scratch(request),
        },
        Kind::Dir => match request.path {
            Some(path) => directory(path),
            None => Err(refuse("a `dir` workspace needs an absolute path; set one".to_owned())),
        },
        Kind::Worktree => git::worktree(request),
    }
}

pub(super) fn refuse(reason: String) -> WorkspaceError {
    WorkspaceError::Request(reason)
}

fn system(what: &'static str, path: &Path, source: io::Error) -> WorkspaceError {
    WorkspaceError::System { what, path: path.into(), source }
}

/// Returns the task's id as the name of a directory.
pub(super) fn directory_name<'a>(request: &Request<'a>) -> Result<&'a str, WorkspaceError> {
    let task = request.task;
    let plain = name::is_plain(task).then_some(task);
    plain.ok_or_else(|| refuse(format!("task id {task:?} cannot be the name of a directory")))
}

fn directory(path: &Path) -> Result<Workspace, WorkspaceError> {
    fs::create_dir_all(path).map_err(|source| system("create the directory", path, source))?;
    Ok(Workspace { path: path.into(), branch: None })
}

/// One level of its own below the root, where a link would lead out of it.
fn scratch(request: &Request<'_>) -> Result<Workspace, WorkspaceError> {
    let path = request.root.join(directory_name(request)?);
    if path.is_symlink() {
        let reason = "is a link, and a scratch workspace must be a directory; remove it";
        return Err(refuse(format!("{} {reason}", path.display())));
    }
    directory(&path)
}

/// Removes the scratch workspace of a task, as [`clean`] does. `path` is `tasks.workspace_path`, if
/// not empty: a directory that is not named after the task may belong to others as well, and stays.
///
/// # Errors
/// See [`clean`].
pub fn clean_scratch(task: &str, path: Option<&Path>, root: &Path) -> Result<bool, WorkspaceError> {
    if !name::is_plain(task) {
        return Err(refuse(format!("task id {task:?} cannot be the name of a directory")));
    }
    match path {
        None => clean(&root.join(task), root),
        Some(path) if path.file_name().is_some_and(|name| name == task) => clean(path, root),
        Some(path) => Err(refuse(format!("{} is not named after its task", path.display()))),
    }
}

/// Removes a scratch workspace with all that is in it. Returns false if it did not exist.
///
/// It must be strictly inside `root`, and no directory on the way down may be a link. Links inside
/// it are removed, not followed.
///
/// # Errors If it is not such a directory, or cannot be removed whole.
pub fn clean(path: &Path, root: &Path) -> Result<bool, WorkspaceError> {
    let steps = steps_below(path, root)?;
    let Some((last, way)) = steps.split_last() else {
        return Err(refuse(format!("{} is the workspaces' root itself", path.display())));
    };
    let Some(parent) = descend(root, way).map_err(|source| system("enter", path, source))? else {
        return Ok(false);
    };
    // By the open directory, so that no other process can still put a link in the way.
    let target = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(last);
    match fs::symlink_metadata(&target) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(refuse(format!("{} is not a directory; it stays", path.display()))),
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(system("look at", path, source)),
    }
    fs::remove_dir_all(&target).map_err(|source| system("remove", path, source))?;
    Ok(true)
}

/// The names that lead from `root` down to `path`.
fn steps_below<'a>(path: &'a Path, root: &Path) -> Result<Vec<&'a Path>, WorkspaceError> {
    let below = match fs::canonicalize(root) {
        Ok(real) => path.strip_prefix(root).or_else(|_| path.strip_prefix(real)),
        Err(_) => path.strip_prefix(root),
    };
    let outside = || {
        let (path, root) = (path.display(), root.display());
        refuse(format!("{path} is not inside {root}, so it is not removed"))
    };
    let steps = below.map_err(|_| outside())?.components();
    steps
        .map(|step| match step {
            Component::Normal(name) => Ok(Path::new(name)),
            Component::ParentDir
            | Component::CurDir
            | Component::RootDir
            | Component::Prefix(_) => Err(outside()),
        })
        .collect()
}

/// Opens the directory at the end of `way`, following no link below `root`. Returns `None` if it
/// does not exist.
fn descend(root: &Path, way: &[&Path]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut here = match open(root, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        opened => opened?,
    };
    for name in way {
        here = match openat(&here, *name, flags | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened?,
        };
    }
    Ok(Some(here))
}

/// Returns an empty file in memory, for the output of a command.
pub(super) fn scratch_pad() -> Result<File, Errno> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    memfd_create(c"sexton-git", MFdFlags::MFD_CLOEXEC).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn request<'a>(kind: Kind, root: &'a Path) -> Request<'a> {
        Request { task: "t_1", kind, path: None, branch: None, root, default_workdir: None }
    }

    #[test]
    fn a_scratch_workspace_is_named_after_its_task() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("kanban/workspaces");
        let made = prepare(&request(Kind::Scratch, &root)).unwrap();
        assert_eq!(made, Workspace { path: root.join("t_1"), branch: None });
        assert!(made.path.is_dir());
        assert_eq!(prepare(&request(Kind::Scratch, &root)).unwrap(), made, "and is found again");
    }

    #[test]
    fn a_named_path_is_created_outside_of_the_root_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        for kind in [Kind::Scratch, Kind::Dir] {
            let asked = Request { path: Some(&path), ..request(kind, Path::new("/nonexistent")) };
            assert_eq!(prepare(&asked).unwrap().path, path);
            fs::remove_dir(&path).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_is_refused_at_the_tasks_cost() {
        let root = tempfile::tempdir().unwrap();
        let relative = Some(Path::new("a/b"));
        let scratch = request(Kind::Scratch, root.path());
        let dir = request(Kind::Dir, root.path());
        for asked in [
            dir,
            Request { path: relative, ..dir },
            Request { path: relative, ..scratch },
            Request { path: relative, ..request(Kind::Worktree, root.path()) },
            Request { task: "../x", ..scratch },
            Request { task: "/x", ..scratch },
        ] {
            let error = prepare(&asked).unwrap_err();
            assert!(matches!(error, WorkspaceError::Request(_)), "{asked:?}: {error}");
            assert_eq!(error.blame(), Blame::Task);
        }
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let asked = Request { path: Some(&path), ..request(Kind::Dir, directory.path()) };
        let error = prepare(&asked).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(error.blame(), Blame::Task);
    }

    #[test]
    fn a_link_is_not_a_scratch_workspace() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(elsewhere.path(), root.path().join("t_1")).unwrap();
        assert!(prepare(&request(Kind::Scratch, root.path())).is_err());
    }

    #[test]
    fn cleaning_removes_the_directory_and_not_what_its_links_lead_to() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("precious"), "").unwrap();
        let path = root.path().join("t_1");
        fs::create_dir_all(path.join("a/b")).unwrap();
        symlink(elsewhere.path(), path.join("a/link")).unwrap();
        assert!(clean(&path, root.path()).unwrap());
        assert!(!path.exists() && elsewhere.path().join("precious").exists());
        assert!(!clean(&path, root.path()).unwrap(), "it is gone already");
        assert!(!clean(&root.path().join("x/y"), root.path()).unwrap());
    }

    #[test]
    fn nothing_outside_of_the_root_is_removed() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = elsewhere.path().join("victim");
        fs::create_dir(&victim).unwrap();
        symlink(elsewhere.path(), root.path().join("way")).unwrap();
        symlink(&victim, root.path().join("link")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let back = format!("x/../../{}/victim", elsewhere.path().file_name().unwrap().display());
        for path in [
            root.path().to_owned(),
            victim.clone(),
            PathBuf::from("victim"),
            root.path().join(back),
            root.path().join("way/victim"),
            root.path().join("link"),
            root.path().join("file"),
        ] {
            assert!(clean(&path, root.path()).is_err(), "{}", path.display());
        }
        assert!(victim.exists() && root.path().join("file").exists());
    }

    #[test]
    fn only_a_directory_of_its_name_is_cleaned_for_a_task() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (own, shared) = (at("t_1"), at("shared"));
        assert!(clean_scratch("t_1", Some(&shared), root.path()).is_err());
        assert!(clean_scratch("t_1", Some(&root.path().join("..")), root.path()).is_err());
        for task in ["", ".", "..", "a/b"] {
            assert!(clean_scratch(task, None, root.path()).is_err(), "{task:?}");
        }
        assert!(own.exists() && shared.exists());
        assert!(clean_scratch("t_1", None, root.path()).unwrap());
        assert!(clean_scratch("t_1", Some(&at("t_1")), root.path()).unwrap());
        assert!(!own.exists());
    }

    #[test]
    fn a_root_behind_a_link_is_still_the_root() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let alias = elsewhere.path().join("workspaces");
        symlink(root.path(), &alias).unwrap();
        for (path, root) in [(root.path().join("t_1"), &alias), (alias.join("t_2"), &alias)] {
            fs::create_dir(&path).unwrap();
            assert!(clean(&path, root).unwrap());
        }
    }

    #[test]
    fn gits_message_for_a_full_disk_is_understood() {
        let said = "fatal: could not create: No space left on device".to_owned();
        let error = WorkspaceError::Git { command: "git".into(), said };
        assert_eq!((error.blame(), error.errno()), (Blame::Board, Errno::ENOSPC as i32));
        let said = "fatal: invalid reference".to_owned();
        let error = WorkspaceError::Git { command: "git".into(), said };
        assert_eq!((error.blame(), error.errno()), (Blame::Task, 0));
    }

    #[test]
    fn unknown_kinds_are_not_guessed() {
        assert_eq!(Kind::parse("worktree"), Some(Kind::Worktree));
        assert_eq!(Kind::parse("Scratch"), None);
    }

    #[test]
    fn every_refusal_has_an_errno_and_a_blame() {
        let full = system("create the directory", Path::new("/x"), Errno::ENOSPC.into());
        let poor = system("enter", Path::new("/x"), Errno::EMFILE.into());
        let start = SpawnError::Host { program: "git".into(), errno: Errno::EAGAIN };
        let late = WorkspaceError::Timeout { command: "git".into(), seconds: 60 };
        for (error, blame, errno) in [
            (refuse("no".to_owned()), Blame::Task, Errno::EINVAL),
            (full, Blame::Board, Errno::ENOSPC),
            (poor, Blame::Host, Errno::EMFILE),
            (WorkspaceError::from(start), Blame::Host, Errno::EAGAIN),
            (late, Blame::Task, Errno::ETIMEDOUT),
        ] {
            assert_eq!((error.blame(), error.errno()), (blame, errno as i32), "{error}");
        }
    }
}
