//! Why a worker was not started, and to whom it is charged.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use thiserror::Error;

use crate::machine::fault::Blame;
use crate::process::cells::Step;

/// Why a process was not started. None is left behind.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The program cannot be executed, or not with these arguments.
    #[error("cannot start {}: {reason}", program.display())]
    Program {
        /// As named in the command, or the path where it was found.
        program: PathBuf,
        /// What happened, and what to do.
        reason: String,
        /// The errno of the failed call.
        errno: Errno,
    },
    /// Arguments and environment exceed what the kernel accepts.
    #[error(
        "cannot start {}: its arguments and environment have {bytes} bytes, or one of them more \
         than 131072 (E2BIG); shorten the worker's command or the task's text",
        program.display()
    )]
    TooLong {
        /// Where it was found.
        program: PathBuf,
        /// Their total size in bytes.
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
    /// The pid cannot be written to the intent record. No process may run without a record.
    #[error(
        "cannot write the worker's pid into its intent record in the state directory: {errno}; \
         check the disk that the state directory is on; the spawn is tried again later"
    )]
    Record {
        /// The errno of the failed call.
        errno: Errno,
    },
    /// Its working directory cannot be entered.
    #[error("cannot enter the workspace {}: {errno}; it was there when the run was prepared, or should have been", path.display())]
    Workspace {
        /// The directory that cannot be entered.
        path: PathBuf,
        /// The errno of the failed call.
        errno: Errno,
    },
}

impl SpawnError {
    /// Returns to whom the error is charged.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            SpawnError::Program { .. } | SpawnError::TooLong { .. } => Blame::Task,
            SpawnError::Host { .. } | SpawnError::Record { .. } => Blame::Host,
            SpawnError::Workspace { errno, .. } => blame_for_directory(*errno),
        }
    }

    /// The errno of the failed call.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            SpawnError::Program { errno, .. }
            | SpawnError::Host { errno, .. }
            | SpawnError::Record { errno }
            | SpawnError::Workspace { errno, .. } => *errno as i32,
            SpawnError::TooLong { .. } => libc::E2BIG,
        }
    }
}

/// Returns to whom an error with a board's directory is charged: a failing disk is not the task's
/// fault.
pub(in crate::process) fn blame_for_directory(errno: Errno) -> Blame {
    if matches!(errno, Errno::EIO | Errno::ENOSPC | Errno::EROFS | Errno::EDQUOT | Errno::ESTALE) {
        Blame::Board
    } else if is_hosts(errno) {
        Blame::Host
    } else {
        Blame::Task
    }
}

/// True if the host lacks a resource, so neither the program nor a directory is the cause.
fn is_hosts(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
}

/// Returns the error for a failure of the child. `bytes` is the size of arguments and environment.
pub(super) fn explain(
    (step, errno): (Step, Errno),
    program: &Path,
    bytes: usize,
    cwd: &Path,
) -> SpawnError {
    match step {
        Step::Prepare => SpawnError::Host { program: program.into(), errno },
        Step::Record => SpawnError::Record { errno },
        Step::Enter => SpawnError::Workspace { path: cwd.into(), errno },
        Step::Execute if errno == Errno::E2BIG => {
            SpawnError::TooLong { program: program.into(), bytes }
        }
        // EAGAIN: the user has as many processes as the host allows.
        Step::Execute if is_hosts(errno) || errno == Errno::EIO => {
            SpawnError::Host { program: program.into(), errno }
        }
        Step::Execute => {
            let reason = reason(errno, &cwd.join(program));
            SpawnError::Program { program: program.into(), reason, errno }
        }
    }
}

/// Returns why a program cannot be executed, in words.
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

/// Returns the interpreter that a script's first line names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let name = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    Some(OsString::from_vec(name.to_vec()).into())
}

/// Returns the errno inside an I/O error.
pub(in crate::process) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
