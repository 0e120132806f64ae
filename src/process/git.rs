//! Git worktrees for tasks. Git runs hooks and works on disks that may hang, so it gets a bounded
//! time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::pidfd::{self, Reach};
use super::spawn::{self, Unregistered};
use super::wait::{self, Which};
use super::workspace::{Request, Workspace, WorkspaceError, directory_name, refuse, scratch_pad};
use crate::machine::verdict::ExitStatus;

/// How long all the git calls for one workspace may take together.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Time that git gets to clean up its files after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Finds or adds the worktree that `request` asks for.
pub(super) fn worktree(request: &Request<'_>) -> Result<Workspace, WorkspaceError> {
    worktree_within(request, LIMIT)
}

fn worktree_within(request: &Request<'_>, limit: Duration) -> Result<Workspace, WorkspaceError> {
    let git = Git::new(limit)?;
    match locate(&git, request)? {
        Place::Linked(path) => reuse(&git, path),
        Place::Wanted { repo, target } => {
            if is_worktree_of(&git, &target, &repo)? {
                return reuse(&git, target);
            }
            let default = format!("wt/{}", request.task);
            add(&git, &repo, target, request.branch.unwrap_or(&default))
        }
    }
}

/// Where a worktree is, or will be.
enum Place {
    /// This is one already.
    Linked(PathBuf),
    /// It must be created at `target`, and belong to `repo`.
    Wanted { repo: PathBuf, target: PathBuf },
}

fn locate(git: &Git, request: &Request<'_>) -> Result<Place, WorkspaceError> {
    let below = |top: PathBuf| {
        let target = top.join(".worktrees").join(directory_name(request)?);
        Ok(Place::Wanted { repo: top, target })
    };
    let Some(path) = request.path else {
        let base = request.default_workdir.filter(|path| path.is_absolute());
        let base = base.ok_or_else(|| {
            refuse(
                "a `worktree` workspace needs an absolute path, or the board a default_workdir; \
                 set one of them"
                    .to_owned(),
            )
        })?;
        return below(git.toplevel(base)?);
    };
    if let Some(top) = git.toplevel_at(path)? {
        let linked =
            git.directory(path, "--git-dir")? != git.directory(path, "--git-common-dir")?;
        return if linked { Ok(Place::Linked(path.into())) } else { below(top) };
    }
    let nearest = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
    Ok(Place::Wanted { repo: git.toplevel(nearest)?, target: path.into() })
}

/// True if `target` is a worktree of the same repository. A plain directory inside of `repo` is
/// not: its worker would run in the checkout of another task.
fn is_worktree_of(git: &Git, target: &Path, repo: &Path) -> Result<bool, WorkspaceError> {
    Ok(git.toplevel_at(target)?.is_some()
        && git.directory(target, "--git-common-dir")? == git.directory(repo, "--git-common-dir")?)
}

fn reuse(git: &Git, path: PathBuf) -> Result<Workspace, WorkspaceError> {
    let said = git.run(&path, &["symbolic-ref", "--quiet", "--short", "HEAD"])?;
    let branch = (said.status == ExitStatus::Code(0)).then(|| said.text());
    Ok(Workspace { path, branch })
}

fn add(git: &Git, repo: &Path, target: PathBuf, branch: &str) -> Result<Workspace, WorkspaceError> {
    if branch.starts_with('-') {
        return Err(refuse(format!("{branch:?} cannot be the name of a branch")));
    }
    let name = format!("refs/heads/{branch}");
    let found = git.run(repo, &["show-ref", "--verify", "--quiet", &name])?;
    let exists = found.status == ExitStatus::Code(0);
    let (target, branch) = (target.into_os_string(), OsStr::new(branch));
    let verb = ["worktree", "add"].map(OsStr::new);
    let rest: &[&OsStr] = if exists {
        &[&target, branch]
    } else {
        &[OsStr::new("-b"), branch, &target, OsStr::new("HEAD")]
    };
    git.run(repo, &[&verb, rest].concat())?.successful()?;
    let branch = branch.to_str().map(str::to_owned);
    Ok(Workspace { path: target.into(), branch })
}

/// Git, with the time that it has left.
struct Git {
    limit: Duration,
    deadline: Timer,
    env: Vec<(OsString, OsString)>,
}

/// What a git call came to.
struct Said {
    command: String,
    status: ExitStatus,
    output: Vec<u8>,
    errors: String,
}

impl Git {
    fn new(limit: Duration) -> Result<Git, WorkspaceError> {
        let deadline = Timer::after(limit).map_err(|errno| no_room("start a timer for", errno))?;
        Ok(Git { limit, deadline, env: environment() })
    }

    /// The top of the checkout that `path` is in.
    fn toplevel(&self, path: &Path) -> Result<PathBuf, WorkspaceError> {
        let said = self.run(path, &["rev-parse", "--show-toplevel"])?.successful()?;
        Ok(said.path())
    }

    /// The same, if `path` itself is that top.
    fn toplevel_at(&self, path: &Path) -> Result<Option<PathBuf>, WorkspaceError> {
        if !path.is_dir() {
            return Ok(None);
        }
        let said = self.run(path, &["rev-parse", "--show-toplevel"])?;
        let top = (said.status == ExitStatus::Code(0)).then(|| said.path());
        Ok(top.filter(|top| real(top) == real(path)))
    }

    /// Returns one of git's own directories for the checkout at `path`.
    fn directory(&self, path: &Path, which: &str) -> Result<PathBuf, WorkspaceError> {
        let said = self.run(path, &["rev-parse", which])?.successful()?;
        // Relative to where git was run, or absolute.
        Ok(real(&path.join(said.path())))
    }

    /// Runs `git -C <at> <arguments>` to its end or the deadline's.
    fn run<A: AsRef<OsStr>>(&self, at: &Path, arguments: &[A]) -> Result<Said, WorkspaceError> {
        let fixed = [OsStr::new("git"), OsStr::new("-C"), at.as_os_str()];
        let arguments = arguments.iter().map(AsRef::as_ref);
        let argv: Vec<OsString> = fixed.into_iter().chain(arguments).map(Into::into).collect();
        let command = argv.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let pad = || scratch_pad().map_err(|errno| no_room("make a file in memory for", errno));
        let (mut output, mut errors) = (pad()?, pad()?);
        let child = spawn::start(&argv, &self.env, Path::new("/"), output.as_fd(), errors.as_fd())?;
        let status = self.end_of(&child).map_err(|errno| no_room("wait for", errno))?;
        let Some(status) = status else {
            return Err(WorkspaceError::Timeout { command, seconds: self.limit.as_secs() });
        };
        let output = tail(&mut output, 64 * 1024).map_err(|e| no_room("hear", errno_of(&e)))?;
        let errors = tail(&mut errors, 1024).map_err(|e| no_room("hear", errno_of(&e)))?;
        let errors = String::from_utf8_lossy(&errors).trim().to_owned();
        Ok(Said { command, status, output, errors })
    }

    /// Waits for `child` and reaps it, on every path. `None` if it had to be ended.
    fn end_of(&self, child: &Unregistered) -> Result<Option<ExitStatus>, Errno> {
        let Some(fd) = &child.pidfd else {
            // The host had no descriptor left for a bounded wait. The child must be reaped
            // nevertheless.
            return reap(Which::Pid(child.pid)).map(Some);
        };
        let fd = fd.as_fd();
        let in_time = ends_before(fd, &self.deadline);
        if in_time != Ok(true) {
            send(fd, libc::SIGTERM);
            let grace = Timer::after(GRACE);
            if !grace.is_ok_and(|grace| ends_before(fd, &grace) == Ok(true)) {
                send(fd, libc::SIGKILL);
            }
        }
        let status = reap(Which::PidFd(fd))?;
        if in_time != Ok(true) {
            // Hooks that did not end with it.
            send(fd, libc::SIGKILL);
        }
        in_time.map(|in_time| in_time.then_some(status))
    }
}

impl Said {
    fn successful(self) -> Result<Said, WorkspaceError> {
        match self.status {
            ExitStatus::Code(0) => Ok(self),
            ExitStatus::Code(_) | ExitStatus::Signal(_) | ExitStatus::Unknown => {
                let said =
                    if self.errors.is_empty() { format!("{:?}", self.status) } else { self.errors };
                Err(WorkspaceError::Git { command: self.command, said })
            }
        }
    }

    /// Its output without the line end.
    fn line(&self) -> &[u8] {
        self.output.strip_suffix(b"\n").unwrap_or(&self.output)
    }

    fn path(&self) -> PathBuf {
        OsString::from_vec(self.line().to_vec()).into()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.line()).into_owned()
    }
}

fn no_room(what: &'static str, errno: Errno) -> WorkspaceError {
    WorkspaceError::System { what, path: "git".into(), source: errno.into() }
}

fn errno_of(error: &io::Error) -> Errno {
    spawn::errno_of(error)
}

/// Links resolved as far as there is something.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

/// Ours, without what would turn git to another repository, make it ask, or translate its words.
fn environment() -> Vec<(OsString, OsString)> {
    const ELSEWHERE: [&str; 9] = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "LC_ALL",
    ];
    let ours =
        spawn::own_environment().filter(|(key, _)| !ELSEWHERE.iter().any(|name| key == name));
    ours.chain([("LC_ALL", "C"), ("GIT_TERMINAL_PROMPT", "0")].map(|(k, v)| (k.into(), v.into())))
        .collect()
}

/// To the group, or where the kernel cannot do that by pidfd, to git alone.
fn send(fd: BorrowedFd<'_>, signal: i32) {
    if pidfd::send(fd, signal, Reach::Group) == Err(Errno::EINVAL) {
        let _ended_already = pidfd::send(fd, signal, Reach::Process);
    }
}

fn reap(which: Which<'_>) -> Result<ExitStatus, Errno> {
    Ok(wait::wait(which, 0)?.map_or(ExitStatus::Unknown, |(_, status)| status))
}

/// True if the process ends before the timer does.
fn ends_before(process: BorrowedFd<'_>, timer: &Timer) -> Result<bool, Errno> {
    let mut fds = [process, timer.0.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    wait::uninterrupted(|| poll(&mut fds, PollTimeout::NONE))?;
    Ok(fds.first().and_then(PollFd::any).unwrap_or(false))
}

/// At most the last `limit` bytes.
fn tail(file: &mut File, limit: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Becomes readable after a while. Unlike a timeout it stands still when a signal interrupts a wait,
/// and needs no clock to be read.
struct Timer(OwnedFd);

impl Timer {
    fn after(time: Duration) -> Result<Timer, Errno> {
        // SAFETY: takes two integers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
        let fd = Errno::result(fd)?;
        // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
        let timer = Timer(unsafe { OwnedFd::from_raw_fd(fd) });
        let seconds = time.as_secs().try_into().unwrap_or(libc::time_t::MAX);
        let value = libc::timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: never, it_value: value };
        // SAFETY: `spec` outlives the call; the old value may be left out.
        let set = unsafe {
            libc::timerfd_settime(timer.0.as_raw_fd(), 0, &raw const spec, ptr::null_mut())
        };
        Errno::result(set).map(|_| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::workspace::{Kind, prepare};
    use std::io::Write;

    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    /// A repository with one commit; `None`, with a message, where git is missing.
    fn repository() -> Option<(TempDir, PathBuf)> {
        let directory = tempfile::tempdir().unwrap();
        let repo = fs::canonicalize(directory.path()).unwrap().join("repo");
        fs::create_dir(&repo).unwrap();
        let git = Git::new(LIMIT).unwrap();
        match git.run(&repo, &["init", "--quiet"]) {
            Err(WorkspaceError::Start(error)) => {
                // The test harness shows it only if it is written like this.
                let line = format!("SKIPPED: git cannot be started: {error}\n");
                let _no_other_place = io::stderr().write_all(line.as_bytes());
                return None;
            }
            said => drop(said.unwrap().successful().unwrap()),
        }
        let who = ["-c", "user.name=x", "-c", "user.email=x@y"];
        let commit = ["commit", "--quiet", "--allow-empty", "-m", "first"];
        git.run(&repo, &[&who[..], &commit[..]].concat()).unwrap().successful().unwrap();
        Some((directory, repo))
    }

    fn request(path: Option<&Path>) -> Request<'_> {
        Request {
            task: "t_1",
            kind: Kind::Worktree,
            path,
            branch: None,
            root: Path::new("/nonexistent"),
            default_workdir: None,
        }
    }

    fn branch_at(path: &Path) -> Option<String> {
        reuse(&Git::new(LIMIT).unwrap(), path.into()).unwrap().branch
    }

    fn worktree(path: PathBuf, branch: &str) -> Workspace {
        Workspace { path, branch: Some(branch.to_owned()) }
    }

    #[test]
    fn without_a_path_it_comes_from_the_boards_directory() {
        let Some((_directory, repo)) = repository() else { return };
        let inside = repo.join("sub");
        fs::create_dir(&inside).unwrap();
        let asked = Request { default_workdir: Some(&inside), ..request(None) };
        let made = prepare(&asked).unwrap();
        assert_eq!(made, worktree(repo.join(".worktrees/t_1"), "wt/t_1"));
        assert_eq!(branch_at(&made.path).as_deref(), Some("wt/t_1"));
        assert_eq!(prepare(&asked).unwrap(), made, "and is found again");
        let error = prepare(&request(None)).unwrap_err();
        assert!(error.to_string().contains("default_workdir"), "{error}");
    }

    #[test]
    fn a_checkout_itself_gets_a_worktree_below_it() {
        let Some((_directory, repo)) = repository() else { return };
        let made = prepare(&request(Some(&repo))).unwrap();
        assert_eq!(made, worktree(repo.join(".worktrees/t_1"), "wt/t_1"));
    }

    #[test]
    fn a_new_path_inside_a_checkout_becomes_a_worktree_of_it() {
        let Some((_directory, repo)) = repository() else { return };
        let path = repo.join("a/b");
        let asked = Request { branch: Some("mine"), ..request(Some(&path)) };
        assert_eq!(prepare(&asked).unwrap(), worktree(path, "mine"));
    }

    #[test]
    fn a_linked_worktree_is_reused_with_the_branch_that_it_has() {
        let Some((directory, repo)) = repository() else { return };
        let elsewhere = directory.path().join("elsewhere");
        let git = Git::new(LIMIT).unwrap();
        let add = ["worktree", "add", "-b", "theirs", elsewhere.to_str().unwrap()];
        git.run(&repo, &add).unwrap().successful().unwrap();
        let asked = Request { branch: Some("mine"), ..request(Some(&elsewhere)) };
        assert_eq!(prepare(&asked).unwrap(), worktree(elsewhere.clone(), "theirs"));
        git.run(&elsewhere, &["checkout", "--quiet", "--detach"]).unwrap().successful().unwrap();
        assert_eq!(prepare(&asked).unwrap(), Workspace { path: elsewhere, branch: None });
    }

    #[test]
    fn a_branch_that_exists_is_checked_out() {
        let Some((_directory, repo)) = repository() else { return };
        let git = Git::new(LIMIT).unwrap();
        git.run(&repo, &["branch", "there"]).unwrap().successful().unwrap();
        let path = repo.join("w");
        let asked = Request { branch: Some("there"), ..request(Some(&path)) };
        assert_eq!(prepare(&asked).unwrap(), worktree(path.clone(), "there"));
        assert_eq!(branch_at(&path).as_deref(), Some("there"));
    }

    #[test]
    fn a_directory_with_something_in_it_is_not_taken_for_a_worktree() {
        let Some((_directory, repo)) = repository() else { return };
        let target = repo.join(".worktrees/t_1");
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("file"), "").unwrap();
        let error = prepare(&request(Some(&repo))).unwrap_err();
        assert!(matches!(error, WorkspaceError::Git { .. }), "{error}");
        assert!(error.to_string().contains("already exists"), "{error}");
    }

    #[test]
    fn names_are_neither_options_nor_ways_out() {
        let Some((_directory, repo)) = repository() else { return };
        let option = Request { branch: Some("--force"), ..request(Some(&repo)) };
        assert!(matches!(prepare(&option), Err(WorkspaceError::Request(_))));
        let out = Request { task: "../../x", ..request(Some(&repo)) };
        assert!(matches!(prepare(&out), Err(WorkspaceError::Request(_))));
    }

    #[test]
    fn outside_of_any_repository_the_error_names_it() {
        let Some((directory, _repo)) = repository() else { return };
        let path = directory.path().join("nowhere");
        let error = prepare(&request(Some(&path))).unwrap_err();
        assert!(error.to_string().contains("not a git repository"), "{error}");
        assert_eq!(error.errno(), 0);
    }

    #[test]
    fn a_hook_that_never_ends_is_ended_with_all_its_group() {
        let Some((directory, repo)) = repository() else { return };
        let hook = repo.join(".git/hooks/post-checkout");
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script =
            "#!/bin/sh\ntrap '' TERM\nexec 9<>PIPE; echo up >&9\nwhile :; do sleep 1000; done\n";
        fs::create_dir_all(repo.join(".git/hooks")).unwrap();
        // Written by another process: a child that another test is just starting could hold it open.
        let text = script.replace("PIPE", pipe.to_str().unwrap());
        let write = ["-c", "printf %s \"$1\" > \"$2\"", "sh", &text, hook.to_str().unwrap()];
        assert!(std::process::Command::new("sh").args(write).status().unwrap().success());
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let mut reader = {
            use std::os::unix::fs::OpenOptionsExt;
            let flags = libc::O_NONBLOCK;
            File::options().read(true).custom_flags(flags).open(&pipe).unwrap()
        };
        let limit = Duration::from_secs(1);
        let error = worktree_within(&request(Some(&repo)), limit).unwrap_err();
        assert!(matches!(error, WorkspaceError::Timeout { .. }), "{error}");
        // All writers are gone when the pipe has ended.
        nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))
            .unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        // On a slow machine the time was up before the hook was.
        assert!(["", "up\n"].contains(&said.as_str()), "{said}");
    }
}
