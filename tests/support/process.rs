//! Workers that a test holds by a gate, dispatchers as processes, and looks at the process table.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::{MsFlags, mount};
use nix::poll::poll;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use sexton::runtime::clock;

/// Long enough for anything on a busy machine, and less than the 60 s between ticks: a wake-up that
/// is lost must not be made up for by the backstop.
const PATIENCE_MS: u64 = 45_000;

/// Waits until `condition` holds. Panics, and says `what` was waited for, if it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now().mono.after(PATIENCE_MS);
    while !condition() {
        assert!(clock::now().mono < deadline, "waited in vain: {what}");
        let _looked_again_anyway = poll(&mut [], 5_u8);
    }
}

/// As [`wait_until`], for something that is there only then.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(what, || {
        found = find();
        found.is_some()
    });
    found.unwrap()
}

/// A FIFO that holds workers back. Dropping it lets all go, so that a test that fails leaves none
/// behind.
pub struct Gate {
    path: PathBuf,
    file: File,
}

impl Gate {
    pub fn new(path: PathBuf) -> Gate {
        mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap();
        // Whatever the umask.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(&path, all).unwrap();
        // Open for both, so that neither side ever waits for the other to open it.
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Gate { path, file }
    }

    /// What a worker says to wait here.
    pub fn wait(&self) -> String {
        format!("read go < '{}'", self.path.display())
    }

    /// Lets this many workers pass, now or when they come.
    pub fn let_pass(&self, count: usize) {
        (&self.file).write_all("\n".repeat(count).as_bytes()).unwrap();
    }
}

/// A file system that never answers, which only this thread and what it starts can see: nobody serves
/// it. Whoever waits for it is told that it is gone when this is dropped.
pub struct Hung(File);

impl Hung {
    /// One over `folder`; `None`, and says so, where nobody may mount one.
    pub fn over(folder: &Path) -> Option<Hung> {
        fs::create_dir_all(folder).unwrap();
        let none: Option<&Path> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, private, none))
            .map_err(io::Error::from)
            .and_then(|()| File::options().read(true).write(true).open("/dev/fuse"))
            .and_then(|device| {
                let fd = device.as_raw_fd();
                let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
                mount(none, folder, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
                Ok(Hung(device))
            });
        mounted
            .inspect_err(|error| eprintln!("SKIPPED: this needs to mount with FUSE: {error}"))
            .ok()
    }
}

/// A `sexton` process with its output in files.
pub struct Running {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Running {
    /// Starts it; `name` keeps its files apart from those of others in `folder`.
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Running {
        let log = File::create(folder.join(format!("{name}.log"))).unwrap();
        Running::start_with_log(command, log, folder, name)
    }

    /// As [`start`](Running::start), with its log elsewhere; then what it says cannot be asked for.
    pub fn start_with_log(
        command: &mut Command,
        log: impl Into<Stdio>,
        folder: &Path,
        name: &str,
    ) -> Running {
        command.stdout(File::create(folder.join(format!("{name}.out"))).unwrap()).stderr(log);
        let (out, log) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        Running { child, out, log }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// Its exit code, once it has ended; -1 if a signal did it.
    pub fn code(&mut self) -> i32 {
        let mut status = None;
        wait_until("sexton to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- its log:\n{}--- its output:\n{}", self.log(), self.stdout());
        }
        // A stopped one takes this, too. One that was waited for is not signalled again.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// State and parent of a process; `None` if there is no such process.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether it is a zombie.
pub fn is_zombie(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state == 'Z')
}

/// Whether it runs, or at least is no zombie.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// Whether a child of `parent` with this pid is there in any state.
pub fn is_child(pid: i32, parent: i32) -> bool {
    stat(pid).is_some_and(|(_, its)| its == parent)
}

/// All children of a process, in any state.
pub fn children_of(parent: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_child(*pid, parent)).collect()
}

/// All zombie children of a process.
pub fn zombies_of(parent: i32) -> Vec<i32> {
    children_of(parent).into_iter().filter(|pid| is_zombie(*pid)).collect()
}

/// A pipe with room for so many bytes more; what is in it are empty lines.
pub fn pipe_with_room(room: usize) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // The kernel makes it no smaller than a page.
    let size = usize::try_from(fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap()).unwrap();
    writer.write_all(&vec![b'\n'; size - room]).unwrap();
    (reader, writer)
}

/// Runs a shell command in a process of its own: the only way in which a test touches the bytes of
/// a board that this process has open.
pub fn shell(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

/// Overwrites the first bytes of a board.
pub fn damage_header(db: &Path) {
    shell(&format!(
        "printf 'sixteen bad byte' | dd of='{}' conv=notrunc bs=16 count=1 2>/dev/null",
        db.display()
    ));
}

/// The pids in a log line `reaped {n} zombie worker(s), pids=[…]`, sorted, for each such line.
pub fn reaped_lines(log: &str) -> Vec<Vec<i32>> {
    let lines = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("reaped ")?;
        let (count, rest) = rest.split_once(" zombie worker(s), pids=[")?;
        let list = rest.strip_suffix(']').unwrap();
        let mut pids: Vec<i32> = list.split(", ").map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(count.parse(), Ok(pids.len()), "{line}");
        pids.sort_unstable();
        Some(pids)
    });
    lines.collect()
}
