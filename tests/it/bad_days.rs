//! Bad days: what the real program does when kernel, files, rivals or people are unkind.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "what helps a test may panic")]

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::daemon::{
    configure, create, outcomes, run, sandbox, second_board, state, stop, wait_for_state,
    was_reaped, worker, written_pid,
};
use crate::support::gate::Gate;
use crate::support::hung::Hung;
use crate::support::pipe::pipe_with_room;
use crate::support::process::{is_child, stat};
use crate::support::running::Running;
use crate::support::sandbox::{Sandbox, finish};
use crate::support::user::spare_uid;
use crate::support::wait::wait_until;
use crate::support::zombie::{is_zombie, zombies_of};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;
use sexton::board::sql;

/// Sets a soft limit of a running process, as its own user, who may do so on every host.
fn limit(uid: Option<u32>, sexton: &Running, setting: &str) {
    let mut command = Command::new("prlimit");
    command.arg("--pid").arg(sexton.pid().to_string()).arg(setting);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Whether the process exists and is not a zombie.
fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

fn run_as(s: &Sandbox, uid: u32) -> Running {
    Running::start(s.command(&["run"]).uid(uid).gid(uid).process_group(0), &s.path(""), "run")
}

/// Checks that nothing is started while the host is `exhausted`, that no task is charged, and that
/// work goes on afterwards. Returns the log.
fn waits_while_exhausted(
    s: &Sandbox,
    sexton: Running,
    uid: Option<u32>,
    [exhausted, enough]: [&str; 2],
) -> String {
    let first = create(s, "exit 0");
    wait_for_state(&s.db(), &first, "done|0|NULL");
    // A thread that is just beginning needs memory, or ends the program; this is the last.
    let workspace = s.root().join("kanban/workspaces").join(&first);
    wait_until("its workspace to be removed", || !workspace.exists());
    limit(uid, &sexton, exhausted);
    let ids = [create(s, "exit 0"), create(s, "exit 0")];
    sexton.wait_for_log("the host starts no processes");
    for id in &ids {
        wait_for_state(&s.db(), id, "ready|0|NULL");
    }
    limit(uid, &sexton, enough);
    for id in &ids {
        wait_for_state(&s.db(), id, "done|0|NULL");
    }
    let log = sexton.log();
    stop(sexton);
    log
}

#[test]
fn a_host_without_room_for_processes_costs_no_task_its_budget() {
    let s = sandbox("failure_limit = 1", "");
    let Some(uid) = spare_uid(&s) else { return };
    let sexton = run_as(&s, uid);
    waits_while_exhausted(&s, sexton, Some(uid), ["--nproc=0:", "--nproc=1000:"]);
}

#[test]
fn a_host_without_descriptors_costs_no_task_its_budget() {
    let s = sandbox("failure_limit = 1", "");
    let sexton = run(&s, &[]);
    // Below the first free one, and still enough for a poll of its own.
    waits_while_exhausted(&s, sexton, None, ["--nofile=6:", "--nofile=1000:"]);
}

#[test]
fn a_host_without_memory_costs_no_task_its_budget() {
    let s = sandbox("failure_limit = 1", "");
    // It has room of its own to live on, and address space for no new process.
    let mut command = s.command(&["run"]);
    command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_TOP_PAD_", "16777216").process_group(0);
    let sexton = Running::start(&mut command, &s.path(""), "run");
    let log = waits_while_exhausted(&s, sexton, None, ["--as=1:", "--as=unlimited:"]);
    assert!(log.contains("errno=12"), "{log}");
}

#[test]
fn a_host_that_goes_on_refusing_is_not_waited_for_forever() {
    let s = sandbox("", "");
    let first = create(&s, "prlimit --pid $PPID --nproc=0:");
    let then = s.create(&["then", "--body", "exit 0", "--parent", &first]);
    let Some(uid) = spare_uid(&s) else { return };
    let mut command = s.command(&["run", "--until-idle", "--grace", "100ms"]);
    command.uid(uid).gid(uid).process_group(0);
    let mut sexton = Running::start(&mut command, &s.path(""), "run");
    assert_eq!(sexton.code(), 0);
    assert!(sexton.log().contains("the host starts no processes"));
    assert_eq!(state(&s.db(), &first), "done|0|NULL");
    assert_eq!(state(&s.db(), &then), "ready|0|NULL");
}

#[test]
fn a_program_that_cannot_be_executed_is_charged_to_the_task_by_name() {
    let s = Sandbox::new();
    let plain = s.path("no-program");
    fs::write(&plain, "text").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    let more = format!(
        "[worker.missing]\ncommand = [\"/nowhere/no-such-program\"]\n\
         [worker.plain]\ncommand = [\"{}\"]\n",
        plain.display()
    );
    configure(&s, "failure_limit = 1", "", &more);
    let missing = s.create(&["task", "--assignee", "missing"]);
    let not_executable = s.create(&["task", "--assignee", "plain"]);
    let good = create(&s, "exit 0");
    assert_eq!(run(&s, &["--until-idle"]).code(), 0);
    for (id, name) in [(missing, "/nowhere/no-such-program"), (not_executable, "no-program")] {
        let state = state(&s.db(), &id);
        assert!(state.starts_with("blocked|1|") && state.contains(name), "{state}");
    }
    assert_eq!(state(&s.db(), &good), "done|0|NULL");
}

#[test]
fn a_body_that_no_command_line_takes_fails_its_task_clearly() {
    let s = sandbox("failure_limit = 1", "");
    let long = create(&s, "x");
    s.sql(&format!(
        "UPDATE tasks SET body = replace(hex(zeroblob(100000)), '0', 'x') WHERE id = '{long}'"
    ));
    let good = create(&s, "exit 0");
    assert_eq!(run(&s, &["--until-idle"]).code(), 0);
    let found = state(&s.db(), &long);
    assert!(found.starts_with("blocked|1|") && found.contains("shorten"), "{found}");
    assert_eq!(state(&s.db(), &good), "done|0|NULL");
}

#[test]
fn a_board_that_cannot_be_read_for_a_while_loses_nothing() {
    let s = sandbox("", "");
    let db = second_board(&s);
    let gate = Gate::new(s.path("gate"));
    let Some(uid) = spare_uid(&s) else { return };
    let id = s.create(&["task", "--board", "second", "--body", &gate.wait()]);
    let later = s.create(&["task", "--board", "second", "--parent", &id, "--body", "exit 0"]);
    let sexton = run_as(&s, uid);
    let pid = worker(&db, &id);
    let directory = db.parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o000)).unwrap();
    gate.let_pass(1);
    wait_until("it to be reaped", || was_reaped(&sexton, pid));
    assert!(!is_zombie(pid));
    sexton.wait_for_log("out of use");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    wait_for_state(&db, &id, "done|0|NULL");
    wait_for_state(&db, &later, "done|0|NULL");
    assert_eq!(outcomes(&db, &id), ["completed"]);
    sexton.wait_for_log("in use again");
    stop(sexton);
}

#[test]
fn a_board_deleted_under_live_workers_gets_their_verdicts_when_it_is_restored() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let ids = [create(&s, &gate.wait()), create(&s, &gate.wait())];
    let sexton = run(&s, &[]);
    let pids = ids.each_ref().map(|id| worker(&s.db(), id));
    let copy = s.root().join("copy.db");
    s.sql(&format!("VACUUM INTO '{}'", copy.display()));
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", s.db().display())).unwrap();
    }
    gate.let_pass(2);
    for pid in pids {
        wait_until("them to be reaped", || was_reaped(&sexton, pid));
    }
    sexton.wait_for_log("out of use");
    // VACUUM leaves the copy without a log of its own; a board is one file then.
    fs::rename(copy, s.db()).unwrap();
    for id in &ids {
        wait_for_state(&s.db(), id, "done|0|NULL");
        assert_eq!(outcomes(&s.db(), id), ["completed"]);
    }
    stop(sexton);
}

#[test]
fn a_rival_that_holds_one_board_disturbs_neither_the_others_nor_the_reaping() {
    let s = sandbox("", "");
    let db = second_board(&s);
    let gate = Gate::new(s.path("gate"));
    let held = s.create(&["task", "--board", "second", "--body", &gate.wait()]);
    let sexton = run(&s, &[]);
    let pid = worker(&db, &held);
    let rival = Connection::open(&db).unwrap();
    sql::run(&rival, "BEGIN EXCLUSIVE").unwrap();
    gate.let_pass(1);
    wait_until("it to be reaped", || was_reaped(&sexton, pid));
    assert!(zombies_of(sexton.pid()).is_empty());
    let other = create(&s, "exit 0");
    wait_for_state(&s.db(), &other, "done|0|NULL");
    assert_eq!(state(&db, &held), "running|0|NULL");
    sql::run(&rival, "ROLLBACK").unwrap();
    wait_for_state(&db, &held, "done|0|NULL");
    stop(sexton);
}

#[test]
fn after_a_stop_everything_is_reaped() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let ids: Vec<String> = (0..5).map(|_| create(&s, &gate.wait())).collect();
    let sexton = run(&s, &[]);
    let pids: Vec<i32> = ids.iter().map(|id| worker(&s.db(), id)).collect();
    sexton.signal(Signal::SIGSTOP);
    gate.let_pass(5);
    wait_until("all to be zombies", || pids.iter().all(|pid| is_zombie(*pid)));
    sexton.signal(Signal::SIGCONT);
    wait_until("all to be reaped", || zombies_of(sexton.pid()).is_empty());
    for id in &ids {
        wait_for_state(&s.db(), id, "done|0|NULL");
    }
    stop(sexton);
}

#[test]
fn output_without_a_reader_is_an_exit_code_and_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for stdout in [Stdio::from(full), Stdio::from(writer)] {
        let s = sandbox("", "");
        let id = create(&s, "exit 0");
        let mut command: Command = s.command(&["run", "--until-idle"]);
        let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(state(&s.db(), &id), "done|0|NULL");
    }
}

#[test]
fn a_log_that_cannot_be_written_costs_nothing_but_the_log() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(full), Stdio::from(writer)] {
        let s = sandbox("", "");
        let ids = [0; 4].map(|_| create(&s, "exit 0"));
        let mut command = s.command(&["run", "--until-idle"]);
        let mut sexton = Running::start_with_log(&mut command, stderr, &s.path(""), "run");
        assert_eq!(sexton.code(), 0);
        assert!(ids.iter().all(|id| state(&s.db(), id) == "done|0|NULL"));
        assert!(sexton.stdout().contains("4 started, 4 reaped, 4 recorded"));
    }
}

#[test]
fn a_log_without_a_reader_stops_neither_the_reaping_nor_the_shutdown() {
    let s = sandbox("", "");
    let (mut reader, writer) = pipe_with_room(0);
    let gate = Gate::new(s.path("gate"));
    let ids = [0; 4].map(|_| create(&s, &gate.wait()));
    let mut command = s.command(&["run", "--log-format", "json"]);
    let command = command.process_group(0);
    let mut sexton = Running::start_with_log(command, writer, &s.path(""), "run");
    let pids = ids.each_ref().map(|id| worker(&s.db(), id));
    gate.let_pass(4);
    wait_until("them to be reaped", || !pids.iter().any(|pid| is_child(*pid, sexton.pid())));
    ids.iter().for_each(|id| wait_for_state(&s.db(), id, "done|0|NULL"));
    // From here on the pipe is read: each line arrives as it was written.
    let reading = std::thread::spawn(move || std::io::read_to_string(&mut reader).unwrap());
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    command.stderr(Stdio::null());
    let log = reading.join().unwrap();
    let lines = log.lines().filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |text: &str| {
        lines.iter().filter(|l| l["fields"]["message"].as_str().unwrap().contains(text)).count()
    };
    assert_eq!((said("started"), said("recorded: completed"), said("stopping")), (4, 4, 1));
}

#[test]
fn a_shutdown_does_not_wait_for_a_log_without_a_reader() {
    let s = sandbox("", "");
    let (_reader, writer) = pipe_with_room(0);
    let id = create(&s, "exit 0");
    // Its last words go the same way.
    let mut command = redirected(&s, ">/dev/full", &["run", "--until-idle"]);
    let mut sexton = Running::start_with_log(&mut command, writer, &s.path(""), "run");
    assert_eq!(sexton.code(), 1, "its output is lost");
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
}

/// The program, started by a shell with these redirections.
fn redirected(s: &Sandbox, redirections: &str, args: &[&str]) -> Command {
    let plain = s.command(args);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$@\" {redirections}")).arg("sh");
    shell.arg(plain.get_program()).args(plain.get_args());
    shell.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.current_dir(s.path(""));
    shell
}

#[test]
fn an_output_that_is_closed_is_an_exit_code_and_no_panic() {
    let s = sandbox("", "");
    let id = create(&s, "exit 0");
    for args in [&["list"][..], &["run", "--until-idle"], &["--help"]] {
        let done = finish(&mut redirected(&s, ">&-", args));
        assert_eq!(done.code, 1, "{args:?}: {done:?}");
        assert!(done.stderr.contains("cannot write the output"), "{args:?}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{args:?}: {done:?}");
    }
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
    let nothing_to_say = redirected(&s, ">/dev/null", &["list"]).status().unwrap();
    assert_eq!(nothing_to_say.code(), Some(0), "an output without a reader is not a closed one");
}

#[test]
fn no_file_gets_the_number_of_a_standard_descriptor_that_was_closed() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let id = create(&s, &format!("{}; echo said; echo complained >&2", gate.wait()));
    let mut command = redirected(&s, "<&- >&- 2>&-", &["run"]);
    let mut sexton = Running::start(command.process_group(0), &s.path(""), "run");
    worker(&s.db(), &id);
    for number in 0..3 {
        let file = fs::read_link(format!("/proc/{}/fd/{number}", sexton.pid())).unwrap();
        assert_eq!(file, Path::new("/dev/null"), "{number}");
    }
    gate.let_pass(1);
    wait_for_state(&s.db(), &id, "done|0|NULL");
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 1, "its last words are lost");
    assert_eq!(s.rows("PRAGMA integrity_check"), ["ok"]);
    assert_eq!(s.ok(&["log", &id]), "said\ncomplained\n");
}

#[test]
fn a_worker_may_finish_within_the_grace_after_sigterm() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let id = create(&s, &gate.wait());
    let mut sexton = run(&s, &["--grace", "10m"]);
    worker(&s.db(), &id);
    sexton.signal(Signal::SIGTERM);
    sexton.wait_for_log("stopping; workers may finish");
    let new = create(&s, "exit 0");
    gate.let_pass(1);
    assert_eq!(sexton.code(), 0);
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
    assert_eq!(state(&s.db(), &new), "ready|0|NULL");
}

/// A worker and a child of it that are both deaf to TERM; the child's pid is in `file`.
fn deaf(gate: &Gate, file: &Path) -> String {
    format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {}; {}'; true",
        file.display(),
        gate.wait().replace('\'', "")
    )
}

#[test]
fn what_outlives_the_grace_is_ended_as_a_group_and_given_back() {
    let s = sandbox("failure_limit = 1", "kill_after = \"50ms\"");
    let (gate, file) = (Gate::new(s.path("gate")), s.path("pid"));
    let id = create(&s, &deaf(&gate, &file));
    let mut sexton = run(&s, &["--grace", "50ms"]);
    let pids = [worker(&s.db(), &id), written_pid(&file)];
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    assert!(!pids.into_iter().any(is_alive));
    assert_eq!(state(&s.db(), &id), "ready|0|NULL");
}

#[test]
fn signals_that_come_together_are_one_request() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let id = create(&s, &gate.wait());
    let mut sexton = run(&s, &["--grace", "10m"]);
    worker(&s.db(), &id);
    // Both are there when it goes on, as when `timeout` signals its command and then the group.
    for signal in [Signal::SIGSTOP, Signal::SIGTERM, Signal::SIGINT, Signal::SIGCONT] {
        sexton.signal(signal);
    }
    sexton.wait_for_log("stopping; workers may finish");
    gate.let_pass(1);
    assert_eq!(sexton.code(), 0);
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
}

/// Asks until it is taken as a request of its own.
fn stop_at_once(sexton: &Running) {
    wait_until("a second request", || {
        sexton.signal(Signal::SIGTERM);
        sexton.log().contains("stopping immediately")
    });
}

#[test]
fn further_signals_do_not_put_off_the_end() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let id = create(&s, &gate.wait());
    let mut sexton = run(&s, &["--grace", "10m"]);
    worker(&s.db(), &id);
    // An exit that its board does not take: there is something to wait for.
    let rival = Connection::open(s.db()).unwrap();
    sql::run(&rival, "BEGIN EXCLUSIVE").unwrap();
    wait_until("it to end", || {
        sexton.signal(Signal::SIGTERM);
        is_zombie(sexton.pid())
    });
    assert_eq!(sexton.code(), 1);
    assert!(sexton.log().contains("and the board did not take it"), "{}", sexton.log());
}

#[test]
fn a_second_sigterm_ends_everything_immediately() {
    let s = sandbox("failure_limit = 1", "kill_after = \"10m\"");
    let (gate, file) = (Gate::new(s.path("gate")), s.path("pid"));
    let id = create(&s, &deaf(&gate, &file));
    let mut sexton = run(&s, &["--grace", "10m"]);
    let pids = [worker(&s.db(), &id), written_pid(&file)];
    sexton.signal(Signal::SIGTERM);
    sexton.wait_for_log("stopping; workers may finish");
    stop_at_once(&sexton);
    assert_eq!(sexton.code(), 1);
    assert!(!pids.into_iter().any(is_alive));
    assert_eq!(state(&s.db(), &id), "ready|0|NULL");
}

#[test]
fn a_second_sigterm_is_an_exit_code_of_a_single_tick_too() {
    let s = sandbox("", "kill_after = \"10m\"");
    let (gate, file) = (Gate::new(s.path("gate")), s.path("pid"));
    let id = create(&s, &deaf(&gate, &file));
    let mut command = s.command(&["dispatch"]);
    command.env("SEXTON_LOG", "info").process_group(0);
    let mut sexton = Running::start(&mut command, &s.path(""), "dispatch");
    worker(&s.db(), &id);
    written_pid(&file);
    stop_at_once(&sexton);
    assert_eq!(sexton.code(), 1);
    assert_eq!(state(&s.db(), &id), "ready|0|NULL");
}

#[test]
fn an_end_does_not_depend_on_the_configuration_that_is_being_written() {
    let s = sandbox("", "");
    let gate = Gate::new(s.path("gate"));
    let id = create(&s, &gate.wait());
    let mut sexton = run(&s, &["--json", "--grace", "0s"]);
    worker(&s.db(), &id);
    configure(&s, "max_workers = -1", "", "");
    let held = create(&s, "exit 0");
    sexton.signal(Signal::SIGTERM);
    assert_eq!(sexton.code(), 0);
    let end: Value = serde_json::from_str(&sexton.stdout()).unwrap();
    assert_eq!((&end["reaped"], &end["boards"][0]["tasks"]["ready"]), (&1.into(), &2.into()));
    assert_eq!(end["unrecorded"], Value::Array(Vec::new()));
    assert_eq!(state(&s.db(), &held), "ready|0|NULL");
}

#[test]
fn what_a_worker_leaves_in_its_group_is_ended() {
    let s = sandbox("", "");
    let (gate, file) = (Gate::new(s.path("gate")), s.path("pid"));
    let id = create(&s, &format!("( {} ) & echo $! > '{}'", gate.wait(), file.display()));
    assert_eq!(run(&s, &["--until-idle"]).code(), 0);
    assert!(!is_alive(written_pid(&file)));
    assert_eq!(state(&s.db(), &id), "done|0|NULL");
}

#[test]
fn a_variable_that_no_program_can_be_given_is_not_handed_on() {
    let s = sandbox("", "");
    let id = create(&s, "test \"$KEPT\" = here");
    let mut command = s.command(&["run", "--until-idle"]);
    let done = finish(command.env("=x", "y").env("KEPT", "here"));
    assert_eq!((done.code, state(&s.db(), &id).as_str()), (0, "done|0|NULL"), "{done:?}");
}

#[test]
fn a_worker_that_ignores_term_after_a_timeout_is_killed_and_counted() {
    let s = sandbox("failure_limit = 1", "kill_after = \"50ms\"");
    let (gate, file) = (Gate::new(s.path("gate")), s.path("pid"));
    let id = s.create(&["task", "--max-runtime", "1s", "--body", &deaf(&gate, &file)]);
    assert_eq!(run(&s, &["--until-idle"]).code(), 0);
    assert!(!is_alive(written_pid(&file)));
    assert_eq!(outcomes(&s.db(), &id), ["timed_out"]);
    assert!(state(&s.db(), &id).starts_with("blocked|1|"), "{}", state(&s.db(), &id));
}

#[test]
fn a_shorter_interval_holds_immediately() {
    let s = sandbox("interval = \"1h\"", "");
    let mut command = s.command(&["run"]);
    command.env("SEXTON_LOG", "trace").process_group(0);
    let sexton = Running::start(&mut command, &s.path(""), "run");
    let ticks = || sexton.log().lines().filter(|line| line.ends_with(" tick")).count();
    wait_until("the first tick", || ticks() == 1);
    configure(&s, "interval = \"200ms\"", "", "");
    sexton.signal(Signal::SIGHUP);
    wait_until("a few more", || ticks() > 3);
    stop(sexton);
}

#[test]
fn sighup_reads_the_configuration_again_and_keeps_the_old_one_if_it_is_wrong() {
    let s = sandbox("", "");
    let sexton = run(&s, &[]);
    let first = create(&s, "exit 0");
    wait_for_state(&s.db(), &first, "done|0|NULL");
    let id = s.create(&["task", "--assignee", "later"]);

    configure(&s, "max_workers = -1", "", "");
    sexton.signal(Signal::SIGHUP);
    sexton.wait_for_log("configuration unchanged: ");
    let second = create(&s, "exit 0");
    wait_for_state(&s.db(), &second, "done|0|NULL");
    assert_eq!(state(&s.db(), &id), "ready|0|NULL");

    configure(&s, "", "", "[worker.later]\ncommand = [\"true\"]\n");
    sexton.signal(Signal::SIGHUP);
    sexton.wait_for_log("configuration read again");
    wait_for_state(&s.db(), &id, "done|0|NULL");
    stop(sexton);
}

#[test]
fn a_configuration_on_a_disk_that_hangs_stops_no_reaping_and_is_read_when_it_is_there() {
    let s = sandbox("", "");
    let Some(hung) = Hung::over(&s.path("mount")) else { return };
    let gate = Gate::new(s.path("gate"));
    let id = create(&s, &gate.wait());
    let sexton = run(&s, &[]);
    let pid = worker(&s.db(), &id);

    let file = s.root().join("sexton.toml");
    fs::remove_file(&file).unwrap();
    symlink(s.path("mount/sexton.toml"), &file).unwrap();
    sexton.signal(Signal::SIGHUP);
    gate.let_pass(1);
    wait_until("it to be reaped", || was_reaped(&sexton, pid));
    wait_for_state(&s.db(), &id, "done|0|NULL");

    fs::remove_file(&file).unwrap();
    configure(&s, "", "", "[worker.later]\ncommand = [\"true\"]\n");
    sexton.signal(Signal::SIGHUP);
    let later = s.create(&["task", "--assignee", "later"]);
    drop(hung);
    wait_for_state(&s.db(), &later, "done|0|NULL");
    stop(sexton);
}
