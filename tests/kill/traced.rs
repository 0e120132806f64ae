//! Dispatchers that are killed at a certain system call.

use std::io;
use std::process::Command;

use crate::scene::Scene;
use crate::support::running::Running;
use crate::support::skip::skipped;

/// Returns whether this host allows processes to be traced.
pub fn can_trace() -> bool {
    let tried = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    let error = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => error,
    };
    skipped(format!("this needs strace, and leave to trace: {error}"));
    false
}

/// Starts a dispatcher with faults injected into its system calls, in strace's syntax, but not into
/// those of its workers once they have executed their program. The tracer is not a child of the
/// dispatcher.
pub fn run(scene: &Scene, injected: &[&str]) -> Running {
    let real = scene.command(&["run"]);
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-b", "execve", "-o", "/dev/null"]);
    command.args(["-e", "trace=clone,clone3,execve,fdatasync,fsync,pwrite64"]);
    injected.iter().for_each(|rule| _ = command.args(["-e", &format!("inject={rule}")]));
    command.arg(real.get_program()).args(real.get_args()).env_clear();
    command.envs(real.get_envs().filter_map(|(name, value)| Some((name, value?))));
    scene.start(command.current_dir(scene.sandbox.path("")))
}
