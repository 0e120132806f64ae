//! What a worker gets from us, and what happens when it cannot be started.
//!
//! A program of its own: it leaks descriptors and ignores a signal, in the whole process.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

#[path = "support/skip.rs"]
mod skip;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use sexton::machine::effect::Whom;
use sexton::machine::event::{Signal::Kill, SignalOutcome};
use sexton::machine::fault::Blame;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::ExitStatus;
use sexton::process::children::Children;
use sexton::process::signal::signal_group;
use sexton::process::spawn::{Command, Evidence, SpawnError, spawn};
use skip::skipped;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn command(argv: &[&str], cwd: &Path, log: File) -> Command {
    let argv = argv.iter().map(OsString::from).collect();
    Command { argv, env: vec![("PATH".into(), PATH.into())], cwd: cwd.into(), log }
}

/// A worker, and a table that holds only that worker.
struct Worker {
    pid: Pid,
    children: Children,
}

fn start(command: &Command) -> Result<Worker, SpawnError> {
    let children = Children::new().unwrap();
    let pid = spawn(command, Evidence::default(), children.birth(SpawnId(1)))?.pid;
    Ok(Worker { pid, children })
}

/// Starts a worker, and waits until it has ended and all its output is there.
fn run(argv: &[&str], cwd: &Path) -> (Pid, String, ExitStatus) {
    let (mut output, log) = std::io::pipe().unwrap();
    let worker = start(&command(argv, cwd, File::from(OwnedFd::from(log)))).unwrap();
    let text = std::io::read_to_string(&mut output).unwrap();
    (worker.pid, text, status_of(&worker))
}

fn status_of(worker: &Worker) -> ExitStatus {
    wait_for(&worker.children);
    worker.children.reap(Whom::All).exits[0].status
}

fn wait_for(children: &Children) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(children.epoll().0.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::NONE).unwrap();
}

fn refused(command: &Command) -> SpawnError {
    start(command).err().unwrap()
}

fn null() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

/// Written by another process: a descriptor of ours could be in a child that another test is just
/// starting, and a file that is open for writing cannot be executed.
fn script(directory: &Path, text: &str, mode: u32) -> String {
    let path = directory.join("worker");
    let write = ["-c", "printf %s \"$1\" > \"$2\"", "sh", text, path.to_str().unwrap()];
    assert!(std::process::Command::new("sh").args(write).status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The number in field `name` of a `/proc/<pid>/status`, in hexadecimal there.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

#[test]
fn a_worker_has_no_signal_blocked_ignored_or_caught() {
    let mut blocked = SigSet::all();
    blocked.remove(Signal::SIGSEGV);
    let before = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK).unwrap();
    // Rust programs ignore SIGPIPE; another here, for good measure.
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    let (_, status, _) = run(&["cat", "/proc/self/status"], Path::new("/"));
    before.thread_set_mask().unwrap();
    let masks = ["SigBlk", "SigIgn", "SigCgt"].map(|name| (name, mask(&status, name)));
    assert_eq!(masks, [("SigBlk", 0), ("SigIgn", 0), ("SigCgt", 0)]);
}

/// From now on this thread sees no `/proc`.
fn lose_proc() -> Result<(), Errno> {
    let none: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(none, "/proc", Some("tmpfs"), MsFlags::empty(), none)
}

#[test]
fn without_proc_a_worker_still_has_no_signal_ignored() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    let started = std::thread::spawn(|| {
        lose_proc()?;
        assert!(!Path::new("/proc/self").exists());
        Ok(start(&command(&["sh", "-c", "kill -USR2 $$"], Path::new("/"), null())).unwrap())
    });
    match started.join().unwrap() {
        Ok(child) => assert_eq!(status_of(&child), ExitStatus::Signal(libc::SIGUSR2)),
        Err(errno @ Errno::EPERM) => skipped(format!("this needs to mount a file system: {errno}")),
        Err(errno) => panic!("{errno}"),
    }
}

/// Set in the traced process.
const TRACED: &str = "SEXTON_TEST_TRACED";

#[test]
fn a_spawn_resets_only_the_signals_that_need_it() {
    if std::env::var_os(TRACED).is_some() {
        assert_eq!(run(&["/bin/true"], Path::new("/")).2, ExitStatus::Code(0));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=rt_sigaction,execve", "-o"]).arg(&trace);
    strace.arg(std::env::current_exe().unwrap()).env(TRACED, "");
    strace.args(["--exact", "a_spawn_resets_only_the_signals_that_need_it"]);
    match strace.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(complaint.contains("ptrace"), "{complaint}");
            return skipped("a process may not be traced here");
        }
        Err(error) => return skipped(format!("strace cannot be started: {error}")),
    }
    let trace = fs::read_to_string(trace).unwrap();
    let lines = || trace.lines().map(|line| line.split_once(' ').unwrap());
    let executes = |call: &str| call.trim_start().starts_with("execve(\"/bin/true\"");
    let (worker, _) = lines().find(|(_, call)| executes(call)).unwrap();
    let its = lines().filter(|(pid, _)| *pid == worker).map(|(_, call)| call.trim_start());
    let resets = its.take_while(|call| !executes(call)).filter(|c| c.starts_with("rt_sigaction("));
    let resets = resets.count();
    // SIGPIPE is ignored, and Rust catches two signals. Through the library it would be 64.
    assert!((1..=8).contains(&resets), "{resets}:\n{trace}");
}

#[test]
fn a_worker_has_three_descriptors_whatever_we_leak() {
    let file = null();
    // SAFETY: duplicates a descriptor; F_DUPFD leaves close-on-exec unset.
    let leaked = [700, 701].map(|at| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, at) });
    assert!(leaked.iter().all(|fd| *fd >= 700));
    let (mut output, log) = std::io::pipe().unwrap();
    let script = "echo up; kill -STOP $$";
    let argv = ["/bin/sh", "-c", script];
    let child = start(&command(&argv, Path::new("/"), File::from(OwnedFd::from(log)))).unwrap();
    // From here on the shell opens nothing any more.
    output.read_exact(&mut [0; 3]).unwrap();
    let directory = format!("/proc/{}/fd", child.pid.0);
    let mut open: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    open.sort();
    let input = fs::read_link(format!("{directory}/0")).unwrap();
    let sent = signal_group(&child.children, SpawnId(1), Kill);
    assert_eq!(sent, SignalOutcome::Delivered);
    status_of(&child);
    assert_eq!(open, ["0", "1", "2"]);
    assert_eq!(input, Path::new("/dev/null"));
}

#[test]
fn a_worker_leads_its_session_and_group() {
    let (pid, stat, _) = run(&["cat", "/proc/self/stat"], Path::new("/"));
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let pid = pid.0.to_string();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()));
}

#[test]
fn a_worker_runs_in_its_directory_with_only_its_environment() {
    let directory = tempfile::tempdir().unwrap();
    let (_, output, status) = run(&["sh", "-c", "pwd -P; env; echo err >&2"], directory.path());
    let real = fs::canonicalize(directory.path()).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], real.to_str().unwrap());
    assert!(lines.contains(&format!("PATH={PATH}").as_str()));
    assert!(!lines.iter().any(|line| line.starts_with("CARGO")), "{lines:?}");
    assert_eq!(lines.last(), Some(&"err"), "errors go to the log too");
    assert_eq!(status, ExitStatus::Code(0));
}

#[test]
fn exit_codes_and_signals_arrive_as_they_are() {
    for code in [0, 1, 75, 78, 127, 255] {
        let (_, _, status) = run(&["sh", "-c", &format!("exit {code}")], Path::new("/"));
        assert_eq!(status, ExitStatus::Code(code));
    }
    // 40 is a real-time signal.
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGABRT, 40] {
        let (_, _, status) = run(&["sh", "-c", &format!("kill -{signal} $$")], Path::new("/"));
        assert_eq!(status, ExitStatus::Signal(signal));
    }
}

#[test]
fn the_program_is_looked_up_on_the_workers_path() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("bin")).unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("/bin/echo", directory.path().join("bin/only-here")).unwrap();
    let (mut output, log) = std::io::pipe().unwrap();
    let mut command =
        command(&["only-here", "x"], directory.path(), File::from(OwnedFd::from(log)));
    let error = refused(&command);
    assert!(error.to_string().contains("not found on PATH"), "{error}");
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ENOENT));
    // A relative entry is seen from the worker's directory.
    command.env = vec![("PATH".into(), "/nonexistent:bin".into())];
    let child = start(&command).unwrap();
    drop(command);
    assert_eq!(std::io::read_to_string(&mut output).unwrap(), "x\n");
    assert_eq!(status_of(&child), ExitStatus::Code(0));
}

#[test]
fn a_missing_program_is_the_tasks_fault() {
    let error = refused(&command(&["/nonexistent/worker"], Path::new("/"), null()));
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ENOENT));
    assert!(error.to_string().contains("/nonexistent/worker"), "{error}");
}

#[test]
fn a_program_that_is_not_executable_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "#!/bin/sh\n", 0o644);
    let error = refused(&command(&[&path], directory.path(), null()));
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::EACCES));
    let mut by_name = command(&["worker"], directory.path(), null());
    by_name.env = vec![("PATH".into(), directory.path().into())];
    let error = refused(&by_name);
    assert!(error.to_string().contains("is not executable"), "{error}");
    assert_eq!(refused(&command(&["/etc"], Path::new("/"), null())).errno(), libc::EACCES);
}

#[test]
fn a_script_without_an_interpreter_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "echo hello\n", 0o755);
    let error = refused(&command(&[&path], directory.path(), null()));
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ENOEXEC));
    assert!(error.to_string().contains("#!"), "{error}");

    let path = script(directory.path(), "#! /no/such/shell -x\n", 0o755);
    let error = refused(&command(&[&path], directory.path(), null()));
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ENOENT));
    assert!(error.to_string().contains("interpreter /no/such/shell does not exist"), "{error}");
}

#[test]
fn an_argument_that_is_too_long_is_named() {
    let long = "x".repeat(200_000);
    let error = refused(&command(&["/bin/echo", &long], Path::new("/"), null()));
    assert!(matches!(error, SpawnError::TooLong { bytes, .. } if bytes > 200_000), "{error:?}");
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::E2BIG));
}

#[test]
fn what_cannot_be_a_c_string_is_refused() {
    let mut with_nul = command(&["/bin/echo", "a\0b"], Path::new("/"), null());
    let error = refused(&with_nul);
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::EINVAL));
    assert!(error.to_string().contains("argument 1 holds a NUL byte"), "{error}");
    with_nul.argv.pop();
    with_nul.env.push(("A=B".into(), "c".into()));
    assert!(refused(&with_nul).to_string().contains("name of a variable"));
    assert_eq!(refused(&command(&[], Path::new("/"), null())).blame(), Blame::Task);
}

#[test]
fn arguments_need_not_be_text() {
    let (mut output, log) = std::io::pipe().unwrap();
    let mut command = command(&["/bin/echo"], Path::new("/"), File::from(OwnedFd::from(log)));
    command.argv.push(OsString::from_vec(vec![0xff, 0xfe]));
    let child = start(&command).unwrap();
    drop(command);
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [0xff, 0xfe, b'\n']);
    status_of(&child);
}

#[test]
fn a_directory_that_vanished_is_named_instead_of_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let error = refused(&command(&["/bin/echo"], &gone, null()));
    assert!(matches!(&error, SpawnError::Workspace { path, .. } if *path == gone), "{error:?}");
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ENOENT));
    fs::write(&gone, "").unwrap();
    assert_eq!(refused(&command(&["/bin/echo"], &gone, null())).errno(), libc::ENOTDIR);
}

#[test]
fn a_failing_disk_and_a_poor_host_are_not_the_tasks_fault() {
    let workspace = |errno| SpawnError::Workspace { path: "/w".into(), errno }.blame();
    assert_eq!(workspace(Errno::EIO), Blame::Board);
    assert_eq!(workspace(Errno::EACCES), Blame::Task);
    let host = SpawnError::Host { program: "p".into(), errno: Errno::EAGAIN };
    assert_eq!((host.blame(), host.errno()), (Blame::Host, libc::EAGAIN));
}

#[test]
fn a_failed_spawn_leaves_no_child() {
    let error = refused(&command(&["/nonexistent"], Path::new("/"), null()));
    assert_eq!(error.errno(), libc::ENOENT);
    // Every test has a thread of its own, and these are that thread's children.
    assert_eq!(Children::new().unwrap().adopt_orphans(1), Ok(vec![]));
}

#[test]
fn a_program_for_another_system_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("foreign");
    let other_loader =
        "LC_ALL=C sed 's#/ld-linux#/no-linux#' /bin/true > \"$1\" && chmod 755 \"$1\"";
    let make = ["-c", other_loader, "sh", path.to_str().unwrap()];
    assert!(std::process::Command::new("sh").args(make).status().unwrap().success());
    let error = refused(&command(&[path.to_str().unwrap()], directory.path(), null()));
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ENOENT));
    assert!(error.to_string().contains("its loader does not exist"), "{error}");
}

#[test]
fn any_other_reason_is_reported_in_the_kernels_words() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("loop");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let error = refused(&command(&[path.to_str().unwrap()], directory.path(), null()));
    assert_eq!((error.blame(), error.errno()), (Blame::Task, libc::ELOOP));
    assert!(error.to_string().contains("ELOOP"), "{error}");
}
