//! Real workers, and what can be seen of them. Nothing here asks the model: a pidfd shows that a
//! process has ended, and an answer of the process that it has not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::PipeReader;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollEvent;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use sexton::machine::effect::Whom;
use sexton::machine::event::{Signal, SignalOutcome};
use sexton::machine::ids::{Pid, SpawnId};
use sexton::process::children::{Children, Exit, become_subreaper};
use sexton::process::pidfd::{self, Reach, Stage};
use sexton::process::signal::signal_group;
use sexton::process::spawn::{Command, Evidence, SpawnError, spawn};
use tempfile::TempDir;

use super::worker::{DIRECTORY, NUMBER, Order, answer};

/// Nothing takes that long, on the busiest machine.
const PATIENCE_MS: u16 = 45_000;

/// The answer of the spawn thread.
pub type Started = Result<Pid, SpawnError>;

/// A command, whose it is, and who waits for what came of it.
type Job = (Command, u32, Sender<Started>);

/// One process, with all that is known of it from outside.
struct Person {
    pid: Pid,
    fd: OwnedFd,
    orders: File,
    /// The number of the worker in whose group it is.
    leader: u32,
    alive: bool,
    stopped: bool,
    reaped: bool,
}

/// A dispatcher's children. Its calls are for the main thread.
pub struct Host {
    children: Children,
    lane: Option<(Sender<Job>, JoinHandle<()>)>,
    directory: TempDir,
    people: BTreeMap<u32, Person>,
    logs: BTreeMap<u32, PipeReader>,
    told: BTreeSet<u32>,
}

impl Host {
    pub fn new() -> Host {
        become_subreaper().expect("a subreaper");
        let children = Children::new().expect("an epoll");
        let (lane, jobs) = channel::<Job>();
        let theirs = children.clone();
        let thread = std::thread::spawn(move || {
            for (command, number, tell) in jobs {
                let birth = theirs.birth(SpawnId(u64::from(number)));
                let started = spawn(&command, Evidence::default(), birth).map(|child| child.pid);
                drop(command);
                let _nobody_listens = tell.send(started);
            }
        });
        Host {
            children,
            lane: Some((lane, thread)),
            directory: tempfile::tempdir().expect("a directory"),
            people: BTreeMap::new(),
            logs: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Sends a program to the spawn thread. The receiver gets the outcome.
    pub fn start(&self, argv: &[&str], number: u32, log: File) -> Receiver<Started> {
        let directory = self.directory.path().as_os_str().to_owned();
        let command = Command {
            argv: argv.iter().map(Into::into).collect(),
            env: vec![(DIRECTORY.into(), directory), (NUMBER.into(), number.to_string().into())],
            cwd: "/".into(),
            log,
        };
        let (tell, told) = channel();
        let (lane, _) = self.lane.as_ref().expect("a lane");
        lane.send((command, number, tell)).expect("a lane that lives");
        told
    }

    /// Sends a worker to the spawn thread; its first orders are in place already.
    pub fn start_worker(&mut self, number: u32, orders: &[Order]) -> (Receiver<Started>, File) {
        let (log, writer) = std::io::pipe().expect("a pipe");
        self.logs.insert(number, log);
        let fifo = fifo(self.directory.path(), number);
        for order in orders {
            order.send(&fifo).expect("room in the FIFO");
        }
        let exe = std::env::current_exe().expect("a program");
        let argv = [exe.to_str().expect("a path that is text")];
        (self.start(&argv, number, File::from(OwnedFd::from(writer))), fifo)
    }

    /// Starts a worker; what went wrong, by its number, if it is not there.
    pub fn spawn(&mut self, number: u32) -> Result<Pid, i32> {
        let (told, orders) = self.start_worker(number, &[]);
        let pid = told.recv().expect("an answer").map_err(|error| error.errno())?;
        self.meet(number, pid, number, orders);
        Ok(pid)
    }

    /// Registers a process that is not reaped.
    pub fn meet(&mut self, number: u32, pid: Pid, leader: u32, orders: File) {
        let fd = pidfd::open(pid).expect("a process that was not reaped");
        let person = Person { pid, fd, orders, leader, alive: true, stopped: false, reaped: false };
        self.people.insert(number, person);
    }

    /// Has a worker start a process in its group; what went wrong, if it is not there.
    pub fn fork(&mut self, leader: u32, number: u32) -> Result<Pid, i32> {
        let orders = fifo(self.directory.path(), number);
        let said = self.ask(leader, Order::Fork(number));
        if said < 0 {
            return Err(-said);
        }
        self.meet(number, Pid(said), leader, orders);
        Ok(Pid(said))
    }

    pub fn deafen(&mut self, number: u32) {
        self.ask(number, Order::Deafen);
    }

    /// Stops a worker by SIGSTOP.
    pub fn stop(&mut self, number: u32) {
        self.tell(number, Order::Raise(libc::SIGSTOP));
        let person = self.people.get_mut(&number).expect("a process");
        let (id, mut status) = (person.pid.0, 0);
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(id, &raw mut status, libc::WUNTRACED) }, id);
        assert!(libc::WIFSTOPPED(status), "{status}");
        person.stopped = true;
    }

    /// Sends an order that ends a process, and waits until it has ended.
    pub fn end(&mut self, number: u32, order: Order) {
        self.tell(number, order);
        self.wait_for_end(number);
        self.bury(&[number]);
    }

    pub fn wait_for_end(&mut self, number: u32) {
        let person = self.people.get_mut(&number).expect("a process");
        wait_until_readable(&person.fd);
        person.alive = false;
    }

    /// Signals a worker's group, and waits until that has done all that it will.
    pub fn signal(&mut self, leader: u32, signal: Signal) -> SignalOutcome {
        let outcome = self.signal_only(leader, signal);
        if signal == Signal::Probe {
            return outcome;
        }
        let group = self.people.iter().filter(|(_, p)| p.leader == leader && p.alive);
        let group: Vec<u32> = group.map(|(number, _)| *number).collect();
        let mut dead = Vec::new();
        for number in group {
            if self.settle(number, signal) {
                dead.push(number);
            }
        }
        self.bury(&dead);
        outcome
    }

    pub fn signal_only(&self, leader: u32, signal: Signal) -> SignalOutcome {
        signal_group(&self.children, SpawnId(u64::from(leader)), signal)
    }

    /// Waits until a process that may have been signalled is dead, and returns true, or false once
    /// it is sure to live on: a signal arrives before an order that is sent later.
    fn settle(&mut self, number: u32, signal: Signal) -> bool {
        let stopped = self.people[&number].stopped;
        if stopped && signal == Signal::Term {
            return false;
        }
        if stopped {
            self.wait_for_end(number);
            return true;
        }
        self.tell(number, Order::Ping);
        let person = self.people.get_mut(&number).expect("a process");
        let log = self.logs.get_mut(&person.leader).expect("a log");
        loop {
            let mut fds = [
                PollFd::new(person.fd.as_fd(), PollFlags::POLLIN),
                PollFd::new(log.as_fd(), PollFlags::POLLIN),
            ];
            patiently(&mut fds);
            let [dead, answered] =
                fds.map(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)));
            if answered {
                assert_eq!(answer(log).expect("an answer")[0], number.cast_signed());
                return false;
            }
            if dead {
                person.alive = false;
                return true;
            }
        }
    }

    /// A worker that is there waits for its children when they have ended.
    fn bury(&mut self, dead: &[u32]) {
        for number in dead {
            let (leader, pid) = (self.people[number].leader, self.people[number].pid);
            let parent = &self.people[&leader];
            if *number != leader && parent.alive && !parent.stopped {
                assert_eq!(self.ask(leader, Order::Bury(pid.0)), pid.0);
                self.people.get_mut(number).expect("a process").reaped = true;
            }
        }
    }

    fn tell(&self, number: u32, order: Order) {
        order.send(&self.people[&number].orders).expect("room in the FIFO");
    }

    fn ask(&mut self, number: u32, order: Order) -> i32 {
        self.tell(number, order);
        let leader = self.people[&number].leader;
        let log = self.logs.get_mut(&leader).expect("a log");
        let [who, said] = answer(log).expect("an answer");
        assert_eq!(who, number.cast_signed(), "{order:?}");
        said
    }

    /// Waits until epoll has reported the end of these workers.
    pub fn wait_until_told(&mut self, of: &BTreeSet<u32>) -> Result<(), String> {
        while !of.is_subset(&self.told) {
            let mut events = [EpollEvent::empty(); 64];
            let count = match self.children.epoll().wait(&mut events, PATIENCE_MS) {
                Err(Errno::EINTR) => continue,
                count => count.expect("an epoll"),
            };
            if count == 0 {
                return Err(format!("never told of one of {of:?}"));
            }
            for event in &events[..count] {
                let number = u32::try_from(event.data()).expect("a number of ours");
                if !self.told.insert(number) {
                    return Err(format!("told twice of {number}"));
                }
            }
        }
        Ok(())
    }

    /// One reaping step: the workers that have ended, and the pids of orphans.
    pub fn reap(&mut self) -> Result<(Vec<Exit>, Vec<Pid>), String> {
        let ended = self.people.iter().filter(|(n, p)| **n == p.leader && !p.alive && !p.reaped);
        let ended = ended.map(|(number, _)| *number).collect();
        self.wait_until_told(&ended)?;
        self.reap_untold()
    }

    pub fn reap_untold(&mut self) -> Result<(Vec<Exit>, Vec<Pid>), String> {
        let reaping = self.children.reap(Whom::All);
        if let Some(error) = reaping.error {
            return Err(error.to_string());
        }
        let orphans = self.children.adopt_orphans(4096).map_err(|errno| errno.to_string())?;
        let gone = reaping.exits.iter().map(|exit| exit.pid).chain(orphans.iter().copied());
        for pid in gone {
            let person = self.people.values_mut().find(|p| p.pid == pid && !p.reaped);
            if let Some(person) = person {
                person.reaped = true;
            }
        }
        Ok((reaping.exits, orphans))
    }

    pub fn forget(&self, number: u32) -> bool {
        self.children.forget(SpawnId(u64::from(number)))
    }

    pub fn unreaped(&self) -> usize {
        self.children.unreaped()
    }

    /// How far a process has come.
    pub fn stage(&self, number: u32) -> Stage {
        let fd = self.people[&number].fd.as_fd();
        match pidfd::send(fd, 0, Reach::Process) {
            Err(Errno::ESRCH) => Stage::Reaped,
            // Before Linux 6.9 it returns `Zombie` for reaped processes as well.
            _ => pidfd::stage(fd).expect("a stage"),
        }
    }

    pub fn pid(&self, number: u32) -> Pid {
        self.people[&number].pid
    }

    /// The process with this pid that was reaped last; for one that was just reaped.
    pub fn number_of(&self, pid: Pid) -> Option<u32> {
        self.people.iter().rev().find(|(_, p)| p.pid == pid).map(|(number, _)| *number)
    }

    pub fn numbers(&self) -> Vec<u32> {
        self.people.keys().copied().collect()
    }

    pub fn leader(&self, number: u32) -> u32 {
        self.people[&number].leader
    }

    pub fn is_alive(&self, number: u32) -> bool {
        self.people[&number].alive
    }

    pub fn is_stopped(&self, number: u32) -> bool {
        self.people[&number].stopped
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (number, person) in &self.people {
            if *number == person.leader {
                let _gone_already = self.signal_only(*number, Signal::Kill);
            }
        }
        for person in self.people.values() {
            wait_until_readable(&person.fd);
        }
        let _told = self.children.reap(Whom::All);
        let _reaped = self.children.adopt_orphans(4096);
        if let Some((lane, thread)) = self.lane.take() {
            drop(lane);
            let _panicked = thread.join();
        }
    }
}

/// A FIFO that can be read and written without waiting for another to open it.
fn fifo(directory: &Path, number: u32) -> File {
    let path = directory.join(number.to_string());
    if !fs::exists(&path).expect("a directory") {
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    }
    OpenOptions::new().read(true).write(true).open(path).expect("a FIFO")
}

fn wait_until_readable(fd: &OwnedFd) {
    patiently(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)]);
}

fn patiently(fds: &mut [PollFd<'_>]) {
    loop {
        match poll(fds, PollTimeout::from(PATIENCE_MS)) {
            Err(Errno::EINTR) => {}
            count => break assert_ne!(count, Ok(0), "waited in vain"),
        }
    }
}
