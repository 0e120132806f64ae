//! The evidence that a worker leaves before it executes its program, and what can happen to it until
//! then.
//!
//! A test binary of its own, because it installs a signal handler for the whole process.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

#[path = "support/skip.rs"]
mod skip;

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use sexton::machine::effect::Whom;
use sexton::machine::event::{Signal, SignalOutcome};
use sexton::machine::fault::Blame;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::ExitStatus;
use sexton::process::children::Children;
use sexton::process::pidfd::{self, Reach};
use sexton::process::signal::signal_group;
use sexton::process::spawn::{Command, Evidence, Handover, Record, SpawnError, Spawned, spawn};
use skip::skipped;

const SPAWN: SpawnId = SpawnId(1);

/// Until it executes its program, a child of another test shares the open files of this one: its locks
/// and its ends of sockets.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn command(script: &str, log: File) -> Command {
    let argv = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    Command { argv, env: vec![("PATH".into(), "/usr/bin:/bin".into())], cwd: "/".into(), log }
}

fn null() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

/// Starts a worker. Returns what it printed, its pid, and whether its pidfd was handed over.
fn run(script: &str, evidence: Evidence<'_>) -> Result<(String, Pid, bool), SpawnError> {
    let (mut output, log) = io::pipe().unwrap();
    let children = Children::new().unwrap();
    let command = command(script, File::from(OwnedFd::from(log)));
    let child = spawn(&command, evidence, children.birth(SPAWN))?;
    drop(command);
    let text = io::read_to_string(&mut output).unwrap();
    let (pid, handed_over) = (child.pid, child.handed_over);
    drop(child);
    assert_eq!(end_of(&children), ExitStatus::Code(0));
    Ok((text, pid, handed_over))
}

/// Waits until the only child has ended, and returns how.
fn end_of(children: &Children) -> ExitStatus {
    readable(children.epoll().0.as_fd());
    children.reap(Whom::All).exits[0].status
}

fn readable(fd: BorrowedFd<'_>) {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
}

fn packets() -> [OwnedFd; 2] {
    let mut pair = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: writes two descriptors, which nothing else owns.
    Errno::result(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) }).unwrap();
    // SAFETY: as above.
    pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for a packet. Returns its bytes, and the attached descriptor.
fn receive(socket: &OwnedFd) -> (Vec<u8>, OwnedFd) {
    let (mut bytes, mut control) = ([0_u8; 256], [0_u64; 8]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: the structure consists of integers and pointers, for which all zeros is a value.
    let mut packet: libc::msghdr = unsafe { mem::zeroed() };
    packet.msg_iov = &raw mut part;
    packet.msg_iovlen = 1;
    packet.msg_control = control.as_mut_ptr().cast();
    packet.msg_controllen = mem::size_of_val(&control);
    // SAFETY: all buffers outlive the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut packet, 0) };
    let length = Errno::result(received).unwrap().cast_unsigned();
    // SAFETY: the kernel has filled the buffer in, as far as the packet says.
    let (fd, kind) = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const packet);
        assert!(!header.is_null(), "no descriptor");
        (libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned(), (*header).cmsg_type)
    };
    assert_eq!(kind, libc::SCM_RIGHTS);
    // SAFETY: it came with the packet, and nothing else owns it.
    (bytes[..length].to_vec(), unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the process that a pidfd refers to; -1 if it was reaped.
fn pid_of(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

fn keeper<'a>(socket: &'a OwnedFd, message: &'a [u8]) -> Evidence<'a> {
    Evidence { record: None, keeper: Some(Handover { socket: socket.as_fd(), message }) }
}

#[test]
fn a_pid_stands_in_its_record_before_the_program_runs() {
    let _turn = one_at_a_time();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    fs::write(&path, [7; 32]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let record = Some(Record { file: file.as_fd(), offset: 16 });
    let script = format!("od -An -v -tx8 {}", path.display());
    let (printed, pid, handed_over) =
        run(&script, Evidence { record, ..Evidence::default() }).unwrap();
    let pid = u64::from(pid.0.cast_unsigned());
    let word = pid | (!pid & 0xffff_ffff) << 32;
    let words: Vec<_> = printed
        .split_ascii_whitespace()
        // In the byte order of this machine.
        .map(|word| u64::from_str_radix(word, 16).unwrap().to_le())
        .collect();
    let other = 0x0707_0707_0707_0707;
    assert_eq!(words, [other, other, word, other]);
    assert!(!handed_over, "there is no keeper");
}

#[test]
fn a_worker_whose_record_cannot_be_written_does_not_run() {
    let _turn = one_at_a_time();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    fs::write(&path, [0; 8]).unwrap();
    let ran = directory.path().join("ran");
    let [ours, theirs] = packets();
    let read_only = File::open(&path).unwrap();
    let evidence = Evidence {
        record: Some(Record { file: read_only.as_fd(), offset: 0 }),
        ..keeper(&theirs, b"worker")
    };
    let error = run(&format!("echo > {}", ran.display()), evidence).unwrap_err();
    assert!(matches!(error, SpawnError::Record { errno: Errno::EBADF }), "{error:?}");
    assert_eq!((error.blame(), error.errno()), (Blame::Host, libc::EBADF));
    assert!(error.to_string().contains("intent record in the state directory"), "{error}");
    assert!(!ran.exists());
    drop(theirs);
    // The keeper was not told of it.
    assert_eq!(File::from(ours).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_record_on_a_full_disk_keeps_the_worker_from_running() {
    let _turn = one_at_a_time();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let record = Some(Record { file: full.as_fd(), offset: 0 });
    let error = run("exit 0", Evidence { record, ..Evidence::default() }).unwrap_err();
    assert!(matches!(error, SpawnError::Record { errno: Errno::ENOSPC }), "{error:?}");
}

#[test]
fn the_keeper_gets_a_pidfd_of_that_very_process() {
    let _turn = one_at_a_time();
    let [ours, theirs] = packets();
    let children = Children::new().unwrap();
    let command = command("kill -STOP $$", null());
    let child = spawn(&command, keeper(&theirs, b"run 7"), children.birth(SPAWN)).unwrap();
    assert!(child.handed_over);
    let (message, pidfd) = receive(&ours);
    assert_eq!(message, b"run 7");
    assert_eq!(pid_of(&pidfd), child.pid.0);
    pidfd::send(pidfd.as_fd(), libc::SIGKILL, Reach::Process).unwrap();
    readable(pidfd.as_fd());
    drop(child);
    assert_eq!(end_of(&children), ExitStatus::Signal(libc::SIGKILL));
    assert_eq!(pid_of(&pidfd), -1);
}

#[test]
fn a_keeper_that_does_not_read_does_not_keep_a_worker_from_running() {
    let _turn = one_at_a_time();
    let [ours, theirs] = packets();
    let fill = || {
        // SAFETY: reads only the eight bytes.
        let sent = unsafe {
            let bytes = b"packet..".as_ptr().cast();
            libc::send(theirs.as_raw_fd(), bytes, 8, libc::MSG_DONTWAIT)
        };
        Errno::result(sent)
    };
    while fill().is_ok() {}
    assert_eq!(fill(), Err(Errno::EAGAIN));
    let (printed, _, handed_over) = run("echo up", keeper(&theirs, b"run 7")).unwrap();
    assert_eq!((printed.as_str(), handed_over), ("up\n", false));
    drop(ours);
}

#[test]
fn a_keeper_that_is_gone_does_not_keep_a_worker_from_running() {
    let _turn = one_at_a_time();
    let [ours, theirs] = packets();
    drop(ours);
    let (printed, _, handed_over) = run("echo up", keeper(&theirs, b"run 7")).unwrap();
    assert_eq!((printed.as_str(), handed_over), ("up\n", false));
    let no_socket = OwnedFd::from(null());
    let (printed, _, handed_over) = run("echo up", keeper(&no_socket, b"run 7")).unwrap();
    assert_eq!((printed.as_str(), handed_over), ("up\n", false));
}

/// From now on, a read of `/dev/null` on this thread waits until the FIFO has a writer.
fn put_in_place_of_null(fifo: &Path) -> Result<(), Errno> {
    let none: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some(fifo), "/dev/null", none, MsFlags::MS_BIND, none)
}

type Spawning<'scope> = ScopedJoinHandle<'scope, Result<Spawned, SpawnError>>;

/// Calls `scene` with a child that has left its evidence, and that does not execute its program until
/// `go` is called. Then the spawn returns.
fn while_held(scene: impl FnOnce(&Children, &OwnedFd, &dyn Fn(), Spawning<'_>)) {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let path = directory.path().join("record");
    fs::write(&path, [0; 8]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let [ours, theirs] = packets();
    let children = Children::new().unwrap();
    let command = command("kill -STOP $$", null());
    let record = Some(Record { file: file.as_fd(), offset: 0 });
    let evidence = Evidence { record, ..keeper(&theirs, b"run 7") };
    // Tried on a thread that ends right after that.
    if let Err(errno) = thread::scope(|s| s.spawn(|| put_in_place_of_null(&fifo)).join().unwrap()) {
        return skipped(format!("this needs to mount a file system: {errno}"));
    }
    thread::scope(|scope| {
        let spawning = scope.spawn(|| {
            put_in_place_of_null(&fifo).unwrap();
            spawn(&command, evidence, children.birth(SPAWN))
        });
        let (_, pidfd) = receive(&ours);
        let mut word = [0; 8];
        file.read_exact_at(&mut word, 0).unwrap();
        let pid = u64::from(pid_of(&pidfd).cast_unsigned());
        assert_eq!(u64::from_le_bytes(word) & 0xffff_ffff, pid, "the record comes first");
        let go = || drop(File::options().write(true).open(&fifo).unwrap());
        scene(&children, &pidfd, &go, spawning);
    });
}

#[test]
fn what_is_killed_before_it_executes_is_known_and_an_exit() {
    let _turn = one_at_a_time();
    while_held(|children, pidfd, _, spawning| {
        assert!(children.reap(Whom::All).exits.is_empty());
        assert_eq!(children.unreaped(), 1, "its thread waits, and the reaper knows it");
        let outcome = signal_group(children, SPAWN, Signal::Kill);
        assert_eq!(outcome, SignalOutcome::Delivered);
        let child = spawning.join().unwrap().unwrap();
        readable(pidfd.as_fd());
        let exits = children.reap(Whom::All).exits;
        assert_eq!((exits.len(), exits[0].pid), (1, child.pid));
        assert_eq!(exits[0].status, ExitStatus::Signal(libc::SIGKILL));
    });
}

/// The process in which the handler last ran.
static CAUGHT_IN: AtomicI32 = AtomicI32::new(0);

extern "C" fn catch(_: i32) {
    // SAFETY: takes nothing.
    CAUGHT_IN.store(unsafe { libc::getpid() }, Ordering::SeqCst);
}

#[test]
fn a_handler_of_ours_never_runs_in_a_child() {
    let _turn = one_at_a_time();
    let handler: extern "C" fn(i32) = catch;
    // SAFETY: the handler makes a system call and stores a number.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    while_held(|children, pidfd, go, spawning| {
        pidfd::send(pidfd.as_fd(), libc::SIGUSR1, Reach::Process).unwrap();
        go();
        // The signal has its default effect, right before the program is executed.
        let child = spawning.join().unwrap().unwrap();
        assert!(child.handed_over);
        drop(child);
        assert_eq!(end_of(children), ExitStatus::Signal(libc::SIGUSR1));
        assert_eq!(CAUGHT_IN.load(Ordering::SeqCst), 0);
    });
    // SAFETY: as above; the signal is sent to this thread.
    unsafe { libc::raise(libc::SIGUSR1) };
    // SAFETY: takes nothing.
    assert_eq!(CAUGHT_IN.load(Ordering::SeqCst), unsafe { libc::getpid() });
}

#[test]
fn what_holds_a_lock_holds_it_until_the_program_is_executed() {
    let _turn = one_at_a_time();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    while_held(|children, pidfd, go, spawning| {
        drop(lock);
        let other = File::open(&path).unwrap();
        assert!(other.try_lock().is_err(), "the child has it");
        go();
        drop(spawning.join().unwrap().unwrap());
        // The spawn returns slightly before the kernel closes the marked descriptors.
        other.lock().unwrap();
        pidfd::send(pidfd.as_fd(), libc::SIGKILL, Reach::Process).unwrap();
        assert_eq!(end_of(children), ExitStatus::Signal(libc::SIGKILL));
    });
}
