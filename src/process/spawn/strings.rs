//! A command in the form that the kernel reads.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::error::SpawnError;

/// Returns our own environment, except for what a program cannot be given: the C library also accepts
/// a name that begins with `=`.
pub fn own_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| is_name(name))
}

/// True if this can be the name of a variable.
fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().iter().any(|byte| matches!(byte, b'=' | 0))
}

/// All C strings that the kernel reads, kept alive during the spawn.
pub(super) struct Strings {
    pub program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    pub cwd: CString,
}

impl Strings {
    pub fn new(
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

    /// Returns the total size of the arguments and the environment in bytes.
    pub fn len(&self) -> usize {
        self.argv.iter().chain(&self.env).map(|text| text.as_bytes_with_nul().len()).sum()
    }

    /// Returns the arguments as `execve` expects them. Valid as long as `self`.
    pub fn argv(&self) -> Vec<*const libc::c_char> {
        pointers(&self.argv)
    }

    /// Returns the environment as `execve` expects it. Valid as long as `self`.
    pub fn env(&self) -> Vec<*const libc::c_char> {
        pointers(&self.env)
    }
}

fn c_path(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_bytes())
}

/// Returns the list of C strings that `execve` expects, ended by a null pointer.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
