//! The folder in which a worker runs: a scratch folder of its own, a folder of the task's choice, or
//! a git worktree.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

use super::name::is_plain;
use super::pidfd;
use super::spawn::blame_for_folder;
use crate::machine::event::Blame;
use crate::machine::ids::Pid;

/// Milliseconds that one call of git may take.
const GIT_MS: u16 = 60_000;

/// What a task asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `scratch`, `dir` or `worktree`.
    pub kind: &'a str,
    /// `tasks.workspace_path`.
    pub path: Option<&'a str>,
    /// `tasks.branch_name`.
    pub branch: Option<&'a str>,
    /// The task's id.
    pub task: &'a str,
    /// Where scratch folders go.
    pub workspaces: &'a Path,
    /// The board's `default_workdir`.
    pub default_workdir: Option<&'a str>,
}

/// A folder that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its path, absolute.
    pub path: PathBuf,
    /// The branch that is checked out, if it is a worktree.
    pub branch: Option<String>,
}

/// There is no folder to run in.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The task asks for something that cannot be.
    #[error("{0}")]
    Request(String),
    /// The file system refused.
    #[error("cannot make {}: {errno}", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// The error number.
        errno: Errno,
    },
    /// Git refused, or took too long.
    #[error("git {what}: {why}")]
    Git {
        /// Which call.
        what: String,
        /// What it said.
        why: String,
    },
}

impl WorkspaceError {
    /// Who is charged.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            WorkspaceError::Folder { errno, .. } => blame_for_folder(*errno),
            WorkspaceError::Request(_) | WorkspaceError::Git { .. } => Blame::Task,
        }
    }

    /// The error number; 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            WorkspaceError::Folder { errno, .. } => *errno as i32,
            WorkspaceError::Request(_) | WorkspaceError::Git { .. } => 0,
        }
    }
}

/// Makes the folder, unless it is there.
///
/// # Errors
/// Who is to blame is [`WorkspaceError::blame`].
pub fn prepare(request: &Request<'_>) -> Result<Workspace, WorkspaceError> {
    let refuse = |why: &str| Err(WorkspaceError::Request(why.to_owned()));
    match request.kind {
        "scratch" => {
            let path = match given(request)? {
                Some(path) => path,
                None if is_plain(request.task) => request.workspaces.join(request.task),
                None => return refuse("the task's id is no folder name"),
            };
            plain(path)
        }
        "dir" => match given(request)? {
            Some(path) => plain(path),
            None => refuse("a `dir` workspace needs a path; set one"),
        },
        "worktree" => worktree(request),
        other => refuse(&format!("`{other}` is no kind of workspace that is known here")),
    }
}

/// The path that the task names, which must be absolute.
fn given(request: &Request<'_>) -> Result<Option<PathBuf>, WorkspaceError> {
    match request.path.filter(|path| !path.is_empty()).map(PathBuf::from) {
        Some(path) if !path.is_absolute() => Err(WorkspaceError::Request(format!(
            "the path {} is not absolute; name it from the root on",
            path.display()
        ))),
        path => Ok(path),
    }
}

fn plain(path: PathBuf) -> Result<Workspace, WorkspaceError> {
    make(&path)?;
    Ok(Workspace { path, branch: None })
}

fn make(path: &Path) -> Result<(), WorkspaceError> {
    fs::create_dir_all(path).map_err(|error: io::Error| WorkspaceError::Folder {
        path: path.to_owned(),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL)),
    })
}

fn worktree(request: &Request<'_>) -> Result<Workspace, WorkspaceError> {
    let branch = request.branch.filter(|b| !b.is_empty()).map(str::to_owned);
    let branch = branch.unwrap_or_else(|| format!("wt/{}", request.task));
    let (repo, target) = place(request)?;
    if target.exists() {
        let same =
            |path: &Path| git(path, &["rev-parse", "--path-format=absolute", "--git-common-dir"]);
        if same(&target).is_ok_and(|dir| same(&repo).is_ok_and(|other| dir == other)) {
            let current = git(&target, &["rev-parse", "--abbrev-ref", "HEAD"])?;
            return Ok(Workspace { path: target, branch: Some(current) });
        }
        let why = format!("{} is there and is no worktree of this repository", target.display());
        return Err(WorkspaceError::Request(why));
    }
    let path = target.to_string_lossy().into_owned();
    let reference = format!("refs/heads/{branch}");
    if git(&repo, &["rev-parse", "--verify", "--quiet", &reference]).is_ok() {
        git(&repo, &["worktree", "add", "--", &path, &branch])?;
    } else {
        git(&repo, &["worktree", "add", "-b", &branch, "--", &path, "HEAD"])?;
    }
    Ok(Workspace { path: target, branch: Some(branch) })
}

/// In which repository a worktree belongs, and where.
fn place(request: &Request<'_>) -> Result<(PathBuf, PathBuf), WorkspaceError> {
    let toplevel = |path: &Path| git(path, &["rev-parse", "--show-toplevel"]).map(PathBuf::from);
    let beneath = |top: PathBuf| {
        let target = top.join(".worktrees").join(request.task);
        (top, target)
    };
    if !is_plain(request.task) {
        return Err(WorkspaceError::Request("the task's id is no folder name".to_owned()));
    }
    let Some(path) = given(request)? else {
        let home = request.default_workdir.map(Path::new).filter(|path| path.is_absolute());
        let home = home.ok_or_else(|| {
            WorkspaceError::Request(
                "a worktree needs a path, or a board with a default_workdir".to_owned(),
            )
        })?;
        return Ok(beneath(toplevel(home)?));
    };
    let nearest = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let top = toplevel(nearest)?;
    // A path that is the repository itself asks for a worktree of its own beneath it.
    let is_main = path == top && path.join(".git").is_dir();
    Ok(if is_main { beneath(top) } else { (top, path) })
}

/// What git prints, without the end of line.
fn git(folder: &Path, args: &[&str]) -> Result<String, WorkspaceError> {
    let failed = |why: String| WorkspaceError::Git { what: args.join(" "), why };
    let mut child = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("{error}; install git")))?;
    if !ends_in_time(&child) {
        let _ends_below = child.kill();
        let _reaped = child.wait();
        return Err(failed(format!("took longer than {} s", GIT_MS / 1000)));
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Waits for its end. What git prints fits the pipes, so it does not wait for us.
fn ends_in_time(child: &Child) -> bool {
    let Ok(pid) = i32::try_from(child.id()) else { return true };
    let Ok(fd) = pidfd::open(Pid(pid)) else { return true };
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::from(GIT_MS)) {
            Ok(count) => return count > 0,
            Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(kind: &'a str, path: Option<&'a str>, workspaces: &'a Path) -> Request<'a> {
        Request { kind, path, branch: None, task: "t_1", workspaces, default_workdir: None }
    }

    #[test]
    fn a_scratch_folder_is_made_under_the_workspaces() {
        let root = tempfile::tempdir().unwrap();
        let made = prepare(&request("scratch", None, root.path())).unwrap();
        assert_eq!(made.path, root.path().join("t_1"));
        assert!(made.path.is_dir());
    }

    #[test]
    fn what_cannot_be_is_charged_to_the_task() {
        let root = tempfile::tempdir().unwrap();
        for (kind, path) in
            [("dir", None), ("dir", Some("relative")), ("cloud", None), ("worktree", None)]
        {
            let error = prepare(&request(kind, path, root.path())).unwrap_err();
            assert_eq!(error.blame(), Blame::Task, "{kind} {path:?}: {error}");
        }
    }

    #[test]
    fn a_worktree_is_made_once_and_then_reused() {
        let root = tempfile::tempdir().unwrap();
        let repo = root.path().join("repo");
        fs::create_dir(&repo).unwrap();
        if git(&repo, &["init", "--quiet"]).is_err() {
            eprintln!("SKIPPED: git is not installed");
            return;
        }
        let who = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
        let commit = ["commit", "--quiet", "--allow-empty", "-m", "first"];
        git(&repo, &[&who[..], &commit[..]].concat()).unwrap();
        let path = repo.to_string_lossy().into_owned();
        let wanted = request("worktree", Some(&path), root.path());
        let made = prepare(&wanted).unwrap();
        assert_eq!(made.branch.as_deref(), Some("wt/t_1"));
        assert!(made.path.ends_with(".worktrees/t_1"));
        assert_eq!(prepare(&wanted).unwrap(), made);
    }
}
