//! Starts a worker that inherits only what is listed here.
//!
//! It leads a session and a group of its own, has an empty signal mask, default dispositions,
//! `/dev/null` for input, its log for output, and no other descriptor. `posix_spawn` does all that
//! without a copy of our page tables; a hook between fork and exec would make every spawn from a
//! large parent fifty times as slow.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{AccessFlags, eaccess};
use thiserror::Error;

use super::pidfd;
use crate::machine::fault::Blame;
use crate::machine::ids::Pid;

/// The program to start, with its environment.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments. A program without a slash is looked up on the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// Its whole environment; nothing of ours is added.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; an absolute path.
    pub cwd: PathBuf,
    /// What takes its output and its errors.
    pub log: File,
}

/// A process that was started. It is a child of this process until it is reaped.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is also its group's and its session's.
    pub pid: Pid,
    /// Its pidfd; `None` if the host had no descriptor left. The child exists nevertheless.
    pub pidfd: Option<OwnedFd>,
}

/// Why nothing was started. No process is left behind.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The program cannot be executed, or not with these arguments.
    #[error("cannot start {}: {reason}", program.display())]
    Program {
        /// As named in the command, or where it was found.
        program: PathBuf,
        /// What happened, and what to do.
        reason: String,
        /// The errno of the failed call.
        errno: Errno,
    },
    /// Arguments and environment are more than the kernel takes.
    #[error(
        "cannot start {}: its arguments and environment have {bytes} bytes, or one of them more \
         than 131072 (E2BIG); shorten the worker's command or the task's text",
        program.display()
    )]
    TooLong {
        /// Where it was found.
        program: PathBuf,
        /// All of it together.
        bytes: usize,
    },
    /// The host has no room for another process.
    #[error("cannot start {}: the host refused ({errno}); it is tried again later", program.display())]
    Host {
        /// Where it was found.
        program: PathBuf,
        /// The errno of the failed call.
        errno: Errno,
    },
    /// The directory that it should run in cannot be entered.
    #[error("cannot enter the workspace {}: {errno}; it was there when the run was prepared, or should have been", path.display())]
    Workspace {
        /// The directory that cannot be entered.
        path: PathBuf,
        /// The errno of the failed call.
        errno: Errno,
    },
}

impl SpawnError {
    /// Returns who is charged.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            SpawnError::Program { .. } | SpawnError::TooLong { .. } => Blame::Task,
            SpawnError::Host { .. } => Blame::Host,
            SpawnError::Workspace { errno, .. } => blame_for_directory(*errno),
        }
    }

    /// The errno of the failed call.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            SpawnError::Program { errno, .. }
            | SpawnError::Host { errno, .. }
            | SpawnError::Workspace { errno, .. } => *errno as i32,
            SpawnError::TooLong { .. } => libc::E2BIG,
        }
    }
}

/// Returns who is charged if a board's directory fails: a failing disk is not the task's fault.
pub(super) fn blame_for_directory(errno: Errno) -> Blame {
    if matches!(errno, Errno::EIO | Errno::ENOSPC | Errno::EROFS | Errno::EDQUOT | Errno::ESTALE) {
        Blame::Board
    } else if is_hosts(errno) {
        Blame::Host
    } else {
        Blame::Task
    }
}

/// True if the host is short of a resource, so that neither the program nor a directory is the
/// cause.
fn is_hosts(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
}

/// Our own environment, as far as a program can be given it: the C library also takes a name that
/// begins with `=`.
pub fn own_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| is_name(name))
}

/// True if this can be the name of a variable.
fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().iter().any(|byte| matches!(byte, b'=' | 0))
}

/// Starts `command`. Returns when the new process has executed its program, so a program on a disk
/// that hangs holds the caller for as long.
///
/// # Errors
/// See [`SpawnError`].
pub fn spawn(command: &Command) -> Result<Spawned, SpawnError> {
    let log = command.log.as_fd();
    start(&command.argv, &command.env, &command.cwd, log, log)
}

/// As [`spawn`], with two places for output and errors.
pub(super) fn start(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
    output: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
) -> Result<Spawned, SpawnError> {
    let program = find_program(argv, env, cwd)?;
    let strings = Strings::new(&program, argv, env, cwd)?;
    let host = |errno| SpawnError::Host { program: program.clone(), errno };
    let actions = FileActions::new(&strings.cwd, output, errors).map_err(host)?;
    let attributes = Attributes::new().map_err(host)?;
    let pid = strings
        .posix_spawn(&actions, &attributes)
        .map_err(|errno| explain(errno, &program, strings.len(), cwd))?;
    // It is still our unreaped child, even if it has exited: the number cannot mean another
    // process.
    Ok(Spawned { pid, pidfd: pidfd::open(pid).ok() })
}

/// Where `execvp` looks when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The path to execute. Looked up here, because `posix_spawnp` would search *our* `PATH`.
fn find_program(
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
        // An empty or relative entry means the worker's directory, not ours.
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

/// Everything that the kernel reads as C strings, kept alive during the call.
struct Strings {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Strings {
    fn new(
        program: &Path,
        argv: &[OsString],
        env: &[(OsString, OsString)],
        cwd: &Path,
    ) -> Result<Strings, SpawnError> {
        let refuse = |reason: String| SpawnError::Program {
            program: program.into(),
            reason,
            errno: Errno::EINVAL,
        };
        let nul = |what: &str| {
            let reason = format!("{what} holds a NUL byte, which no program can be given");
            move |_: NulError| refuse(reason)
        };
        let mut variables = Vec::with_capacity(env.len());
        for (key, value) in env {
            if !is_name(key) {
                return Err(refuse(format!("{key:?} cannot be the name of a variable")));
            }
            let pair = [key.as_bytes(), b"=", value.as_bytes()].concat();
            variables.push(CString::new(pair).map_err(nul(&format!("the variable {key:?}")))?);
        }
        let mut arguments = Vec::with_capacity(argv.len());
        for (index, argument) in argv.iter().enumerate() {
            let argument = CString::new(argument.as_bytes());
            arguments.push(argument.map_err(nul(&format!("argument {index}")))?);
        }
        Ok(Strings {
            program: c_path(program).map_err(nul("its path"))?,
            argv: arguments,
            env: variables,
            cwd: c_path(cwd).map_err(nul("the workspace's path"))?,
        })
    }

    /// How many bytes the arguments and the environment have.
    fn len(&self) -> usize {
        self.argv.iter().chain(&self.env).map(|text| text.as_bytes_with_nul().len()).sum()
    }

    fn posix_spawn(&self, actions: &FileActions, attributes: &Attributes) -> Result<Pid, Errno> {
        let (argv, env) = (pointers(&self.argv), pointers(&self.env));
        let mut pid = 0;
        // SAFETY: both lists end with a null pointer and point to strings that `self` keeps alive;
        // actions and attributes were initialised; the call keeps none of them.
        let code = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                self.program.as_ptr(),
                &raw const actions.0,
                &raw const attributes.0,
                argv.as_ptr(),
                env.as_ptr(),
            )
        };
        check(code).map(|()| Pid(pid))
    }
}

fn c_path(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_bytes())
}

/// The list of C strings that `execve` wants: ended by a null pointer.
fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// The `posix_spawn` family returns the errno instead of setting it.
fn check(code: i32) -> Result<(), Errno> {
    if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) }
}

/// What the child does with its descriptors and directory before it executes the program.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new(
        cwd: &CString,
        output: BorrowedFd<'_>,
        errors: BorrowedFd<'_>,
    ) -> Result<FileActions, Errno> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: initialises the memory it is given.
        check(unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) })?;
        // SAFETY: initialised just above.
        let mut actions = FileActions(unsafe { raw.assume_init() });
        let list = &raw mut actions.0;
        let (out, err) = (output.as_raw_fd(), errors.as_raw_fd());
        // Input comes last: were the log our descriptor 0, it would be gone otherwise.
        // SAFETY: the list is initialised, and each call copies what it is given.
        unsafe {
            check(libc::posix_spawn_file_actions_adddup2(list, err, 2))?;
            check(libc::posix_spawn_file_actions_adddup2(list, out, 1))?;
            let null = c"/dev/null".as_ptr();
            check(libc::posix_spawn_file_actions_addopen(list, 0, null, libc::O_RDONLY, 0))?;
            check(libc::posix_spawn_file_actions_addchdir_np(list, cwd.as_ptr()))?;
            check(libc::posix_spawn_file_actions_addclosefrom_np(list, 3))?;
        }
        Ok(actions)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// Session, signal mask and dispositions of the child.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> Result<Attributes, Errno> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: initialises the memory it is given.
        check(unsafe { libc::posix_spawnattr_init(raw.as_mut_ptr()) })?;
        // SAFETY: initialised just above.
        let mut attributes = Attributes(unsafe { raw.assume_init() });
        let list = &raw mut attributes.0;
        let flags = i32::from(libc::POSIX_SPAWN_SETSID)
            | libc::POSIX_SPAWN_SETSIGMASK
            | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = libc::c_short::try_from(flags).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the list is initialised, and each call copies the set that it is given.
        unsafe {
            check(libc::posix_spawnattr_setflags(list, flags))?;
            check(libc::posix_spawnattr_setsigmask(list, &raw const *signals(false)))?;
            check(libc::posix_spawnattr_setsigdefault(list, &raw const *signals(true)))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// All signals, or none. `sigfillset` leaves out the two that the C library keeps for itself; those
/// would then be *ignored* in the child, and in all its children.
fn signals(all: bool) -> Box<libc::sigset_t> {
    let byte = if all { 0xff } else { 0 };
    let mut set = Box::new(MaybeUninit::<libc::sigset_t>::uninit());
    // SAFETY: a signal set is an array of bits, so that any bytes make one.
    unsafe {
        ptr::write_bytes(set.as_mut_ptr().cast::<u8>(), byte, size_of::<libc::sigset_t>());
        set.assume_init()
    }
}

/// Returns what an errno of `posix_spawn` meant: the call does not return which step failed.
fn explain(errno: Errno, program: &Path, bytes: usize, cwd: &Path) -> SpawnError {
    if errno == Errno::E2BIG {
        return SpawnError::TooLong { program: program.into(), bytes };
    }
    // EPERM is the kernel's word for a fork that a security policy forbids.
    if is_hosts(errno) || errno == Errno::EPERM {
        return SpawnError::Host { program: program.into(), errno };
    }
    if let Err(errno) = enter(cwd) {
        return SpawnError::Workspace { path: cwd.into(), errno };
    }
    if errno == Errno::EIO {
        return SpawnError::Host { program: program.into(), errno };
    }
    let reason = reason(errno, &cwd.join(program));
    SpawnError::Program { program: program.into(), reason, errno }
}

/// Fails if `cwd` is not a directory that can be entered.
fn enter(cwd: &Path) -> Result<(), Errno> {
    match fs::metadata(cwd) {
        Err(error) => Err(errno_of(&error)),
        Ok(meta) if !meta.is_dir() => Err(Errno::ENOTDIR),
        Ok(_) => eaccess(cwd, AccessFlags::X_OK),
    }
}

/// Why a program cannot be executed, in words.
fn reason(errno: Errno, program: &Path) -> String {
    if errno == Errno::ENOENT && program.exists() {
        match interpreter(program) {
            Some(shell) => format!("its interpreter {} does not exist", shell.display()),
            None => "its loader does not exist; was it built for this system?".to_owned(),
        }
    } else if errno == Errno::ENOENT {
        "no such file; correct the worker's command".to_owned()
    } else if errno == Errno::ENOEXEC {
        "neither a program for this machine nor a script that begins with #! and its interpreter \
         (ENOEXEC); add that line"
            .to_owned()
    } else if errno == Errno::EACCES && program.is_dir() {
        "it is a directory".to_owned()
    } else if errno == Errno::EACCES {
        "permission denied; check its mode, its directories' modes, and how its file system is mounted"
            .to_owned()
    } else {
        errno.to_string()
    }
}

/// What a script's first line names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let name = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    Some(OsString::from_vec(name.to_vec()).into())
}

/// Returns the errno inside an I/O error.
pub(super) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
