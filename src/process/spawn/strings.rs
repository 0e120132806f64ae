//! A command as the kernel reads it.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::error::SpawnError;

/// Our own environment, as far as a program can be given it: the C library also takes a name that
/// begins with `=`.
pub fn own_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| is_name(name))
}

/// True if this can be the name of a variable.
fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().iter().any(|byte| matches!(byte, b'=' | 0))
}

/// Everything that the kernel reads as C strings, kept alive during the spawn.
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

    /// How many bytes the arguments and the environment have.
    pub fn len(&self) -> usize {
        self.argv.iter().chain(&self.env).map(|text| text.as_bytes_with_nul().len()).sum()
    }

    /// The arguments as `execve` wants them. Valid for as long as this is.
    pub fn argv(&self) -> Vec<*const libc::c_char> {
        pointers(&self.argv)
    }

    /// The environment as `execve` wants it. Valid for as long as this is.
    pub fn env(&self) -> Vec<*const libc::c_char> {
        pointers(&self.env)
    }
}

fn c_path(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_bytes())
}

/// The list of C strings that `execve` wants: ended by a null pointer.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
