//! The simulator's process table does what a real one does: the same happens to both, and exits,
//! statuses, groups, signals, orphans and pids are compared after each step.
//!
//! Each scene plays in a process of its own, on its main thread, to which orphans fall.
//!
//! A program of its own: the workers are this program, which obeys before its `main` begins.
#![cfg(feature = "runtime")]

#[path = "../support/skip.rs"]
mod skip;

mod pair;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, setuid};
use pair::host::Host;
use pair::settings::{Pids, is_alone, play, put_last_pid, skip};
use pair::walk::{ops, walk};
use pair::worker::Order;
use pair::{Deviation, Pair, Step, same};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sexton::machine::event::{Group, Signal, SignalOutcome};
use sexton::machine::fault::Blame;
use sexton::machine::ids::SpawnId;
use sexton::machine::verdict::ExitStatus;
use sexton::process::pidfd::Stage;
use sexton_sim::board::Instance;
use sexton_sim::kernel::Kernel;

use ExitStatus::{Code, Signal as By};
use SignalOutcome::{Delivered, Gone};

const US: Instance = Instance(1);

/// A test for each scene.
macro_rules! scenes {
    ($($(#[$($attribute:tt)*])* $name:ident $(in $own_pids:ident)?;)*) => {
        $($(#[$($attribute)*])* #[test]
        fn $name() {
            play(stringify!($name), scenes!(@ $($own_pids)?), scene::$name);
        })*
    };
    (@) => { false };
    (@ own_pids) => { true };
}

scenes! {
    exits_by_code_and_by_signal;
    an_exit_before_the_spawns_answer_was_read;
    two_at_once_are_reaped_in_one_step;
    a_group_that_outlives_its_leader;
    an_orphan_is_adopted;
    what_is_deaf_to_term_is_killed;
    what_is_stopped_is_killed;
    signals_to_a_group_that_is_gone;
    a_program_that_cannot_be_executed;
    a_host_that_refuses_a_process;
    what_is_stuck_ends_when_it_is_let_go;
    a_pid_that_came_back_is_never_signalled in own_pids;
    a_pid_comes_back_when_nothing_of_its_group_is_left in own_pids;
    both_agree_after_any_history;
    whatever_happens_with_few_pids_both_agree in own_pids;
    a_deviation_is_found;
    a_deviation_in_pids_is_found in own_pids;
}

mod scene {
    use super::*;

    pub fn exits_by_code_and_by_signal() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        for (n, code) in [0, 1, 75, 255].into_iter().enumerate() {
            let worker = pair.worker()?;
            same("its number", &worker, &(u32::try_from(n).expect("a small number") + 1))?;
            pair.exit(worker, code)?;
            assert_eq!(pair.reap()?.exits, [(worker, Code(code), Group::Gone)]);
        }
        // 40 is a real-time signal.
        for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGHUP, 40] {
            let worker = pair.worker()?;
            pair.raise(worker, signal)?;
            assert_eq!(pair.reap()?.exits, [(worker, By(signal), Group::Gone)]);
            assert_eq!(pair.reap()?.exits, []);
        }
        Ok(())
    }

    pub fn an_exit_before_the_spawns_answer_was_read() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let (answer, _orders) = pair.host.start_worker(1, &[Order::Exit(3)]);
        pair.host.wait_until_told(&BTreeSet::from([1]))?;
        let (exits, orphans) = pair.host.reap_untold()?;
        let uid = pair.meet(1);
        pair.end_in_model(uid, Code(3));
        let real: Vec<_> = exits.iter().map(|exit| (1, exit.status, exit.group)).collect();
        same("what was reaped", &real, &pair.reap_in_model().exits)?;
        assert_eq!((real, orphans), (vec![(1, Code(3), Group::Gone)], vec![]));
        // The answer names a process that is gone; it cannot be reaped again.
        assert_eq!(answer.recv().expect("an answer").expect("a worker"), exits[0].pid);
        pair.reap()?;
        same(
            "a signal",
            &pair.host.signal_only(1, Signal::Kill),
            &pair.model.signal(uid, Signal::Kill).0,
        )
    }

    pub fn two_at_once_are_reaped_in_one_step() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let [first, second, third] = [pair.worker()?, pair.worker()?, pair.worker()?];
        pair.exit(third, 5)?;
        pair.exit(first, 4)?;
        let both = [(first, Code(4), Group::Gone), (third, Code(5), Group::Gone)];
        assert_eq!(pair.reap()?.exits, both);
        assert_eq!(pair.reap()?.exits, []);
        pair.exit(second, 6)?;
        assert_eq!(pair.reap()?.exits, [(second, Code(6), Group::Gone)]);
        Ok(())
    }

    pub fn a_group_that_outlives_its_leader() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let leader = pair.worker()?;
        let members = [pair.member(leader)?, pair.member(leader)?, pair.member(leader)?];
        pair.exit(members[0], 0)?;
        pair.exit(leader, 0)?;
        assert_eq!(pair.reap()?.exits, [(leader, Code(0), Group::Alive)]);
        assert_eq!(pair.signal(leader, Signal::Probe)?, Delivered);
        assert_eq!(pair.signal(leader, Signal::Term)?, Delivered);
        assert_eq!(pair.signal(leader, Signal::Probe)?, Gone);
        assert_eq!(pair.reap()?.orphans, BTreeSet::from([members[1], members[2]]));
        assert_eq!(pair.signal(leader, Signal::Term)?, Gone);
        Ok(())
    }

    pub fn an_orphan_is_adopted() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let leader = pair.worker()?;
        let [early, late] = [pair.member(leader)?, pair.member(leader)?];
        pair.exit(early, 1)?;
        assert_eq!(pair.reap()?, Default::default(), "its parent waits for it");
        pair.exit(leader, 0)?;
        pair.exit(late, 1)?;
        let reaped = pair.reap()?;
        assert_eq!(reaped.exits, [(leader, Code(0), Group::Gone)]);
        assert_eq!(reaped.orphans, BTreeSet::from([late]));
        assert_eq!(pair.reap()?, Default::default());
        Ok(())
    }

    pub fn what_is_deaf_to_term_is_killed() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let leader = pair.worker()?;
        let hears = pair.member(leader)?;
        pair.deafen(leader)?;
        let is_deaf = pair.member(leader)?;
        assert_eq!(pair.signal(leader, Signal::Term)?, Delivered);
        let alive = [leader, hears, is_deaf].map(|number| pair.host.is_alive(number));
        assert_eq!(alive, [true, false, true]);
        assert_eq!(pair.signal(leader, Signal::Kill)?, Delivered);
        let reaped = pair.reap()?;
        assert_eq!(reaped.exits, [(leader, By(libc::SIGKILL), Group::Gone)]);
        assert_eq!(reaped.orphans, BTreeSet::from([is_deaf]));
        Ok(())
    }

    pub fn what_is_stopped_is_killed() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let worker = pair.worker()?;
        pair.stop(worker)?;
        assert_eq!(pair.reap()?.exits, []);
        assert_eq!(pair.signal(worker, Signal::Term)?, Delivered);
        assert_eq!(pair.reap()?.exits, []);
        assert_eq!(pair.signal(worker, Signal::Kill)?, Delivered);
        assert_eq!(pair.reap()?.exits, [(worker, By(libc::SIGKILL), Group::Gone)]);
        Ok(())
    }

    /// A group is gone only once it is reaped: until then a signal is accepted, although a probe
    /// finds nothing alive.
    pub fn signals_to_a_group_that_is_gone() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let leader = pair.worker()?;
        let member = pair.member(leader)?;
        pair.exit(leader, 0)?;
        pair.exit(member, 0)?;
        let signals = [Signal::Probe, Signal::Term, Signal::Kill];
        for (signal, outcome) in signals.into_iter().zip([Gone, Delivered, Delivered]) {
            assert_eq!(pair.signal(leader, signal)?, outcome);
        }
        pair.reap()?;
        for signal in signals {
            assert_eq!(pair.signal(leader, signal)?, Gone);
        }
        assert!(pair.host.forget(leader));
        for signal in signals {
            assert_eq!(pair.signal(leader, signal)?, Gone);
        }
        Ok(())
    }

    /// The model knows nothing of it, so that nothing may be left of it.
    pub fn a_program_that_cannot_be_executed() -> Step<()> {
        let mut pair = Pair::new(Pids::Many);
        let directory = tempfile::tempdir().expect("a directory");
        let plain = directory.path().join("plain");
        fs::write(&plain, "#!/bin/sh\n").expect("a file");
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("its mode");
        let plain = plain.to_str().expect("a path that is text");
        for (program, errno) in [("/nonexistent", libc::ENOENT), (plain, libc::EACCES)] {
            let told = pair.host.start(&[program], 9, null());
            let error = told.recv().expect("an answer").expect_err("no program");
            assert_eq!((error.blame(), error.errno()), (Blame::Task, errno));
            assert_eq!(pair.reap()?, Default::default());
        }
        let worker = pair.worker()?;
        pair.exit(worker, 0)?;
        pair.reap()?;
        Ok(())
    }

    /// Somebody who may have one process besides ours, and the model of a host with one pid.
    pub fn a_host_that_refuses_a_process() -> Step<()> {
        // An unused uid, so that no other processes count.
        const STRANGER: u32 = 61_847;
        if !Uid::effective().is_root() {
            return skip("only root can become a user without processes");
        }
        let mut host = Host::new();
        // Two threads of ours, and one.
        setrlimit(Resource::RLIMIT_NPROC, 3, 3).expect("a limit");
        setuid(Uid::from_raw(STRANGER)).expect("another user");
        let mut model = Kernel::new(2);
        let start = |host: &Host, n| {
            host.start(&["/bin/sh", "-c", "exit 3"], n, null()).recv().expect("an answer")
        };
        start(&host, 1).expect("room for one");
        let uid = model.spawn(US, SpawnId(1)).expect("room for one");
        host.wait_until_told(&BTreeSet::from([1]))?;
        model.end(uid, Code(3));
        let error = start(&host, 2).expect_err("a zombie counts");
        assert_eq!((error.blame(), error.errno()), (Blame::Host, libc::EAGAIN));
        assert_eq!(model.spawn(US, SpawnId(2)), None);
        let exits = host.reap_untold()?.0;
        let (_, status, group) = model.reap(uid).expect("a zombie");
        assert_eq!((exits[0].status, exits[0].group), (status, group));
        assert_eq!(exits.len(), 1);
        start(&host, 3).expect("room again");
        assert!(model.spawn(US, SpawnId(3)).is_some());
        host.wait_until_told(&BTreeSet::from([1, 3]))?;
        assert_eq!(host.reap_untold()?.0[0].spawn, SpawnId(3));
        Ok(())
    }

    /// A worker in an uninterruptible wait, as the first kind of freezer brings about.
    pub fn what_is_stuck_ends_when_it_is_let_go() -> Step<()> {
        let Some(freezer) = Freezer::new() else {
            return skip("no version 1 freezer, which alone holds processes against KILL");
        };
        for signal in [Signal::Kill, Signal::Term] {
            let mut pair = Pair::new(Pids::Many);
            let worker = pair.worker()?;
            let uid = pair.uid(worker);
            freezer.freeze(pair.host.pid(worker).0);
            pair.model.harden(uid, false, true);
            let sent = pair.host.signal_only(worker, signal);
            same("a signal", &sent, &pair.model.signal(uid, signal).0)?;
            pair.same()?;
            assert_eq!(pair.reap()?.exits, []);
            assert_eq!(pair.host.stage(worker), Stage::Running);
            freezer.thaw();
            let number = if signal == Signal::Kill { libc::SIGKILL } else { libc::SIGTERM };
            assert_eq!(pair.model.release(uid), Some(number));
            pair.host.wait_for_end(worker);
            pair.end_in_model(uid, By(number));
            assert_eq!(pair.reap()?.exits, [(worker, By(number), Group::Gone)]);
        }
        Ok(())
    }

    /// The number of a dead worker is given to another. What leads to the first does not reach it.
    pub fn a_pid_that_came_back_is_never_signalled() -> Step<()> {
        if !is_alone() || put_last_pid(900).is_err() {
            return skip("the kernel does not let us choose pids (ns_last_pid)");
        }
        // As few as make the model give the number again.
        let mut model = Kernel::new(2);
        let mut host = Host::new();
        put_last_pid(999).expect("it could be done before");
        let first = host.spawn(1).expect("a worker");
        let old = model.spawn(US, SpawnId(1)).expect("a pid");
        host.end(1, Order::Exit(0));
        model.end(old, Code(0));
        assert_eq!(host.reap()?.0.len(), 1);
        let given = model.reap(old).expect("a zombie").0.pid;

        put_last_pid(999).expect("it could be done before");
        let second = host.spawn(2).expect("a worker");
        let new = model.spawn(US, SpawnId(2)).expect("a pid");
        assert_eq!((first.0, second), (1000, first));
        assert_eq!(model.get(new).map(|process| process.pid), Some(given));
        for signal in [Signal::Probe, Signal::Term, Signal::Kill] {
            let (expected, ends) = model.signal(old, signal);
            same("a signal to the dead", &host.signal(1, signal), &expected)?;
            assert_eq!((expected, ends), (Gone, vec![]));
            assert_eq!((host.stage(1), host.stage(2)), (Stage::Reaped, Stage::Running));
        }
        let (expected, ends) = model.signal(new, Signal::Kill);
        same("a signal to the living", &host.signal(2, Signal::Kill), &expected)?;
        assert_eq!((expected, ends), (Delivered, vec![new]));
        assert!(!host.is_alive(2));
        assert_eq!(host.reap()?.0[0].status, By(libc::SIGKILL));
        Ok(())
    }

    pub fn a_pid_comes_back_when_nothing_of_its_group_is_left() -> Step<()> {
        let Some(pids) = Pids::few(3) else { return no_few_pids() };
        let mut pair = Pair::new(pids);
        let leader = pair.worker()?;
        let [first, second] = [pair.member(leader)?, pair.member(leader)?];
        assert_eq!(pair.spawn()?, None, "three are three");
        assert_eq!(pair.fork(leader)?, None);
        pair.exit(leader, 0)?;
        assert_eq!(pair.spawn()?, None, "it is a zombie");
        pair.reap()?;
        assert_eq!(pair.spawn()?, None, "its number is its group's");
        pair.exit(first, 0)?;
        assert_eq!(pair.spawn()?, None, "a zombie, again");
        pair.reap()?;
        let other = pair.worker()?;
        assert_eq!(pair.host.pid(other), pair.host.pid(first));
        pair.exit(second, 0)?;
        assert_eq!(pair.spawn()?, None, "the last of the group is a zombie of it");
        pair.reap()?;
        let [third, fourth] = [pair.worker()?, pair.worker()?];
        assert_eq!(pair.host.pid(fourth), pair.host.pid(leader));
        assert_eq!(pair.signal(leader, Signal::Kill)?, Gone);
        assert!(pair.host.is_alive(fourth) && pair.host.is_alive(third));
        Ok(())
    }

    pub fn both_agree_after_any_history() -> Step<()> {
        agree(Pids::Many)
    }

    pub fn whatever_happens_with_few_pids_both_agree() -> Step<()> {
        let Some(pids) = Pids::few(5) else { return no_few_pids() };
        agree(pids)
    }

    pub fn a_deviation_is_found() -> Step<()> {
        for deviation in [
            Deviation::GroupEndsWithItsLeader,
            Deviation::TermAlwaysEnds,
            Deviation::SignalReachesOnlyTheLeader,
            Deviation::OneReapedAtATime,
            Deviation::OrphansFallToOthers,
            Deviation::ZombiesTakeNoSignals,
        ] {
            find(deviation, Pids::Many)?;
        }
        Ok(())
    }

    pub fn a_deviation_in_pids_is_found() -> Step<()> {
        let Some(pids) = Pids::few(5) else { return no_few_pids() };
        find(Deviation::PidFreeWhileItsGroupLives, pids)?;
        find(Deviation::PidFreeWhileItsZombieLies, pids)
    }
}

fn no_few_pids() -> Step<()> {
    skip("the number of pids cannot be limited (root's own pid namespace, Linux 6.14)")
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

fn agree(pids: Pids) -> Step<()> {
    let mut runner = TestRunner::new(config(24));
    let agreed = runner.run(&ops(), |ops| walk(Pair::new(pids), &ops).map_err(TestCaseError::fail));
    agreed.map_err(|error| error.to_string())
}

/// The comparison must find this deviation.
fn find(deviation: Deviation, pids: Pids) -> Step<()> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config { max_shrink_iters: 0, ..config(256) };
    let run = TestRunner::new_with_rng(config, rng).run(&ops(), |ops| {
        walk(Pair::deviating(pids, deviation), &ops).map_err(TestCaseError::fail)
    });
    match run {
        Err(TestError::Fail(..)) => Ok(()),
        _ => Err(format!("{deviation:?}: {run:?}")),
    }
}

fn null() -> File {
    File::options().write(true).open("/dev/null").expect("/dev/null")
}

/// A control group of the version 1 freezer. Frozen processes are let go when it is dropped.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Option<Freezer> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let mount = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind, options) = (words.next()?, words.next()?, words.next()?);
            let is_it = kind == "cgroup" && options.split(',').any(|option| option == "freezer");
            is_it.then(|| PathBuf::from(at))
        })?;
        let directory = mount.join(format!("sexton-test-{}", std::process::id()));
        fs::create_dir(&directory).ok()?;
        Some(Freezer(directory))
    }

    fn freeze(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process of ours");
        self.put("FROZEN");
    }

    fn thaw(&self) {
        self.put("THAWED");
    }

    fn put(&self, state: &str) {
        let file = self.0.join("freezer.state");
        fs::write(&file, state).expect("a freezer");
        // Reading it makes the kernel look again.
        while fs::read_to_string(&file).expect("a freezer").trim() != state {
            std::thread::yield_now();
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _thawed_already = fs::write(self.0.join("freezer.state"), "THAWED");
        let _stays_if_somebody_is_in_it = fs::remove_dir(&self.0);
    }
}
