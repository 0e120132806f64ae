//! The keeper as a process: the pidfds that it holds outlive dispatchers, and no client can block it
//! for others.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind,
    connect, listen, recv, send, sendmsg, socket,
};
use nix::sys::stat::fstat;
use nix::unistd::Pid as RawPid;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use sexton::evidence::keeper::client::Keeper;
use sexton::evidence::keeper::error::KeeperError;
use sexton::evidence::keeper::tag::Tag;
use sexton::machine::ids::Pid;
use sexton::machine::verdict::ExitStatus;
use sexton::process::identity::Instance;
use sexton::process::{identity, pidfd};

use crate::support::gate::Gate;
use crate::support::process::stat;
use crate::support::sandbox::Sandbox;
use crate::support::skip::skipped;
use crate::support::user::spare_uid;
use crate::support::wait::wait_until;

/// A keeper, and its state directory.
struct Running {
    child: Child,
    state: PathBuf,
}

impl Running {
    /// Starts a keeper, and returns when it can be reached.
    fn start(state: &Path) -> Running {
        Running::start_as(
            Command::new(env!("CARGO_BIN_EXE_sexton")).arg("keeper").arg(state),
            state,
        )
    }

    fn start_as(command: &mut Command, state: &Path) -> Running {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
        assert_eq!(said, b"\n", "it did not begin to listen");
        Running { child, state: state.to_owned() }
    }

    fn connect(&self) -> Keeper {
        Keeper::connect(&self.state).unwrap()
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Returns how many descriptors it has open.
    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    fn signal(&self, signal: Signal) {
        kill(RawPid::from_raw(self.pid()), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A program that waits for the end of its input, and exits when this is dropped.
struct Waiting(Child);

impl Waiting {
    fn start() -> Waiting {
        Waiting(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id().cast_signed())
    }

    fn pidfd(&self) -> OwnedFd {
        pidfd::open(self.pid()).unwrap()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn tag(lock: &str) -> Tag {
    Tag::new("board", 7, lock).unwrap()
}

fn own_pidfd() -> OwnedFd {
    pidfd::open(Pid(std::process::id().cast_signed())).unwrap()
}

/// Returns the inode of a pidfd, which is unique to its process.
fn which(pidfd: &OwnedFd) -> u64 {
    fstat(pidfd).unwrap().st_ino
}

/// Opens a connection by hand, without a hello.
fn raw(state: &Path) -> OwnedFd {
    let socket = packets();
    let address = UnixAddr::new(&state.join("keeper.sock")).unwrap();
    connect(socket.as_raw_fd(), &address).unwrap();
    socket
}

fn packets() -> OwnedFd {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap()
}

fn say(socket: &OwnedFd, packet: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
    send(socket.as_raw_fd(), packet, flags | MsgFlags::MSG_NOSIGNAL)
}

fn hand_over(socket: &impl AsFd, packet: &[u8], descriptors: &[i32]) {
    let control = [ControlMessage::ScmRights(descriptors)];
    let bytes = [IoSlice::new(packet)];
    let socket = socket.as_fd().as_raw_fd();
    sendmsg::<()>(socket, &bytes, &control, MsgFlags::empty(), None).unwrap();
}

/// Waits for a packet, or for the end of the connection.
fn wait_readable(socket: &OwnedFd) {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(PATIENCE_MS)), Ok(1), "nothing comes");
}

/// Reads up to the end of the connection, and returns the number of packets before it.
fn packets_to_the_end(socket: &OwnedFd) -> usize {
    let mut buffer = [0; 5000];
    let read = || {
        wait_readable(socket);
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length > 0,
            Err(errno) => {
                assert_eq!(errno, Errno::ECONNRESET);
                false
            }
        }
    };
    std::iter::repeat_with(read).take_while(|more| *more).count()
}

/// Long enough for anything on a busy machine, in milliseconds.
const PATIENCE_MS: u16 = 45_000;

const HELLO: [u8; 3] = [1, 1, 0];
const LIST: [u8; 5] = [5, 1, 0, 0, 0];

/// Returns whether this kernel tells how a reaped process ended.
fn kernel_keeps_exit_codes() -> bool {
    let worker = Waiting::start();
    let pidfd = worker.pidfd();
    drop(worker);
    let told = pidfd::exit_status(pidfd.as_fd()).is_some();
    if !told {
        skipped("this kernel does not tell how a reaped process ended (it needs Linux 6.15)");
    }
    told
}

#[test]
fn the_code_of_a_worker_that_pid_1_reaped_is_read_from_a_copy() {
    if !kernel_keeps_exit_codes() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let gate = Gate::new(directory.path().join("gate"));
    let script = format!("sh -c \"{}; exit 42\" & echo $!; wait", gate.wait());
    let mut dispatcher =
        Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(dispatcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let worker = Pid(line.trim().parse().unwrap());
    let pidfd = pidfd::open(worker).unwrap();
    keeper.connect().keep(&tag("lock"), pidfd.as_fd()).unwrap();
    drop(pidfd);
    dispatcher.kill().unwrap();
    dispatcher.wait().unwrap();
    gate.let_pass(1);
    let copy = keeper.connect().get("lock").unwrap().unwrap();
    // POLLHUP alone means that it has been reaped.
    let mut fds = [PollFd::new(copy.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut fds, PollTimeout::from(PATIENCE_MS)), Ok(1), "it was never reaped");
    assert_eq!(pidfd::exit_status(copy.as_fd()), Some(ExitStatus::Code(42)));
    let again = keeper.connect().get("lock").unwrap().unwrap();
    assert_eq!(pidfd::exit_status(again.as_fd()), Some(ExitStatus::Code(42)));
}

#[test]
fn each_dispatcher_gets_a_copy_until_the_run_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let (worker, other) = (Waiting::start(), Waiting::start());
    let first = keeper.connect();
    first.keep(&tag("a"), worker.pidfd().as_fd()).unwrap();
    first.keep(&tag("b"), other.pidfd().as_fd()).unwrap();
    drop(first);
    for _ in 0..2 {
        let next = keeper.connect();
        assert_eq!(which(&next.get("a").unwrap().unwrap()), which(&worker.pidfd()));
        assert_eq!(which(&next.get("b").unwrap().unwrap()), which(&other.pidfd()));
        assert_eq!(next.list().unwrap(), [tag("a"), tag("b")]);
    }
    let last = keeper.connect();
    last.forget("a").unwrap();
    assert!(last.get("a").unwrap().is_none());
    assert_eq!(last.list().unwrap(), [tag("b")]);
    last.keep(&tag("b"), worker.pidfd().as_fd()).unwrap();
    assert_eq!(which(&last.get("b").unwrap().unwrap()), which(&worker.pidfd()), "replaced");
}

#[test]
fn a_worker_hands_itself_over_with_one_packet() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let dispatcher = keeper.connect();
    let worker = Waiting::start();
    let descriptor = worker.pidfd();
    hand_over(&dispatcher.socket(), &tag("lock").keep_message(), &[descriptor.as_raw_fd()]);
    assert_eq!(which(&dispatcher.get("lock").unwrap().unwrap()), which(&descriptor));
}

#[test]
fn the_last_pidfds_of_a_killed_dispatcher_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let dispatcher = raw(directory.path());
    say(&dispatcher, &HELLO, MsgFlags::empty()).unwrap();
    wait_readable(&dispatcher);
    keeper.signal(Signal::SIGSTOP);
    let descriptor = own_pidfd();
    for lock in ["a", "b", "c"] {
        hand_over(&dispatcher, &tag(lock).keep_message(), &[descriptor.as_raw_fd()]);
    }
    // The answer to its hello is still unread.
    drop(dispatcher);
    keeper.signal(Signal::SIGCONT);
    let next = keeper.connect();
    wait_until("three are kept", || next.list().unwrap().len() == 3);
}

#[test]
fn what_a_living_dispatcher_started_is_given_to_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let lock_of = |pid: Pid| {
        let start = identity::stat(pid).unwrap().start;
        let instance = Instance { start, ..Instance::own().unwrap() };
        format!("some-host:{}:{instance}-3", pid.0)
    };
    let other = Waiting::start();
    let (ours, theirs) = (lock_of(Pid(std::process::id().cast_signed())), lock_of(other.pid()));
    let dispatcher = keeper.connect();
    for lock in [&ours, &theirs] {
        dispatcher.keep(&tag(lock), own_pidfd().as_fd()).unwrap();
    }
    assert!(dispatcher.get(&ours).unwrap().is_some(), "its own");
    let refused = dispatcher.get(&theirs);
    assert!(matches!(refused, Err(KeeperError::DispatcherLives { .. })), "{refused:?}");
    drop(other);
    assert!(dispatcher.get(&theirs).unwrap().is_some(), "its dispatcher has ended");
}

#[test]
fn a_second_keeper_leaves_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let second =
        Command::new(env!("CARGO_BIN_EXE_sexton")).arg("keeper").arg(directory.path()).output();
    let second = second.unwrap();
    assert_eq!((second.status.code(), second.stdout, second.stderr), (Some(0), vec![], vec![]));
    assert_eq!(keeper.connect().list().unwrap(), []);
}

#[test]
fn dispatchers_that_begin_together_share_one_keeper() {
    let directory = tempfile::tempdir().unwrap();
    let (program, state) = (Path::new(env!("CARGO_BIN_EXE_sexton")), directory.path());
    let started: Vec<_> = thread::scope(|scope| {
        let start = || Keeper::connect_or_start(program, state).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (keepers, children): (Vec<_>, Vec<_>) = started.into_iter().unzip();
    let mut children: Vec<Child> = children.into_iter().flatten().collect();
    assert_eq!(children.len(), 1);
    keepers[0].keep(&tag("lock"), own_pidfd().as_fd()).unwrap();
    wait_until("all see it", || keepers.iter().all(|keeper| keeper.list().unwrap().len() == 1));
    let (_, another) = Keeper::connect_or_start(program, state).unwrap();
    assert!(another.is_none());
    children[0].kill().unwrap();
    children[0].wait().unwrap();
    assert!(matches!(keepers[0].get("lock"), Err(KeeperError::Closed(_))));
    assert!(matches!(Keeper::connect(state), Err(KeeperError::Absent(_))));
    // The dead keeper has left its socket.
    let (keeper, child) = Keeper::connect_or_start(program, state).unwrap();
    assert_eq!(keeper.list().unwrap(), []);
    let mut child = child.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_keeper_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let (program, state) = (Path::new(env!("CARGO_BIN_EXE_sexton")), directory.path());
    fs::create_dir(state.join("keeper.lock")).unwrap();
    let error = Keeper::connect_or_start(program, state).unwrap_err();
    assert!(matches!(error, KeeperError::Start { .. }), "{error:?}");
    assert!(error.to_string().contains("keeper.lock: Is a directory"), "{error}");
    let missing = Keeper::connect_or_start(Path::new("/no/such/program"), state).unwrap_err();
    assert!(matches!(missing, KeeperError::Start { .. }), "{missing:?}");
    let nowhere = Keeper::connect_or_start(program, &state.join("nowhere")).unwrap_err();
    assert!(nowhere.to_string().contains("nowhere"), "{nowhere}");
}

#[test]
fn it_has_left_everything_of_its_parent_and_only_sigterm_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut keeper = Running::start(directory.path());
    let pid = keeper.pid();
    let seen = identity::stat(Pid(pid)).unwrap();
    assert_eq!(seen.name, b"sexton-keeper");
    assert_eq!((seen.session, seen.group, seen.threads), (Pid(pid), Pid(pid), 1));
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(link("cwd"), Path::new("/"));
    for number in 0..3 {
        assert_eq!(link(&format!("fd/{number}")), Path::new("/dev/null"));
    }
    let mode = |name| fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
    assert_eq!((mode("keeper.sock") & 0o777, mode("keeper.lock") & 0o777), (0o600, 0o600));
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE] {
        keeper.signal(signal);
    }
    assert_eq!(keeper.connect().list().unwrap(), []);
    keeper.signal(Signal::SIGTERM);
    let status = keeper.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

#[test]
fn one_that_nobody_needs_ends_and_takes_its_socket_along() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
    let mut keeper =
        Running::start_as(command.arg("keeper").arg(directory.path()).arg("0"), directory.path());
    assert_eq!(keeper.child.wait().unwrap().code(), Some(0));
    assert!(!directory.path().join("keeper.sock").exists());
}

#[test]
fn a_state_directory_may_have_a_long_path() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("x".repeat(150)).join("y".repeat(150));
    fs::create_dir_all(&state).unwrap();
    let keeper = Running::start(&state);
    keeper.connect().keep(&tag("lock"), own_pidfd().as_fd()).unwrap();
    let next = keeper.connect();
    wait_until("it is kept", || next.list().unwrap() == [tag("lock")]);
}

#[test]
fn another_user_is_refused_by_both_ends() {
    let s = Sandbox::empty();
    let Some(uid) = spare_uid(&s) else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
    let keeper = Running::start_as(
        command.arg("keeper").arg(s.path("home")).uid(uid).gid(uid),
        &s.path("home"),
    );
    // The mode of the socket does not keep root out.
    let error = Keeper::connect(&keeper.state).unwrap_err();
    assert!(matches!(error, KeeperError::Foreign { uid: found, .. } if found == uid), "{error:?}");
    let socket = raw(&keeper.state);
    let _may_be_closed_already = say(&socket, &HELLO, MsgFlags::empty());
    assert_eq!(packets_to_the_end(&socket), 0);
}

#[test]
fn ends_of_different_versions_part() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let newer = raw(directory.path());
    say(&newer, &[1, 99, 0], MsgFlags::empty()).unwrap();
    assert_eq!(packets_to_the_end(&newer), 1, "the answer, then the end");
    drop(keeper);
    fs::remove_file(directory.path().join("keeper.sock")).unwrap();
    let listener = impostor(directory.path());
    thread::scope(|scope| {
        let dispatcher = scope.spawn(|| Keeper::connect(directory.path()));
        let theirs = accept(&listener).unwrap();
        say(&theirs, &[1, 99, 0], MsgFlags::empty()).unwrap();
        let error = dispatcher.join().unwrap().unwrap_err();
        assert!(matches!(error, KeeperError::Version { theirs: 99, .. }), "{error:?}");
    });
}

/// Listens in place of a keeper.
fn impostor(state: &Path) -> OwnedFd {
    let listener = packets();
    let address = UnixAddr::new(&state.join("keeper.sock")).unwrap();
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    listener
}

#[test]
fn a_dispatcher_hangs_up_on_a_keeper_that_it_does_not_understand() {
    let directory = tempfile::tempdir().unwrap();
    let listener = impostor(directory.path());
    thread::scope(|scope| {
        let dispatcher = scope.spawn(|| Keeper::connect(directory.path()).unwrap());
        let theirs = accept(&listener).unwrap();
        say(&theirs, &HELLO, MsgFlags::empty()).unwrap();
        let keeper = dispatcher.join().unwrap();
        say(&theirs, &[77], MsgFlags::empty()).unwrap();
        let error = keeper.list().unwrap_err();
        assert!(matches!(error, KeeperError::Garbled(_)), "{error:?}");
        let mut fds = [PollFd::new(keeper.socket(), PollFlags::empty())];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(1));
    });
}

#[test]
fn a_malformed_packet_closes_only_its_own_connection() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let other = keeper.connect();
    other.keep(&tag("lock"), own_pidfd().as_fd()).unwrap();
    assert_eq!(other.list().unwrap(), [tag("lock")]);
    let before = keeper.descriptors();
    let keep = tag("x").keep_message();
    let long = vec![2; 600];
    let after_hello: [&[u8]; 8] =
        [&[0], &[77], &[3, 200, b'x'], &[4, 1, 0, 0], &[5], &HELLO, &long, &keep];
    for packet in after_hello {
        let socket = raw(directory.path());
        say(&socket, &HELLO, MsgFlags::empty()).unwrap();
        say(&socket, packet, MsgFlags::empty()).unwrap();
        assert_eq!(packets_to_the_end(&socket), 1, "{packet:?}");
    }
    let socket = raw(directory.path());
    say(&socket, &LIST, MsgFlags::empty()).unwrap();
    assert_eq!(packets_to_the_end(&socket), 0, "no hello");
    let (pidfd, null) = (own_pidfd(), fs::File::open("/dev/null").unwrap());
    let (pidfd, null) = (pidfd.as_raw_fd(), null.as_raw_fd());
    for (packet, descriptors) in
        [(&keep[..], &[null][..]), (&keep, &[pidfd, pidfd]), (&LIST, &[pidfd])]
    {
        let socket = raw(directory.path());
        say(&socket, &HELLO, MsgFlags::empty()).unwrap();
        hand_over(&socket, packet, descriptors);
        assert_eq!(packets_to_the_end(&socket), 1, "{packet:?}");
    }
    assert_eq!(other.list().unwrap(), [tag("lock")]);
    assert_eq!(keeper.descriptors(), before, "those of malformed packets are closed");
}

#[test]
fn rubbish_does_not_harm_the_keeper() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let other = keeper.connect();
    other.keep(&tag("lock"), own_pidfd().as_fd()).unwrap();
    let packets = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 1..8);
    let done = TestRunner::new(ProptestConfig::with_cases(100)).run(&packets, |packets| {
        let socket = raw(directory.path());
        say(&socket, &HELLO, MsgFlags::empty()).unwrap();
        for packet in packets {
            // The keeper may have closed the connection.
            let _sent = say(&socket, &packet, MsgFlags::MSG_DONTWAIT);
        }
        prop_assert_eq!(other.list().unwrap(), [tag("lock")]);
        Ok(())
    });
    done.unwrap();
}

#[test]
fn a_client_that_never_reads_does_not_stop_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let other = keeper.connect();
    let descriptor = own_pidfd();
    // The list has more bytes than the socket's buffer.
    let locks: Vec<String> = (0..2000).map(|n| format!("{n:0200}")).collect();
    for part in locks.chunks(50) {
        part.iter().for_each(|lock| other.keep(&tag(lock), descriptor.as_fd()).unwrap());
        assert!(other.get(&part[0]).unwrap().is_some());
    }
    let deaf = raw(directory.path());
    say(&deaf, &HELLO, MsgFlags::empty()).unwrap();
    let mut asked = 0;
    while say(&deaf, &LIST, MsgFlags::empty()).is_ok() {
        asked += 1;
        assert!(asked < 100_000, "it is never hung up");
    }
    let found: Vec<String> = other.list().unwrap().iter().map(|t| t.lock().to_owned()).collect();
    assert_eq!(found, locks);
    assert!(packets_to_the_end(&deaf) > 1);
}

#[test]
fn a_stopped_keeper_holds_no_dispatcher_up() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    let dispatcher = keeper.connect();
    let (worker, other) = (Waiting::start(), Waiting::start());
    dispatcher.keep(&tag("a"), worker.pidfd().as_fd()).unwrap();
    dispatcher.keep(&tag("b"), other.pidfd().as_fd()).unwrap();
    assert!(dispatcher.get("b").unwrap().is_some());
    keeper.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || stat(keeper.pid()).is_some_and(|(state, _)| state == 'T'));
    let silent = dispatcher.get("a");
    assert!(matches!(silent, Err(KeeperError::Silent { .. })), "{silent:?}");
    let silent = Keeper::connect(directory.path());
    assert!(matches!(silent, Err(KeeperError::Silent { .. })), "{silent:?}");
    let full = (0..100_000).find_map(|_| dispatcher.forget("nothing").err());
    assert!(matches!(full, Some(KeeperError::Behind(_))), "{full:?}");
    keeper.signal(Signal::SIGCONT);
    // The late answer about `a` is not taken for the answer about `b`.
    let mut answer = None;
    wait_until("an answer", || {
        answer = dispatcher.get("b").ok();
        answer.is_some()
    });
    assert_eq!(which(&answer.flatten().unwrap()), which(&other.pidfd()));
}

#[test]
fn at_the_limit_of_descriptors_it_keeps_what_fits_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let script = "ulimit -n 160; exec \"$0\" keeper \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_sexton")]).arg(directory.path());
    let keeper = Running::start_as(&mut command, directory.path());
    let dispatcher = keeper.connect();
    let (running, worker) = (Waiting::start(), Waiting::start());
    let ended = worker.pidfd();
    drop(worker);
    dispatcher.keep(&tag("runs"), running.pidfd().as_fd()).unwrap();
    for number in 0..100 {
        dispatcher.keep(&tag(&format!("ended {number}")), ended.as_fd()).unwrap();
    }
    let locks: Vec<String> =
        dispatcher.list().unwrap().iter().map(|tag| tag.lock().to_owned()).collect();
    assert_eq!(locks.len(), 160 - 128);
    assert_eq!((locks[0].as_str(), locks[31].as_str()), ("runs", "ended 99"));
}

#[test]
fn it_has_less_than_a_mebibyte_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = Running::start(directory.path());
    keeper.connect().list().unwrap();
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", keeper.pid())).unwrap();
    // Not the private pages: these include pages of the program's file, which it shares with its
    // dispatcher, and which count as dirty while a file is new.
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((1..1024).contains(&kib), "{text}");
}
