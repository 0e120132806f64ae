//! Every child is reaped, exactly once, and its group stays in reach.
//!
//! A program of its own: threads become another user here, and some tests, which count descriptors and
//! children, limit descriptors or adopt orphans, start this program again for themselves alone.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

#[path = "support/skip.rs"]
mod skip;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::{process, thread};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::{EpollEvent, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use sexton::machine::effect::Whom;
use sexton::machine::event::{Group, Signal, SignalOutcome};
use sexton::machine::fault::Blame;
use sexton::machine::ids::{Pid, SpawnId};
use sexton::machine::verdict::ExitStatus;
use sexton::process::children::{Adopted, Children, Exit, become_subreaper};
use sexton::process::descriptors::close_on_exec_all;
use sexton::process::identity::{self, Alive};
use sexton::process::pidfd;
use sexton::process::signal::signal_group;
use sexton::process::spawn::{Command, Evidence, Spawned, spawn};
use sexton::process::wait::{self, Which};
use sexton::process::workspace::{Kind, Request, prepare};
use skip::skipped;

fn command(argv: &[&str], log: File) -> Command {
    let argv = argv.iter().map(Into::into).collect();
    let env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    Command { argv, env, cwd: "/".into(), log }
}

/// Starts a worker. It is registered when the returned value is dropped, or by the reaper.
fn start(children: &Children, id: u64, script: &str, log: File) -> Spawned {
    let command = command(&["/bin/sh", "-c", script], log);
    spawn(&command, Evidence::default(), children.birth(SpawnId(id))).unwrap()
}

fn null() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

/// Starts a child that is not announced, leads its own group, and has `log` as its output.
#[expect(clippy::zombie_processes, reason = "the table of children reaps it")]
fn unannounced(script: &str, log: File) -> Pid {
    let mut shell = process::Command::new("/bin/sh");
    let child = shell.args(["-c", script]).stdout(log).process_group(0).spawn().unwrap();
    Pid(child.id().cast_signed())
}

/// Starts and registers a worker. What it and its descendants say ends when the last of them does.
fn worker(children: &Children, id: u64, script: &str) -> (Pid, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let pid = start(children, id, script, File::from(OwnedFd::from(writer))).pid;
    (pid, reader)
}

/// Waits for the next exits that epoll reports, and returns their spawn ids. They become hints.
fn told(children: &Children, timeout: EpollTimeout) -> Vec<u64> {
    let mut events = [EpollEvent::empty(); 256];
    let count = loop {
        match children.epoll().wait(&mut events, timeout) {
            Err(Errno::EINTR) => {}
            count => break count.unwrap(),
        }
    };
    let ids: Vec<u64> = events[..count].iter().map(EpollEvent::data).collect();
    ids.iter().for_each(|id| children.hint(SpawnId(*id)));
    ids
}

/// Waits until `count` children have exited, and reaps them.
fn reap(children: &Children, count: usize) -> Vec<Exit> {
    let mut exits = Vec::new();
    while exits.len() < count {
        told(children, EpollTimeout::NONE);
        let reaping = children.reap(Whom::Hinted);
        assert_eq!(reaping.error, None);
        exits.extend(reaping.exits);
    }
    assert_eq!(exits.len(), count);
    exits
}

fn wait_for_end(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

fn expect(reader: &mut PipeReader, text: &str) {
    let mut found = vec![0; text.len()];
    reader.read_exact(&mut found).unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), text);
}

#[test]
fn an_exit_is_reported_once_and_reaped_once() {
    let children = Children::new().unwrap();
    let (pid, _output) = worker(&children, 7, "exit 42");
    assert_eq!(told(&children, EpollTimeout::NONE), [7]);
    assert_eq!(told(&children, EpollTimeout::ZERO), [0; 0], "told before it is reaped");
    assert_eq!(identity::stat(pid).unwrap().state, b'Z');
    let exit = Exit { spawn: SpawnId(7), pid, status: ExitStatus::Code(42), group: Group::Gone };
    assert_eq!(children.reap(Whom::Hinted).exits, [exit]);
    assert!(identity::stat(pid).is_err(), "no zombie is left");
    assert_eq!(children.reap(Whom::All).exits, []);
    assert_eq!(told(&children, EpollTimeout::ZERO), [0; 0]);
    assert_eq!(children.unreaped(), 0);
    assert!(children.forget(SpawnId(7)));
}

#[test]
fn a_running_child_is_left_alone_and_not_forgotten() {
    let children = Children::new().unwrap();
    let (_, mut output) = worker(&children, 1, "echo up; kill -STOP $$");
    expect(&mut output, "up\n");
    assert!(children.reap(Whom::All).exits.is_empty());
    assert!(!children.forget(SpawnId(1)));
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Probe), SignalOutcome::Delivered);
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Delivered);
    assert_eq!(reap(&children, 1)[0].status, ExitStatus::Signal(libc::SIGKILL));
}

#[test]
fn a_real_time_signal_is_reported_as_it_is() {
    let children = Children::new().unwrap();
    let (_, _output) = worker(&children, 1, "kill -40 $$");
    assert_eq!(reap(&children, 1)[0].status, ExitStatus::Signal(40));
}

#[test]
fn a_hundred_simultaneous_exits_are_reaped_by_one_call() {
    let children = Children::new().unwrap();
    let _outputs: Vec<_> =
        (0..100).map(|id| worker(&children, id, &format!("exit {id}")).1).collect();
    let mut seen = BTreeSet::new();
    while seen.len() < 100 {
        seen.extend(told(&children, EpollTimeout::NONE));
    }
    let exits = children.reap(Whom::Hinted).exits;
    let codes: Vec<_> = exits.iter().map(|exit| (exit.spawn.0, exit.status)).collect();
    let all: Vec<_> =
        (0..100).map(|id| (id, ExitStatus::Code(i32::try_from(id).unwrap()))).collect();
    assert_eq!(codes, all);
    assert!(children.reap(Whom::All).exits.is_empty());
}

#[test]
fn many_spawn_threads_and_reapers_lose_and_double_nothing() {
    let children = Children::new().unwrap();
    let found = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|lane| {
                let children = children.clone();
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..25 {
                        drop(worker(&children, lane * 25 + n, "exit 3"));
                        mine.extend(children.reap(Whom::All).exits);
                    }
                    mine
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect::<Vec<_>>()
    });
    let rest = reap(&children, 100 - found.len());
    let ids: BTreeSet<_> = found.iter().chain(&rest).map(|exit| exit.spawn).collect();
    assert_eq!(ids.len(), 100);
    assert!(found.iter().chain(&rest).all(|exit| exit.status == ExitStatus::Code(3)));
}

/// A child that has exited already is reported while it is being registered, and only once: a
/// reaper that this wakes and that finds nothing will not be woken again.
#[test]
fn a_reported_exit_can_be_reaped() {
    const CHILDREN: u64 = 300;
    let children = Children::new().unwrap();
    let (reaped, next) = mpsc::channel();
    let lane = children.clone();
    let lane = std::thread::spawn(move || {
        for id in 0..CHILDREN {
            let child = start(&lane, id, "exit 0", null());
            wait_until_dead(&pidfd::open(child.pid).unwrap());
            drop(child);
            next.recv().unwrap();
        }
    });
    for id in 0..CHILDREN {
        assert_eq!(told(&children, EpollTimeout::NONE), [id]);
        assert_eq!(children.reap(Whom::Hinted).exits.len(), 1, "woken for nothing");
        children.forget(SpawnId(id));
        reaped.send(()).unwrap();
    }
    lane.join().unwrap();
}

#[test]
fn a_child_without_a_pidfd_is_reaped_and_gets_one_later() {
    let children = Children::new().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = unannounced("echo up; kill -STOP $$; exit 5", File::from(OwnedFd::from(writer)));
    children.register(SpawnId(1), running, None);
    expect(&mut reader, "up\n");
    assert!(children.reap(Whom::Hinted).exits.is_empty(), "it runs");
    // From now on it wakes us.
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Delivered);
    assert_eq!(told(&children, EpollTimeout::NONE), [1]);
    assert_eq!(children.reap(Whom::Hinted).exits[0].status, ExitStatus::Signal(libc::SIGKILL));

    let ended = unannounced("exit 6", null());
    wait_until_dead(&pidfd::open(ended).unwrap());
    children.register(SpawnId(2), ended, None);
    assert_eq!(children.reap(Whom::Hinted).exits[0].status, ExitStatus::Code(6));
    assert!(children.reap(Whom::Hinted).exits.is_empty());
}

/// Holds a thread between the start of its child and the registration. Returns what the reaper finds
/// meanwhile.
fn reaped_while_the_thread_is_held(children: &Children) -> Vec<Exit> {
    let held = start(children, 1, "exit 5", null());
    wait_until_dead(&pidfd::open(held.pid).unwrap());
    let exits = children.reap(Whom::All).exits;
    // It never returns.
    std::mem::forget(held);
    exits
}

#[test]
fn a_child_is_reaped_even_if_the_thread_that_made_it_never_comes_back() {
    let children = Children::new().unwrap();
    let exits = reaped_while_the_thread_is_held(&children);
    let found: Vec<_> = exits.iter().map(|e| (e.spawn, e.status, e.group)).collect();
    assert_eq!(found, [(SpawnId(1), ExitStatus::Code(5), Group::Gone)]);
    assert!(identity::stat(exits[0].pid).is_err(), "no zombie is left");
    assert_eq!(children.reap(Whom::All).exits, []);
}

#[cfg(feature = "sabotage")]
#[test]
fn a_registration_only_after_the_spawn_is_caught() {
    let children = Children::new().unwrap();
    children.register_only_after_the_spawn();
    assert_eq!(reaped_while_the_thread_is_held(&children), []);
}

#[test]
fn a_thread_that_comes_back_late_registers_nothing_again() {
    // The reaper runs while the child runs, or after it has ended.
    for script in ["echo up; kill -STOP $$", "echo up"] {
        let children = Children::new().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let late = start(&children, 1, script, File::from(OwnedFd::from(writer)));
        expect(&mut reader, "up\n");
        let mut exits = Vec::new();
        if script == "echo up" {
            wait_until_dead(&pidfd::open(late.pid).unwrap());
            exits = children.reap(Whom::All).exits;
            late.unless_reaped(|| panic!("it was reaped"));
            assert!(children.forget(SpawnId(1)));
            drop(late);
        } else {
            assert!(children.reap(Whom::All).exits.is_empty());
            drop(late);
            let outcome = signal_group(&children, SpawnId(1), Signal::Kill);
            assert_eq!(outcome, SignalOutcome::Delivered);
            exits.extend(reap(&children, 1));
        }
        assert_eq!(exits.len(), 1);
        assert_eq!(children.unreaped(), 0);
        assert_eq!(told(&children, EpollTimeout::ZERO), [0; 0]);
        assert_eq!(children.reap(Whom::All).exits, []);
    }
}

#[test]
fn a_pid_can_be_looked_at_until_its_process_is_reaped() {
    let children = Children::new().unwrap();
    let child = start(&children, 1, "exit 5", null());
    let mut was_there = false;
    child.unless_reaped(|| was_there = identity::stat(child.pid).is_ok());
    assert!(was_there);
    wait_until_dead(&pidfd::open(child.pid).unwrap());
    assert!(children.reap(Whom::Hinted).exits.is_empty(), "registered, and not asked");
    child.unless_reaped(|| was_there = false);
    assert!(!was_there, "a zombie is not reaped");
}

#[test]
fn a_child_that_cannot_execute_is_no_exit() {
    let children = Children::new().unwrap();
    for id in 0..20 {
        let command = command(&["/nonexistent"], null());
        let error = spawn(&command, Evidence::default(), children.birth(SpawnId(id))).unwrap_err();
        assert_eq!(error.errno(), libc::ENOENT);
        assert_eq!(children.reap(Whom::All).exits, []);
        assert_eq!(told(&children, EpollTimeout::ZERO), [0; 0]);
    }
    assert_eq!(children.unreaped(), 0);
    let no_program = command(&["no-such-program"], null());
    spawn(&no_program, Evidence::default(), children.birth(SpawnId(20))).unwrap_err();
    assert_eq!(children.unreaped(), 0, "nothing came of it");
}

fn wait_until_dead(pidfd: &OwnedFd) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
}

#[test]
fn a_status_that_another_thread_took_is_still_reported_once() {
    let children = Children::new().unwrap();
    let (pid, _output) = worker(&children, 1, "exit 9");
    // Another part of the program steals the status.
    let mut raw = 0;
    // SAFETY: `raw` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid.0, &raw mut raw, 0) }, pid.0);
    let exits = children.reap(Whom::All).exits;
    assert_eq!(exits.len(), 1);
    // The kernel remembers since Linux 6.15.
    assert!([ExitStatus::Code(9), ExitStatus::Unknown].contains(&exits[0].status), "{exits:?}");
    assert!(children.reap(Whom::All).exits.is_empty());

    let pid = unannounced("exit 9", null());
    children.register(SpawnId(2), pid, None);
    // SAFETY: `raw` outlives the call, as above.
    unsafe { libc::waitpid(pid.0, &raw mut raw, 0) };
    assert_eq!(children.reap(Whom::All).exits[0].status, ExitStatus::Unknown);
}

/// A shell with a child that exits with 33 when the shell's input brings a line, and the child's pid.
fn family(then: &str) -> (process::Child, Pid) {
    let script = format!("exec 3<&0; sh -c 'read x; exit 33' <&3 & echo $!; {then}");
    let mut shell = process::Command::new("sh")
        .args(["-c", &script])
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (shell, Pid(line.trim().parse().unwrap()))
}

/// From then on the shell reaps no child.
fn wait_until_stopped(shell: &process::Child) {
    let (pid, mut raw) = (shell.id().cast_signed(), 0);
    // SAFETY: `raw` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut raw, libc::WUNTRACED) }, pid);
    assert!(libc::WIFSTOPPED(raw));
}

fn say_a_line(shell: &mut process::Child) {
    shell.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
}

#[test]
fn a_process_of_an_earlier_dispatcher_is_watched_without_being_a_child() {
    let children = Children::new().unwrap();
    let (mut shell, pid) = family("wait $!");
    children.register(SpawnId(1), pid, Some(pidfd::open(pid).unwrap()));
    assert!(children.reap(Whom::All).exits.is_empty(), "no child of ours, and running");
    say_a_line(&mut shell);
    let exit = reap(&children, 1)[0];
    // The kernel keeps the status since Linux 6.15.
    assert!([ExitStatus::Code(33), ExitStatus::Unknown].contains(&exit.status), "{exit:?}");
    shell.wait().unwrap();
}

#[test]
fn a_zombie_that_its_parent_does_not_reap_tells_how_it_ended() {
    let children = Children::new().unwrap();
    let (mut shell, pid) = family("kill -STOP $$");
    wait_until_stopped(&shell);
    let pidfd = pidfd::open(pid).unwrap();
    children.adopt(SpawnId(1), Adopted { pid, pidfd, start: None, reaped: false });
    say_a_line(&mut shell);
    assert_eq!(told(&children, EpollTimeout::NONE), [1]);
    assert_eq!(children.reap(Whom::Hinted).exits[0].status, ExitStatus::Code(33));
    assert!(children.reap(Whom::All).exits.is_empty(), "it is told once");
    assert!(identity::stat(pid).is_ok(), "it is not ours to reap");
    assert!(children.forget(SpawnId(1)));
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn an_adopted_process_is_forgotten_while_it_runs() {
    let children = Children::new().unwrap();
    let (mut shell, pid) = family("wait $!");
    let pidfd = pidfd::open(pid).unwrap();
    children.adopt(SpawnId(1), Adopted { pid, pidfd, start: None, reaped: false });
    assert!(children.forget(SpawnId(1)));
    assert!(children.pidfd(SpawnId(1)).is_none());
    say_a_line(&mut shell);
    shell.wait().unwrap();
    assert!(children.reap(Whom::All).exits.is_empty());
}

#[test]
fn a_group_that_outlives_its_leader_is_probed_and_ended() {
    let children = Children::new().unwrap();
    let script = "sh -c 'trap \"echo term\" TERM; echo up; exec 2>/dev/null; while :; do sleep 1000; done' & exit 0";
    let (pid, mut output) = worker(&children, 1, script);
    expect(&mut output, "up\n");
    let exit = reap(&children, 1)[0];
    assert_eq!((exit.status, exit.group), (ExitStatus::Code(0), Group::Alive));
    assert_eq!(identity::group_alive(pid), Alive::Yes);
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Probe), SignalOutcome::Delivered);
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Term), SignalOutcome::Delivered);
    expect(&mut output, "term\n");
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Delivered);
    wait_for_end(output);
    // It closes the pipe a moment before it is a zombie. That, pid 1 may leave lying for a second.
    while signal_group(&children, SpawnId(1), Signal::Probe) == SignalOutcome::Delivered {}
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Probe), SignalOutcome::Gone);
    assert_eq!(identity::group_alive(pid), Alive::No);
    assert!(children.forget(SpawnId(1)));
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Gone);
}

/// From here on this thread is the user `nobody`, to whom `/proc` does not show the files of other
/// users' processes (1), or not even their pids (2).
fn see_only_our_own(hidepid: u32) -> Result<(), Errno> {
    let none: Option<&Path> = None;
    let hides = format!("hidepid={hidepid}");
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some(hides.as_str()))?;
    // The kernel's own calls, as those of the library are for all threads. The group first: to root's
    // everything is shown.
    let nobody = 65534;
    let calls =
        [(libc::SYS_setgroups, 0), (libc::SYS_setresgid, nobody), (libc::SYS_setresuid, nobody)];
    for (call, first) in calls {
        // SAFETY: takes integers only; a list of groups is read only if its length is not zero.
        Errno::result(unsafe { libc::syscall(call, first, nobody, nobody) })?;
    }
    Ok(())
}

#[test]
fn under_hidepid_a_group_without_members_is_gone() {
    let hidden = thread::spawn(|| {
        // No pidfd: the way of kernels whose pidfds reach no groups.
        let children = Children::new().unwrap();
        let pid = unannounced("exit 3", null());
        children.register(SpawnId(1), pid, None);
        let id = Id::Pid(nix::unistd::Pid::from_raw(pid.0));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        if let Err(errno) = see_only_our_own(1) {
            return skipped(format!("this needs to mount a file system: {errno}"));
        }
        assert_eq!(identity::living_groups(), None);
        assert_eq!(children.reap(Whom::All).exits[0].group, Group::Gone);
        assert_eq!(identity::group_alive(pid), Alive::No);
        assert_eq!(signal_group(&children, SpawnId(1), Signal::Probe), SignalOutcome::Gone);
        assert_eq!(identity::group_alive(Pid(1)), Alive::CannotTell);
    });
    hidden.join().unwrap();
}

#[test]
fn under_hidepid_a_living_process_is_not_taken_for_gone() {
    let children = Children::new().unwrap();
    let (pid, output) = worker(&children, 1, "exec sleep 1000");
    let denied = thread::spawn(move || {
        if let Err(errno) = see_only_our_own(2) {
            return skipped(format!("this needs to mount a file system: {errno}"));
        }
        assert!(identity::stat(pid).is_err());
        assert_eq!(identity::alive(pid, None), Alive::CannotTell);
        assert_eq!(identity::group_alive(pid), Alive::CannotTell);
        assert_eq!(identity::alive(Pid(i32::MAX), None), Alive::No);
    });
    denied.join().unwrap();
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Delivered);
    wait_for_end(output);
}

#[test]
fn a_group_that_obeys_term_is_gone_after_it() {
    let children = Children::new().unwrap();
    let (_, mut output) =
        worker(&children, 1, "sh -c 'echo up; while :; do sleep 1000; done' & exit 0");
    expect(&mut output, "up\n");
    reap(&children, 1);
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Term), SignalOutcome::Delivered);
    wait_for_end(output);
}

/// Children whose every wait fails with what `trouble` returns, if it returns anything.
fn children_in_trouble(trouble: impl Fn() -> Option<Errno> + Send + Sync + 'static) -> Children {
    let wait = move |which: Which<'_>, flags| match trouble() {
        Some(errno) => Err(errno),
        None => wait::wait(which, flags),
    };
    Children::with(Box::new(wait)).unwrap()
}

#[test]
fn a_reaping_that_fails_loses_nothing() {
    for whom in [Whom::All, Whom::Hinted] {
        let failures = Mutex::new([Errno::EIO, Errno::ENOMEM].into_iter());
        let children = children_in_trouble(move || failures.lock().unwrap().next());
        let (_, output) = worker(&children, 1, "exit 4");
        wait_for_end(output);
        assert_eq!(told(&children, EpollTimeout::NONE), [1]);
        for errno in [Errno::EIO, Errno::ENOMEM] {
            let reaping = children.reap(whom);
            assert_eq!(reaping.error.unwrap().errno, errno);
            assert!(reaping.exits.is_empty());
        }
        assert_eq!(told(&children, EpollTimeout::ZERO), [0; 0], "told only once");
        assert_eq!(children.reap(whom).exits[0].status, ExitStatus::Code(4));
    }
}

/// The cost of an exit does not grow with the number of children.
#[test]
fn a_hundred_one_after_another_cost_three_waits_each_at_most() {
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    let children = children_in_trouble(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    });
    let _outputs: Vec<_> = (0..100).map(|id| worker(&children, id, "exec sleep 1000").1).collect();
    for id in 0..100 {
        let outcome = signal_group(&children, SpawnId(id), Signal::Kill);
        assert_eq!(outcome, SignalOutcome::Delivered);
        assert_eq!(told(&children, EpollTimeout::NONE), [id]);
        let before = waits.load(Ordering::Relaxed);
        let exits = children.reap(Whom::Hinted).exits;
        assert_eq!(exits.iter().map(|exit| exit.spawn.0).collect::<Vec<_>>(), [id]);
        assert_eq!(children.adopt_orphans(16), Ok(vec![]));
        let cost = waits.load(Ordering::Relaxed) - before;
        assert!(cost <= 3, "{cost} calls for one exit");
    }
    let before = waits.load(Ordering::Relaxed);
    assert!(children.reap(Whom::All).exits.is_empty());
    assert_eq!(waits.load(Ordering::Relaxed), before, "what was reaped is not asked again");
}

/// The pidfd of a child under a debugger reports its exit once: before the child can be reaped.
#[test]
fn a_child_under_a_debugger_is_reaped_when_that_lets_go_of_it() {
    alone("a_child_under_a_debugger_is_reaped_when_that_lets_go_of_it", scene_with_a_debugger);
}

fn scene_with_a_debugger() {
    let children = Children::new().unwrap();
    let (pid, mut output) = worker(&children, 1, "echo up; kill -STOP $$; exit 3");
    expect(&mut output, "up\n");
    let (mut seized, writer) = std::io::pipe().unwrap();
    // SAFETY: the copy makes system calls only.
    let debugger = match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => child,
        nix::unistd::ForkResult::Child => {
            // SAFETY: takes integers only.
            let done = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid.0, 0, 0) };
            let _told_by_the_end = (&writer).write_all(if done == 0 { b"y" } else { b"n" });
            loop {
                nix::unistd::pause();
            }
        }
    };
    drop(writer);
    let mut answer = [0];
    seized.read_exact(&mut answer).unwrap();
    let end = || {
        nix::sys::signal::kill(debugger, nix::sys::signal::Signal::SIGKILL).unwrap();
        waitpid(debugger, None).unwrap();
    };
    if answer != *b"y" {
        end();
        return skipped("a process may not be traced here");
    }
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Delivered);
    assert_eq!(told(&children, EpollTimeout::NONE), [1]);
    let reaping = children.reap(Whom::Hinted);
    assert_eq!((reaping.exits, reaping.error), (vec![], None));
    end();
    assert_eq!(told(&children, EpollTimeout::ZERO), [0; 0]);
    let status = children.reap(Whom::Hinted).exits[0].status;
    assert_eq!(status, ExitStatus::Signal(libc::SIGKILL));
}

#[test]
fn what_no_hint_names_is_found_by_asking_all() {
    let children = Children::new().unwrap();
    let (pid, _output) = worker(&children, 1, "exit 4");
    wait_until_dead(&pidfd::open(pid).unwrap());
    assert!(children.reap(Whom::Hinted).exits.is_empty());
    assert_eq!(children.reap(Whom::All).exits[0].status, ExitStatus::Code(4));
    // A hint of it that was on its way, and one of a stranger.
    children.hint(SpawnId(1));
    children.hint(SpawnId(2));
    let reaping = children.reap(Whom::Hinted);
    assert_eq!((reaping.exits, reaping.error), (vec![], None));
}

#[test]
fn a_child_that_cannot_be_waited_for_holds_up_no_other() {
    let children = Children::new().unwrap();
    let no_process = OwnedFd::from(File::open("/dev/null").unwrap());
    let stranger = Pid(i32::MAX);
    children.register(SpawnId(1), stranger, Some(no_process));
    let (_, output) = worker(&children, 2, "exit 6");
    assert_eq!(format!("{children:?}"), "Children { unreaped: 2, .. }");
    wait_for_end(output);
    let mut exits = Vec::new();
    while exits.is_empty() {
        let reaping = children.reap(Whom::All);
        let error = reaping.error.unwrap();
        assert_eq!((error.spawn, error.pid, error.errno), (SpawnId(1), stranger, Errno::EBADF));
        exits = reaping.exits;
    }
    assert_eq!((exits[0].spawn, exits[0].status), (SpawnId(2), ExitStatus::Code(6)));
}

#[test]
fn a_pidfd_of_a_missing_process_is_refused() {
    assert_eq!(pidfd::open(Pid(i32::MAX)).unwrap_err(), Errno::ESRCH);
}

/// Set to the name of a test in the process that plays it alone.
const ALONE: &str = "SEXTON_TEST_ALONE";

/// Plays the scene of the calling test in a process of its own, where that test is the only one.
fn alone(test: &str, scene: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|asked| asked == test) {
        return scene();
    }
    let output = process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
    let complaints = String::from_utf8_lossy(&output.stderr);
    complaints.lines().filter_map(|line| line.strip_prefix("SKIPPED: ")).for_each(skipped);
}

/// Runs `scene` in a copy of this process, in which the calling thread is the main one.
fn on_a_main_thread(scene: fn()) {
    // SAFETY: only this thread and the idle test runner exist (see `alone`), so that no lock is
    // held in the copy by a thread that it lacks.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let code = i32::from(std::panic::catch_unwind(scene).is_err());
            // SAFETY: ends the copy immediately.
            unsafe { libc::_exit(code) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let mut raw = 0;
            // SAFETY: `raw` outlives the call.
            assert_eq!(unsafe { libc::waitpid(child.as_raw(), &raw mut raw, 0) }, child.as_raw());
            assert_eq!(raw, 0);
        }
    }
}

#[test]
fn orphans_are_reaped_and_threads_keep_their_children() {
    alone("orphans_are_reaped_and_threads_keep_their_children", scene_with_orphans);
}

fn scene_with_orphans() {
    on_a_main_thread(orphans_and_lanes);
}

fn orphans_and_lanes() {
    become_subreaper().unwrap();
    let children = Children::new().unwrap();
    let (send, lane_is_to_end) = mpsc::channel::<()>();
    let (tell, lane_has_started) = mpsc::channel();
    let lane = std::thread::spawn({
        let children = children.clone();
        move || {
            let parent = worker(&children, 1, "sh -c 'kill -STOP $$' & echo $!; exit 7");
            let (pid, zombie) = worker(&children, 2, "exit 5");
            wait_until_dead(&pidfd::open(pid).unwrap());
            tell.send((parent.1, zombie)).unwrap();
            lane_is_to_end.recv().unwrap_err();
        }
    });
    let (output, _zombie) = lane_has_started.recv().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(output);
    output.read_line(&mut line).unwrap();
    let orphan = Pid(line.trim().parse().unwrap());
    let orphan_fd = pidfd::open(orphan).unwrap();

    assert_eq!(children.adopt_orphans(16), Ok(vec![]), "a zombie of the other thread exists");
    drop(send);
    lane.join().unwrap();
    assert_eq!(children.adopt_orphans(16), Ok(vec![]), "and it is not taken from `reap` here");
    let mut exits = reap(&children, 2);
    exits.sort_by_key(|exit| exit.spawn);
    assert_eq!((exits[0].status, exits[0].group), (ExitStatus::Code(7), Group::Alive));
    assert_eq!((exits[1].status, exits[1].group), (ExitStatus::Code(5), Group::Gone));

    assert_eq!(children.adopt_orphans(16), Ok(vec![]), "the orphan lives");
    assert_eq!(signal_group(&children, SpawnId(1), Signal::Kill), SignalOutcome::Delivered);
    wait_until_dead(&orphan_fd);
    let probed = signal_group(&children, SpawnId(1), Signal::Probe);
    assert_eq!(probed, SignalOutcome::Gone, "a zombie is no member");
    assert_eq!(children.adopt_orphans(0), Ok(vec![]));
    assert_eq!(children.adopt_orphans(16), Ok(vec![orphan]));
    assert_eq!(children.adopt_orphans(16), Ok(vec![]));
}

#[test]
fn a_child_whose_thread_ended_before_it_was_registered_is_no_orphan() {
    alone("a_child_whose_thread_ended_before_it_was_registered_is_no_orphan", || {
        on_a_main_thread(birth_without_a_thread)
    });
}

fn birth_without_a_thread() {
    let children = Children::new().unwrap();
    let lane = children.clone();
    let lane = thread::spawn(move || {
        let child = start(&lane, 1, "exit 5", null());
        wait_until_dead(&pidfd::open(child.pid).unwrap());
        std::mem::forget(child);
    });
    lane.join().unwrap();
    // It is a child of the main thread now.
    assert_eq!(children.adopt_orphans(16), Ok(vec![]));
    assert_eq!(children.reap(Whom::All).exits[0].status, ExitStatus::Code(5));
}

#[test]
fn no_child_leaves_a_descriptor_behind() {
    alone("no_child_leaves_a_descriptor_behind", scene_with_many_children);
}

fn scene_with_many_children() {
    let children = Children::new().unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for id in 0..50 {
        let (_, output) = worker(&children, id, "exit 0");
        wait_for_end(output);
        reap(&children, 1);
        assert!(children.forget(SpawnId(id)));
        assert!(told(&children, EpollTimeout::ZERO).is_empty());
    }
    assert_eq!(open(), before);
    for id in 50..100 {
        spawn(
            &command(&["/nonexistent"], null()),
            Evidence::default(),
            children.birth(SpawnId(id)),
        )
        .unwrap_err();
    }
    assert_eq!(open(), before, "nor does one that could not be started");
    for id in 100..150 {
        let late = start(&children, id, "exit 0", null());
        wait_until_dead(&pidfd::open(late.pid).unwrap());
        assert_eq!(children.reap(Whom::All).exits.len(), 1);
        assert!(children.forget(SpawnId(id)));
    }
    assert_eq!(open(), before, "nor one that the reaper registered");
}

#[test]
fn a_child_is_born_without_a_pidfd_where_no_descriptor_is_left() {
    alone(
        "a_child_is_born_without_a_pidfd_where_no_descriptor_is_left",
        scene_with_a_birth_without_descriptors,
    );
}

fn scene_with_a_birth_without_descriptors() {
    let children = Children::new().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let stopped = ["/bin/sh", "-c", "echo up; kill -STOP $$"];
    let stopped = command(&stopped, File::from(OwnedFd::from(writer)));
    let missing = command(&["/nonexistent"], null());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let full = || {
        let next = File::open("/dev/null").unwrap().as_raw_fd();
        setrlimit(Resource::RLIMIT_NOFILE, u64::from(next.cast_unsigned()), hard).unwrap();
    };
    full();
    assert_eq!(File::open("/dev/null").unwrap_err().raw_os_error(), Some(libc::EMFILE));
    let error = spawn(&missing, Evidence::default(), children.birth(SpawnId(1))).unwrap_err();
    assert_eq!(error.errno(), libc::ENOENT);
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD), "no child left");
    let pid = spawn(&stopped, Evidence::default(), children.birth(SpawnId(2))).unwrap().pid;
    expect(&mut reader, "up\n");
    assert!(children.reap(Whom::Hinted).exits.is_empty());
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    // Checked without a hint, and watched from now on.
    assert!(children.reap(Whom::Hinted).exits.is_empty());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    assert_eq!(reap(&children, 1)[0].status, ExitStatus::Signal(libc::SIGKILL));
}

#[test]
fn what_we_were_started_with_is_not_handed_on() {
    alone("what_we_were_started_with_is_not_handed_on", scene_with_an_inherited_descriptor);
}

fn scene_with_an_inherited_descriptor() {
    let file = File::open("/dev/null").unwrap();
    // SAFETY: duplicates a descriptor; F_DUPFD leaves close-on-exec unset.
    let leaked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 500) };
    let inherited = || {
        let script = format!("test -e /proc/self/fd/{leaked}");
        process::Command::new("sh").args(["-c", &script]).status().unwrap().success()
    };
    assert!(inherited());
    close_on_exec_all().unwrap();
    assert!(!inherited());
}

#[test]
fn a_host_without_descriptors_is_charged_and_git_is_still_reaped() {
    alone(
        "a_host_without_descriptors_is_charged_and_git_is_still_reaped",
        scene_without_descriptors,
    );
}

fn scene_without_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let make = "git init -q . && git -c user.name=x -c user.email=x@y commit -q --allow-empty -m x";
    let mut git = process::Command::new("sh");
    let made = git.args(["-c", make]).current_dir(directory.path()).status().unwrap();
    if !made.success() {
        skipped("there is no git");
        return;
    }
    // So many that git itself, which has none of them, gets along with the limit.
    let mut open: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
    let next = open.pop().unwrap().as_raw_fd();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let request = Request {
        task: "t_1",
        kind: Kind::Worktree,
        path: None,
        branch: None,
        root: directory.path(),
        default_workdir: Some(directory.path()),
    };
    let next = u64::from(next.cast_unsigned());
    let mut refusals = 0;
    let made = loop {
        setrlimit(Resource::RLIMIT_NOFILE, next + refusals, hard).unwrap();
        match prepare(&request) {
            Ok(made) => break made,
            Err(error) => {
                assert_eq!((error.blame(), error.errno()), (Blame::Host, libc::EMFILE), "{error}");
                refusals += 1;
            }
        }
    };
    // A timer and a file for each of output and errors; it can do without a pidfd.
    assert_eq!(refusals, 3);
    assert_eq!(made.branch.as_deref(), Some("wt/t_1"));
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD), "no child left");
}
